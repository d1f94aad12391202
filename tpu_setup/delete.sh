#!/usr/bin/env bash
# usage: delete.sh [NAME] [--confirm NAME] [--dry-run] [--env FILE]
#
# Deletes the VM and its queued resource (NAME, or TPU_NAME of tpu.env). Without
# --confirm it looks, and says what it would delete. What does not carry the label that
# create.sh gives is never touched. All that is on the VM's disk is lost.
#
#   --confirm NAME  delete it; the name must be the same
#   --dry-run       print the exact commands and do nothing
#   --env FILE      the settings (tpu_setup/tpu.env)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME='' CONFIRMED=''

parse() {
  while (($#)); do
    case $1 in
      --confirm)
        [[ -n ${2-} ]] || die 2 "--confirm needs the name behind it."
        CONFIRMED=$2
        shift
        ;;
      -*) die 2 "delete.sh does not know $1; see --help." ;;
      *) NAME=$1 ;;
    esac
    shift
  done
}

refuse_foreign() {
  local labelled
  IFS='|' read -r _ _ labelled _ <<<"$2"
  [[ -z $2 || $labelled == labelled ]] ||
    die 2 "The $1 $NAME does not carry the label $LABEL_KEY=$LABEL_VALUE: create.sh did not make it, and it is left alone."
}

take_common_flags "$@"
parse "${ARGS[@]}"
load_env "$ENV_FILE"
need gcloud python3 timeout
NAME=${NAME:-$TPU_NAME}
[[ -z $CONFIRMED || $CONFIRMED == "$NAME" ]] ||
  die 2 "--confirm $CONFIRMED is not $NAME, so nothing was deleted."
mapfile -t where < <(at)
CLOUD_TIMEOUT=900
# gcloud's own question is answered by --confirm.
queued=(compute tpus queued-resources delete "$NAME" "${where[@]}" --force --quiet)
node=(compute tpus tpu-vm delete "$NAME" "${where[@]}" --quiet)
look_up "$NAME"
if [[ $DRY_RUN == yes ]]; then
  cloud "${queued[@]}"
  exit 0
fi
[[ -n $QUEUED$NODE ]] || die 0 "There is no $NAME in $ZONE: nothing to delete."
refuse_foreign "queued resource" "$QUEUED"
refuse_foreign "TPU VM" "$NODE"
if [[ -n $QUEUED ]]; then call=("${queued[@]}"); else call=("${node[@]}"); fi
if [[ -z $CONFIRMED ]]; then
  log "Would run: gcloud $(quoted "${call[@]}")"
  log "The VM's disk goes with it. To do it: tpu_setup/delete.sh $NAME --confirm $NAME"
  exit 0
fi
cloud "${call[@]}" || die 1 "$NAME could not be deleted; see tpu_setup/list.sh."
log "$NAME is deleted."
