#!/usr/bin/python3
"""Ebb beside PyTorch on this machine, in one run: step time and memory of the same networks on the same shapes.

PyTorch trains them by plain backprop (what MemCNN's RevNets are without MemCNN), in its default and in its channels-last
memory format; Ebb by store and by reverse. Each measurement is a fresh process; they take turns, so that a noisy machine is
noisy for all. Prints medians, spread and ratios. Needs python3-torch (scripts/setup --peers) and a built Ebb.

    scripts/compare_pytorch.py [--workloads revnet-38,revnet-110,stack-50] [--rounds 3] [--steps 3] [--json OUT.json]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name: (batch, words for ebb, parameters)
WORKLOADS = {
    "revnet-38": (100, ["revnet-38", "model.variant=memcnn"], 573994),
    "revnet-110": (100, ["revnet-110", "model.variant=memcnn"], 1854890),
    "stack-50": (32, ["stack", "model.depth=50"], None),
    "stack-200": (32, ["stack", "model.depth=200"], None),
}


# ---- the networks in PyTorch ---------------------------------------------------------------------------------------
def networks():
    import torch
    from torch import nn

    def conv(i, o, k, stride=1):
        return nn.Conv2d(i, o, k, stride, k // 2, bias=False)

    def path(i, o, stride=1, first_norm=True):
        head = [nn.BatchNorm2d(i), nn.ReLU()] if first_norm else []
        return nn.Sequential(*head, conv(i, o, 3, stride), nn.BatchNorm2d(o), nn.ReLU(), conv(o, o, 3))

    class Coupling(nn.Module):
        """z1 = x1 + F(x2); z2 = x2 + G(z1)"""
        def __init__(self, f, g):
            super().__init__()
            self.f, self.g = f, g

        def forward(self, x):
            x1, x2 = torch.chunk(x, 2, dim=1)
            z1 = x1 + self.f(x2)
            return torch.cat([z1, x2 + self.g(z1)], dim=1)

    class Full(nn.Module):
        """The unit in which MemCNN changes the shape: a plain residual of full width."""
        def __init__(self, i, o, stride, first_norm):
            super().__init__()
            self.a = nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))
            self.f = path(i, o, stride, first_norm)

        def forward(self, x):
            return self.a(x) + self.f(x)

    def head(width, classes=10):
        return [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]

    def revnet(units, widths):
        layers = [conv(3, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for stage in range(3):
            i, o, stride = widths[stage], widths[stage + 1], 1 if stage == 0 else 2
            changes = stride != 1 or i != o
            if changes:
                layers.append(Full(i, o, stride, stage > 0))
            for k in range(int(changes), units):
                norm = not (stage == 0 and k == 0)
                layers.append(Coupling(path(o // 2, o // 2, 1, norm), path(o // 2, o // 2, 1, norm)))
        return nn.Sequential(*layers, *head(widths[-1]))

    def stack(depth):
        def f():
            return nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), conv(32, 32, 3))
        return nn.Sequential(conv(3, 64, 3), *[Coupling(f(), f()) for _ in range(depth)], *head(64))

    return {
        "revnet-38": lambda: revnet(3, [32, 32, 64, 112]),
        "revnet-110": lambda: revnet(9, [32, 32, 64, 128]),
        "stack-50": lambda: stack(50),
        "stack-200": lambda: stack(200),
    }


def resident_peak():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def torch_child(workload, layout, steps, warmup, threads):
    import torch
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    batch, _, parameters = WORKLOADS[workload]
    model = networks()[workload]()
    count = sum(p.numel() for p in model.parameters())
    if parameters and count != parameters:
        sys.exit(f"{workload}: expected {parameters} parameters, found {count}")
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    if layout == "channels-last":
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    loss, seconds = torch.nn.CrossEntropyLoss(), []
    for i in range(warmup + steps):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(model(x), y).backward()
        optimizer.step()
        if i >= warmup:
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds, "rss": resident_peak(), "parameters": count}))


# ---- one measurement of each -----------------------------------------------------------------------------------------
def measure_torch(workload, layout, o):
    words = [sys.executable, os.path.abspath(__file__), "--child", workload, layout, "--steps", str(o.steps),
             "--warmup", str(o.warmup), "--threads", str(o.threads)]
    answer = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    return {"seconds": answer["seconds"], "rss": answer["rss"], "parameters": answer["parameters"]}


def measure_ebb(workload, mode, o):
    batch, words, _ = WORKLOADS[workload]
    command = [o.ebb, "profile", "--json", f"--steps={o.steps}", f"--warmup={o.warmup}", f"--modes={mode}", *words,
               f"train.batch={batch}", "data.shape=32x32x3", f"train.threads={o.threads}"]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    row = answer["modes"][mode]
    return {"seconds": [row["step_seconds"]], "rss": row["rss_bytes"], "parameters": answer["parameters"]}


CONTESTANTS = {
    "torch default": lambda w, o: measure_torch(w, "default", o),
    "torch channels-last": lambda w, o: measure_torch(w, "channels-last", o),
    "ebb store": lambda w, o: measure_ebb(w, "store", o),
    "ebb reverse": lambda w, o: measure_ebb(w, "reverse", o),
}


def measure(workload, o):
    rows = {name: {"rounds": [], "rss": 0} for name in CONTESTANTS}
    for turn in range(o.rounds):
        for name, contestant in CONTESTANTS.items():
            print(f"{workload}, round {turn + 1} of {o.rounds}: {name}", file=sys.stderr)
            answer = contestant(workload, o)
            row = rows[name]
            row["rounds"].append(statistics.median(answer["seconds"]))
            row["rss"] = max(row["rss"], answer["rss"])
            row["parameters"] = answer["parameters"]
    for row in rows.values():
        row["median"] = statistics.median(row["rounds"])
    # a ratio within each round: what is slow then is slow for both
    best = [min(a, b) for a, b in zip(rows["torch default"]["rounds"], rows["torch channels-last"]["rounds"])]
    for row in rows.values():
        row["to_best_torch"] = statistics.median(r / b for r, b in zip(row["rounds"], best))
    return rows


def show(workload, rows):
    print(f"\n{workload}, batch {WORKLOADS[workload][0]}, {rows['ebb store']['parameters']} parameters")
    print(f"{'':22} {'step, median':>13} {'least..most':>17} {'to best torch':>14} {'process RSS':>13}")
    for name, row in rows.items():
        spread = f"{min(row['rounds']):.3f}..{max(row['rounds']):.3f}"
        print(f"{name:22} {row['median']:11.3f} s {spread:>17} {row['to_best_torch']:14.2f} {row['rss'] / 2**20:9.0f} MiB")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workloads", default="revnet-38,revnet-110,stack-50")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--warmup", type=int, default=1)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--ebb", default=os.path.join(ROOT, "build", "cli", "ebb"))
    p.add_argument("--json", metavar="OUT")
    p.add_argument("--child", nargs=2, metavar=("WORKLOAD", "LAYOUT"), help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.child:
        return torch_child(*o.child, o.steps, o.warmup, o.threads)
    try:
        import torch
    except ImportError:
        sys.exit("compare_pytorch: expected PyTorch, found none\nhint: scripts/setup --peers (Debian: python3-torch)")
    if not os.access(o.ebb, os.X_OK):
        sys.exit(f"compare_pytorch: expected the program {o.ebb}, found none\nhint: meson compile -C build")
    unknown = [w for w in o.workloads.split(",") if w not in WORKLOADS]
    if unknown:
        sys.exit(f"compare_pytorch: {unknown[0]}: expected one of {', '.join(WORKLOADS)}")
    print(f"PyTorch {torch.__version__}, {o.threads} threads, {o.rounds} rounds of {o.steps} steps, modes in turns")
    results = {}
    for workload in o.workloads.split(","):
        results[workload] = measure(workload, o)
        show(workload, results[workload])
    if o.json:
        with open(o.json, "w") as out:
            json.dump({"torch": torch.__version__, "threads": o.threads, "results": results}, out, indent=1)


if __name__ == "__main__":
    main()
