# shellcheck shell=bash
# The arguments of run.sh and gpu_local.sh, which are the same.
# shellcheck disable=SC2034  # the scripts read what stands here

VERB=start
COMMAND=''
CONFIG=''
RUN_ID=''
MAX_RESTARTS=20
OVERRIDES=()

parse_run() {
  local words=()
  while (($#)); do
    case $1 in
      --run-id | --max-restarts | --stop | --status)
        [[ -n ${2-} ]] || die 2 "$1 needs a value behind it."
        case $1 in
          --run-id) RUN_ID=$2 ;;
          --max-restarts) MAX_RESTARTS=$2 ;;
          --stop) VERB=stop RUN_ID=$2 ;;
          --status) VERB=status RUN_ID=$2 ;;
        esac
        shift
        ;;
      --)
        shift
        OVERRIDES=("$@")
        break
        ;;
      -*) die 2 "$(basename "$0") does not know $1. Flags of jaxalign stand behind --." ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  check_run "${words[@]}"
}

check_run() {
  local word
  if [[ $VERB == start ]]; then
    (($# == 2)) || die 2 "$(basename "$0") takes a command and a YAML file, as in: dpo dpo.yaml. See --help."
    COMMAND=$1 CONFIG=$2
    RUN_ID=${RUN_ID:-$COMMAND-$(date -u +%Y%m%d-%H%M%S)}
  else
    (($# == 0)) || die 2 "$(basename "$0") does not know $1 there; see --help."
  fi
  [[ $RUN_ID =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$ ]] ||
    die 2 "The run's name is letters, digits, dots, dashes and underscores; found: $RUN_ID"
  [[ $MAX_RESTARTS =~ ^[0-9]+$ ]] || die 2 "--max-restarts is a number; found: $MAX_RESTARTS"
  for word in "${OVERRIDES[@]}"; do
    case $word in
      --output-dir | --output-dir=* | --output_dir | --output_dir=* | --config | --config=*)
        die 2 "$(basename "$0") sets ${word%%=*} itself; name the run with --run-id."
        ;;
    esac
  done
}
