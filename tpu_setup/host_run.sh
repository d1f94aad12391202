#!/usr/bin/env bash
# usage: host_run.sh start FOLDER [--config FILE] [--bucket NAME] [--max-restarts N]
#                          [--sync SECONDS] -- COMMAND...
#        host_run.sh stop|status|follow FOLDER [LINES]
#
# Keeps one run going on the machine where it stands; run.sh and gpu_local.sh call it.
# `start` returns at once; the command goes on without a terminal. FOLDER holds
#
#   command     what runs, quoted          run.log     all that it prints
#   exit_code   once it has ended          restarts    how often exit code 75 came
#   out/        the run's own folder        config.yaml what --config named, as it was
#
# Exit code 75 means: stopped on request, resumable. The command is started again then,
# and run.log says so, unless `stop` asked for it. No other code restarts anything.
# With --bucket the folder is copied to gs://NAME/jaxalign-runs/ every --sync seconds and
# at the end; a FOLDER without out/ gets it from there first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CONFIG=''
BUCKET=''
MAX_RESTARTS=20
SYNC=300

parse() {
  while (($#)); do
    case $1 in
      --config | --bucket | --max-restarts | --sync)
        [[ -n ${2-} ]] || die 2 "$1 needs a value behind it."
        case $1 in
          --config) CONFIG=$2 ;;
          --bucket) BUCKET=$2 ;;
          --max-restarts) MAX_RESTARTS=$2 ;;
          --sync) SYNC=$2 ;;
        esac
        shift
        ;;
      --)
        shift
        COMMAND=("$@")
        return 0
        ;;
      *) die 2 "host_run.sh does not know $1; see --help." ;;
    esac
    shift
  done
}

tell() { printf '%s [host_run] %s\n' "$(date -u +%FT%TZ)" "$*"; }

start() {
  ((${#COMMAND[@]})) || die 2 "There is no command behind --."
  mkdir -p "$FOLDER"
  exec 9>>"$ROOT/lock"
  flock --nonblock 9 ||
    die 2 "$(cat "$ROOT/current") is running, and an accelerator serves one run at a time. Wait for it, or stop it."
  rm -f "$FOLDER/exit_code" "$FOLDER/stop" "$FOLDER/restarts" "$FOLDER/pid"
  # Not before the lock is ours: a run that is going on keeps its settings.
  [[ -z $CONFIG ]] || cp "$CONFIG" "$FOLDER/config.yaml"
  printf '%s\n' "$(quoted "${COMMAND[@]}")" >"$FOLDER/command"
  printf '%s\n' "$(basename "$FOLDER")" >"$ROOT/current"
  # The lock on descriptor 9 goes along, to the keeper and to what it runs.
  setsid nohup bash "$0" keep "$FOLDER" "${OPTIONS[@]}" >>"$FOLDER/run.log" 2>&1 </dev/null &
  printf '%s\n' "$!" >"$FOLDER/keeper"
  log "$(basename "$FOLDER") is started."
}

remote() { printf 'gs://%s/jaxalign-runs/%s' "$BUCKET" "$(basename "$FOLDER")"; }

push() {
  [[ -n $BUCKET ]] || return 0
  CLOUD_TIMEOUT=1800 cloud storage rsync "$FOLDER" "$(remote)" --recursive --quiet >/dev/null ||
    tell "The folder could not be copied to $(remote); the run is not disturbed."
}

# A run that began on another machine goes on here.
fetch() {
  local found
  [[ -n $BUCKET && ! -e $FOLDER/out ]] || return 0
  found=$(cloud_read storage objects list "$(remote)/out/**" --limit=1 --format=json) || return 1
  if python3 -I -S -c 'import json, sys; sys.exit(not json.loads(sys.argv[1]))' "$found"; then
    tell "Going on with what $(remote)/out holds."
    # Whole or not at all: a part would pass for a run that began here.
    rm -rf "$FOLDER/out.part"
    mkdir -p "$FOLDER/out.part"
    CLOUD_TIMEOUT=7200 cloud storage rsync "$(remote)/out" "$FOLDER/out.part" --recursive --quiet >/dev/null || return 1
    mv "$FOLDER/out.part" "$FOLDER/out"
  fi
}

keep() {
  local code=0 restarts=0 syncer=''
  # When the machine goes down everybody gets a TERM; what runs saves by itself.
  trap 'touch "$FOLDER/stop"' TERM INT HUP
  fetch || finish 1 "Whether $(remote) holds this run could not be found out, so it was not started."
  if [[ -n $BUCKET ]]; then
    (while sleep "$SYNC"; do push; done) 9>&- &
    syncer=$!
  fi
  while :; do
    code=75
    [[ ! -e $FOLDER/stop ]] || break
    code=0
    # shellcheck disable=SC2016  # the inner shell expands it: its pid is the command's
    bash -c 'echo "$$" >"$0"; exec "$@"' "$FOLDER/pid" "${COMMAND[@]}" || code=$?
    rm -f "$FOLDER/pid"
    [[ $code == 75 && ! -e $FOLDER/stop ]] || break
    if ((restarts >= MAX_RESTARTS)); then
      tell "Exit code 75 again, after $restarts restarts: --max-restarts is reached."
      break
    fi
    restarts=$((restarts + 1))
    printf '%s\n' "$restarts" >"$FOLDER/restarts"
    tell "Exit code 75, stopped on request: restart $restarts of at most $MAX_RESTARTS."
  done
  [[ -z $syncer ]] || kill "$syncer" 2>/dev/null || true
  finish "$code" "Ended with exit code $code."
}

finish() {
  tell "$2"
  printf '%s\n' "$1" >"$FOLDER/exit_code.part"
  mv "$FOLDER/exit_code.part" "$FOLDER/exit_code"
  push
  exit "$1"
}

# Not by process numbers, which are given out again: by the lock, and by whose it is.
is_going() {
  [[ ! -e $FOLDER/exit_code && -e $ROOT/current ]] || return 1
  [[ $(<"$ROOT/current") == "$(basename "$FOLDER")" ]] || return 1
  ! flock --nonblock "$ROOT/lock" true
}

stop() {
  is_going || die 2 "$(basename "$FOLDER") is not running."
  touch "$FOLDER/stop"
  # Between two starts there is nobody to tell; the keeper sees the file.
  [[ ! -e $FOLDER/pid ]] || kill -TERM "$(<"$FOLDER/pid")" || true
  log "$(basename "$FOLDER") was asked to stop: it saves and ends with exit code 75."
}

status() {
  [[ -e $FOLDER/command ]] || die 2 "There is no run $(basename "$FOLDER") on this machine."
  local text='lost: neither running nor ended; start it again'
  is_going && text=running
  [[ -e $FOLDER/exit_code ]] && text="ended with exit code $(<"$FOLDER/exit_code")"
  [[ -e $FOLDER/restarts ]] && text+=", $(<"$FOLDER/restarts") restarts"
  printf '%s: %s\n' "$(basename "$FOLDER")" "$text"
}

follow() {
  [[ -e $FOLDER/run.log ]] || die 2 "There is no run $(basename "$FOLDER") on this machine."
  tail -n "${1:-50}" -F --pid="$(<"$FOLDER/keeper")" "$FOLDER/run.log"
  status
}

case ${1-} in
  -h | --help)
    usage
    exit 0
    ;;
esac
(($# > 1)) || die 2 "host_run.sh needs a verb and a folder; see --help."
VERB=$1
mkdir -p "$(dirname "$2")"
ROOT=$(cd "$(dirname "$2")" && pwd)
FOLDER=$ROOT/$(basename "$2")
shift 2
OPTIONS=("$@")
COMMAND=()
case $VERB in
  start | keep)
    parse "$@"
    "$VERB"
    ;;
  stop | status | follow) "$VERB" "$@" ;;
  *) die 2 "host_run.sh does not know $VERB; see --help." ;;
esac
