#!/usr/bin/env bash
# bad_input.sh -- every kind of bad input: exit code, a message with what was expected and found, nothing written.
# usage: bad_input.sh EBB MAKE_DATA
EBB=$(realpath "$1") MAKE_DATA=$(realpath "$2")
# shellcheck source=tests/system/helpers.bash
source "$(dirname "${BASH_SOURCE[0]}")/helpers.bash"

for kind in good missing lengths negative high nan inf empty odd coarse gap unlabelled; do "$MAKE_DATA" "$kind" "$kind.h5" || exit 1; done
echo 'this is not HDF5, and says so at some length' > text.h5
: > nothing.h5
small=(model.depth=2 model.width=8 train.batch=16 train.steps=4 train.threads=1 out=run)
train() { "$EBB" train stack "${small[@]}" "$@"; }

# ---- data
refuses 'not HDF5' 65 text.h5 HDF5 -- train data.train=text.h5
refuses 'an empty file' 65 nothing.h5 -- train data.train=nothing.h5
refuses 'no such file' 66 absent.h5 -- train data.train=absent.h5
refuses 'missing images: lists what is there, with shapes' 65 missing.h5 weather 12 -- train data.train=missing.h5
refuses 'lengths differ' 65 lengths.h5 40 39 -- train data.train=lengths.h5
refuses 'negative label: file, index, value' 65 negative.h5 5 -2 -- train data.train=negative.h5
refuses 'label beyond the classes: file, index, value' 65 high.h5 7 9 -- train data.train=high.h5 data.classes=4
refuses 'an empty set' 65 empty.h5 -- train data.train=empty.h5
refuses 'a shape that no rule explains' 65 odd.h5 7 -- train data.train=odd.h5
for kind in nan inf; do
  train data.train=$kind.h5 out=run-$kind > /dev/null 2> said
  code=$?
  grep -q "$kind.h5" said && [ $code -eq 65 ] && [ ! -e run-$kind/checkpoint_last.h5 ]
  verdict $? "$kind in images" "code $code: $(cat said)"
done
refuses 'check finds NaN' 65 nan.h5 -- "$EBB" check nan.h5
check 'check passes good data' "$EBB" check good.h5
refuses 'a table column of few values: its number' 65 coarse.h5:/rows 'column 1' 'different values' dequantise -- "$EBB" train spline-flow data.train=coarse.h5 out=run
refuses 'NaN in a table: row and column' 65 gap.h5:/rows 'row 9, column 1' -- "$EBB" train spline-flow data.train=gap.h5 out=run
refuses 'check finds both' 65 'column 1' -- "$EBB" check coarse.h5 gap.h5
refuses 'images without labels for what needs them: lists what is there' 65 unlabelled.h5 labels /images -- train data.train=unlabelled.h5
refuses 'a table for a network of images' 65 coarse.h5 'images' -- train data.train=coarse.h5
refuses 'a group that is not there' 65 '/nowhere' '/rows' -- "$EBB" train spline-flow data.train=coarse.h5:nowhere out=run
refuses 'no data to train on' 78 data.train hint -- train

# ---- flows
refuses 'grey levels that were changed' 78 data.mean=0 'as they are' -- "$EBB" train realnvp data.train=good.h5 data.mean=3 out=run
"$EBB" train realnvp data.train=good.h5 model.width=4 model.blocks=0 model.grey_levels=4 train.batch=8 train.steps=2 out=grey > /dev/null 2> said
code=$?
[ $code -eq 65 ] && grep -q 'whole numbers 0 .. 3' said && [ ! -e grey/checkpoint_last.h5 ]
verdict $? 'more grey levels than the network knows' "code $code: $(cat said)"
"$EBB" train stack data.train=good.h5 "${small[@]}" out=plain > /dev/null 2>&1
refuses 'samples of what is no flow' 78 plain/checkpoint_last.h5 'normalizing flow' stack -- "$EBB" sample plain/checkpoint_last.h5
refuses 'likelihoods of what is no flow' 64 'normalizing flow' -- "$EBB" eval plain/checkpoint_last.h5 --csv=items.csv
"$EBB" train realnvp data.train=good.h5 model.width=4 model.blocks=0 train.batch=8 train.steps=2 out=flow > /dev/null 2>&1
refuses 'an evaluation on a set that is not there' 78 'a validation set' data.val -- "$EBB" eval flow/checkpoint_last.h5 data.train=good.h5:train
refuses 'one end only' 78 'even number' -- "$EBB" sample flow/checkpoint_last.h5 sample.between=3
refuses 'an end that is not there' 78 'below the' 1000000 -- "$EBB" sample flow/checkpoint_last.h5 sample.between=3,1000000
refuses 'a class of a density of all' 78 sample.label model.condition -- "$EBB" sample flow/checkpoint_last.h5 sample.label=0
"$EBB" train glow data.train=good.h5 model.steps=1 model.width=4 model.condition=prior train.batch=8 train.steps=2 out=classes > /dev/null 2>&1
refuses 'a class that is not there' 78 sample.label 1000 -- "$EBB" sample classes/checkpoint_last.h5 sample.label=1000
refuses 'images without labels for a density of each class' 65 label -- "$EBB" train glow data.train=unlabelled.h5 model.condition=prior out=run
refuses 'a temperature below 0' 78 sample.temperature -- "$EBB" sample flow/checkpoint_last.h5 sample.temperature=-1
"$EBB" sample flow/checkpoint_last.h5 sample.count=2 > /dev/null
refuses 'samples that are there' 73 samples/samples.h5 --force -- "$EBB" sample flow/checkpoint_last.h5 sample.count=3

# ---- sweeps
refuses 'a sweep of nothing' 64 depth=10,50,100 -- "$EBB" profile --sweep=foo stack data.shape=8x8x1
refuses 'a sweep over a depth that is no option' 64 'model.depth' 'ebb models glow' -- "$EBB" profile --sweep=depth=1,2 glow data.shape=8x8x1
refuses 'a value of a sweep that does not go' 78 model.levels -- "$EBB" profile --sweep=model.levels=99 --modes=reverse glow data.shape=8x8x1

refuses 'a fit with no room for the least' 71 1048576 'batch 1 needs' -- "$EBB" plan --fit=batch revnet-38 data.shape=32x32x3 run.memory=1MiB
refuses 'a fit of a depth that is no option' 64 'model.depth' -- "$EBB" plan --fit=depth glow data.shape=8x8x1

# ---- configuration
refuses 'unknown key: the nearest' 78 train.batsh 'did you mean train.batch' -- train train.batsh=3
refuses 'unknown model option: the nearest' 78 model.depht 'did you mean model.depth' -- train model.depht=3
refuses 'unknown section' 78 'did you mean train' -- train trian.batch=3
refuses 'key without section' 78 'did you mean train.batch=3' -- train batch=3
refuses 'word without =' 64 'key=value' -- train train.batch
refuses 'value that cannot be read' 78 train.lr 'a number' "found 'fast'" -- train train.lr=fast
refuses 'value out of bounds' 78 train.batch 'expected 1 to' -- train train.batch=0
refuses 'wrong word of a choice' 78 run.backward 'reverse' -- train run.backward=revers
refuses 'unknown network' 78 'revnet-38' -- "$EBB" plan stack model.name=revnet-39
refuses 'unknown preset: the nearest' 66 'did you mean revnet-38' -- "$EBB" plan revnet-39
refuses 'no such configuration file' 66 nope.yaml -- "$EBB" plan nope.yaml
printf 'model:\n  name: stack\n  dpth: 3\n' > bad.yaml
refuses 'unknown key in a file: file, line, nearest' 78 bad.yaml line 'did you mean model.depth' -- "$EBB" plan bad.yaml
printf 'modell:\n  name: stack\n' > bad.yaml
refuses 'unknown section in a file' 78 bad.yaml 'did you mean model' -- "$EBB" plan bad.yaml
printf 'model:\n  name: stack\ntrain:\n  batch: [1, 2]\n' > bad.yaml
refuses 'a list where a value is expected' 78 bad.yaml train.batch -- "$EBB" plan bad.yaml
printf 'model: &a\n  name: stack\nout: *a\n' > bad.yaml
refuses 'YAML alias' 78 bad.yaml alias -- "$EBB" plan bad.yaml
printf 'model: {name: stack\n' > bad.yaml
refuses 'broken YAML' 78 bad.yaml line -- "$EBB" plan bad.yaml
head -c 2000000 /dev/zero | tr '\0' ' ' > bad.yaml
refuses 'a configuration of 2 MB' 78 bad.yaml 1048576 -- "$EBB" plan bad.yaml
refuses 'binary data as configuration' 78 good.h5 -- "$EBB" plan ./good.h5
refuses 'widths and units that do not go together' 78 model.widths -- "$EBB" plan revnet-38 model.units=3,3
refuses 'an empty list where numbers are needed' 78 train.milestones '0.5,0.75' -- train train.milestones=
printf 'model:\n  name: stack\ntrain:\n  milestones: []\n' > bad.yaml
refuses 'the same in a file' 78 bad.yaml milestones -- "$EBB" plan bad.yaml
refuses 'data.shape that is none' 78 shape -- "$EBB" plan stack data.shape=32by32

# ---- the command line
refuses 'unknown verb: the nearest' 64 'ebb plan' -- "$EBB" plna stack
refuses 'unknown flag' 64 -- "$EBB" plan --colour stack
refuses 'flag value that cannot be read' 64 --steps 'whole number' -- "$EBB" profile --steps=x stack
refuses 'unknown mode' 64 'did you mean store' -- "$EBB" profile --modes=stor stack
refuses 'too few words' 64 CONFIG -- "$EBB" plan
refuses 'unknown format' 64 'did you mean idx' -- "$EBB" convert idz a b
refuses 'convert: no such file' 66 absent -- "$EBB" convert idx absent absent out.h5

printf 'a,b\n1,2\n3,x\n' > bad.csv
refuses 'convert table: file, line, column, what was found' 65 bad.csv:3 'column 1 (b)' '"x"' -- "$EBB" convert table bad.csv out.h5
refuses 'convert table: two files to read' 64 'FILE.csv OUT.h5' -- "$EBB" convert table bad.csv bad.csv out.h5

# ---- memory
refuses 'a batch that does not fit: planned and available bytes' 71 bytes available train.batch -- \
  "$EBB" profile stack data.shape=4096x4096x3 train.batch=1000 --modes=reverse
refuses 'more than run.memory' 71 run.memory train.batch -- train data.train=good.h5 run.memory=100kB
refuses 'a batch larger than the set' 78 train.batch 640 -- train data.train=good.h5 train.batch=1000

# ---- output
refuses '--force and --resume at once' 64 --resume --force -- train data.train=good.h5 --force --resume
refuses 'profile: a picture where nothing can be written' 73 nowhere -- "$EBB" profile stack --png=nowhere/m.png "${small[@]}"
refuses 'output below a file' 73 good.h5 out= -- train data.train=good.h5 out=good.h5/run
if [ "$(id -u)" -ne 0 ]; then
  mkdir locked && chmod 555 locked
  refuses 'output folder not writable' 73 locked -- train data.train=good.h5 out=locked/run
else
  refuses 'output folder not writable' 73 /proc -- train data.train=good.h5 out=/proc/ebb/run
fi

# ---- checkpoints
train data.train=good.h5 --quiet > /dev/null 2>&1 || echo '# the run itself failed'
last=run/checkpoint_last.h5
refuses 'a folder that holds a run' 73 checkpoint_last.h5 --resume --force -- train data.train=good.h5
size=$(stat -c %s $last)
head -c $((size / 2)) $last > cut.h5
refuses 'checkpoint truncated' 65 cut.h5 -- "$EBB" eval cut.h5
for place in 3 5 7 8; do
  cp $last flipped.h5
  at=$((size * place / 10))
  byte=$(od -An -tu1 -j $at -N 1 flipped.h5 | tr -d ' ')
  # shellcheck disable=SC2059
  printf "\\$(printf %03o $((byte ^ 16)))" | dd of=flipped.h5 bs=1 seek=$at conv=notrunc status=none
  refuses "checkpoint with a flipped byte at $place/10" 65 flipped.h5 -- "$EBB" eval flipped.h5
done
refuses 'not a checkpoint' 65 good.h5 -- "$EBB" eval good.h5
refuses 'no such checkpoint' 66 absent.h5 -- "$EBB" eval absent.h5
refuses 'checkpoint of another architecture' 65 checkpoint_last.h5 -- "$EBB" eval $last model.width=16
cp $last before.h5
train data.train=good.h5 model.depth=3 --resume > /dev/null 2> said
code=$?
[ $code -eq 65 ] && cmp -s $last before.h5
verdict $? 'resuming another architecture changes nothing' "code $code: $(cat said)"
check 'a good checkpoint evaluates' "$EBB" eval $last
finish
