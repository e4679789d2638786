#!/usr/bin/env bash
# program.sh -- every verb answers, its help and its JSON are there, and the modes agree.
# usage: program.sh EBB MAKE_DATA
EBB=$(realpath "$1") MAKE_DATA=$(realpath "$2")
# shellcheck source=tests/system/helpers.bash
source "$(dirname "${BASH_SOURCE[0]}")/helpers.bash"
"$MAKE_DATA" good good.h5 || exit 1

says() { # WORD COMMAND...: succeeds if the command does, and its standard output has WORD
  local word=$1 text
  shift
  if text=$("$@") && grep -qF -- "$word" <<< "$text"; then return 0; fi
  printf '%s\n' "$text" | head -40
  return 1
}

check '--help' says 'ebb train' "$EBB" --help
check '--version' says 'hdf5' "$EBB" --version
for verb in train eval predict sample plan profile bench audit check convert layers models; do
  check "$verb --help" says "Usage: ebb $verb" "$EBB" $verb --help
done
for key in train.batch train.lr data.pad run.backward model.name; do check "train --help has $key" says "$key=" "$EBB" train --help; done

tiny=(stack model.depth=2 model.width=8 data.shape=8x8x1 train.batch=4 train.threads=1)
check 'layers' says coupling "$EBB" layers
check 'layers --json' says '"reversible": true' "$EBB" layers --json
check 'models' says revnet-110 "$EBB" models
check 'models NAME' says model.variant= "$EBB" models revnet-110
check 'models --json' says '"default"' "$EBB" models --json
check 'check' says 'ready for training' "$EBB" check good.h5
check 'check --json' says '"status": 0' "$EBB" check --json good.h5
check 'plan' says peak "$EBB" plan "${tiny[@]}"
check 'plan --json' says '"scratch"' "$EBB" plan --json "${tiny[@]}"
check 'plan counts MemCNN parameters' says '"parameters": 1854890' "$EBB" plan --json revnet-110 model.variant=memcnn
for preset in demo-mri demo-revnet hippocampus hippocampus-unet nuclei revnet-38 revnet-110 revnet-164 resnet-32 resnet-110 resnet-164 stack revnet-38-fashion resnet-32-fashion coads; do
  check "preset $preset" says '"peak"' "$EBB" plan --json $preset
done

# ---- benchmarks: what was chosen and the times of every way there is
"$EBB" bench kernels --rounds=1 --only='1x1' --json > bench.json && python3 -m json.tool bench.json > /dev/null
verdict $? 'bench kernels --json is a JSON document'
[ "$(grep -c '"choice": "direct"' bench.json)" -eq 3 ] && [ "$(grep -c '"seconds": [0-9]' bench.json)" -eq 3 ] && [ "$(grep -c '"winograd": null' bench.json)" -eq 3 ]
verdict $? 'bench kernels: 1x1 can only be direct' "$(cat bench.json)"
"$EBB" bench kernels --rounds 1 --only '32 ch 4^2' --errors --json > bench.json
[ "$(grep -c '"choice": "' bench.json)" -eq 3 ] && [ "$(grep -c '"seconds": [0-9]' bench.json)" -eq 6 ]
verdict $? 'bench kernels: 3x3 both ways' "$(cat bench.json)"
awk -F'[:,]' '/"error":/ {if (!($2 < 2e-5)) exit 1; n++} END {if (n != 6) exit 1}' bench.json
verdict $? 'bench kernels --errors: both ways are right' "$(cat bench.json)"
check 'bench kernels as a table' says winograd "$EBB" bench kernels --rounds=1 --only='32 ch 4^2'
check 'bench layers --only' says coupling "$EBB" bench layers --rounds=1 --only=coupling
check 'bench layers --json' says '"forward_seconds"' "$EBB" bench layers --rounds=1 --only=relu --json
refuses 'bench of what there is not' 64 "expected kernels or layers, found 'foo'" -- "$EBB" bench foo
refuses 'bench of no such name' 64 "found 'foo' in none" -- "$EBB" bench layers --only=foo

# ---- the same bits and the planned bytes, under every mode
"$EBB" profile --json --steps=2 "${tiny[@]}" > profile.json 2> said
verdict $? 'profile --json' "$(cat said)"
[ "$(grep -c '"weights_bits_equal_to_store": true' profile.json)" -eq 3 ]
verdict $? 'profile: bits equal under three modes' "$(cat profile.json)"
awk -F'[:,]' '/peak_bytes/ {peak = $2} /planned_bytes/ {if (peak + 0 != $2 + 0) exit 1; n++} END {if (n != 3) exit 1}' profile.json
verdict $? 'profile: observed peak = planned peak' "$(cat profile.json)"
[ "$(grep -c '"reconstruction_max_error": 0.0,' profile.json)" -eq 3 ]
verdict $? 'profile: reconstruction is exact' "$(cat profile.json)"
awk '/"peak_bytes"/ {peak = $2 + 0} /"bytes": \[/ {inside = 1; most = 0; next} /\]/ && inside {inside = 0; n += most == peak} inside && $1 + 0 > most {most = $1 + 0} END {exit n != 3}' profile.json
verdict $? 'profile: the course of a step reaches the peak' "$(cat profile.json)"
check 'profile as a table' says 'ratio to store' "$EBB" profile --steps=1 --csv=p.csv "${tiny[@]}"
check 'profile --csv' grep -q '^reverse,' p.csv
"$EBB" plan --fit=batch --json "${tiny[@]}" run.memory=1MiB > fit.json
read -r fits next < <(sed -n 's/.*"\(largest\|next\)": \([0-9]*\).*/\2/p' fit.json | tr '\n' ' ')
within=$("$EBB" plan --json "${tiny[@]}" train.batch="$fits" | sed -n 's/.*"peak": \([0-9]*\).*/\1/p')
beyond=$("$EBB" plan --json "${tiny[@]}" train.batch="$next" | sed -n 's/.*"peak": \([0-9]*\).*/\1/p')
[ "$within" -le 1048576 ] && [ "$beyond" -gt 1048576 ]
verdict $? 'plan --fit=batch: the largest that fits, and the next does not' "$within $beyond $(cat fit.json)"
check 'plan --fit=depth' says 'is the largest that fits in 1.0 MiB' "$EBB" plan --fit=depth "${tiny[@]}" run.memory=1MiB
check 'plan --fit=size, in what a network can be built for' says 'size 80 is the largest that fits in 8.0 MiB: its peak is 7.6 MiB; 96 needs' "$EBB" plan --fit=size realnvp data.shape=8x8x1 train.batch=2 \
  train.threads=1 model.levels=5 model.width=2 run.memory=8MiB
"$EBB" profile --sweep=depth=1,3 --steps=1 --modes=reverse,store,auto --csv=sweep.csv "${tiny[@]}" > sweep.txt
awk -F, 'NR == 1 {ok = $1 == "depth"} NR > 1 {n++; ok = ok && $4 == $5 && $4 > 0; peak[$1 $2] = $4} END {exit !(ok && n == 6 && peak["3store"] > peak["1store"])}' sweep.csv
verdict $? 'profile --sweep: each depth and mode, observed peak = planned peak' "$(cat sweep.txt sweep.csv)"
check 'profile --sweep of any key, as JSON' says '"set": "model.width=4"' "$EBB" profile --sweep=model.width=2,4 --steps=1 --modes=reverse --json "${tiny[@]}"
check 'profile --sweep=size' says '16 ' "$EBB" profile --sweep=size=8,16 --steps=1 --modes=reverse "${tiny[@]}"
check 'audit' says 'audit passed' "$EBB" audit --entries=4 "${tiny[@]}"
check 'audit of a flow' says 'reverse but for rounding' "$EBB" audit --entries=2 glow model.steps=1 model.width=8 data.shape=8x8x1 train.batch=2
check 'audit --json' says '"passed": true' "$EBB" audit --json --entries=2 "${tiny[@]}"

# ---- train, eval; the same weights under every mode and number of threads
options=(stack model.depth=2 model.width=8 data.train=good.h5 train.batch=16 train.epochs=3 train.lr=0.05 train.log_every=10)
for mode in reverse store checkpoint; do
  check "train by $mode" "$EBB" train "${options[@]}" run.backward=$mode out=$mode
done
for mode in store checkpoint; do
  check "log of $mode = log of reverse" diff <(cut -d, -f1-6,8- reverse/log.csv) <(cut -d, -f1-6,8- $mode/log.csv)
done
check 'train run.update=backward' "$EBB" train "${options[@]}" run.update=backward out=within
constant=("${options[@]}" train.schedule=constant)
"$EBB" train "${constant[@]}" out=constant > /dev/null 2>&1
"$EBB" train "${constant[@]}" train.epochs=2 run.update=backward out=across > /dev/null 2>&1
"$EBB" train "${constant[@]}" out=across --resume > across.txt 2>&1
diff <(tail -n 1 constant/log.csv | cut -d, -f1-6,8-) <(tail -n 1 across/log.csv | cut -d, -f1-6,8-) && ! grep run.update across.txt
verdict $? 'run.update may change where a run is resumed, without a word' "$(cat across.txt)"
check 'log of run.update=backward = log' diff <(cut -d, -f1-6,8- reverse/log.csv) <(cut -d, -f1-6,8- within/log.csv)
for verb in plan train; do
  "$EBB" $verb "${options[@]}" run.update=backward train.clip=1 out=refused > refused.txt 2>&1
  code=$?
  [ $code -eq 78 ] && grep -q 'expected train.clip=0, found 1' refused.txt && [ ! -e refused ]
  verdict $? "weights within the backward pass, clipped: $verb" "code $code: $(cat refused.txt)"
done
deep=(revnet-38 data.train=good.h5 train.threads=2 train.batch=16 train.steps=20 train.log_every=10)
least=$("$EBB" plan --json "${deep[@]}" 2> /dev/null | sed -n 's/.*"peak": \([0-9]*\).*/\1/p')
for verb in plan train; do
  "$EBB" $verb "${deep[@]}" run.backward=auto run.memory=$((least - 1)) > budget.txt 2>&1
  code=$?
  [ $code -eq 71 ] && grep -q "needs .* ($least bytes)" budget.txt
  verdict $? "a budget below the least memory: $verb" "code $code: $(cat budget.txt)"
done
"$EBB" train "${deep[@]}" out=deep > /dev/null 2>&1
for more in 0 100000 400000 800000 100000000; do
  "$EBB" train "${deep[@]}" run.backward=auto run.memory=$((least + more)) out=budget --force > budget.txt 2>&1
  [ $more -lt 400000 ] || grep -q '^auto: of 7 reversible blocks .* [1-7] keep all' budget.txt && diff <(cut -d, -f1-6,8- deep/log.csv) <(cut -d, -f1-6,8- budget/log.csv)
  verdict $? "within $more bytes more the log is that of reverse" "$(cat budget.txt)"
done
check 'profile --modes=auto' says 'yes |                yes' "$EBB" profile --steps=1 --modes=auto,store "${tiny[@]}"
check 'train on 3 threads' "$EBB" train "${options[@]}" train.threads=3 out=three
check 'log on 3 threads = log' diff <(cut -d, -f1-6,8- reverse/log.csv) <(cut -d, -f1-6,8- three/log.csv)
check 'eval' says accuracy "$EBB" eval reverse/checkpoint_last.h5
check 'eval --json' says '"samples": 64' "$EBB" eval --json reverse/checkpoint_best.h5
check 'eval --split=train' says '"samples": 640' "$EBB" eval --json --split=train reverse/checkpoint_best.h5
check 'the resolved configuration trains again' "$EBB" train reverse/config.yaml out=again
check 'and gives the same log' diff <(cut -d, -f1-6,8- reverse/log.csv) <(cut -d, -f1-6,8- again/log.csv)
check 'eval of fewer samples than train.batch' says '"samples": 64' "$EBB" eval --json reverse/checkpoint_last.h5 train.batch=100
cp -r reverse forced && touch forced/nonfinite.json
check 'train --force' "$EBB" train "${options[@]}" out=forced --force data.val=good.h5:/train train.steps=1
check 'leaves nothing of the run before' test ! -e forced/nonfinite.json
comes_back() { awk -F: '/"reconstruction_error"/ {e = $2 + 0; found = $2 !~ /null/} END {exit !(found && e > 0 && e < 255e-5)}' "$1"; }
flow=(data.train=good.h5 train.batch=16 train.steps=4 train.optimizer=adam train.lr=0.001 train.log_every=2 model.width=4)
for name in 'nice model.hidden=2' 'realnvp model.blocks=1' 'realnvp model.blocks=1 model.norm=batch' 'glow model.steps=2 model.permutation=plu' 'glow model.steps=2 model.permutation=random' \
            'glow model.steps=2' 'glow model.steps=2 model.coupling=additive model.permutation=orthogonal' 'glow model.steps=2 model.condition=prior' 'glow model.steps=2 model.condition=all'; do
  read -ra words <<< "$name"
  check "train $name" says 'bits/dim' "$EBB" train "${words[@]}" "${flow[@]}" out=flow --force
  check "eval of it" says '"bits_per_dimension"' "$EBB" eval --json flow/checkpoint_best.h5
  check "profile of it" says reverse "$EBB" profile --steps=1 "${words[@]}" data.shape=4x4x1 train.batch=2 model.width=4
  check "audit of it" says 'reverse but for rounding' "$EBB" audit --entries=2 "${words[@]}" data.shape=4x4x1 train.batch=4 model.width=4
  check "a flow has no accuracy in its log" test -z "$(sed -n 2p flow/log.csv | cut -d, -f5)"
  "$EBB" eval flow/checkpoint_best.h5 --csv=items.csv --json > eval.json
  awk -F, 'NR == FNR && /"loss"/ {split($0, a, /[:,]/); loss = a[2]} NR != FNR && FNR > 1 {sum += $2; n++} END {d = sum / n - loss; exit !(n == 64 && d * d < 1e-6 * loss * loss)}' \
    eval.json items.csv
  verdict $? "its likelihoods of each sample have that mean" "$(cat eval.json; head -3 items.csv)"
  check "sample of it" says 'samples.png' "$EBB" sample flow/checkpoint_best.h5 sample.count=5 sample.folder=drawn --force
  check "its picture" test -s drawn/samples.png
  "$EBB" sample --json flow/checkpoint_best.h5 sample.between=0,5 sample.folder=drawn --force > between.json
  comes_back eval.json && comes_back between.json
  verdict $? "images come back within 1e-5 of 255 grey levels" "$(cat eval.json between.json)"
  "$EBB" eval flow/checkpoint_best.h5 --csv=alone.csv train.batch=3 > /dev/null
  awk -F, 'NR == FNR {nats[$1] = $2} NR != FNR && FNR > 1 {d = nats[$1] - $2; if (d * d > 1e-8 * $2 * $2) other++; n++} END {exit other || n != 64}' items.csv alone.csv
  verdict $? "likelihoods do not depend on batches" "$(paste items.csv alone.csv | head -5)"
done
"$EBB" predict flow/checkpoint_best.h5 good.h5 out=flow.h5 > flow.txt 2>&1
grep -q 'is a density' flow.txt
verdict $? 'predict refuses a flow' "$(cat flow.txt)"
fails_cmp() { ! cmp -s "$1" "$2"; }
draw() { "$EBB" sample flow/checkpoint_best.h5 sample.count=20 sample.folder="$1" "${@:2}" > /dev/null; }
draw one train.threads=1 && draw two train.threads=2 train.batch=3 && draw three sample.seed=2
check 'samples do not depend on threads or batches' cmp one/samples.h5 two/samples.h5
check 'another seed draws others' fails_cmp one/samples.h5 three/samples.h5
draw zero sample.label=0 && draw other sample.label=1
check 'another class, too' fails_cmp zero/samples.h5 other/samples.h5
"$EBB" train realnvp model.blocks=0 "${flow[@]}" run.drift=1e-12 out=drift > drift.txt 2>&1
grep -q '^drift: the input of level0.* came back off by .* of its size; step 1 is left out, .* kept from now on: .* planned' drift.txt &&
  sed -n 2p drift/log.csv | grep -q ',1$'
verdict $? 'what does not come back is said, and held' "$(cat drift.txt drift/log.csv)"
# ---- tables: rows without labels, from text to a likelihood
awk 'BEGIN {srand(7); print "a,b,c"; for (i = 0; i < 600; i++) {a = rand(); b = rand(); print a "," (i % 10 ? b : "NA") "," a * b + rand() / 10}}' > table.csv
check 'convert table' says '3 columns; rows: 432 train, 54 val, 54 test, shuffled by seed 3; 60 with missing values' "$EBB" convert --seed=3 table table.csv table.h5
check 'check a table' says 'ready for training' "$EBB" check table.h5
table=(data.train=table.h5 train.batch=16 train.steps=60 train.optimizer=adam train.lr=0.003 train.log_every=5 model.width=16 model.layers=4)
for name in spline-flow realnvp-tabular; do
  check "train $name" says 'bits/dim' "$EBB" train $name "${table[@]}" out=rows --force
  grep -E '^[0-9]+,[0-9]+,[^,]*,[^,]+' rows/log.csv | awk -F, 'NR == 1 {first = $4} END {exit !($4 < first - 0.5)}'
  verdict $? "$name learns" "$(cat rows/log.csv)"
  check 'eval on the set that is named' says '"samples": 54' "$EBB" eval --json rows/checkpoint_best.h5 data.val=table.h5:test
  check 'profile' says reverse "$EBB" profile --steps=1 $name data.shape=1x3 train.batch=4 model.layers=2 model.width=8
  check 'audit' says 'reverse but for rounding' "$EBB" audit --entries=2 $name data.shape=1x5 train.batch=4 model.layers=2 model.width=8
done
awk 'BEGIN {srand(8); print "a,b,c"; for (i = 0; i < 60; i++) print rand() "," (i % 6 ? rand() : 3e38) "," rand()}' > far.csv
"$EBB" convert table far.csv far.h5 > /dev/null && "$EBB" eval rows/checkpoint_best.h5 data.val=far.h5:train > far.txt 2>&1
grep -q 'warning: far.h5.*: [1-9] of 48 samples have no finite likelihood, the first of them number' far.txt && grep -q 'not finite$' far.txt
verdict $? 'eval names what has no finite likelihood' "$(cat far.txt)"
"$MAKE_DATA" unlabelled unlabelled.h5
check 'images without labels are good for a flow' says 'bits/dim' "$EBB" train glow "${flow[@]}" data.train=unlabelled.h5 data.val=good.h5:test model.steps=1 out=flow --force
check 'plan with data counts their readers' says '"shape"' "$EBB" plan --json "${options[@]}" data.shape=5x5x1
"$EBB" plan --json "${options[@]}" data.shape=5x5x1 2>&1 > plan.json | grep -q 'the data are'
verdict $? 'plan: the data count, and say so'
awk -F, 'NR > 1 && $9 != "" {best = $9} END {exit !(best > 0.9)}' reverse/log.csv
verdict $? 'it learns' "$(cat reverse/log.csv)"
if command -v gnuplot > /dev/null; then check 'curves.png' test -s reverse/curves.png; else skip 'curves.png' 'gnuplot is not installed'; fi
if [ -d /usr/share/datasets/fashion-mnist ]; then
  f=/usr/share/datasets/fashion-mnist
  check 'convert idx' "$EBB" convert idx $f/t10k-images-idx3-ubyte.gz $f/t10k-labels-idx1-ubyte.gz fashion.h5
  check 'and check it' says '10000 samples' "$EBB" check fashion.h5
else
  skip 'convert idx' 'dataset-fashion-mnist is not installed'
fi
finish
