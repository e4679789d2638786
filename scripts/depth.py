#!/usr/bin/python3
"""depth.py -- memory and time of a training step against depth: couplings of 64 channels on 32x32, batch 32.

    scripts/depth.py [OUT.png] [--depths 12,25,50,100,200] [--torch-most 200] [--rounds 1]

Ebb by reversal, by reversal within a budget of twice the least plan (run.backward=auto), with all activations stored; PyTorch plain, in
the better of its memory formats with tcmalloc, and by checkpointing of each block, where python3-torch is installed and the depth is at
most --torch-most, as its plain backprop would not fit far beyond. Each point is a process of its own; of several rounds medians are
taken. Writes OUT.png (out/depth.png) and OUT.csv: the memory of the process in MiB, seconds a step.
"""
import argparse
import csv
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["stack", "data.shape=32x32x3", "data.classes=10", "train.batch=32"]
STYLES = {  # contestant: title, colour
    "torch": ("PyTorch, plain backprop", "#7d8f9b"),
    "torch-checkpoint": ("PyTorch, checkpointing", "#c19a2b"),
    "store": ("Ebb, activations stored", "#c8553d"),
    "auto": ("Ebb, twice the least memory", "#6a9a3b"),
    "reverse": ("Ebb, by reversal", "#1f6f8b"),
}


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"depth: {' '.join(map(str, command))} failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def peers():
    """compare_pytorch as a module, or None where PyTorch is missing."""
    if not importlib.util.find_spec("torch"):
        print("depth: PyTorch is not installed, so there are no lines of it (scripts/setup --peers)")
        return None
    spec = importlib.util.spec_from_file_location("compare_pytorch", ROOT / "scripts" / "compare_pytorch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def least_bytes(o, depth):
    return run_json([o.ebb, "plan", "--json", *WORDS, f"model.depth={depth}"])["bytes"]["peak"]


def measure_ebb(o, mode, depth):
    words = [*WORDS, f"model.depth={depth}"]
    if mode == "auto":
        words.append(f"run.memory={2 * least_bytes(o, depth)}")
    row = run_json([o.ebb, "profile", "--json", f"--steps={o.steps}", "--warmup=1", f"--modes={mode}", *words])["modes"][mode]
    return row["rss_bytes"], row["step_seconds"]


def measure_torch(module, o, way, depth):
    o.warmup = 1
    row = module.measure_torch(f"stack-{depth}", o, way, module.TCMALLOC)
    return row["rss"], statistics.median(row["seconds"])


def measure(module, o, contestant, depth):
    if not contestant.startswith("torch"):
        return measure_ebb(o, contestant, depth)
    if not module or depth > o.torch_most:
        return None
    ways = ["checkpoint"] if contestant == "torch-checkpoint" else ["default", "channels-last"]
    return min((measure_torch(module, o, way, depth) for way in ways), key=lambda row: row[1])


def rows(module, o):
    for depth in o.depths:
        taken = {name: [] for name in STYLES}
        for _ in range(o.rounds):
            for name in STYLES:
                taken[name].append(measure(module, o, name, depth))
        for name, points in taken.items():
            if points[0]:
                rss, seconds = (statistics.median(column) for column in zip(*points))
                yield depth, name, rss / 2 ** 20, seconds
                print(f"{depth:5} couplings  {name:17} {rss / 2 ** 20:9.1f} MiB  {seconds:8.4f} s", flush=True)


def draw(png, table):
    def panel(column, label):
        lines = [f"'-' using 1:2 with linespoints pt 7 lw 2 lc rgb '{colour}' title '{title}'" for title, colour in STYLES.values()]
        data = "".join("".join(f"{row[0]} {row[column]}\n" for row in table if row[1] == name) + "e\n" for name in STYLES)
        return f"set ylabel '{label}'\nplot {', '.join(lines)}\n{data}"

    script = ("set terminal pngcairo size 1150,520 noenhanced font 'sans,11'\n" f"set output '{png}'\n"
              "set grid\nset logscale xy\nset xlabel 'couplings'\nset key top left reverse Left\nset multiplot layout 1,2\n"
              + panel(2, "memory of the process, MiB") + "set key off\n" + panel(3, "seconds a training step") + "unset multiplot\n")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("png", nargs="?", type=Path, default=ROOT / "out" / "depth.png")
    p.add_argument("--depths", type=lambda text: [int(word) for word in text.split(",")], default=[12, 25, 50, 100, 200],
                   help="of those that compare_pytorch knows")
    p.add_argument("--torch-most", type=int, default=200)
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--ebb", default=str(ROOT / "build" / "cli" / "ebb"))
    return p.parse_args()


def main():
    o = arguments()
    if not os.access(o.ebb, os.X_OK):
        sys.exit(f"depth: expected the program {o.ebb}, found none\nhint: meson compile -C build")
    o.png.parent.mkdir(parents=True, exist_ok=True)
    table = list(rows(peers(), o))
    with open(o.png.with_suffix(".csv"), "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([("couplings", "contestant", "mib", "seconds"), *table])
    draw(o.png, table)
    print(o.png)


if __name__ == "__main__":
    main()
