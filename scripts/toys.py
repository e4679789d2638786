#!/usr/bin/python3
"""toys.py -- normalizing flows against densities that one can see: two moons, eight Gaussians, a checkerboard.

Owns: the three data sets, and what is asked of a flow that learnt one. `ebb` converts, trains, evaluates and samples; here
  - its density is summed over the middles of the cells of a grid, which reaches --margin standard deviations beyond the data.
    `ebb eval` gives log p of the standardised columns; p in the file's units is that divided by both standard deviations, which the
    run's config.yaml names. The integral must be 1 within 0.01;
  - its samples are compared with the test rows, of which training has seen none, by the maximum mean discrepancy (Gretton et al.
    2012, JMLR 13) under two Gaussian kernels, 1/8 and 1/4 of a standard deviation wide. Its null distribution is that of the same points
    under random exchanges of both sides; p < 0.01 fails;
  - the same test must reject samples at temperature 0.5: it is no judge if it cannot fail.
Writes toys.json and, with gnuplot, toys.png to the folder OUT. Must not know: how a flow works.
"""
import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA, TEST, CONTROL = 1, 2, 0.5  # seeds of the data and of the permutations; temperature of what must be rejected
WITHIN, LEAST_P = 0.01, 0.01
WIDTHS = 0.125, 0.25  # narrow: wide kernels see only where the mass is as a whole


# ---- data --------------------------------------------------------------------------------------------------------------
def moons(rng, rows):
    """Two half circles of radius 1 that reach into each other, with noise of 0.1."""
    angle, upper = rng.uniform(0, np.pi, rows), rng.integers(0, 2, rows) == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x, y], 1) + rng.normal(0, 0.1, (rows, 2))


def gaussians(rng, rows):
    """Eight on a circle of radius 2, each 0.2 wide."""
    angle = rng.integers(0, 8, rows) * np.pi / 4
    return 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.2, (rows, 2))


def checkerboard(rng, rows):
    """Eight of the sixteen squares of -4 .. 4, all points of them alike."""
    column, pair = rng.integers(0, 4, rows), rng.integers(0, 2, rows)
    corner = np.stack([column, 2 * pair + column % 2], 1) * 2.0 - 4
    return corner + rng.uniform(0, 2, (rows, 2))


TOYS = {"moons": ("two moons", moons), "gaussians": ("eight Gaussians", gaussians), "checkerboard": ("checkerboard", checkerboard)}


# ---- the program -------------------------------------------------------------------------------------------------------
def run(*words):
    words = [str(word) for word in words]
    ended = subprocess.run(words, capture_output=True, text=True)
    if ended.returncode != 0:
        sys.exit(f"toys: {' '.join(words)}: exit code {ended.returncode}\n{ended.stderr.strip()}")
    return ended.stdout


def make(ebb, out, name, rows):
    """OUT/NAME.h5 with its parts train, val, test; the last is returned."""
    table = out / f"{name}.csv"
    with open(table, "w") as file:
        np.savetxt(file, TOYS[name][1](np.random.default_rng(DATA), rows), "%.9g", ",", header="x,y", comments="")
    (out / f"{name}.h5").unlink(missing_ok=True)
    run(ebb, "convert", "table", table, table.with_suffix(".h5"))
    with h5py.File(table.with_suffix(".h5")) as file:
        return file["train/data"][:], file["test/data"][:]


def train(ebb, out, name, preset, changes):
    begin = time.monotonic()
    run(ebb, "train", preset, "--force", "--quiet", f"data.train={out / name}.h5", f"out={out / name}", *changes)
    return out / name / "checkpoint_best.h5", time.monotonic() - begin


def standardisation(folder):
    """Both columns' mean and standard deviation, as training took them."""
    text = (folder / "config.yaml").read_text()
    return [np.array(json.loads(re.search(rf"^  {key}: (\[.*\])$", text, re.M)[1])) for key in ("mean", "std")]


def density(ebb, checkpoint, centres, deviations):
    """p at the grid of centres (x, y) in the file's units, and its place in memory: (y, x)."""
    grid, table = checkpoint.parent / "grid.h5", checkpoint.parent / "grid.csv"
    x, y = np.meshgrid(*centres)
    with h5py.File(grid, "w") as file:
        file["data"] = np.stack([x.ravel(), y.ravel()], 1)
    run(ebb, "eval", checkpoint, "--quiet", f"--csv={table}", f"data.val={grid}")
    nats = np.loadtxt(table, delimiter=",", skiprows=1, usecols=1)
    grid.unlink()
    table.unlink()
    return np.exp(-nats).reshape(x.shape) / deviations.prod()


def sample(ebb, checkpoint, count, temperature):
    folder = checkpoint.parent / f"samples-{temperature:g}"
    run(ebb, "sample", checkpoint, "--force", f"sample.count={count}", f"sample.folder={folder}", f"sample.temperature={temperature}")
    with h5py.File(folder / "samples.h5") as file:
        return file["samples"][:].astype(float)


# ---- what is asked ------------------------------------------------------------------------------------------------------
def cells(low, high, count):
    """The middles of `count` cells of low .. high."""
    return low + (high - low) * (np.arange(count) + 0.5) / count


def two_samples(a, b, deviations, permutations):
    """The squared discrepancy of two sets of equal size, and its p-value. With s = 1 for one side and -1 for the other it is
    s' K s / n^2, so that an exchange of points is one of signs."""
    points = np.concatenate([a, b]) / deviations
    squares = (points ** 2).sum(1)
    distance = np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)
    kernel = sum(np.exp(-distance / (2 * width ** 2)) for width in WIDTHS) / len(WIDTHS)
    rng, signs = np.random.default_rng(TEST), np.repeat([1.0, -1.0], [len(a), len(b)])
    signs = np.stack([signs] + [rng.permutation(signs) for _ in range(permutations)], 1)
    found = (signs * (kernel @ signs)).sum(0) / len(a) ** 2
    return found[0], (1 + np.sum(found[1:] >= found[0])) / (1 + permutations)


def measure(args, name):
    """The toy's figures, and what its row of the picture shows."""
    learnt_from, held_out = make(args.ebb, args.out, name, args.rows)
    checkpoint, seconds = train(args.ebb, args.out, name, args.preset, args.set)
    mean, deviations = standardisation(checkpoint.parent)
    low, high = learnt_from.min(0) - args.margin * deviations, learnt_from.max(0) + args.margin * deviations
    centres = [cells(low[k], high[k], args.grid) for k in range(2)]
    p = density(args.ebb, checkpoint, centres, deviations)
    count = min(args.points, len(held_out))
    samples = sample(args.ebb, checkpoint, max(count, args.shown), args.temperature)
    control = sample(args.ebb, checkpoint, count, CONTROL)
    discrepancy, value = two_samples(samples[:count], held_out[:count], deviations, args.permutations)
    rejected = two_samples(control, held_out[:count], deviations, args.permutations)[1]
    figures = {"integral": p.sum() * (high - low).prod() / args.grid ** 2, "p_value": value, "discrepancy": discrepancy,
               "p_value_at_temperature_0.5": rejected, "points": count, "training_seconds": round(seconds, 1)}
    return figures, {"data": learnt_from[:args.shown], "samples": samples[:args.shown], "p": p, "centres": centres}


def failures(name, figures):
    title, integral, p = TOYS[name][0], figures["integral"], figures["p_value"]
    if not abs(integral - 1) <= WITHIN:
        yield f"{title}: expected a density whose integral is 1 within {WITHIN}, found {integral:.4f}"
    if p < LEAST_P:
        yield f"{title}: expected samples that pass the two-sample test, p >= {LEAST_P}, found p = {p:.4f}"
    if figures["p_value_at_temperature_0.5"] >= LEAST_P:
        yield f"{title}: expected a two-sample test that rejects samples at temperature {CONTROL}, found p = {figures['p_value_at_temperature_0.5']:.4f}"


# ---- the picture --------------------------------------------------------------------------------------------------------
def window(row):
    """What is shown: the data and a little more, as wide as high."""
    low, high = row["data"].min(0), row["data"].max(0)
    middle, half = (low + high) / 2, 0.56 * (high - low).max()
    return [(middle[k] - half, middle[k] + half) for k in range(2)]


def draw(out, rows):
    """One row a toy: data, density, samples."""
    script, folder = [], out / "picture"
    folder.mkdir(exist_ok=True)
    height = 420 * len(rows) + 45
    script += [f"set terminal pngcairo size 1250,{height} noenhanced font 'sans,12'; set output '{out}/toys.png'",
               "set palette defined (0 '#ffffff', 0.15 '#d5e8ee', 0.45 '#5fa8bf', 0.75 '#1f6f8b', 1 '#0b2f3d')",
               "unset key; unset colorbox; unset xtics; unset ytics; set border 31 lc rgb '#99a8b2'; set size square",
               f"set multiplot layout {len(rows)},3 margins 0.04,0.99,{35 / height:.4f},{1 - 45 / height:.4f} spacing 0.015,{36 / height:.4f}"]
    for number, (name, figures, row) in enumerate(rows):
        (xlow, xhigh), (ylow, yhigh) = window(row)
        for what in ("data", "samples"):
            row[what].astype("<f4").tofile(folder / f"{name}.{what}")
        x, y = row["centres"]
        row["p"].astype("<f4").tofile(folder / f"{name}.density")
        points = "binary format='%2float32' using 1:2 with points pt 7 ps 0.32 lc rgb "
        title = [f"set title '{text}' offset 0,-0.4 font 'sans,14'" if number == 0 else "unset title" for text in ("data", "learnt density", "samples")]
        script += [f"set xrange [{xlow}:{xhigh}]; set yrange [{ylow}:{yhigh}]; set cbrange [0:{np.quantile(row['p'][row['p'] > 0.05 * row['p'].max()], 0.97)}]",
                   title[0], f"set ylabel '{TOYS[name][0]}' font 'sans,14'",
                   f"plot '{folder}/{name}.data' {points} '#a01f6f8b'",
                   "unset ylabel", title[1],
                   f"set xlabel 'integral {figures['integral']:.4f}' offset 0,0.35 tc rgb '#55646e'",
                   f"plot '{folder}/{name}.density' binary array=({len(x)},{len(y)}) format='%float32' origin=({x[0]},{y[0]}) "
                   f"dx={x[1] - x[0]} dy={y[1] - y[0]} with image",
                   title[2], f"set xlabel 'two-sample test: p = {figures['p_value']:.2f}'",
                   f"plot '{folder}/{name}.samples' {points} '#a0c8553d'", "unset xlabel"]
    ended = subprocess.run(["gnuplot"], input="\n".join(script + ["unset multiplot", ""]), text=True, capture_output=True)
    shutil.rmtree(folder)
    if ended.returncode != 0:
        sys.exit(f"toys: gnuplot failed\n{ended.stderr.strip()}")
    print(f"wrote {out}/toys.png")


def options():
    parser = argparse.ArgumentParser(description="Trains a normalizing flow on 2-D toys, and asks whether it learnt them.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("ebb", help="the program")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--toys", nargs="+", choices=TOYS, default=list(TOYS), help="which")
    parser.add_argument("--preset", default=ROOT / "models/presets/toys.yaml", help="the run's configuration")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changes to it")
    parser.add_argument("--rows", type=int, default=50000, help="of a data set; the last tenth tests")
    parser.add_argument("--grid", type=int, default=600, help="cells along each axis")
    parser.add_argument("--margin", type=float, default=1.5, help="of the grid around the data, in standard deviations")
    parser.add_argument("--points", type=int, default=2500, help="of either side of the test")
    parser.add_argument("--permutations", type=int, default=500, help="of the test")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the samples")
    parser.add_argument("--shown", type=int, default=8000, help="points of each picture")
    parser.add_argument("--no-picture", action="store_true", help="figures only")
    return parser.parse_args()


def main():
    args, rows, wrong = options(), [], []
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.toys:
        figures, shown = measure(args, name)
        rows.append((name, figures, shown))
        wrong += failures(name, figures)
        print(f"{TOYS[name][0]:<16} integral {figures['integral']:.4f}  p = {figures['p_value']:.3f}  "
              f"(at temperature {CONTROL}: {figures['p_value_at_temperature_0.5']:.3f})  {figures['training_seconds']:.0f} s of training", flush=True)
    (args.out / "toys.json").write_text(json.dumps({name: figures for name, figures, _ in rows}, indent=2) + "\n")
    print(f"wrote {args.out}/toys.json")
    if not args.no_picture and shutil.which("gnuplot"):
        draw(args.out, rows)
    for line in wrong:
        print(f"toys: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
