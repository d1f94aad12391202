#!/usr/bin/env bash
# usage: create.sh [--dry-run] [--env FILE] [--wait SECONDS] [--poll SECONDS]
#
# Asks for the TPU VM that tpu.env describes, as a queued resource, and waits until it is
# there. What is there already by that name is adopted: the same command may be given
# again at any time, and never makes a second VM.
#
#   --dry-run        print the exact commands and do nothing
#   --env FILE       the settings (tpu_setup/tpu.env)
#   --wait SECONDS   how long to wait in the queue (3600); it goes on without us
#   --poll SECONDS   pause between two looks (15)
#
# Exit codes: 0 it is there; 75 still queued, give the command again; 1 the cloud refused;
# 2 something to mend here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WAIT=3600
POLL=15

parse() {
  while (($#)); do
    case $1 in
      --wait | --poll)
        [[ ${2-} =~ ^[0-9]+$ ]] || die 2 "$1 needs a number of seconds behind it."
        if [[ $1 == --wait ]]; then WAIT=$2; else POLL=$2; fi
        shift
        ;;
      *) die 2 "create.sh does not know $1; see --help." ;;
    esac
    shift
  done
}

request() {
  local where flags=() runtime
  mapfile -t where < <(at)
  runtime=${RUNTIME:-$(topology runtime)} || exit
  case $CAPACITY in
    spot) flags+=(--spot) ;;
    reserved) flags+=(--reserved) ;;
    on-demand) ;;
  esac
  [[ -z $SERVICE_ACCOUNT ]] || flags+=("--service-account=$SERVICE_ACCOUNT")
  cloud compute tpus queued-resources create "$TPU_NAME" "${where[@]}" \
    --node-id="$TPU_NAME" --accelerator-type="$ACCEL" --runtime-version="$runtime" \
    --labels="$LABEL_KEY=$LABEL_VALUE" --scopes=https://www.googleapis.com/auth/cloud-platform \
    "${flags[@]}" --format=json >"$OUT"
}

check_accelerator() {
  [[ -z $1 || $1 == "$ACCEL" ]] ||
    die 2 "$TPU_NAME is there as $1, and ACCEL asks for $ACCEL. Choose another TPU_NAME, or delete it with tpu_setup/delete.sh."
}

# 0: the VM is ready. 1: not yet.
is_ready() {
  local state accelerator labelled why
  IFS='|' read -r state accelerator labelled _ <<<"$NODE"
  if [[ -n $NODE ]]; then
    check_accelerator "$accelerator"
    if [[ $state == READY ]]; then
      [[ $labelled == labelled ]] ||
        log "$TPU_NAME was not made by create.sh: it is adopted, and delete.sh will not touch it."
      return 0
    fi
  fi
  IFS='|' read -r state accelerator _ why <<<"$QUEUED"
  check_accelerator "$accelerator"
  case $state in
    FAILED)
      die 1 "$TPU_NAME: the request FAILED: ${why:-no reason was given}. Remove it with tpu_setup/delete.sh, mend the cause, and ask again."
      ;;
    SUSPENDING | SUSPENDED)
      die 1 "$TPU_NAME is $state (${why:-preempted, or suspended by hand}): it holds its name and quota and does not come back. Remove it with tpu_setup/delete.sh and ask again."
      ;;
  esac
  return 1
}

# A request that the cloud refuses is not repeated, unless it was there already.
ask() {
  local code=0
  request || code=$?
  [[ $code == 0 || $DRY_RUN == yes ]] && return "$code"
  look_up "$TPU_NAME"
  [[ -n $QUEUED$NODE ]] ||
    die 1 "The request for $ACCEL in $ZONE was refused with the text above; README.md, \"Trouble\", explains the usual ones."
  log "$TPU_NAME was there already."
}

wait_until_ready() {
  local start=$SECONDS last=unknown state=''
  while ! is_ready; do
    IFS='|' read -r state _ <<<"${QUEUED:-$NODE}"
    [[ $state == "$last" ]] || log "$TPU_NAME: ${state:-requested}"
    last=$state
    ((SECONDS - start < WAIT)) ||
      die 75 "$TPU_NAME is still ${state:-requested} after $WAIT s. It stays in the queue; give the same command again to go on waiting."
    sleep "$POLL"
    look_up "$TPU_NAME"
  done
  log "$TPU_NAME is READY. Next: tpu_setup/setup_host.sh"
}

take_common_flags "$@"
parse "${ARGS[@]}"
load_env "$ENV_FILE"
topology hosts >/dev/null
need gcloud python3 timeout
OUT=/dev/null
[[ $DRY_RUN == no ]] || OUT=/dev/stdout
look_up "$TPU_NAME"
[[ -n $QUEUED$NODE ]] || ask
if [[ $DRY_RUN == no ]]; then
  wait_until_ready
fi
