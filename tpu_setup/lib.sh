# shellcheck shell=bash
# What the scripts share: messages, settings, cloud calls with a time limit, tables.
# shellcheck disable=SC2034  # the scripts read what stands here

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LABEL_KEY=managed-by
LABEL_VALUE=jaxalign
CLOUD_TIMEOUT=${CLOUD_TIMEOUT:-180}
DRY_RUN=no
ENV_FILE=$HERE/tpu.env

SETTINGS=(PROJECT ZONE TPU_NAME ACCEL CAPACITY RUNTIME BUCKET SERVICE_ACCOUNT WANDB_MODE)

log() { printf '%s\n' "$*" >&2; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || {
  log "These scripts need bash 4.4 or newer; this is $BASH_VERSION. Install a newer one."
  exit 2
}

# Exit codes: 2, the user can mend it; 1, the cloud said no; 75, not yet, do it again.
die() {
  local code=$1
  shift
  log "$*"
  exit "$code"
}

# Prints the comment at the head of the calling script.
usage() {
  local line
  while IFS= read -r line; do
    case $line in
      '#!'*) ;;
      '# '*) printf '%s\n' "${line#'# '}" ;;
      '#') printf '\n' ;;
      *) return 0 ;;
    esac
  done <"$0"
}

need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null 2>&1 ||
      die 2 "$program is not installed on this machine. Install it, then run the same command again."
  done
}

quoted() {
  local text
  printf -v text '%q ' "$@"
  printf '%s' "${text% }"
}

# Runs a command, or prints it when this is a dry run.
act() {
  if [[ $DRY_RUN == yes ]]; then
    printf '%s\n' "$(quoted "$@")"
  else
    "$@"
  fi
}

# A cloud call ends after CLOUD_TIMEOUT seconds, and says so.
cloud() {
  local code=0
  act timeout --kill-after=10 "$CLOUD_TIMEOUT" gcloud "$@" || code=$?
  if [[ $code == 124 || $code == 137 ]]; then
    log "No reply within $CLOUD_TIMEOUT s: gcloud $(quoted "$@")"
    log "Set CLOUD_TIMEOUT to more seconds if the network is slow."
  fi
  return "$code"
}

# Reading changes nothing, so it may be tried again: three times, with growing pauses.
cloud_read() {
  local pause=${RETRY_SECONDS:-2} attempt
  for attempt in 1 2 3; do
    cloud "$@" && return 0
    [[ $attempt == 3 ]] && return 1
    log "Trying again in $pause s."
    sleep "$pause"
    pause=$((pause * 3))
  done
}

# Small programs of the standard library; neither site packages nor the user's settings.
read_json() { python3 -I -S "$HERE/cloud_json.py" "$@"; }

# One field of an accelerator type.
topology() { read_json topology "$HERE/topologies.json" "$ACCEL" "$1" || exit 2; }

is_setting() {
  local name
  for name in "${SETTINGS[@]}"; do
    [[ $1 == "$name" ]] && return 0
  done
  return 1
}

# KEY=VALUE lines become variables. The file is read, never run: nothing is expanded.
load_env() {
  local file=$1 line key value number=0 name
  [[ -r $file ]] ||
    die 2 "$file: there is no such file. Copy tpu_setup/tpu.env.example there and fill it in."
  for name in "${SETTINGS[@]}"; do
    printf -v "$name" '%s' ''
  done
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    line=${line%$'\r'}
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    [[ -z $line || $line == '#'* ]] && continue
    [[ $line == *=* ]] || die 2 "$file:$number: expected KEY=VALUE, found: $line"
    key=${line%%=*} value=${line#*=}
    [[ $key != *[[:space:]]* && $value != [[:space:]]* ]] ||
      die 2 "$file:$number: remove the spaces around = in: $line"
    is_setting "$key" ||
      die 2 "$file:$number: unknown key $key. The keys are: ${SETTINGS[*]}."
    value=$(unquoted "$value") ||
      die 2 "$file:$number: $key has spaces or an odd quote: write $key=\"a value\"."
    printf -v "$key" '%s' "$value"
  done <"$file"
  check_settings "$file"
}

# The value inside its quotes; fails on an odd quote, and on spaces outside of quotes.
unquoted() {
  local value=$1 mark inner
  for mark in '"' "'"; do
    if [[ $value == "$mark"* ]]; then
      inner=${value#"$mark"}
      [[ $inner == *"$mark" ]] || return 1
      inner=${inner%"$mark"}
      [[ $inner != *"$mark"* ]] || return 1
      printf '%s' "$inner"
      return 0
    fi
  done
  [[ $value != *[[:space:]\"\']* ]] || return 1
  printf '%s' "$value"
}

check_settings() {
  local file=$1 key name='^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$'
  for key in PROJECT ZONE TPU_NAME ACCEL; do
    [[ -n ${!key} ]] || die 2 "$file: $key is empty, and nothing can be done without it."
  done
  [[ $TPU_NAME =~ $name ]] ||
    die 2 "$file: TPU_NAME=$TPU_NAME; a name is up to 40 small letters, digits and dashes."
  CAPACITY=${CAPACITY:-on-demand}
  case $CAPACITY in
    spot | reserved | on-demand) ;;
    *) die 2 "$file: CAPACITY=$CAPACITY; it is spot, reserved or on-demand." ;;
  esac
  BUCKET=${BUCKET#gs://}
  BUCKET=${BUCKET%/}
}

# Takes --help, --dry-run and --env FILE from the arguments; the others stay in ARGS.
# All behind -- belongs to somebody else.
take_common_flags() {
  ARGS=()
  while (($#)); do
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --dry-run) DRY_RUN=yes ;;
      --env)
        (($# > 1)) || die 2 "--env needs a file behind it."
        ENV_FILE=$2
        shift
        ;;
      --)
        ARGS+=("$@")
        return 0
        ;;
      *) ARGS+=("$1") ;;
    esac
    shift
  done
}

refuse_arguments() {
  ((${#ARGS[@]} == 0)) || die 2 "$(basename "$0") does not know ${ARGS[0]}; see --help."
}

at() { printf '%s\n' "--project=$PROJECT" "--zone=$ZONE"; }

# What the cloud has by the name $1: state, accelerator, whether it is labelled, why.
# Sets QUEUED and NODE to such a line, or to nothing.
look_up() {
  local name=$1 queued nodes where
  mapfile -t where < <(at)
  if [[ $DRY_RUN == yes ]]; then
    cloud compute tpus queued-resources list "${where[@]}" --format=json
    cloud compute tpus tpu-vm list "${where[@]}" --format=json
    QUEUED='' NODE=''
    return 0
  fi
  queued=$(cloud_read compute tpus queued-resources list "${where[@]}" --format=json) ||
    die 1 "The queued resources of $PROJECT in $ZONE could not be listed."
  nodes=$(cloud_read compute tpus tpu-vm list "${where[@]}" --format=json) ||
    die 1 "The TPU VMs of $PROJECT in $ZONE could not be listed."
  {
    IFS= read -r QUEUED
    IFS= read -r NODE
  } < <(read_json resource "$name" "$LABEL_KEY=$LABEL_VALUE" <<<"$queued$nodes") ||
    die 1 "What gcloud printed about $name could not be read."
}

# Runs a shell command on the VM.
on_host() {
  local where
  mapfile -t where < <(at)
  cloud compute tpus tpu-vm ssh "$TPU_NAME" "${where[@]}" --worker=0 \
    --ssh-flag='-o ServerAliveInterval=30' --command="$1"
}

to_host() {
  local where
  mapfile -t where < <(at)
  cloud compute tpus tpu-vm scp "$1" "$TPU_NAME:$2" "${where[@]}" --worker=0
}

# Stands before every command on the VM that needs it to be there.
need_vm() {
  local state
  look_up "$TPU_NAME"
  [[ $DRY_RUN == yes ]] && return 0
  IFS='|' read -r state _ <<<"$NODE"
  [[ -n $NODE ]] || die 2 "There is no TPU VM $TPU_NAME in $ZONE. Make it with tpu_setup/create.sh."
  [[ $state == READY ]] || die 2 "The TPU VM $TPU_NAME is $state, not READY. Wait, or see tpu_setup/list.sh."
}
