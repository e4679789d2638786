#!/usr/bin/python3
"""sweep.py -- memory and time of a training step against depth, size or batch, beside PyTorch's: couplings of 64 channels.

    scripts/sweep.py [depth|size|batch] [OUT.png] [--values 12,25,50,100,200] [--torch-most 200] [--rounds 1]

depth: on 32x32, batch 32; size: 25 couplings, batch 8; batch: 25 couplings on 32x32.
Ebb by reversal, by reversal within a budget of twice the least plan (run.backward=auto), with all activations stored; PyTorch plain, in
the better of its memory formats with tcmalloc, and by checkpointing of each block, where python3-torch is installed and the value is at
most --torch-most, as its plain backprop would not fit into memory far beyond. Each point is a process of its own; of several rounds medians are
taken. Writes OUT.png (out/sweep-depth.png) and OUT.csv: the memory of the process in MiB, seconds a step. For other networks, without
PyTorch: `ebb profile --sweep`.
"""
import argparse
import csv
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWEEPS = {  # what varies: how it is called, values, a point of it
    "depth": ("couplings", [12, 25, 50, 100, 200], lambda n: Point(depth=n)),
    "size": ("height and width", [16, 32, 64, 128], lambda n: Point(depth=25, side=n, batch=8)),
    "batch": ("samples in a batch", [8, 16, 32, 64, 128], lambda n: Point(depth=25, batch=n)),
}
STYLES = {  # contestant: title, colour
    "torch": ("PyTorch, plain backprop", "#7d8f9b"),
    "torch-checkpoint": ("PyTorch, checkpointing", "#c19a2b"),
    "store": ("Ebb, activations stored", "#c8553d"),
    "auto": ("Ebb, twice the least memory", "#6a9a3b"),
    "reverse": ("Ebb, by reversal", "#1f6f8b"),
}


class Point(typing.NamedTuple):
    depth: int
    side: int = 32
    batch: int = 32

    def words(self):
        return ["stack", f"model.depth={self.depth}", f"data.shape={self.side}x{self.side}x3", "data.classes=10", f"train.batch={self.batch}"]


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"sweep: {' '.join(map(str, command))} failed with exit code {done.returncode}")
    return json.loads(done.stdout)


def peers():
    """compare_pytorch as a module, or None where PyTorch is missing."""
    if not importlib.util.find_spec("torch"):
        print("sweep: PyTorch is not installed, so there are no lines of it (scripts/setup --peers)")
        return None
    spec = importlib.util.spec_from_file_location("compare_pytorch", ROOT / "scripts" / "compare_pytorch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def least_bytes(o, point):
    return run_json([o.ebb, "plan", "--json", *point.words()])["bytes"]["peak"]


def measure_ebb(o, mode, point):
    words = point.words()
    if mode == "auto":
        words.append(f"run.memory={2 * least_bytes(o, point)}")
    row = run_json([o.ebb, "profile", "--json", f"--steps={o.steps}", "--warmup=1", f"--modes={mode}", *words])["modes"][mode]
    return row["rss_bytes"], row["step_seconds"]


def measure_torch(module, o, way, point):
    o.warmup = 1
    row = module.measure_torch("stack-{}-{}x{}".format(*point), o, way, module.TCMALLOC)
    return row["rss"], statistics.median(row["seconds"])


def measure(module, o, contestant, value):
    point = SWEEPS[o.what][2](value)
    if not contestant.startswith("torch"):
        return measure_ebb(o, contestant, point)
    if not module or value > o.torch_most:
        return None
    ways = ["checkpoint"] if contestant == "torch-checkpoint" else ["default", "channels-last"]
    return min((measure_torch(module, o, way, point) for way in ways), key=lambda row: row[1])


def rows(module, o):
    for value in o.values:
        taken = {name: [] for name in STYLES}
        for _ in range(o.rounds):
            for name in STYLES:
                taken[name].append(measure(module, o, name, value))
        for name, points in taken.items():
            if points[0]:
                rss, seconds = (statistics.median(column) for column in zip(*points))
                yield value, name, rss / 2 ** 20, seconds
                print(f"{o.what} {value:5}  {name:17} {rss / 2 ** 20:9.1f} MiB  {seconds:8.4f} s", flush=True)


def draw(png, what, table):
    def panel(column, label):
        there = [name for name in STYLES if any(row[1] == name for row in table)]
        lines = ["'-' using 1:2 with linespoints pt 7 lw 2 lc rgb '{1}' title '{0}'".format(*STYLES[name]) for name in there]
        data = "".join("".join(f"{row[0]} {row[column]}\n" for row in table if row[1] == name) + "e\n" for name in there)
        return f"set ylabel '{label}'\nplot {', '.join(lines)}\n{data}"

    script = ("set terminal pngcairo size 1150,520 noenhanced font 'sans,11'\n" f"set output '{png}'\n"
              "set grid\nset logscale xy\nset xlabel '" + SWEEPS[what][0] + "'\nset key top left reverse Left\nset multiplot layout 1,2\n"
              + panel(2, "memory of the process, MiB") + "set key off\n" + panel(3, "seconds a training step") + "unset multiplot\n")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="?", choices=SWEEPS, default="depth", help="(depth)")
    p.add_argument("png", nargs="?", type=Path, help="(out/sweep-depth.png)")
    p.add_argument("--values", type=lambda text: [int(word) for word in text.split(",")], help="apart by commas; without: four or five usual ones")
    p.add_argument("--torch-most", type=int, default=200, help="largest value that PyTorch is asked for (200)")
    p.add_argument("--rounds", type=int, default=1, help="in turns (1)")
    p.add_argument("--steps", type=int, default=3, help="measured in each process (3)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--ebb", default=str(ROOT / "build" / "cli" / "ebb"), help="the program (build/cli/ebb)")
    o = p.parse_args()
    o.png = o.png or ROOT / "out" / f"sweep-{o.what}.png"
    o.values = o.values or SWEEPS[o.what][1]
    return o


def main():
    o = arguments()
    if not os.access(o.ebb, os.X_OK):
        sys.exit(f"sweep: expected the program {o.ebb}, found none\nhint: meson compile -C build")
    o.png.parent.mkdir(parents=True, exist_ok=True)
    table = list(rows(peers(), o))
    with open(o.png.with_suffix(".csv"), "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([(o.what, "contestant", "mib", "seconds"), *table])
    draw(o.png, o.what, table)
    print(o.png)


if __name__ == "__main__":
    main()
