#!/usr/bin/env bash
# usage: gpu_local.sh COMMAND CONFIG [--run-id ID] [--max-restarts N] [-- FLAGS...]
#        gpu_local.sh --stop RUN_ID
#        gpu_local.sh --status RUN_ID
#
# Starts `jaxalign COMMAND --config CONFIG FLAGS...` on this machine and its GPUs, as
# run.sh does on a TPU VM: without a terminal, with a log, an exit code and restarts, in
# ./jaxalign-runs/RUN_ID. Make the machine ready with setup_host.sh --here --extra cuda12.
#
#   --run-id ID        a name; the same one goes on with that run
#   --max-restarts N   how often exit code 75 starts it again (20)
#   --stop RUN_ID      ask it to save and end
#   --status RUN_ID    running, or its exit code
#   --dry-run          print the exact command and do nothing
#
# XLA_PYTHON_CLIENT_MEM_FRACTION (0.9 here) and XLA_FLAGS are taken from the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/run_flags.sh"

take_common_flags "$@"
parse_run "${ARGS[@]}"
folder=jaxalign-runs/$RUN_ID
if [[ $VERB != start ]]; then
  act bash "$HERE/host_run.sh" "$VERB" "$folder"
  exit 0
fi
tasks=${SLURM_STEP_NUM_TASKS:-1}
[[ $tasks == 1 ]] ||
  die 2 "Slurm started $tasks tasks, and jaxalign runs as one process that uses all GPUs of one node. Ask for --nodes=1 --ntasks=1."
[[ -r $CONFIG ]] || die 2 "$CONFIG: there is no such file. Give the YAML file of the run."
python=$(dirname "$HERE")/.venv/bin/python
[[ $DRY_RUN == yes || -x $python ]] ||
  die 2 "$python is not there. Make it with tpu_setup/setup_host.sh --here --extra cuda12."
[[ $DRY_RUN == yes ]] || need nvidia-smi flock setsid
act bash "$HERE/host_run.sh" start "$folder" --config "$CONFIG" --max-restarts "$MAX_RESTARTS" -- \
  env "XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}" \
  "$python" -m jaxalign "$COMMAND" --config "$folder/config.yaml" \
  --output-dir "$folder/out" "${OVERRIDES[@]}"
log "Follow it: tpu_setup/host_run.sh follow $(quoted "$folder")"
