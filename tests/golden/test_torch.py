#!/usr/bin/python3
"""test_torch.py -- the oracle: PyTorch computes what the engine computed.

The networks are written here anew, as plain modules that autograd differentiates, after the papers and the description of
the RevNet authors' code and MemCNN's; they share nothing with the engine but the names of their parameters. `golden` writes
what the engine makes of random images (golden.c); here it is compared with the same in float64, so that what differs is the
engine's own rounding; PyTorch's in float32 stands beside it.

Bounds: logits 1e-5 and gradients 1e-4, each relative to the largest entry of its tensor; running statistics 1e-5;
weights after three steps of SGD 1e-5. Of flows the logits are z, and each sample's negative log-likelihood is within 1e-5 of its
own; the noise that makes real values of grey levels is the engine's, and from there on everything is compared.
usage: test_torch.py PATH/TO/golden [CASE ...]
"""
import math
import os
import subprocess
import sys
import tempfile

SKIPPED = 77
try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    print("SKIP: python3-torch is not installed (scripts/setup --peers)")
    sys.exit(SKIPPED)
try:
    import h5py
except ImportError:
    print("SKIP: python3-h5py is not installed (scripts/setup --peers)")
    sys.exit(SKIPPED)

LOGITS, GRADIENTS, STATISTICS, WEIGHTS, LIKELIHOOD = 1e-5, 1e-4, 1e-5, 1e-5, 1e-5


# ---- networks --------------------------------------------------------------------------------------------------------
class Details:
    """Where the RevNet authors' code and MemCNN differ."""

    def __init__(self, variant, bottleneck):
        self.memcnn = variant == "memcnn"
        self.bottleneck = bottleneck

    def norm(self, channels):
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1) if self.memcnn else \
            nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


NEAREST = []


def relu(x):
    """Notes how near a value comes to the kink. There the derivative jumps, and rounding decides on which side one is: one
    value on the other side changes gradients by 1e-4 to 1e-2, in PyTorch's float32 as well."""
    if torch.is_grad_enabled():
        NEAREST.append(x.detach().abs().min().item())
    return F.relu(x)


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Path(nn.Module):
    """[BN-ReLU]-3x3-BN-ReLU-3x3, or [BN-ReLU]-1x1-BN-ReLU-3x3-BN-ReLU-1x1 with a quarter of the width inside."""

    def __init__(self, d, inputs, outputs, stride, first_norm):
        super().__init__()
        self.norm1 = d.norm(inputs) if first_norm else None
        if d.bottleneck:
            inner = outputs // 4
            self.conv1 = conv(inputs, inner, 1, 1 if d.memcnn else stride)
            self.norm2 = d.norm(inner)
            self.conv2 = conv(inner, inner, 3, stride if d.memcnn else 1)
            self.norm3 = d.norm(inner)
            self.conv3 = conv(inner, outputs, 1)
        else:
            self.conv1 = conv(inputs, outputs, 3, stride)
            self.norm2 = d.norm(outputs)
            self.conv2 = conv(outputs, outputs, 3)
            self.conv3 = None

    def forward(self, x):
        if self.norm1:
            x = relu(self.norm1(x))
        x = self.conv2(relu(self.norm2(self.conv1(x))))
        return self.conv3(relu(self.norm3(x))) if self.conv3 else x


class Projection(nn.Module):
    """A strided 1x1 convolution; MemCNN's with batch norm."""

    def __init__(self, d, inputs, outputs, stride):
        super().__init__()
        self.conv = conv(inputs, outputs, 1, stride)
        self.norm = d.norm(outputs) if d.memcnn else None

    def forward(self, x):
        return self.norm(self.conv(x)) if self.norm else self.conv(x)


class Widen(nn.Module):
    """The authors' shortcut without parameters: mean pool, then zero channels equally on both sides."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x):
        x = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        return F.pad(x, (0, 0, 0, 0, self.pad, self.pad))


def shortcut(d, inputs, outputs, stride):
    return Projection(d, inputs, outputs, stride) if d.bottleneck else Widen(inputs, outputs, stride)


class Coupled(nn.Module):
    """y1 = A(x1) + F(x2), y2 = B(x2) + G(y1); A and B are the identity where the shape stays."""

    def __init__(self, d, inputs, outputs, stride, after_stem):
        super().__init__()
        changes = stride != 1 or inputs != outputs
        self.a = shortcut(d, inputs // 2, outputs // 2, stride) if changes else nn.Identity()
        self.b = shortcut(d, inputs // 2, outputs // 2, stride) if changes else nn.Identity()
        self.f = Path(d, inputs // 2, outputs // 2, stride, first_norm=not after_stem)
        self.g = Path(d, outputs // 2, outputs // 2, 1, first_norm=not (after_stem and d.memcnn))

    def forward(self, x):
        x1, x2 = x.chunk(2, 1)
        y1 = self.a(x1) + self.f(x2)
        return torch.cat((y1, self.b(x2) + self.g(y1)), 1)


class Residual(nn.Module):
    """y = A(x) + F(x)."""

    def __init__(self, d, inputs, outputs, stride, after_stem, projected):
        super().__init__()
        self.a = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.a = Projection(d, inputs, outputs, stride) if projected else Widen(inputs, outputs, stride)
        self.f = Path(d, inputs, outputs, stride, first_norm=not after_stem)

    def forward(self, x):
        return self.a(x) + self.f(x)


class Network(nn.Module):
    def __init__(self, d, reversible, units, widths, classes=10):
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module("conv", conv(3, widths[0], 3))
        self.stem.add_module("norm", d.norm(widths[0]))
        self.stages = []
        for number, count in enumerate(units):
            stage = nn.Module()
            for i in range(count):
                inputs = widths[number] if i == 0 else widths[number + 1]
                stride = 2 if number > 0 and i == 0 else 1
                stage.add_module(str(i), self.unit(d, reversible, inputs, widths[number + 1], stride, number == i == 0))
            self.add_module("stage%d" % (number + 1), stage)
            self.stages.append(list(stage.children()))
        self.head = nn.Sequential()
        self.head.add_module("norm", d.norm(widths[-1]))
        self.head.add_module("linear", nn.Linear(widths[-1], classes))

    @staticmethod
    def unit(d, reversible, inputs, outputs, stride, after_stem):
        changes = stride != 1 or inputs != outputs
        if reversible and not (d.memcnn and changes):
            return Coupled(d, inputs, outputs, stride, after_stem)
        return Residual(d, inputs, outputs, stride, after_stem, projected=d.memcnn or d.bottleneck)

    def forward(self, x):
        x = relu(self.stem(x))
        for stage in self.stages:
            for unit in stage:
                x = unit(x)
        return self.head.linear(relu(self.head.norm(x)).mean((2, 3)))


class Stack(nn.Module):
    """3x3, then couplings of BN-ReLU-3x3 on halves."""

    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.norm = nn.BatchNorm2d(channels)
            self.conv = conv(channels, channels, 3)

        def forward(self, x):
            return self.conv(relu(self.norm(x)))

    def __init__(self, depth, width=64, classes=10):
        super().__init__()
        self.depth = depth
        self.stem = conv(3, width, 3)
        for i in range(depth):
            block = nn.Module()
            block.f, block.g = Stack.Half(width // 2), Stack.Half(width // 2)
            self.add_module("block%d" % i, block)
        self.head = nn.Sequential()
        self.head.add_module("norm", nn.BatchNorm2d(width))
        self.head.add_module("linear", nn.Linear(width, classes))

    def forward(self, x):
        x1, x2 = self.stem(x).chunk(2, 1)
        for i in range(self.depth):
            block = getattr(self, "block%d" % i)
            x1 = x1 + block.f(x2)
            x2 = x2 + block.g(x1)
        return self.head.linear(relu(self.head.norm(torch.cat((x1, x2), 1))).mean((2, 3)))


def leaky(x):
    if torch.is_grad_enabled():
        NEAREST.append(x.detach().abs().min().item())
    return F.leaky_relu(x, 0.01)


class Block(nn.Module):
    """depth times 3x3, instance norm, leaky ReLU; inside as wide as the wider end."""

    def __init__(self, inputs, outputs, depth=2):
        super().__init__()
        self.depth, hidden = depth, max(inputs, outputs)
        for i in range(depth):
            ends = inputs if i == 0 else hidden, outputs if i == depth - 1 else hidden
            self.add_module("conv%d" % i, conv(ends[0], ends[1], 3))
            self.add_module("norm%d" % i, nn.InstanceNorm2d(ends[1], affine=True))

    def forward(self, x):
        for i in range(self.depth):
            x = leaky(getattr(self, "norm%d" % i)(getattr(self, "conv%d" % i)(x)))
        return x


class Orthogonal(nn.Module):
    """M from W, one matrix or one a group: e^A or (I + A)^-1 (I - A), A = W - W^T."""

    def __init__(self, shape, how):
        super().__init__()
        self.weight, self.how = nn.Parameter(torch.zeros(shape)), how

    def matrix(self):
        a = self.weight - self.weight.transpose(-1, -2)
        one = torch.eye(a.shape[-1], dtype=a.dtype)
        return torch.matrix_exp(a) if self.how == "exponential" else torch.linalg.solve(one + a, one - a)


class IUNet(nn.Module):
    """iUNets 0.1: couplings y = [x2 | x1 + F(x2)] whose halves change places; the first channels skip, the others are mixed
    patch by patch, channel by channel; mixing behind the last coupling on the way down and the first on the way up."""

    def __init__(self, channels, blocks, how, classes=10):
        super().__init__()
        self.channels, self.blocks, self.skip, self.how = [channels[0]], blocks, [], how
        for wanted in channels[1:]:
            c = self.channels[-1]
            self.skip.append(max(1, round(c * (4 - wanted / c) / 4)))
            self.channels.append(4 * (c - self.skip[-1]))
        self.stem, self.body = nn.Conv2d(3, channels[0], 3, 1, 1), nn.Module()
        for level, c in enumerate(self.channels):
            last = level + 1 == len(self.channels)
            for way in "encoder", "decoder":
                part = nn.Module()
                for j in range(blocks[level]):
                    coupling = nn.Module()
                    out = c // 2 if j % 2 == 0 else c - c // 2
                    coupling.f = Block(c - out, out)
                    part.add_module(str(j), coupling)
                if not last:
                    part.mixing = Orthogonal((c, c), "cayley")
                self.body.add_module(way + str(level), part)
            if not last:
                for way in "down", "up":
                    part = nn.Module()
                    part.resample = Orthogonal((c - self.skip[level], 4, 4), how)
                    self.body.add_module(way + str(level), part)
        self.head = nn.Conv2d(channels[0], classes, 1)

    def couplings(self, x, way, level):
        part, count = getattr(self.body, way + str(level)), self.blocks[level]
        for j in range(count):
            f = getattr(part, str(j)).f
            out = x.shape[1] // 2 if j % 2 == 0 else x.shape[1] - x.shape[1] // 2
            x = torch.cat((x[:, out:], x[:, :out] + f(x[:, out:])), 1)
            if hasattr(part, "mixing") and j == (count - 1 if way == "encoder" else 0):
                x = torch.einsum("rk,nkhw->nrhw", part.mixing.matrix(), x)
        return x

    def level(self, x, level):
        x = self.couplings(x, "encoder", level)
        if level + 1 < len(self.channels):
            skip, rest = x[:, :self.skip[level]], x[:, self.skip[level]:]
            n, c, h, w = rest.shape
            patches = rest.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, c, 4, h // 2, w // 2)
            down = torch.einsum("crk,nckhw->ncrhw", getattr(self.body, "down%d" % level).resample.matrix(), patches)
            y = self.level(down.reshape(n, 4 * c, h // 2, w // 2), level + 1).reshape(n, c, 4, h // 2, w // 2)
            up = torch.einsum("crk,ncrhw->nckhw", getattr(self.body, "up%d" % level).resample.matrix(), y)
            up = up.reshape(n, c, 2, 2, h // 2, w // 2).permute(0, 1, 4, 2, 5, 3).reshape(n, c, h, w)
            x = torch.cat((skip, up), 1)
        return self.couplings(x, "decoder", level)

    def forward(self, x):
        return self.head(self.level(self.stem(x), 0)).permute(0, 2, 3, 1)


class UNet(nn.Module):
    """Ronneberger et al. 2015, with instance norm, leaky ReLU and padding; max pool 2, transposed convolution 2."""

    def __init__(self, channels, classes=10):
        super().__init__()
        self.count = len(channels)
        for i, c in enumerate(channels):
            self.add_module("encoder%d" % i, self.block(channels[i - 1] if i else 3, c))
            if i + 1 < self.count:
                self.add_module("up%d" % i, nn.ConvTranspose2d(channels[i + 1], c, 2, 2))
                self.add_module("decoder%d" % i, self.block(2 * c, c))
        self.head = nn.Conv2d(channels[0], classes, 1)

    @staticmethod
    def block(inputs, outputs):
        block = Block(inputs, outputs)
        block.conv0 = conv(inputs, outputs, 3)
        block.norm0 = nn.InstanceNorm2d(outputs, affine=True)
        block.conv1 = conv(outputs, outputs, 3)
        return block

    def level(self, x, i):
        x = getattr(self, "encoder%d" % i)(x)
        if i + 1 == self.count:
            return x
        below = getattr(self, "up%d" % i)(self.level(F.max_pool2d(x, 2), i + 1))
        return getattr(self, "decoder%d" % i)(torch.cat((x, below), 1))

    def forward(self, x):
        return self.head(self.level(x, 0)).permute(0, 2, 3, 1)


class RevUNet(nn.Module):
    """Bruegger et al. 2019: F/G couplings of group norm, leaky ReLU, 3x3 within levels; max pool 2, 1x1 down and up, linear
    interpolation and a sum between them."""

    def __init__(self, channels, classes=10):
        super().__init__()
        self.count = len(channels)
        self.stem = conv(3, channels[0], 3)
        for i, c in enumerate(channels):
            for way in ("encoder", "decoder") if i + 1 < self.count else ("encoder",):
                coupling, part = nn.Module(), nn.Module()
                for path in "f", "g":
                    block = nn.Module()
                    block.norm = nn.GroupNorm(GROUPS, c // 2)
                    block.conv = conv(c // 2, c // 2, 3)
                    coupling.add_module(path, block)
                part.add_module("0", coupling)
                self.add_module(way + str(i), part)
            if i + 1 < self.count:
                self.add_module("down%d" % i, nn.Conv2d(c, channels[i + 1], 1))
                self.add_module("up%d" % i, nn.Conv2d(channels[i + 1], c, 1))
        self.head = nn.Conv2d(channels[0], classes, 1)

    def coupling(self, x, name):
        part = getattr(getattr(self, name), "0")

        def path(block, y):
            return block.conv(leaky(block.norm(y)))
        x1, x2 = x.chunk(2, 1)
        x1 = x1 + path(part.f, x2)
        return torch.cat((x1, x2 + path(part.g, x1)), 1)

    def level(self, x, i):
        x = self.coupling(x, "encoder%d" % i)
        if i + 1 == self.count:
            return x
        below = self.level(getattr(self, "down%d" % i)(F.max_pool2d(x, 2)), i + 1)
        below = F.interpolate(getattr(self, "up%d" % i)(below), scale_factor=2, mode="bilinear", align_corners=False)
        return self.coupling(x + below, "decoder%d" % i)

    def forward(self, x):
        return self.head(self.level(self.stem(x), 0)).permute(0, 2, 3, 1)


# ---- normalizing flows -----------------------------------------------------------------------------------------------
class Flow(nn.Module):
    """z of grey levels to which noise was added, in the shape of the images; `logdet` of each sample."""

    def forward(self, x):
        y, logdet = self.spread(x / 256)
        z, more = self.transform(y)
        self.logdet = logdet + more - x[0].numel() * math.log(256)
        return z.permute(0, 2, 3, 1)

    def nll(self, z):
        """- log N(z; 0, 1) - log|det dz/dx|"""
        return -torch.distributions.Normal(0, 1).log_prob(z).sum((1, 2, 3)) - self.logdet


def total(x):
    return x.sum((1, 2, 3))


class ActNorm(nn.Module):
    """Kingma and Dhariwal 2018: (x + b) e^(3 s)."""

    def __init__(self, channels):
        super().__init__()
        self.bias, self.logs = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return (x + self.bias[:, None, None]) * torch.exp(3 * self.logs)[:, None, None]

    def logdet(self, x):
        return 3 * x.shape[2] * x.shape[3] * self.logs.sum()


def squeeze(x):
    """2x2 patches, read row by row, become four channels in each channel's place."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x):
    return F.pixel_shuffle(x, 2)


def squeeze_diagonals(x):
    """All channels of the patches' first sites, then of those diagonally across; then of the other two."""
    return torch.cat((x[:, :, ::2, ::2], x[:, :, 1::2, 1::2], x[:, :, ::2, 1::2], x[:, :, 1::2, ::2]), 1)


def unsqueeze_diagonals(y):
    n, c, h, w = y.shape
    x = y.new_zeros(n, c // 4, 2 * h, 2 * w)
    x[:, :, ::2, ::2], x[:, :, 1::2, 1::2], x[:, :, ::2, 1::2], x[:, :, 1::2, ::2] = y.chunk(4, 1)
    return x


class RealNVP(Flow):
    """Dinh et al. 2017, figure 4 and section 4.1, with an actnorm before each coupling. y = b x + (1 - b) (x + t(b x)) e^s(b x)."""

    class Net(nn.Module):
        """3x3, residual blocks, BN-ReLU-1x1; s is the tanh of the one half times a learned factor, t the other half."""

        def __init__(self, inputs, outputs, width, blocks):
            super().__init__()
            self.stem, self.blocks = conv(inputs, width, 3), blocks
            for i in range(blocks):
                block = nn.Module()
                block.norm1, block.conv1 = nn.BatchNorm2d(width), conv(width, width, 3)
                block.norm2, block.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
                self.add_module("block%d" % i, block)
            self.norm, self.head, self.limit = nn.BatchNorm2d(width), nn.Conv2d(width, 2 * outputs, 1), nn.Module()
            self.limit.weight = nn.Parameter(torch.ones(outputs))

        def forward(self, x):
            x = self.stem(x)
            for i in range(self.blocks):
                block = getattr(self, "block%d" % i)
                x = x + block.conv2(relu(block.norm2(block.conv1(relu(block.norm1(x))))))
            s, t = self.head(relu(self.norm(x))).chunk(2, 1)
            return self.limit.weight[:, None, None] * torch.tanh(s), t

    def __init__(self, channels, levels, width, blocks):
        super().__init__()
        self.levels, self.level0 = levels, self.level(0, levels, channels, width, blocks)

    def level(self, number, levels, channels, width, blocks):
        level, last = nn.Module(), number + 1 == levels
        for i in range(4 if last else 3):
            level.add_module("step%d" % i, self.step(channels, channels, width, blocks))
        if not last:
            for i in range(3, 6):
                level.add_module("step%d" % i, self.step(4 * channels, 2 * channels, 2 * width, blocks))
            level.add_module("level%d" % (number + 1), self.level(number + 1, levels, 2 * channels, 2 * width, blocks))
        return level

    def step(self, channels, outputs, width, blocks):
        step = nn.Module()
        step.norm, step.net = ActNorm(channels), self.Net(outputs, outputs, width, blocks)
        return step

    def board(self, step, x, stays):
        """Sites whose coordinates' sum is even (stays == 0) or odd (1) stay, and condition the others."""
        rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
        b = ((rows + columns) % 2 == stays).to(x.dtype)
        y = step.norm(x)
        s, t = step.net(b * y)
        return b * y + (1 - b) * (y + t) * torch.exp(s), step.norm.logdet(x) + total((1 - b) * s)

    def halves(self, step, x, first):
        """The first half of the channels, or the second, is transformed, conditioned on the other."""
        y1, y2 = step.norm(x).chunk(2, 1)
        s, t = step.net(y2 if first else y1)
        y = ((y1 + t) * torch.exp(s), y2) if first else (y1, (y2 + t) * torch.exp(s))
        return torch.cat(y, 1), step.norm.logdet(x) + total(s)

    def scale(self, level, number, x):
        logdet, last = 0, number + 1 == self.levels
        for i in range(4 if last else 3):
            x, more = self.board(getattr(level, "step%d" % i), x, i % 2)
            logdet = logdet + more
        if last:
            return x, logdet
        x = squeeze(x)
        for i in range(3):
            x, more = self.halves(getattr(level, "step%d" % (3 + i)), x, i % 2 == 1)
            logdet = logdet + more
        stays, goes_on = squeeze_diagonals(unsqueeze(x)).chunk(2, 1)
        z, more = self.scale(getattr(level, "level%d" % (number + 1)), number + 1, goes_on)
        return unsqueeze_diagonals(torch.cat((stays, z), 1)), logdet + more

    def transform(self, x):
        return self.scale(self.level0, 0, x)

    def spread(self, v):
        """logit(a + (1 - 2 a) v), a = 0.05: its derivative is (1 - 2 a) / (p (1 - p))."""
        p = 0.05 + 0.9 * v
        return torch.log(p / (1 - p)), total(math.log(0.9) - torch.log(p) - torch.log(1 - p))


class Glow(Flow):
    """Kingma and Dhariwal 2018, section 3, and figure 2: squeeze, K times actnorm, invertible 1x1 convolution and coupling, then
    half of the channels become N(0, 1) by what the other half tells of their mean and spread, and the other half is the next
    level; of the last level all become so, by what zeros tell."""

    class ZeroConv(nn.Module):
        """3x3 with a scale and shift of its own. In 3x3 convolutions a channel more is 1 on the padding and 0 elsewhere."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.zero, self.edge, self.scale = conv(inputs, outputs, 3), conv(1, outputs, 3), ActNorm(outputs)

        @staticmethod
        def padded(x, own, edge):
            around = F.pad(torch.zeros_like(x[:, :1]), (1, 1, 1, 1), value=1)
            return F.conv2d(torch.cat((F.pad(x, (1, 1, 1, 1)), around), 1), torch.cat((own.weight, edge.weight), 1))

        def forward(self, x):
            return self.scale(self.padded(x, self.zero, self.edge))

    class Net(ZeroConv):
        """3x3, 1x1 and 3x3; of an affine coupling s is log sigmoid(. + 2), or between -2 and 2 (Ardizzone et al. 2019, Eq. 4)."""

        def __init__(self, inputs, outputs, width, scale):
            super().__init__(width, outputs)
            self.law = scale
            self.conv1, self.edge1, self.norm1 = conv(inputs, width, 3), conv(1, width, 3), ActNorm(width)
            self.conv2, self.norm2 = conv(width, width, 1), ActNorm(width)

        def forward(self, x):
            x = relu(self.norm1(self.padded(x, self.conv1, self.edge1)))
            x = super().forward(relu(self.norm2(self.conv2(x))))
            if self.law == "additive":
                return torch.zeros_like(x), x
            s, t = x.chunk(2, 1)
            return F.logsigmoid(s + 2) if self.law == "sigmoid" else 4 / math.pi * torch.atan(s / 2), t

    def __init__(self, channels, levels, steps, width, scale):
        super().__init__()
        self.levels, self.steps = levels, steps
        self.level0 = self.level(0, 4 * channels, width, scale)

    def level(self, number, channels, width, scale):
        level = nn.Module()
        for i in range(self.steps):
            step = nn.Module()
            step.norm, step.mix = ActNorm(channels), conv(channels, channels, 1)
            step.net = self.Net(channels // 2, channels // 2 if scale == "additive" else channels, width, scale)
            level.add_module("step%d" % i, step)
        if number + 1 == self.levels:
            level.prior = self.ZeroConv(channels, 2 * channels)
        else:
            level.prior = self.ZeroConv(channels // 2, channels)
            level.add_module("level%d" % (number + 1), self.level(number + 1, 2 * channels, width, scale))
        return level

    def step(self, step, x):
        sites = x.shape[2] * x.shape[3]
        logdet = step.norm.logdet(x) + sites * torch.linalg.slogdet(step.mix.weight[:, :, 0, 0])[1]
        x1, x2 = step.mix(step.norm(x)).chunk(2, 1)
        s, t = step.net(x1)
        return torch.cat((x1, (x2 + t) * torch.exp(s)), 1), logdet + total(s)

    def scale(self, level, number, x):
        x, logdet = squeeze(x), 0
        for i in range(self.steps):
            x, more = self.step(getattr(level, "step%d" % i), x)
            logdet = logdet + more
        if number + 1 == self.levels:
            s, t = level.prior(torch.zeros_like(x)).chunk(2, 1)
            return unsqueeze((x + t) * torch.exp(s)), logdet + total(s)
        stays, goes_on = x.chunk(2, 1)
        s, t = level.prior(goes_on).chunk(2, 1)
        z, more = self.scale(getattr(level, "level%d" % (number + 1)), number + 1, goes_on)
        return unsqueeze(torch.cat(((stays + t) * torch.exp(s), z), 1)), logdet + total(s) + more

    def transform(self, x):
        return self.scale(self.level0, 0, x)

    def spread(self, v):
        return v - 0.5, 0


# ---- cases: network, its own options, options of training ------------------------------------------------------------
BASIC, WIDE = [32, 32, 64, 112], [32, 64, 128, 256]


def case(network, variant, widths, **train):
    return network, variant, widths, train


# Seeds are such that no value comes nearer to a kink than rounding could carry it across (see `relu`).
CASES = {
    "revnet-memcnn": case("revnet-38", "memcnn", BASIC, seed=30, momentum=0.9, decay=2e-4),
    "revnet-authors": case("revnet-38", "authors", BASIC, seed=42, momentum=0.9, nesterov=True, decay=1e-2),
    "revnet-bottleneck-memcnn": case("revnet-164", "memcnn", WIDE, seed=18, momentum=0.9, decay=1e-2, decay_all=True),
    "revnet-bottleneck-authors": case("revnet-164", "authors", WIDE, seed=29, momentum=0.9, smoothing=0.1),
    "resnet-memcnn": case("resnet-32", "memcnn", [16, 16, 32, 64], seed=12, momentum=0.9, nesterov=True, smoothing=0.1),
    "resnet-authors": case("resnet-32", "authors", [16, 16, 32, 64], seed=1, momentum=0.5, clip=0.5),
    "resnet-bottleneck-memcnn": case("resnet-164", "memcnn", [16, 64, 128, 256], seed=48, momentum=0.9, decay=1e-2),
    "resnet-bottleneck-authors": case("resnet-164", "authors", [16, 64, 128, 256], seed=2, momentum=0.9, nesterov=True),
    "iunet-cayley": case("iunet", "cayley", [6, 12, 24], seed=1, momentum=0.9),
    "iunet-exponential": case("iunet", "exponential", [7, 15, 20], seed=2, momentum=0.9),
    "unet": case("unet", None, [6, 12, 24], seed=3, momentum=0.9),
    "revunet": case("revunet", None, [8, 16, 24], seed=1, momentum=0.9),
    "stack": case("stack", None, [64], seed=6, momentum=0.9),
    # With a usual epsilon the first steps are the signs of gradients, those of rounding too.
    "adam": case("stack", None, [64], seed=34, optimizer="adam", decay=1e-2, epsilon=1e-2),
    "adamw": case("stack", None, [64], seed=28, optimizer="adamw", decay=1e-1, beta1=0.8, epsilon=1e-2),
    "adamax": case("stack", None, [64], seed=13, optimizer="adamax", decay=1e-2, epsilon=1e-1),
    # Gradients of a likelihood are large: they are cut, or the first step would end all.
    "realnvp-reverse": case("realnvp", "reverse", [8], seed=4, momentum=0.9, clip=1),
    "realnvp-store": case("realnvp", "store", [8], seed=2, momentum=0.9, clip=1),
    "glow-clamp": case("glow", "clamp", [8], seed=1, momentum=0.9, clip=1),
    "glow-sigmoid": case("glow", "sigmoid", [8], seed=1, momentum=0.9, clip=1),
    "glow-additive": case("glow", "additive", [8], seed=1, momentum=0.9, clip=1),
}
UNITS, DEPTH, LR, BLOCKS, GROUPS, SCALES, RESIDUALS, LEVELS, STEPS = [2, 2, 2], 6, 0.02, [2, 3, 1], 2, 3, 1, 2, 3


def make(network, variant, widths):
    if network == "stack":
        return Stack(DEPTH)
    if network == "iunet":
        return IUNet(widths, BLOCKS, variant)
    if network == "unet":
        return UNet(widths)
    if network == "revunet":
        return RevUNet(widths)
    if network == "realnvp":
        return RealNVP(3, SCALES, widths[0], RESIDUALS)
    if network == "glow":
        return Glow(3, LEVELS, STEPS, widths[0], variant)
    return Network(Details(variant, "164" in network), network.startswith("revnet"), UNITS, widths)


def words(network, variant, widths, train):
    def listed(values):
        return ",".join(map(str, values))

    if network == "stack":
        own = ["depth=%d" % DEPTH]
    elif network == "iunet":
        own = ["resample=" + variant, "channels=" + listed(widths), "blocks=" + listed(BLOCKS)]
    elif network == "unet":
        own = ["channels=" + listed(widths)]
    elif network == "realnvp":
        own = ["levels=%d" % SCALES, "width=%d" % widths[0], "blocks=%d" % RESIDUALS, "run.backward=" + variant]
    elif network == "glow":
        own = ["levels=%d" % LEVELS, "steps=%d" % STEPS, "width=%d" % widths[0],
               "coupling=additive" if variant == "additive" else "scale=" + variant,
               "run.backward=" + ("store" if variant == "additive" else "reverse")]
    elif network == "revunet":
        own = ["channels=" + listed(widths), "groups=%d" % GROUPS]
    else:
        own = ["variant=" + variant, "units=" + listed(UNITS), "widths=" + listed(widths)]
    return own + ["train.lr=%g" % LR, "train.decay=%g" % train.get("decay", 0)] + \
        ["train.%s=%s" % (k, str(v).lower()) for k, v in train.items() if k != "decay"]


# ---- the oracle's side -----------------------------------------------------------------------------------------------
def tensors(group):
    return {name: torch.from_numpy(group[name][()]) for name in group}


def load(model, values):
    own = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    if set(own) != set(values):
        raise SystemExit("names differ: %s" % sorted(set(own) ^ set(values)))
    model.load_state_dict(values, strict=False)


def optimizer_of(model, train):
    decay = train.get("decay", 0)
    kernels = [p for p in model.parameters() if p.dim() > 1 or train.get("decay_all")]
    others = [p for p in model.parameters() if not (p.dim() > 1 or train.get("decay_all"))]
    groups = [{"params": kernels, "weight_decay": decay}] + ([{"params": others, "weight_decay": 0}] if others else [])
    kin = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adamax": torch.optim.Adamax}.get(train.get("optimizer"))
    if kin:
        return kin(groups, lr=LR, betas=(train.get("beta1", 0.9), 0.999), eps=train["epsilon"])
    return torch.optim.SGD(groups, lr=LR, momentum=train["momentum"], nesterov=train.get("nesterov", False))


def results(model, y, when=""):
    """The logits; of a flow also what its likelihood is made of."""
    out = {when + "logits": y.detach()}
    if isinstance(model, Flow):
        out.update({when + "nll": model.nll(y).detach(), when + "logdet": model.logdet.detach()})
    return out


def evaluate(model, x, when):
    model.eval()
    with torch.no_grad():
        out = results(model, model(x), when)
    model.train()
    return out


def statistics(model):
    return {k: v.clone() for k, v in model.named_buffers() if not k.endswith("num_batches_tracked")}


def inputs(file, noise, precision):
    """Images in PyTorch's order; a flow's with the noise, of which evaluations have their own, for the first batch."""
    x = torch.from_numpy(file["input"][()]).to(precision)
    if noise in file:
        u = torch.from_numpy(file[noise][()]).to(precision)
        x = x[:len(u)] + u
    return x.permute(0, 1, 4, 2, 3).contiguous()


def loss_of(model, y, labels, train):
    if isinstance(model, Flow):
        return model.nll(y).mean()
    return F.cross_entropy(y.reshape(-1, y.shape[-1]), labels.reshape(-1), label_smoothing=train.get("smoothing", 0))


def compute(model, file, train, precision):
    """Everything golden.c writes, by autograd."""
    model.to(precision)
    load(model, tensors(file["model"]))
    model.train()
    x, x_eval = inputs(file, "noise", precision), inputs(file, "eval_noise", precision)[0]
    labels = torch.from_numpy(file["labels"][()]).long()
    optimizer, out = optimizer_of(model, train), {}
    for k in range(len(x)):
        optimizer.zero_grad()
        images = x[k].requires_grad_()
        y = model(images)
        loss = loss_of(model, y, labels[k], train)
        loss.backward()
        if k == 0:
            out.update({"loss": loss.detach().reshape(1), **results(model, y), **evaluate(model, x_eval, "eval_")})
            out["input_gradients"] = images.grad.permute(0, 2, 3, 1)[None]
            out.update({"gradients/" + n: p.grad.clone() for n, p in model.named_parameters()})
            out.update({"state/" + n: v for n, v in statistics(model).items()})
        if "clip" in train:
            nn.utils.clip_grad_norm_(model.parameters(), train["clip"])
        optimizer.step()
    out.update({"trained/" + n: p.detach().clone() for n, p in model.named_parameters()})
    out.update({"trained/" + n: v for n, v in statistics(model).items()})
    out.update(evaluate(model, x_eval, "trained_eval_"))
    return out


# ---- comparing -------------------------------------------------------------------------------------------------------
def bound(name):
    if "gradients" in name:
        return GRADIENTS
    if "running_" in name:
        return STATISTICS
    if name.endswith("nll"):
        return LIKELIHOOD
    return WEIGHTS if name.startswith("trained/") else LOGITS


def kind(name):
    return "running statistics" if "running_" in name else name.split("/")[0]


def error(found, expected, scale):
    return ((found.double() - expected).abs() / scale).max().item()


def scales(oracle):
    """The largest entry of each tensor; of likelihoods each itself. Where the oracle has zero but for rounding (the bias of a norm that another norm
    follows, and centres again, has no gradient), the largest of all tensors of its group, over 100."""
    own = {name: v.abs().max().item() for name, v in oracle.items()}
    group = {}
    for name, largest in own.items():
        group[name.split("/")[0]] = max(largest, group.get(name.split("/")[0], 0))
    largest = {n: v if v > 1e-10 * group[n.split("/")[0]] else 1e-2 * group[n.split("/")[0]] for n, v in own.items()}
    return {n: oracle[n].abs() if n.endswith("nll") else v for n, v in largest.items()}


def compare(file, oracle, single):
    """Prints the worst of each kind, with PyTorch's own in float32; returns what is out of bounds."""
    worst, missed, scale = {}, [], scales(oracle)
    for name, expected in oracle.items():
        e, own = (error(v, expected, scale[name]) for v in (torch.from_numpy(file[name][()]), single[name]))
        if not e <= bound(name):
            missed.append("%s: %.2e, allowed %.0e" % (name, e, bound(name)))
        k = worst.setdefault(kind(name), [0, 0, ""])
        if not e <= k[0]:
            k[0], k[2] = e, name
        k[1] = max(k[1], own)
    for k, (e, own, name) in worst.items():
        print("  %-20s %.1e (PyTorch in float32: %.1e)%s" % (k, e, own, "  " + name if "/" in name else ""))
    return missed


def run(golden, name, folder):
    network, variant, widths, train = CASES[name]
    path = os.path.join(folder, name + ".h5")
    subprocess.run([golden, path, network] + words(network, variant, widths, train), check=True)
    print("%s %s" % (name, train))
    with h5py.File(path, "r") as file:
        NEAREST.clear()
        oracle = compute(make(network, variant, widths), file, train, torch.float64)
        print("  %-20s %.1e" % ("nearest to a kink", min(NEAREST)))
        single = compute(make(network, variant, widths), file, train, torch.float32)
        return [name + ": " + text for text in compare(file, oracle, single)]


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__.rsplit("\n", 2)[1])
    torch.set_num_threads(2)
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2:] or CASES:
            missed += run(sys.argv[1], name, folder)
    for text in missed:
        print("OUT OF BOUNDS " + text)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
