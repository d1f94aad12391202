#!/usr/bin/env bash
# usage: list.sh [--dry-run] [--env FILE]
#
# Lists what create.sh made in the zone: queued resources and TPU VMs with our label.
# Both cost quota; a VM costs money as long as it is there, idle or not.
#
#   --dry-run   print the exact commands and do nothing
#   --env FILE  the settings (tpu_setup/tpu.env)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

list() {
  local kind=$1 found where name accelerator state age
  mapfile -t where < <(at)
  if [[ $DRY_RUN == yes ]]; then
    cloud compute tpus "$kind" list "${where[@]}" --format=json
    return 0
  fi
  found=$(cloud_read compute tpus "$kind" list "${where[@]}" --format=json) ||
    die 1 "The $kind of $PROJECT in $ZONE could not be listed."
  while IFS='|' read -r name accelerator state age; do
    [[ -z $name ]] || printf '%-16s %-24s %-14s %-22s %s\n' "$kind" "$name" "$accelerator" "$state" "$age"
  done < <(read_json rows "$LABEL_KEY=$LABEL_VALUE" <<<"$found")
}

take_common_flags "$@"
refuse_arguments
load_env "$ENV_FILE"
need gcloud python3 timeout
[[ $DRY_RUN == yes ]] || printf '%-16s %-24s %-14s %-22s %s\n' KIND NAME ACCELERATOR STATE AGE
list queued-resources
list tpu-vm
