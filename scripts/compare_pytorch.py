#!/usr/bin/python3
"""Ebb beside PyTorch on this machine, in one run: the same networks, shapes and optimiser; step time and memory.

    scripts/compare_pytorch.py [--workloads revnet-38,iunet-2d] [--contestants torch-default,ebb-reverse] [--rounds 3]
                               [--steps 3] [--json OUT.json] [--png OUT.png]

PyTorch trains by plain backprop in its default and in its channels-last memory format, and by activation checkpointing of
each block, all of them with the system's allocator and with tcmalloc; Ebb by store and by reverse. Each measurement is a
fresh process; they take turns, so that a noisy machine is noisy for all. Prints medians, spread, the ratio to the fastest
plain PyTorch of each round and the process's peak of memory.

    scripts/compare_pytorch.py --curves revnet-38 [--steps 60] [--json OUT.json] [--png OUT.png]

Both train from the same weights on the same batches (Fashion-MNIST, or generated label maps for the i-UNets), and their
losses are overlaid: Ebb's by `ebb train`, with fixed-point stream and reconstruction; PyTorch's by autograd, in both memory
formats, because they too agree to rounding at first and then part: training makes the smallest difference grow. (The 3-D
i-UNet PyTorch 1.13 computes in one format whichever is asked for.)

Needs python3-torch, libtcmalloc-minimal4, for --curves python3-h5py (scripts/setup --peers), for --png gnuplot; a built Ebb.
"""
import argparse
import collections
import csv
import ctypes.util
import gzip
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.checkpoint import checkpoint
except ImportError:
    sys.exit("compare_pytorch: expected PyTorch, found none\nhint: scripts/setup --peers (Debian: python3-torch)")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOMENTUM = 0.9


# ---- the networks in PyTorch; modules are named as the weights in Ebb's checkpoints ----------------------------------
CONV, CONV_TRANSPOSE = {2: nn.Conv2d, 3: nn.Conv3d}, {2: F.conv_transpose2d, 3: F.conv_transpose3d}
CONV_BY, INSTANCE_NORM = {2: F.conv2d, 3: F.conv3d}, {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def named(**layers):
    return nn.Sequential(collections.OrderedDict(layers))


def numbered(layers):
    return {str(i): layer for i, layer in enumerate(layers)}


def conv(i, o, kernel, stride=1, dim=2):
    return CONV[dim](i, o, kernel, stride, kernel // 2, bias=False)


def relu():
    return nn.ReLU(inplace=True)


def halves(x):
    return x if isinstance(x, tuple) else x.chunk(2, 1)


def whole(x):
    return torch.cat(x, 1) if isinstance(x, tuple) else x


class Block(nn.Module):
    """What activation checkpointing keeps the input of and computes again."""
    checkpointed = False

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False) if self.checkpointed else self.block(x)


class Coupling(Block):
    """z1 = x1 + F(x2); z2 = x2 + G(z1). Halves go from coupling to coupling as they are."""

    def __init__(self, f, g):
        super().__init__()
        self.f, self.g = f, g

    def block(self, x):
        x1, x2 = halves(x)
        z1 = x1 + self.f(x2)
        return z1, x2 + self.g(z1)


class Residual(Block):
    """The unit in which MemCNN changes the shape: a plain residual of full width."""

    def __init__(self, i, o, stride, first_norm):
        super().__init__()
        self.a = named(conv=conv(i, o, 1, stride), norm=nn.BatchNorm2d(o))
        self.f = path(i, o, stride, first_norm)

    def block(self, x):
        x = whole(x)
        return self.a(x) + self.f(x)


class Whole(nn.Module):
    def forward(self, x):
        return whole(x)


def path(i, o, stride=1, first_norm=True):
    first = {"norm1": nn.BatchNorm2d(i), "act1": relu()} if first_norm else {}
    return named(**first, conv1=conv(i, o, 3, stride), norm2=nn.BatchNorm2d(o), act2=relu(), conv2=conv(o, o, 3))


def head(width, classes=10):
    return named(whole=Whole(), norm=nn.BatchNorm2d(width), act=relu(), mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
                 linear=nn.Linear(width, classes))


def revnet_unit(i, o, stride, first_norm):
    if stride != 1 or i != o:
        return Residual(i, o, stride, first_norm)
    return Coupling(path(o // 2, o // 2, 1, first_norm), path(o // 2, o // 2, 1, first_norm))


def revnet(units, widths):
    """MemCNN's: three stages, and all units but those that change the shape are couplings."""
    layers = {"stem": named(conv=conv(3, widths[0], 3), norm=nn.BatchNorm2d(widths[0]), act=relu())}
    for stage in range(3):
        i, o = widths[stage], widths[stage + 1]
        stride = 1 if stage == 0 else 2
        first = revnet_unit(i, o, stride, first_norm=stage > 0)
        rest = [revnet_unit(o, o, 1, first_norm=True) for _ in range(units - 1)]
        layers[f"stage{stage + 1}"] = named(**numbered([first] + rest))
    return named(**layers, head=head(widths[-1]))


def stack(depth):
    def f():
        return named(norm=nn.BatchNorm2d(32), act=relu(), conv=conv(32, 32, 3))
    return named(stem=conv(3, 64, 3), **{f"block{i}": Coupling(f(), f()) for i in range(depth)}, head=head(64))


class HalfCoupling(Block):
    """y = [x2 | x1 + F(x2)]: the halves change places."""

    def __init__(self, channels, dim):
        super().__init__()
        layers = {}
        for i in range(2):
            layers[f"conv{i}"] = conv(channels // 2, channels // 2, 3, 1, dim)
            layers[f"norm{i}"] = INSTANCE_NORM[dim](channels // 2, affine=True)
            layers[f"act{i}"] = nn.LeakyReLU(0.01, inplace=True)
        self.f = named(**layers)

    def block(self, x):
        x1, x2 = halves(x)
        return x2, x1 + self.f(x2)


class Orthogonal(nn.Module):
    """Cayley: M = (I + A)^-1 (I - A), A = W - W^T; one matrix, or one for each of `groups`."""

    def __init__(self, size, dim, groups=None):
        super().__init__()
        self.weight, self.dim = nn.Parameter(torch.zeros((groups, size, size) if groups else (size, size))), dim

    def kernel(self, *shape):
        a = self.weight - self.weight.transpose(-1, -2)
        one = torch.eye(a.shape[-1])
        return torch.linalg.solve(one + a, one - a).reshape(*shape)


class Mixing(Orthogonal):
    def forward(self, x):
        x = whole(x)
        return CONV_BY[self.dim](x, self.kernel(x.shape[1], x.shape[1], *[1] * self.dim))


class Down(Orthogonal):
    """Patches of 2^dim sites of a channel become channels."""

    def forward(self, x):
        return CONV_BY[self.dim](x, self.kernel(-1, 1, *[2] * self.dim), stride=2, groups=x.shape[1])


class Up(Orthogonal):
    def forward(self, x):
        return CONV_TRANSPOSE[self.dim](x, self.kernel(-1, 1, *[2] * self.dim), stride=2, groups=self.weight.shape[0])


class IUNet(nn.Module):
    """iUNets 0.1, for even numbers of channels: resampling is a grouped convolution with orthogonal kernels, mixing a 1x1."""

    def __init__(self, dim, inputs, wanted, blocks, classes):
        super().__init__()
        patch, channels, self.skips = 2 ** dim, wanted[0], []
        self.stem, self.head = CONV[dim](inputs, channels, 3, padding=1), CONV[dim](channels, classes, 1)
        self.body = nn.ModuleDict()
        for i, count in enumerate(blocks):
            mixing = {"mixing": Mixing(channels, dim)} if i + 1 < len(blocks) else {}
            couplings = [numbered([HalfCoupling(channels, dim) for _ in range(count)]) for _ in range(2)]
            first = {"0": couplings[1].pop("0")}
            self.body[f"encoder{i}"] = named(**couplings[0], **mixing)
            mixing = {"mixing": Mixing(channels, dim)} if mixing else {}
            self.body[f"decoder{i}"] = named(**first, **mixing, **couplings[1])
            if mixing:
                self.skips.append(max(1, round(channels * (patch - wanted[i + 1] / channels) / patch)))
                squeezed = channels - self.skips[-1]
                self.body[f"down{i}"] = named(resample=Down(patch, dim, squeezed))
                self.body[f"up{i}"] = named(resample=Up(patch, dim, squeezed))
                channels = patch * squeezed

    def level(self, x, i):
        x = self.body[f"encoder{i}"](x)
        if i < len(self.skips):
            skip, rest = x[:, :self.skips[i]], x[:, self.skips[i]:]
            below = self.level(self.body[f"down{i}"](rest), i + 1)
            x = torch.cat((skip, self.body[f"up{i}"](below)), 1)
        return whole(self.body[f"decoder{i}"](x))

    def forward(self, x):
        return self.head(self.level(self.stem(x), 0))


class Limit(nn.Module):
    """[s | t] of a coupling, s kept within bounds."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        s, t = x.chunk(2, 1)
        return self.weight * torch.tanh(s), t


class Skip(nn.Sequential):
    """x + f(x)."""

    def __init__(self, f):
        super().__init__(collections.OrderedDict(f.named_children()))

    def forward(self, x):
        return x + super().forward(x)


class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias, self.logs = (nn.Parameter(torch.zeros(channels, 1, 1)) for _ in range(2))

    def forward(self, x):
        return (x + self.bias) * torch.exp(3 * self.logs), 3 * x.shape[2] * x.shape[3] * self.logs.sum()


class FlowStep(Block):
    """An actnorm and an affine coupling: z2 = (x2 + t) e^s, (s, t) of x1; gives z and the step's log|det|. `part` is the
    colour of the chessboard, or the half of the channels, that is transformed."""

    def __init__(self, channels, board, part, width, blocks):
        super().__init__()
        self.norm, self.board, self.part = ActNorm(channels), board, part
        sides, residual = channels if board else channels // 2, {f"block{i}": Skip(path(width, width)) for i in range(blocks)}
        self.net = named(stem=conv(sides, width, 3), **residual, norm=nn.BatchNorm2d(width), act=relu(),
                         head=nn.Conv2d(width, 2 * sides, 1), limit=Limit(sides))
        nn.init.zeros_(self.net.head.weight)
        nn.init.zeros_(self.net.head.bias)

    def mask(self, x):
        """1 where x stays; made once."""
        if not hasattr(self, "stays"):
            rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
            self.stays = ((rows + columns) % 2 != self.part).float()
        return self.stays

    def block(self, x):
        x, logdet = self.norm(x)
        if self.board:
            b = self.mask(x)
            s, t = self.net(x * b)
            s, t = s * (1 - b), t * (1 - b)
            return (x + t) * s.exp(), logdet + s.sum((1, 2, 3))
        x1, x2 = x.chunk(2, 1)
        s, t = self.net(x1 if self.part else x2)
        z = (x1, (x2 + t) * s.exp()) if self.part else ((x1 + t) * s.exp(), x2)
        return torch.cat(z, 1), logdet + s.sum((1, 2, 3))


class Scale(nn.Module):
    """Dinh et al. 2017, section 3.6: three couplings by colours, three by halves, and a half of the channels goes on, with
    the diagonals of patches together; the last scale has four couplings by colours."""

    def __init__(self, level, levels, channels, width, blocks):
        super().__init__()
        self.boards = 3 if level + 1 < levels else 4
        steps = [FlowStep(channels, True, (i + 1) % 2, width, blocks) for i in range(self.boards)]
        if self.boards == 3:
            steps += [FlowStep(4 * channels, False, (i + 1) % 2, 2 * width, blocks) for i in range(3)]
        self.steps, self.below = [f"step{i}" for i in range(len(steps))], f"level{level + 1}"
        for name, step in zip(self.steps, steps):
            self.add_module(name, step)
        if self.boards == 3:
            self.add_module(self.below, Scale(level + 1, levels, 2 * channels, 2 * width, blocks))

    def run(self, x, logdet, names):
        for name in names:
            x, more = getattr(self, name)(x)
            logdet = logdet + more
        return x, logdet

    def forward(self, x, logdet):
        x, logdet = self.run(x, logdet, self.steps[:self.boards])
        if self.boards == 4:
            return [x], logdet
        x, logdet = self.run(F.pixel_unshuffle(x, 2), logdet, self.steps[3:])
        x = F.pixel_shuffle(x, 2)
        stays = torch.cat((x[:, :, ::2, ::2], x[:, :, 1::2, 1::2]), 1)
        goes_on = torch.cat((x[:, :, ::2, 1::2], x[:, :, 1::2, ::2]), 1)
        z, logdet = getattr(self, self.below)(goes_on, logdet)
        return [stays, *z], logdet


class RealNVP(nn.Module):
    """Gives the negative log-likelihood of each image of grey levels."""

    def __init__(self, channels, levels, width, blocks):
        super().__init__()
        self.level0 = Scale(0, levels, channels, width, blocks)

    def forward(self, x):
        p = 0.05 + 0.9 * (x + torch.rand_like(x)) / 256
        logdet = (math.log(0.9 / 256) - p.log() - (1 - p).log()).sum((1, 2, 3))
        z, logdet = self.level0(p.log() - (1 - p).log(), logdet)
        squares = sum((part ** 2).sum((1, 2, 3)) for part in z)
        return (squares + x[0].numel() * math.log(2 * math.pi)) / 2 - logdet


# ---- the workloads ---------------------------------------------------------------------------------------------------
# shape: of one sample, as Ebb writes it; maps: a label for each site; lr: of --curves; flow: images are of grey levels, and a model
# gives its own loss
Workload = collections.namedtuple("Workload", "batch shape classes maps words parameters lr network flow", defaults=[False])


def revnet_workload(name, parameters, units, widths):
    return Workload(100, "32x32x3", 10, False, [name, "model.variant=memcnn"], parameters, 0.05, lambda: revnet(units, widths))


def stack_workload(depth, side=32, batch=32):
    return Workload(batch, f"{side}x{side}x3", 10, False, ["stack", f"model.depth={depth}"], 2506 + 18560 * depth, 0.01, lambda: stack(depth))


def iunet_workload(batch, shape, parameters, channels, blocks):
    words = ["iunet", "model.channels=" + ",".join(map(str, channels)), "model.blocks=" + ",".join(map(str, blocks)),
             "model.classes=4"]
    sizes = [int(n) for n in shape.split("x")]
    return Workload(batch, shape, 4, True, words, parameters, 0.01,
                    lambda: IUNet(len(sizes) - 1, sizes[-1], channels, blocks, 4))


def iunet_3d(size):
    return iunet_workload(1, f"{size}x{size}x{size}x1", 2652676, (32, 64, 128, 256), (2, 3, 1, 1))


WORKLOADS = {
    "revnet-38": revnet_workload("revnet-38", 573994, 3, [32, 32, 64, 112]),
    "revnet-110": revnet_workload("revnet-110", 1854890, 9, [32, 32, 64, 128]),
    "stack-50": stack_workload(50),
    "iunet-2d": iunet_workload(4, "128x128x3", 4389380, (64, 128, 256, 384), (2, 2, 2, 2)),
    "iunet-3d-64": iunet_3d(64),
    "iunet-3d-96": iunet_3d(96),
    "iunet-3d-128": iunet_3d(128),
    "realnvp": Workload(64, "28x28x1", 1, False, ["realnvp"], 1159233, 1e-6, lambda: RealNVP(1, 2, 32, 2), flow=True),
}


def workload(name):
    """Of those, or any stack, by "stack-DEPTH-SIDExBATCH" (scripts/sweep.py)."""
    numbers = re.fullmatch(r"stack-(\d+)-(\d+)x(\d+)", name)
    return stack_workload(*map(int, numbers.groups())) if numbers else WORKLOADS[name]


def sizes_of(w):
    """Of a batch in PyTorch's order: (N, C, sites...) and (N,) or (N, sites...)."""
    *sites, channels = (int(n) for n in w.shape.split("x"))
    return (w.batch, channels, *sites), (w.batch, *sites) if w.maps else (w.batch,)


def ebb_words(w, threads, lr):
    """The network and the optimiser, for `ebb`."""
    return [*w.words, f"train.batch={w.batch}", f"data.shape={w.shape}", f"data.classes={w.classes}", "train.optimizer=sgd",
            f"train.lr={lr}", f"train.momentum={MOMENTUM}", "train.nesterov=false", "train.decay=0",
            f"train.threads={threads}"]


def optimizer_of(model, lr):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM)


def memory_format(w, way):
    last = {3: torch.channels_last, 4: torch.channels_last_3d}[len(w.shape.split("x"))]
    return last if way == "channels-last" else torch.contiguous_format


def random_images(w, size):
    return torch.randint(0, 256, size).float() if w.flow else torch.randn(size)


def train_step(model, optimizer, x, y):
    """y None: the model itself gives its loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = model(x).mean() if y is None else F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


# ---- one measurement -------------------------------------------------------------------------------------------------
class Failure(Exception):
    """A contestant's process did not end well."""


def run(command, environment=None):
    """Standard output of a process."""
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    if p.returncode < 0:
        raise Failure(f"ended by signal {-p.returncode}" + (" (out of memory?)" if p.returncode == -9 else ""))
    if p.returncode:
        raise Failure((p.stderr.strip() or f"exit code {p.returncode}").splitlines()[-1])
    return p.stdout


def resident_peak():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def torch_child(name, way, o):
    torch.manual_seed(1)
    torch.set_num_threads(o.threads)
    w = workload(name)
    Block.checkpointed = way == "checkpoint"
    form, (x_size, y_size) = memory_format(w, way), sizes_of(w)
    model, x = w.network().to(memory_format=form), random_images(w, x_size).contiguous(memory_format=form)
    y = None if w.flow else torch.randint(0, w.classes, y_size)
    optimizer, seconds = optimizer_of(model, w.lr), []
    for i in range(o.warmup + o.steps):
        begin = time.perf_counter()
        train_step(model, optimizer, x, y)
        if i >= o.warmup:
            seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds, "rss": resident_peak(), "parameters": sum(p.numel() for p in model.parameters())}))


def measure_torch(name, o, way, allocator=None):
    environment = {**os.environ, "LD_PRELOAD": allocator} if allocator else None
    return json.loads(run([sys.executable, os.path.abspath(__file__), "--child", name, way, f"--steps={o.steps}",
                           f"--warmup={o.warmup}", f"--threads={o.threads}"], environment))


def measure_ebb(name, o, mode):
    w = WORKLOADS[name]
    answer = json.loads(run([o.ebb, "profile", "--json", f"--steps={o.steps}", f"--warmup={o.warmup}", f"--modes={mode}",
                             *ebb_words(w, o.threads, w.lr)]))
    row = answer["modes"][mode]
    return {"seconds": [row["step_seconds"]], "rss": row["rss_bytes"], "parameters": answer["parameters"]}


TCMALLOC = ctypes.util.find_library("tcmalloc_minimal")
CONTESTANTS = {
    "torch-default": lambda name, o: measure_torch(name, o, "default"),
    "torch-channels-last": lambda name, o: measure_torch(name, o, "channels-last"),
    "torch-default-tcmalloc": lambda name, o: measure_torch(name, o, "default", TCMALLOC),
    "torch-channels-last-tcmalloc": lambda name, o: measure_torch(name, o, "channels-last", TCMALLOC),
    "torch-checkpoint": lambda name, o: measure_torch(name, o, "checkpoint"),
    "torch-checkpoint-tcmalloc": lambda name, o: measure_torch(name, o, "checkpoint", TCMALLOC),
    "ebb-store": lambda name, o: measure_ebb(name, o, "store"),
    "ebb-reverse": lambda name, o: measure_ebb(name, o, "reverse"),
}
COLOURS = ["#b9c4cb", "#7d8f9b", "#e3c877", "#c19a2b", "#b9a5d1", "#8a6bb0", "#1f6f8b", "#c8553d"]


def is_plain_torch(contestant):
    return contestant.startswith("torch-") and "checkpoint" not in contestant


# ---- a workload ------------------------------------------------------------------------------------------------------
def measure_into(row, name, contestant, o):
    """Who failed once does not try again."""
    try:
        answer = CONTESTANTS[contestant](name, o)
    except Failure as failure:
        row["failed"] = str(failure)
        return
    expected = WORKLOADS[name].parameters
    if answer["parameters"] != expected:
        sys.exit(f"compare_pytorch: {name}, {contestant}: expected {expected} parameters, found {answer['parameters']}")
    row["rounds"].append(answer)


def summarise(rows):
    times = {c: [statistics.median(r["seconds"]) for r in row["rounds"]] for c, row in rows.items()}
    plain = [t for c, t in times.items() if is_plain_torch(c) and "failed" not in rows[c]]
    best = [min(turn) for turn in zip(*plain)]
    for contestant, row in rows.items():
        t = times[contestant]
        if not t:
            continue
        row.update(median=statistics.median(t), least=min(t), most=max(t), rss=max(r["rss"] for r in row["rounds"]))
        if best:  # a ratio within each round: what is slow then is slow for both
            row["to_best_torch"] = statistics.median(a / b for a, b in zip(t, best))


def measure(name, o):
    rows = {contestant: {"rounds": []} for contestant in o.contestants}
    for turn in range(o.rounds):
        for contestant, row in rows.items():
            if "failed" not in row:
                print(f"{name}, round {turn + 1} of {o.rounds}: {contestant}", file=sys.stderr)
                measure_into(row, name, contestant, o)
    summarise(rows)
    return rows


def show(name, rows):
    w = WORKLOADS[name]
    print(f"\n{name}, batch {w.batch} of {w.shape}, {w.parameters} parameters")
    print(f"{'':28} {'step, median':>13} {'least..most':>17} {'to best torch':>14} {'process RSS':>13}")
    for contestant, row in rows.items():
        if "median" in row:
            spread, ratio = f"{row['least']:.3f}..{row['most']:.3f}", row.get("to_best_torch")
            print(f"{contestant:28} {row['median']:11.3f} s {spread:>17} {format(ratio, '14.2f') if ratio else '-':>14} "
                  f"{row['rss'] / 2**20:9.0f} MiB", flush=True)
        if "failed" in row:
            print(f"{contestant:28} failed: {row['failed']}", flush=True)


# ---- what is written -------------------------------------------------------------------------------------------------
def processor():
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def circumstances(o):
    return {"torch": torch.__version__, "ebb": run([o.ebb, "--version"]).splitlines(), "python": platform.python_version(),
            "tcmalloc": TCMALLOC, "processor": processor(), "cores": len(os.sched_getaffinity(0)), "threads": o.threads,
            "optimizer": f"SGD, momentum {MOMENTUM}", "steps": o.steps}


def write_json(path, o, **content):
    with open(path, "w") as out:
        json.dump({**circumstances(o), **content}, out, indent=1)


def gnuplot(path, size, script):
    quoted = path.replace("'", "''")
    begin = f"set terminal pngcairo size {size} noenhanced font 'sans,10'; set output '{quoted}'; set grid\n"
    subprocess.run(["gnuplot"], input=begin + script, text=True, check=True)


def bars(key, form, results, contestants):
    """A panel: of each workload a bar a contestant, with its number above; y is logarithmic, workloads differ too much."""
    group, found = len(contestants) + 2, [row[key] for rows in results.values() for row in rows.values() if key in row]
    places, plots, block = [], [], key.upper()
    for i, contestant in enumerate(contestants):
        rows = [f"{k * group + i} {results[name][contestant][key]}" for k, name in enumerate(results)
                if key in results[name][contestant]]
        if rows:
            colour = COLOURS[list(CONTESTANTS).index(contestant)]
            plots.append(f"${block} index {len(places)} using 1:2 with boxes title '{contestant}' lc rgb '{colour}'")
            places.append("\n".join(rows))
    plots.append(f"${block} using 1:2:(sprintf('{form}', $2)) with labels rotate left offset 0,0.4 font ',7' notitle")
    tics = ", ".join(f"'{name}' {k * group + (group - 3) / 2}" for k, name in enumerate(results))
    data = "\n\n\n".join(places)
    return f"${block} << EOD\n{data}\nEOD\nset xtics ({tics})\nset yrange [{min(found) / 2}:{max(found) * 3}]\n" \
           f"set xrange [-1.5:{len(results) * group - 1.5}]\nplot {', '.join(plots)}\n"


def draw_measured(path, results, contestants):
    in_mib = {name: {c: {k: v / 2**20 if k == "rss" else v for k, v in row.items()} for c, row in rows.items()}
              for name, rows in results.items()}
    gnuplot(path, "1100,760", "set logscale y; set boxwidth 1; set style fill solid 0.8 border -1; set grid noxtics\n"
            "set lmargin 10; set rmargin 36; set key at screen 0.99, 0.97 Left reverse; set multiplot layout 2,1\n"
            "set ylabel 'seconds a training step (log)'\n" + bars("median", "%.3g", in_mib, contestants) +
            "unset key; set ylabel 'process, peak RSS in MiB (log)'\n" + bars("rss", "%.0f", in_mib, contestants) +
            "unset multiplot\n")


# ---- curves: data ----------------------------------------------------------------------------------------------------
FASHION = "/usr/share/datasets/fashion-mnist/train-"
SHUFFLE, SEED, WORD = 2, 1, 0xFFFFFFFF


def fashion(name, header, count, size):
    path = f"{FASHION}{name}-ubyte.gz"
    if not os.path.exists(path):
        sys.exit(f"compare_pytorch: {path}: expected Fashion-MNIST, found none\n"
                 "hint: scripts/setup (Debian: dataset-fashion-mnist)")
    with gzip.open(path) as file:
        numbers = bytearray(file.read(header + count * size))
    return torch.frombuffer(numbers, dtype=torch.uint8, offset=header).reshape(count, -1)


def clothes(count):
    """Images of Fashion-MNIST, padded to 32x32, in each of three channels; and their classes."""
    images = fashion("images-idx3", 16, count, 784).reshape(count, 1, 28, 28).float() / 255
    images = (F.pad(images, (2, 2, 2, 2)) - 0.286) / 0.353
    return images.expand(-1, 3, -1, -1), fashion("labels-idx1", 8, count, 1).flatten().long()


def blobs(count, channels, sites):
    """Smooth random fields; the label is the quartile, the image the field with noise."""
    pool = {2: F.avg_pool2d, 3: F.avg_pool3d}[len(sites)]
    field = torch.randn(count, 1, *sites)
    for _ in range(2):
        field = pool(field, 9, 1, 4)
    field /= field.std()
    labels = sum((field[:, 0] > limit).long() for limit in (-0.674, 0, 0.674))
    return field + 0.5 * torch.randn(count, channels, *sites), labels


def batches_of(w, steps):
    """(x, y) of each step, in the order of the file."""
    (batch, channels, *sites), _ = sizes_of(w)
    torch.manual_seed(SEED)
    x, y = blobs(steps * batch, channels, sites) if w.maps else clothes(steps * batch)
    return x.contiguous(), y


def write_data(path, w, x, y):
    """Compressed in chunks of one batch, which Ebb then reads in one piece each."""
    import h5py
    last = x.movedim(1, -1).numpy()
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=last, chunks=(w.batch, *last.shape[1:]), compression="gzip", compression_opts=1)
        file.create_dataset("labels", data=y.numpy().astype("uint8"))


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011), the generator of engine/base/rng.c."""
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = b >> 32 ^ counter[1] ^ key[0], b & WORD, a >> 32 ^ counter[3] ^ key[1], a & WORD
        key = key[0] + 0x9E3779B9 & WORD, key[1] + 0xBB67AE85 & WORD
    return counter


def permutation(count):
    """ebb_rng_permutation of the first epoch: Ebb always shuffles, here chunks or, with label maps, samples."""
    order = list(range(count))
    for i in range(count):
        low, high, *_ = philox((i, 0, 0, SHUFFLE), (SEED, 0))
        j = (high << 32 | low) * (i + 1) >> 64
        order[i], order[j] = order[j], i
    return order


def in_ebbs_order(w, x, y, steps):
    """The batches as `ebb train` takes them; within a chunk Ebb shuffles too, which moves the loss by rounding only."""
    if w.maps:
        order = permutation(len(x))
        x, y = x[order], y[order]
    pieces = list(zip(x.split(w.batch), y.split(w.batch)))
    return pieces if w.maps else [pieces[i] for i in permutation(steps)]


# ---- curves: both runs -----------------------------------------------------------------------------------------------
def train_ebb(w, o, data, out, steps, lr):
    """The losses of the steps, and the checkpoint behind them."""
    _, channels, *sites = sizes_of(w)[0]
    zeros, ones = (",".join([v] * channels) for v in "01")
    run([o.ebb, "train", "--quiet", *ebb_words(w, o.threads, lr), f"data.train={data}", f"data.axes=n{'dhw'[-len(sites):]}c",
         f"data.mean={zeros}", f"data.std={ones}", "data.pad=0", "data.flip=false", "data.window=4096",
         f"train.steps={steps}", "train.schedule=constant", "train.warmup=0", "train.clip=0", f"train.seed={SEED}",
         "train.log_every=1", "run.backward=reverse", f"out={out}"])
    with open(os.path.join(out, "log.csv")) as log:
        return [float(row["loss"]) for row in csv.DictReader(log)], os.path.join(out, "checkpoint_last.h5")


def load(model, path):
    import h5py
    with h5py.File(path, "r") as file:
        values = {name: torch.from_numpy(d[()]) for name, d in file["model"].items()}
    own = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    if own != set(values):
        sys.exit(f"compare_pytorch: {path}: expected PyTorch's names of the weights, other are {sorted(own ^ set(values))[:4]}")
    model.load_state_dict(values, strict=False)


def train_torch(w, way, weights, batches, lr):
    model, form = w.network(), memory_format(w, way)
    load(model, weights)
    model = model.to(memory_format=form)
    optimizer = optimizer_of(model, lr)
    return [train_step(model, optimizer, x.contiguous(memory_format=form), y).item() for x, y in batches]


def train_all(w, o, lr):
    """Losses by trainer. All begin with Ebb's first weights, which it shows behind one step with a rate of 1e-12."""
    x, y = batches_of(w, o.steps)
    with tempfile.TemporaryDirectory() as folder:
        data, (begin, out) = os.path.join(folder, "data.h5"), (os.path.join(folder, d) for d in ("begin", "run"))
        write_data(data, w, x, y)
        _, weights = train_ebb(w, o, data, begin, 1, 1e-12)
        losses, batches = {"ebb": train_ebb(w, o, data, out, o.steps, lr)[0]}, in_ebbs_order(w, x, y, o.steps)
        for way in "default", "channels-last":
            losses[f"torch-{way}"] = train_torch(w, way, weights, batches, lr)
        return losses


def draw_curves(path, name, losses, differences):
    columns = [losses["torch-default"], losses["ebb"], differences["ebb"], differences["torch-channels-last"]]
    rows = "\n".join(f"{i + 1} {' '.join(map(str, row))}" for i, row in enumerate(zip(*columns)))
    gnuplot(path, "1100,520", f"$losses << EOD\n{rows}\nEOD\nset xlabel 'step'; set multiplot layout 1,2\n"
            f"set ylabel '{name}: loss'; set key top right\n"
            "plot $losses using 1:2 with lines lw 6 lc rgb '#b9c4cb' title 'PyTorch', "
            "'' using 1:3 with lines lw 1.5 lc rgb '#c8553d' title 'Ebb, by reversal'\n"
            "set ylabel 'relative difference from the loss of PyTorch'; set logscale y; set format y '%.0e'\n"
            "set key bottom right\n"
            "plot $losses using 1:5 with linespoints pt 7 ps 0.5 lc rgb '#7d8f9b' title 'PyTorch, channels last', "
            "'' using 1:4 with linespoints pt 7 ps 0.5 lc rgb '#c8553d' title 'Ebb, by reversal'\nunset multiplot\n")


def curves(name, o):
    torch.set_num_threads(o.threads)
    w = WORKLOADS[name]
    lr = o.lr or w.lr
    losses = train_all(w, o, lr)
    expected = losses["torch-default"]
    differences = {trainer: [abs(a - b) / abs(b) for a, b in zip(losses[trainer], expected)] for trainer in losses}
    print(f"{name}, {o.steps} steps of SGD, rate {lr}: losses, and relative differences from torch-default's")
    print(f"{'step':>5} {'torch-default':>14} {'ebb':>12} {'difference':>12} {'torch-channels-last':>20} {'difference':>12}")
    for i in sorted({*range(min(10, o.steps)), *range(9, o.steps, 10), o.steps - 1}):
        print(f"{i + 1:5} {expected[i]:14.6f} {losses['ebb'][i]:12.6f} {differences['ebb'][i]:12.1e} "
              f"{losses['torch-channels-last'][i]:20.6f} {differences['torch-channels-last'][i]:12.1e}")
    for trainer in "ebb", "torch-channels-last":
        print(f"largest of the first {min(10, o.steps)}: {max(differences[trainer][:10]):.1e} {trainer}")
    if o.json:
        write_json(o.json, o, workload=name, lr=lr, losses=losses, relative_differences=differences)
    if o.png:
        draw_curves(o.png, name, losses, differences)


# ---- the command line ------------------------------------------------------------------------------------------------
def among(names):
    def read(text):
        for word in text.split(","):
            if word not in names:
                raise argparse.ArgumentTypeError(f"{word}: expected some of {', '.join(names)}")
        return text.split(",")
    return read


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workloads", type=among(WORKLOADS), default="revnet-38,revnet-110,stack-50,iunet-2d,iunet-3d-64",
                   metavar="NAMES", help=f"of {', '.join(WORKLOADS)}; without: all but the largest")
    p.add_argument("--contestants", type=among(CONTESTANTS), default=",".join(CONTESTANTS), metavar="NAMES",
                   help=f"of {', '.join(CONTESTANTS)}; without: all")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, help="measured in each process (3), or of --curves (60)")
    p.add_argument("--warmup", type=int, default=1, help="steps before the measured ones (1)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--ebb", default=os.path.join(ROOT, "build", "cli", "ebb"), help="the program (build/cli/ebb)")
    p.add_argument("--curves", choices=[name for name, w in WORKLOADS.items() if not w.flow], metavar="WORKLOAD", help="overlay the losses instead")
    p.add_argument("--lr", type=float, help="of --curves")
    p.add_argument("--json", metavar="OUT")
    p.add_argument("--png", metavar="OUT")
    p.add_argument("--child", nargs=2, metavar=("WORKLOAD", "WAY"), help=argparse.SUPPRESS)
    o = p.parse_args()
    o.steps = o.steps or (60 if o.curves else 3)
    return o


def compare(o):
    if not TCMALLOC:
        o.contestants = [c for c in o.contestants if not c.endswith("-tcmalloc")]
        print("no tcmalloc here, so PyTorch runs without (Debian: libtcmalloc-minimal4)")
    print(f"PyTorch {torch.__version__}, {o.threads} threads, {o.rounds} rounds of {o.steps} steps, contestants in turns")
    results = {}
    for name in o.workloads:
        results[name] = measure(name, o)
        show(name, results[name])
        if o.json:
            write_json(o.json, o, rounds=o.rounds, warmup=o.warmup, results=results)
    if o.png and any("median" in row for rows in results.values() for row in rows.values()):
        draw_measured(o.png, results, o.contestants)


def check(o):
    """Measuring takes minutes: what cannot be run or written is said before."""
    if not os.access(o.ebb, os.X_OK):
        sys.exit(f"compare_pytorch: expected the program {o.ebb}, found none\nhint: meson compile -C build")
    if o.png and not shutil.which("gnuplot"):
        sys.exit("compare_pytorch: --png: expected gnuplot, found none\nhint: scripts/setup (Debian: gnuplot-nox)")
    for path in filter(None, (o.json, o.png)):
        if not os.access(os.path.dirname(path) or ".", os.W_OK):
            sys.exit(f"compare_pytorch: {path}: expected a folder to write to, found none")


def main():
    o = arguments()
    if o.child:
        return torch_child(*o.child, o)
    check(o)
    if o.curves:
        return curves(o.curves, o)
    compare(o)


if __name__ == "__main__":
    main()
