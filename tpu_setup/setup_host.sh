#!/usr/bin/env bash
# usage: setup_host.sh [--dry-run] [--env FILE]
#        setup_host.sh --here [--extra tpu|cuda12|cuda13] [--accel TYPE] [--bucket NAME]
#
# Sends the committed files of this checkout to the TPU VM as ~/jaxalign and makes it
# ready there: Python 3.11 or newer, .venv with the versions of constraints.txt, then
# doctor.py. A second time nothing changes. What was in ~/jaxalign before becomes
# ~/jaxalign.old; .venv is kept.
#
#   --here          make this machine ready, in this checkout (what runs on the VM)
#   --extra NAME    which build of JAX (tpu)
#   --accel TYPE    what doctor.py should find
#   --bucket NAME   what doctor.py should write to
#   --dry-run       print the exact commands and do nothing
#   --env FILE      the settings (tpu_setup/tpu.env)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CHECKOUT=$(dirname "$HERE")
MODE=away EXTRA=tpu ACCEL_HERE='' BUCKET_HERE=''

parse() {
  while (($#)); do
    case $1 in
      --here) MODE=here ;;
      --extra | --accel | --bucket)
        [[ -n ${2-} ]] || die 2 "$1 needs a value behind it."
        case $1 in
          --extra) EXTRA=$2 ;;
          --accel) ACCEL_HERE=$2 ;;
          --bucket) BUCKET_HERE=$2 ;;
        esac
        shift
        ;;
      *) die 2 "setup_host.sh does not know $1; see --help." ;;
    esac
    shift
  done
  case $EXTRA in
    tpu | cuda12 | cuda13) ;;
    *) die 2 "--extra $EXTRA; it is tpu, cuda12 or cuda13." ;;
  esac
}

find_python() {
  local name
  for name in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3; do
    if "$name" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$name"
      return 0
    fi
  done
  return 1
}

# A fresh VM upgrades itself for minutes and holds apt's lock; no lock is ever removed.
patiently() {
  local limit=${APT_WAIT:-900} start=$SECONDS
  until act "$@"; do
    ((SECONDS - start < limit)) ||
      die 1 "Still not possible after $limit s: $(quoted "$@"). Another program may hold apt's lock: sudo fuser -v /var/lib/dpkg/lock-frontend"
    log "Trying again in ${RETRY_SECONDS:-10} s; a fresh VM holds apt's lock for a while."
    sleep "${RETRY_SECONDS:-10}"
  done
}

install_python() {
  log "There is no Python 3.11 or newer with venv here: installing python3.11."
  need sudo apt-get
  patiently sudo timeout 600 apt-get update -q
  patiently sudo timeout 900 apt-get install -q -y --no-remove python3.11 python3.11-venv
}

# What .venv is made from; the same text means that nothing is to be done.
recipe_of() {
  "$1" --version
  printf '%s\n' "$EXTRA"
  sha256sum <"$CHECKOUT/pyproject.toml"
  sha256sum <"$CHECKOUT/constraints.txt"
}

make_venv() {
  local python=$1 recipe
  recipe=$(recipe_of "$python")
  if [[ -e $CHECKOUT/.venv/.setup_host && $(<"$CHECKOUT/.venv/.setup_host") == "$recipe" ]]; then
    log "$CHECKOUT/.venv is up to date."
    return 0
  fi
  act "$python" -m venv "$CHECKOUT/.venv"
  act timeout 3600 "$CHECKOUT/.venv/bin/python" -m pip install --quiet \
    --disable-pip-version-check -c "$CHECKOUT/constraints.txt" -e "${CHECKOUT}[$EXTRA]"
  [[ $DRY_RUN == yes ]] || printf '%s\n' "$recipe" >"$CHECKOUT/.venv/.setup_host"
}

setup_here() {
  local python check
  python=$(find_python) || {
    install_python
    python=$(find_python) || {
      [[ $DRY_RUN == yes ]] || die 1 "python3.11 was installed, and still there is no Python 3.11 or newer with venv. Set PYTHON to one."
      python=python3.11
    }
  }
  make_venv "$python"
  check=("$CHECKOUT/.venv/bin/python" "$HERE/doctor.py")
  case $EXTRA in tpu) check+=(--platform tpu) ;; *) check+=(--platform gpu) ;; esac
  [[ -z $ACCEL_HERE ]] || check+=(--accel "$ACCEL_HERE")
  [[ -z $BUCKET_HERE ]] || check+=(--bucket "$BUCKET_HERE")
  act "${check[@]}"
}

# The files of the commit, beside the old ones; .venv moves over.
unpack_command() {
  cat <<UNPACK
set -eu
rm -rf jaxalign.new
mkdir jaxalign.new
tar -xf jaxalign-source.tar -C jaxalign.new
echo $1 > jaxalign.new/.source
if [ -d jaxalign/.venv ]; then mv jaxalign/.venv jaxalign.new/.venv; fi
rm -rf jaxalign.old
if [ -d jaxalign ]; then mv jaxalign jaxalign.old; fi
mv jaxalign.new jaxalign
rm jaxalign-source.tar
UNPACK
}

send_source() {
  local commit there archive
  commit=$(git -C "$CHECKOUT" rev-parse HEAD) ||
    die 2 "$CHECKOUT is not a git checkout, and the files of a commit are what is sent."
  [[ -z $(git -C "$CHECKOUT" status --porcelain) ]] ||
    log "There are changes that are not committed; the VM gets commit ${commit:0:10} without them."
  there=$(on_host 'if [ -e jaxalign/.source ]; then cat jaxalign/.source; fi') ||
    die 1 "The TPU VM $TPU_NAME does not take commands; README.md, \"Trouble\", explains the usual causes."
  if [[ $DRY_RUN == yes ]]; then
    printf '%s\n' "$there"
  elif [[ $there == "$commit" ]]; then
    log "The files of commit ${commit:0:10} are there."
    return 0
  fi
  archive=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder's name now, not at the end
  trap "rm -rf $(quoted "$archive")" EXIT
  act git -C "$CHECKOUT" archive --format=tar --output="$archive/jaxalign-source.tar" HEAD
  to_host "$archive/jaxalign-source.tar" jaxalign-source.tar
  on_host "$(unpack_command "$commit")"
}

take_common_flags "$@"
parse "${ARGS[@]}"
if [[ $MODE == here ]]; then
  setup_here
  exit 0
fi
load_env "$ENV_FILE"
topology hosts >/dev/null
need gcloud python3 timeout git
need_vm
send_source
command=(bash jaxalign/tpu_setup/setup_host.sh --here --accel "$ACCEL")
[[ -z $BUCKET ]] || command+=(--bucket "$BUCKET")
CLOUD_TIMEOUT=7200
on_host "$(quoted "${command[@]}")"
log "$TPU_NAME is ready. Next: tpu_setup/run.sh COMMAND CONFIG"
