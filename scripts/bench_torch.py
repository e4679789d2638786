#!/usr/bin/python3
"""The convolutions of `ebb bench kernels` in PyTorch: forward, input gradient and weight gradient, in its default and in its
channels-last memory format, in turns. Reads the program's JSON for the shapes, writes JSON of the same names.

    scripts/bench_torch.py KERNELS.json [--rounds 5] > TORCH.json
"""
import argparse
import json
import math
import statistics
import sys
import time

import torch

SAMPLE_SECONDS = 4e-3  # a call that is shorter is repeated
FORMATS = ("default", "channels-last")


def spatial(shape):
    """The dimensions PyTorch sees: three, or two where there is no depth."""
    first = 0 if shape["in"][0] > 1 else 1
    return {key: shape[key][first:] for key in ("in", "out", "kernel", "stride", "pad")}


def operands(shape, layout):
    torch.manual_seed(1)
    s = spatial(shape)
    tensors = [torch.randn(shape["n"], shape["ci"], *s["in"]), torch.randn(shape["n"], shape["co"], *s["out"]),
               torch.randn(shape["co"], shape["ci"], *s["kernel"])]
    if layout == "default":
        return tensors
    last = torch.channels_last_3d if len(s["in"]) == 3 else torch.channels_last
    return [t.contiguous(memory_format=last) for t in tensors]


def products(shape, layout):
    """{product: a call that computes it}"""
    s = spatial(shape)
    x, dy, w = operands(shape, layout)
    flat = len(s["in"]) == 2
    conv = torch.nn.functional.conv2d if flat else torch.nn.functional.conv3d
    zeros = [0] * len(s["in"])
    ones = [1] * len(s["in"])

    def gradient(data, weight):
        return torch.ops.aten.convolution_backward(dy, x, w, None, s["stride"], s["pad"], ones, False, zeros, 1,
                                                   [data, weight, False])

    return {
        "forward": lambda: conv(x, w, None, s["stride"], s["pad"]),
        "data gradient": lambda: gradient(True, False),
        "weight gradient": lambda: gradient(False, True),
    }


def seconds_of(call, count):
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count


def measure(calls, rounds):
    """Median seconds of each call; they take turns."""
    for call in calls:
        call()
    counts = [min(1000, math.ceil(SAMPLE_SECONDS / seconds_of(call, 1))) for call in calls]
    samples = [[seconds_of(call, count) for call, count in zip(calls, counts)] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*samples)]


def rows_of(name, shape, rounds):
    flops = 2.0 * math.prod(shape["kernel"]) * shape["ci"] * shape["co"] * shape["n"] * math.prod(shape["out"])
    calls = {layout: products(shape, layout) for layout in FORMATS}
    for product in calls["default"]:
        seconds = measure([calls[layout][product] for layout in FORMATS], rounds)
        yield {"name": name, "product": product,
               **{layout: {"seconds": s, "gflops": flops / s * 1e-9} for layout, s in zip(FORMATS, seconds)}}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kernels", metavar="KERNELS.json")
    p.add_argument("--rounds", type=int, default=5)
    o = p.parse_args()
    with open(o.kernels) as f:
        kernels = json.load(f)
    torch.set_num_threads(kernels["threads"])
    shapes = {row["name"]: row["shape"] for row in kernels["convolutions"]}
    rows = []
    with torch.no_grad():
        for name, shape in shapes.items():
            rows += rows_of(name, shape, o.rounds)
    json.dump({"version": torch.__version__, "threads": kernels["threads"], "rounds": o.rounds, "convolutions": rows}, sys.stdout,
              indent=1)
    print()


if __name__ == "__main__":
    main()
