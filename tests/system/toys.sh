#!/usr/bin/env bash
# toys.sh -- a flow learns two moons: its density integrates to 1, its samples pass a two-sample test, and that test can fail.
# usage: toys.sh EBB MAKE_DATA
toys=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../scripts/toys.py")
EBB=$(realpath "$1")
export MAKE_DATA=$2
# shellcheck source=tests/system/helpers.bash
source "$(dirname "${BASH_SOURCE[0]}")/helpers.bash"
python=/usr/bin/python3 # Debian's, which has Debian's h5py
if ! $python -c 'import h5py, numpy' 2> /dev/null; then
  skip 'toys' 'python3-h5py or python3-numpy is not installed'
  finish
  exit 0
fi

measure() { # FOLDER STEPS [OPTION...]: of two moons
  local folder=$1 steps=$2
  shift 2
  $python "$toys" "$EBB" "$folder" --toys moons --rows 10000 --grid 300 --no-picture --set "train.steps=$steps" "$@"
}

# rejected FOLDER STEPS [OPTION...]: exit code 1, for the samples alone: the density integrates to 1 whatever was learnt
rejected() {
  measure "$@" 2>&1 | tee said
  [ "${PIPESTATUS[0]}" -eq 1 ] && grep -q 'two-sample test, p >= ' said && ! grep -q 'whose integral' said
}

check 'two moons: integral and two-sample test' measure learnt 600
check 'its figures' grep -q '"integral": \(0.99\|1.00\)' learnt/toys.json
check 'samples at temperature 0.5 are rejected' rejected cold 600 --temperature 0.5
check 'samples of an untrained network are rejected' rejected untrained 1
finish
