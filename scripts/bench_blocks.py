#!/usr/bin/env python3
"""What one reversible block reads and writes, beside what this machine's memory can do.

    scripts/bench_blocks.py build/cli/ebb [--rounds 3] > BLOCKS.json

A pass is one reading or one writing of a tensor of half the block's channels: what F reads, or what it gives. PASSES says which
ones each block takes; the kernels of engine/kernels do all else while the data is in a cache. A block's time is the difference
of two depths, shared among the blocks between them; depths and a plain copy take turns.
"""
import argparse
import json
import statistics
import subprocess
import sys

DEPTHS = (8, 16)
FLOAT = 4

# what: passes, of F (G takes the same)
PASSES = {
    "norm relu conv": {
        "forward": {"conv onto the stream": 3},
        "back": {"conv off the stream, its gradients, norm's sums": 5, "norm's gradient onto dx": 4},
    },
    "norm relu conv norm relu conv": {
        "forward": {"conv": 2, "conv onto the stream": 3},
        "back": {"conv": 2, "conv off the stream, its gradients, norm's sums": 5, "norm's gradient": 3,
                 "conv's gradients, norm's sums": 3, "norm's gradient onto dx": 4},
    },
    "conv norm relu conv norm relu": {
        "forward": {"conv": 2, "conv of the norm": 2, "norm onto the stream": 3},
        "back": {"conv": 2, "conv of the norm": 2, "last norm's sums": 2, "last norm off the stream, its gradient": 5,
                 "conv's gradients, norm's sums": 3, "norm's gradient": 3, "conv's gradients onto dx": 4},
    },
}

# The same, one layer at a time: forward, and the gradients.
APART = {"conv": (2, 4), "norm": (3, 5), "relu": (2, 3)}
ADD = 3

# name: F, how often a step of the depth's option has it, samples, sites of a sample, channels of F, the program's words
BLOCKS = {
    "stack, 64 channels of 32x32, batch 32":
        ("norm relu conv", 2, 32, 32 * 32, 32, "stack model.depth={} train.batch=32 data.shape=32x32x3"),
    "RevNet, 32 channels of 32x32, batch 100":
        ("norm relu conv norm relu conv", 2, 100, 32 * 32, 16,
         "revnet-38 model.variant=memcnn model.units={},1,1 train.batch=100 data.shape=32x32x3"),
    "i-UNet, 64 channels of 128x128, batch 4":
        ("conv norm relu conv norm relu", 2, 4, 128 * 128, 32,
         "iunet model.channels=64 model.blocks={} model.classes=4 train.batch=4 data.shape=128x128x3 data.classes=4"),
    "i-UNet, 32 channels of 64x64x64":
        ("conv norm relu conv norm relu", 2, 1, 64 * 64 * 64, 16,
         "iunet model.channels=32 model.blocks={} model.classes=4 train.batch=1 data.shape=64x64x64x1 data.classes=4"),
}


def answer(ebb, *words):
    return json.loads(subprocess.run([ebb, *words], check=True, stdout=subprocess.PIPE).stdout)


def copy_rate(ebb):
    """Bytes a second, read and written."""
    rows = answer(ebb, "bench", "kernels", "--json", "--rounds=3", "--only=memory 32 of 32")["memory"]
    return 1e9 * next(row["gbytes_per_second"] for row in rows if row["kernel"] == "copy")


def seconds(ebb, words, depth):
    """Forward and back, by reversal."""
    mode = answer(ebb, "profile", "--json", "--steps=3", "--modes=reverse", *words.format(depth).split())["modes"]["reverse"]
    return mode["forward_seconds"], mode["step_seconds"] - mode["forward_seconds"]


def separate_passes(layers):
    """{way: passes} of F one layer at a time; the way back begins with the way forward once more."""
    forward = sum(APART[layer][0] for layer in layers.split()) + ADD
    return {"forward": forward, "back": forward + sum(APART[layer][1] for layer in layers.split()) + ADD}


def measure(ebb, rounds, layers, halves, samples, sites, channels, words):
    times = {"forward": [], "back": []}
    share = {"forward": [], "back": []}
    for _ in range(rounds):
        rate = copy_rate(ebb)
        few, many = (seconds(ebb, words, depth) for depth in DEPTHS)
        for i, way in enumerate(times):
            times[way].append((many[i] - few[i]) / (DEPTHS[1] - DEPTHS[0]))
            moved = halves * sum(PASSES[layers][way].values()) * samples * sites * channels * FLOAT
            share[way].append(moved / rate / times[way][-1])
    return {way: {"passes": halves * sum(PASSES[layers][way].values()), "passes_of_f": PASSES[layers][way],
                  "separate_passes": halves * separate_passes(layers)[way], "seconds": statistics.median(times[way]),
                  "copy_time_of_passes": statistics.median(share[way]), "least": min(share[way]), "most": max(share[way])}
            for way in times}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ebb")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    blocks = []
    for name, block in BLOCKS.items():
        print("timing a block:", name, file=sys.stderr)
        blocks.append({"block": name, "f": block[0], **measure(arguments.ebb, arguments.rounds, *block)})
    json.dump(blocks, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
