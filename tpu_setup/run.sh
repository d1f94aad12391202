#!/usr/bin/env bash
# usage: run.sh COMMAND CONFIG [--run-id ID] [--max-restarts N] [-- FLAGS...]
#        run.sh --stop RUN_ID
#        run.sh --status RUN_ID
#
# Starts `jaxalign COMMAND --config CONFIG FLAGS...` on the TPU VM and returns at once. The
# file CONFIG is copied from here; paths in it are paths on the VM or gs:// addresses.
# The run's folder is ~/jaxalign-runs/RUN_ID/out on the VM; --output-dir is set by us.
#
#   --run-id ID        a name; the same one goes on with that run, on a new VM too
#   --max-restarts N   how often exit code 75 starts it again (20)
#   --stop RUN_ID      ask it to save and end
#   --status RUN_ID    running, or its exit code
#   --dry-run          print the exact commands and do nothing
#   --env FILE         the settings (tpu_setup/tpu.env)
#
# Example: run.sh dpo dpo.yaml --run-id first -- --beta 0.2
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/run_flags.sh"

FOLDERS=jaxalign-runs
KEEPER=jaxalign/tpu_setup/host_run.sh

launch() {
  local folder=$FOLDERS/$RUN_ID command
  [[ -r $CONFIG ]] || die 2 "$CONFIG: there is no such file here. Give the YAML file of the run."
  need_vm
  command=(bash "$KEEPER" start "$folder" --config "$folder.yaml" --max-restarts "$MAX_RESTARTS")
  [[ -z $BUCKET ]] || command+=(--bucket "$BUCKET")
  # TPU images preload an allocator that JAX does not get on with everywhere.
  command+=(-- env -u LD_PRELOAD "WANDB_MODE=${WANDB_MODE:-disabled}")
  command+=(jaxalign/.venv/bin/python -m jaxalign "$COMMAND" --config "$folder/config.yaml")
  command+=(--output-dir "$folder/out" "${OVERRIDES[@]}")
  on_host "mkdir -p $FOLDERS"
  to_host "$CONFIG" "$folder.yaml"
  on_host "$(quoted "${command[@]}")"
  log "Follow it: tpu_setup/logs.sh $RUN_ID --follow"
}

take_common_flags "$@"
parse_run "${ARGS[@]}"
load_env "$ENV_FILE"
topology hosts >/dev/null
need gcloud python3 timeout
case $VERB in
  start) launch ;;
  stop | status)
    need_vm
    on_host "$(quoted bash "$KEEPER" "$VERB" "$FOLDERS/$RUN_ID")"
    ;;
esac
