#!/usr/bin/env bash
# resume.sh -- an interrupted and resumed run equals the uninterrupted one byte for byte, also in mid-epoch; a full disk
# leaves the old checkpoint as it was.
# usage: resume.sh EBB MAKE_DATA
EBB=$(realpath "$1") MAKE_DATA=$(realpath "$2")
# shellcheck source=tests/system/helpers.bash
source "$(dirname "${BASH_SOURCE[0]}")/helpers.bash"

"$MAKE_DATA" good good.h5 || exit 1
# 40 steps an epoch; the same relative names everywhere, as the configuration is part of the checkpoint
options=(model.depth=3 model.width=16 data.train=../good.h5 data.pad=1 data.flip=true train.batch=16
         train.steps=100 train.lr=0.02 train.threads=1 train.log_every=1 out=run)
train() { "$EBB" train stack "${options[@]}" "$@"; }

mkdir whole cut twice full
check 'an uninterrupted run' bash -c 'cd whole && shift && "$@"' _ _ "$EBB" train stack "${options[@]}" --quiet

# Stops the run in `folder` by signal `name` once its log has `lines` lines; the exit code is left in `code`.
interrupt() { # FOLDER SIGNAL LINES FLAGS...
  local folder=$1 signal=$2 lines=$3
  shift 3
  cd "$folder" || exit 1
  "$EBB" train stack "${options[@]}" --quiet "$@" > /dev/null 2> ../said &
  local child=$!
  for _ in $(seq 3000); do
    [ "$(wc -l 2> /dev/null < run/log.csv || echo 0)" -gt "$lines" ] && break
    sleep 0.01
  done
  kill -s "$signal" $child
  wait $child
  code=$?
  cd ..
}

interrupt cut TERM 5
[ $code -eq 143 ]
verdict $? 'SIGTERM: exit code 143' "code $code: $(cat said)"
[ -s cut/run/checkpoint_last.h5 ] && ! cmp -s cut/run/checkpoint_last.h5 whole/run/checkpoint_last.h5
verdict $? 'SIGTERM: a checkpoint in mid-run'
check 'resumes' bash -c 'cd cut && shift && "$@"' _ _ "$EBB" train stack "${options[@]}" --quiet --resume
check 'resumed = uninterrupted, last checkpoint' cmp cut/run/checkpoint_last.h5 whole/run/checkpoint_last.h5
check 'resumed = uninterrupted, best checkpoint' cmp cut/run/checkpoint_best.h5 whole/run/checkpoint_best.h5
check 'resumed = uninterrupted, log' diff <(cut -d, -f1-6,8- whole/run/log.csv) <(cut -d, -f1-6,8- cut/run/log.csv)

interrupt twice INT 3
[ $code -eq 130 ]
verdict $? 'SIGINT: exit code 130' "code $code: $(cat said)"
interrupt twice TERM 50 --resume
[ $code -eq 143 ]
verdict $? 'SIGTERM in mid-run again: exit code 143' "code $code: $(cat said)"
(cd twice && train --quiet --resume > /dev/null 2>&1)
check 'interrupted twice = uninterrupted' cmp twice/run/checkpoint_last.h5 whole/run/checkpoint_last.h5
leftovers=$(find . -path '*run*' -type f ! -name 'checkpoint_*.h5' ! -name 'log.*' ! -name config.yaml ! -name curves.png)
[ -z "$leftovers" ]
verdict $? 'no temporary files are left' "$leftovers"

# ---- a full disk, by the largest file this shell may write
cp -r whole/run full/run
size=$(stat -c %s full/run/checkpoint_last.h5)
(cd full && ulimit -f $((size / 2048)) && train --quiet --resume train.steps=120 > /dev/null 2> ../said)
code=$?
[ $code -eq 74 ]
verdict $? 'a full disk: exit code 74' "code $code: $(cat said)"
grep -q checkpoint_last.h5 said
verdict $? 'a full disk: the message names the file' "$(cat said)"
check 'a full disk: the old checkpoint is as it was' cmp full/run/checkpoint_last.h5 whole/run/checkpoint_last.h5
leftovers=$(find full -name '*tmp*')
[ -z "$leftovers" ]
verdict $? 'a full disk: no temporary file is left' "$leftovers"
finish
