#!/usr/bin/env bash
# segment.sh -- label maps from files to predictions: trains, evaluates, predicts whole and in windows, and refuses.
# usage: segment.sh EBB MAKE_DATA
EBB=$(realpath "$1") MAKE_DATA=$(realpath "$2")
# shellcheck source=tests/system/helpers.bash
source "$(dirname "${BASH_SOURCE[0]}")/helpers.bash"
mkdir scans
for i in 1 2 3 4 5 6; do "$MAKE_DATA" "balls$i" "scans/s$i.h5" || exit 1; done

says() { # WORD COMMAND...: succeeds if the command does, and its standard output has WORD
  local word=$1 text
  shift
  if text=$("$@") && grep -qF -- "$word" <<< "$text"; then return 0; fi
  printf '%s\n' "$text" | head -40
  return 1
}

# value JSON KEY: the first number of that key
value() { sed -n "s/.*\"$2\": \([0-9.]*\).*/\1/p" "$1" | head -1; }

check 'check a folder' says 'ready for training' "$EBB" check scans
options=(iunet 'model.channels=8,16' 'model.blocks=1,1' 'data.train=scans[0:4]' 'data.val=scans[4:6]' data.patch=16x16x16 data.foreground=0.7
  data.per_volume=8 train.batch=4 train.epochs=10 train.lr=0.02 train.loss=cross_entropy+dice)
check 'train' "$EBB" train "${options[@]}" out=run
best=run/checkpoint_best.h5
check 'sizes that strides do not divide are padded, and it says so' grep -q '17x18x19x1 are padded with zeros to 18x18x20x1' \
  <("$EBB" train "${options[@]}" data.patch=17x18x19 train.steps=1 train.batch=1 out=odd 2>&1)
"$EBB" eval --json $best > eval.json 2> said
verdict $? 'eval --json' "$(cat said)"
awk "BEGIN {exit !($(value eval.json mean_dice) > 0.85)}"
verdict $? 'it learns: mean Dice above 0.85' "$(cat eval.json)"
grep -q '"distance_unit": "mm"' eval.json
verdict $? 'distances are in mm' "$(cat eval.json)"
check 'eval as a table' says 'HD95' "$EBB" eval $best

# ---- whole, and in windows
check 'predict' says 'mean Dice' "$EBB" predict $best 'scans[4:6]' predict.folder=whole
check 'predictions of both files' test -s whole/s5_predictions.h5 -a -s whole/s6_predictions.h5
check 'overlays' test -s whole/s5_overlay.png -a -s whole/worst_1.png
"$EBB" predict --json $best 'scans[4:6]' predict.folder=whole --force > predict.json 2> said
verdict $? 'predict --json' "$(cat said)"
diff <(grep mean_dice predict.json | tr -d ' ,' | sort) <(grep mean_dice eval.json | tr -d ' ,' | sort) > said
verdict $? 'predict and eval agree' "$(cat said)"
check 'predict in windows' "$EBB" predict $best scans/s5.h5 predict.folder=windows predict.window=16x16x16 predict.halo=2
check 'probabilities, mirrored too' "$EBB" predict $best scans/s5.h5 predict.folder=probable predict.output=probabilities predict.flip=hw
check 'the plan is told beforehand' grep -q 'planned' <("$EBB" predict $best scans/s5.h5 predict.folder=told 2>&1)
check 'a limit of memory makes windows' grep -q 'windows of 16x16x16' <("$EBB" predict $best scans/s5.h5 predict.folder=less run.memory=2MiB 2>&1)
python=/usr/bin/python3 # Debian's, which has Debian's h5py
if $python -c 'import h5py' 2> /dev/null; then
  $python - > said 2>&1 << 'END'
import h5py
import numpy as np
truth = h5py.File("scans/s5.h5")["label"][:]
whole = h5py.File("whole/s5_predictions.h5")["predictions"]
assert whole.shape == truth.shape and whole.dtype == np.uint8, (whole.shape, whole.dtype)
assert list(whole.attrs["element_size_um"]) == [2000, 1000, 1000]
q = h5py.File("probable/s5_predictions.h5")["predictions"]
assert q.shape == (3,) + truth.shape and q.dtype == np.float32
assert abs(q[:].sum(0) - 1).max() < 1e-5
windows = h5py.File("windows/s5_predictions.h5")["predictions"][:]
for name, p in ("whole", whole[:]), ("probable", q[:].argmax(0)), ("windows", windows):
    for k in 1, 2:
        dice = 2 * ((p == k) & (truth == k)).sum() / ((p == k).sum() + (truth == k).sum())
        assert dice > 0.7, (name, k, dice)
END
  verdict $? 'h5py reads them' "$(cat said)"
else
  skip 'h5py reads them' 'python3-h5py is not installed'
fi

# ---- refusals
"$MAKE_DATA" odd odd.h5
mkdir more && cp scans/s5.h5 more/
refuses 'files that are there already' 73 whole/s5_predictions.h5 --force -- "$EBB" predict $best scans/s5.h5 predict.folder=whole
refuses 'no memory even for windows' 71 run.memory -- "$EBB" predict $best scans/s5.h5 predict.folder=x run.memory=100KiB
refuses 'a halo of two sizes' 78 'expected one size of at least 0, or 3 for 3-D data' -- "$EBB" predict $best scans/s5.h5 predict.folder=x predict.halo=2x2
refuses 'a halo that leaves nothing' 78 predict.halo -- "$EBB" predict $best scans/s5.h5 predict.folder=x predict.window=16x16x16 predict.halo=8x8x8
refuses 'an axis that is none' 78 predict.flip -- "$EBB" predict $best scans/s5.h5 predict.folder=x predict.flip=xy
refuses 'data of other dimensions' 65 3-D -- "$EBB" predict $best odd.h5 predict.folder=x
refuses 'no such file' 66 nowhere.h5 -- "$EBB" predict $best nowhere.h5 predict.folder=x
"$MAKE_DATA" good good.h5
"$EBB" train stack model.depth=1 model.width=4 data.train=good.h5 train.batch=16 train.steps=1 out=whole_samples > said 2>&1
refuses 'a network of whole samples' 78 'labels each site' -- "$EBB" predict whole_samples/checkpoint_last.h5 scans/s5.h5
refuses 'no checkpoint' 66 nowhere.h5 -- "$EBB" predict nowhere.h5 scans/s5.h5
refuses 'two files of one name' 64 'different names' -- "$EBB" predict $best scans/s5.h5 more/s5.h5 predict.folder=x
finish
