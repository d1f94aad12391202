#!/usr/bin/env bash
# usage: logs.sh RUN_ID [--follow] [--lines N] [--dry-run] [--env FILE]
#
# Prints the end of a run's log: from the VM, or from the bucket when the VM is gone.
#
#   --follow    go on until the run ends (a day at most), then say how it ended
#   --lines N   how many lines (50)
#   --dry-run   print the exact commands and do nothing
#   --env FILE  the settings (tpu_setup/tpu.env)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUN_ID='' FOLLOW=no LINES_WANTED=50

parse() {
  while (($#)); do
    case $1 in
      --follow) FOLLOW=yes ;;
      --lines)
        [[ ${2-} =~ ^[0-9]+$ ]] || die 2 "--lines needs a number behind it."
        LINES_WANTED=$2
        shift
        ;;
      -*) die 2 "logs.sh does not know $1; see --help." ;;
      *) RUN_ID=$1 ;;
    esac
    shift
  done
  [[ -n $RUN_ID ]] || die 2 "logs.sh needs the run's name, as run.sh printed it."
}

take_common_flags "$@"
parse "${ARGS[@]}"
load_env "$ENV_FILE"
need gcloud python3 timeout
look_up "$TPU_NAME"
if [[ $DRY_RUN == yes || $NODE == READY'|'* ]]; then
  folder=jaxalign-runs/$RUN_ID
  if [[ $FOLLOW == yes ]]; then
    CLOUD_TIMEOUT=86400
    on_host "$(quoted bash jaxalign/tpu_setup/host_run.sh follow "$folder" "$LINES_WANTED")"
  else
    on_host "$(quoted tail -n "$LINES_WANTED" "$folder/run.log")"
  fi
elif [[ -n $BUCKET ]]; then
  log "The TPU VM $TPU_NAME is not there: this is what the bucket holds."
  cloud storage cat "gs://$BUCKET/jaxalign-runs/$RUN_ID/run.log" | tail -n "$LINES_WANTED"
else
  die 2 "The TPU VM $TPU_NAME is not there, and without BUCKET nothing was kept elsewhere."
fi
