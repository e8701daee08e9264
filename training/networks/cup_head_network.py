"""The cup head's network: first stages of a mobile network and a light decoder on an unwrapped disc.

Per angle it says where the border of the cup lies, as a distribution over bins of the radius: the cup is one piece and
inside the disc by construction. Everything here is chosen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.network.disc_polar import RADII, REACH

from .student import fix_same_padding, mobilenet

BINS = 24
"""Bins of the disc's radius (chosen: the decoder's finest columns that lie inside the disc)."""
WRAP = 8
"""Rows repeated on either side, so that the first angle is the last one's neighbour (chosen)."""
SPREAD = 0.4
"""Deviation each channel of each disc is brought to (chosen: what an ImageNet start expects, whatever the camera)."""
WIDTHS = {
    "mobilenetv2_100": (16, 24, 32),
    "tf_efficientnet_lite0": (16, 24, 40),
    "tf_efficientnet_lite2": (16, 24, 48),
}
"""Networks of timm that a head may start from: channels of their blocks 0, 1 and 2, strides 2, 4 and 8."""


@dataclass(frozen=True)
class HeadShape:
    """start: one of `WIDTHS`. channels: of the decoder. deep: of the dilated blocks before it."""

    start: str = "mobilenetv2_100"
    channels: int = 32
    deep: int = 48

    def __post_init__(self) -> None:
        if self.start not in WIDTHS:
            raise ValueError(f"a cup head cannot start from '{self.start}'; expected one of {', '.join(WIDTHS)}")

    def facts(self) -> dict[str, Any]:
        """What a file says of it."""
        return {"encoder_start": self.start, "head_shape": asdict(self)}


def shape_of(extra: dict[str, Any]) -> HeadShape:
    """The shape that a file's `extra` says; files that say none have the first."""
    return HeadShape(**extra.get("head_shape", {}))


class Block(nn.Module):
    """3x3 convolution, dilated, BatchNorm, its input added, ReLU."""

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn(self.conv(x)))


class CupHeadNetwork(nn.Module):
    """(B, 3, A, RADII) in 0..1 -> (B, A / 2, BINS): log-probability that the cup's border lies in each bin.

    init_weights: None (random), 'imagenet', or a file of timm's network that the shape names. The stem and block 0
    never learn.
    """

    def __init__(self, init_weights: str | None = None, shape: HeadShape = HeadShape()):
        super().__init__()
        assert RADII / REACH == 2 * BINS
        full = mobilenet(init_weights, shape.start)
        widths, channels, deep = WIDTHS[shape.start], shape.channels, shape.deep
        self.stem = nn.Sequential(full.conv_stem, full.bn1)  # type: ignore[arg-type]
        self.stages = nn.ModuleList(list(full.blocks)[:3])  # type: ignore[arg-type]
        fix_same_padding(self)
        first = nn.Conv2d(widths[2], deep, 1, bias=False), nn.BatchNorm2d(deep), nn.ReLU()
        self.deep = nn.Sequential(*first, Block(deep), Block(deep, 2))
        self.whole = nn.Linear(deep, channels)
        self.laterals = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in (widths[0], widths[1], deep))
        self.smooth = nn.ModuleList(Block(channels) for _ in range(2))
        self.drop = nn.Dropout2d(0.1)
        self.last = nn.Conv2d(channels, 1, 1)
        self.prior = nn.Parameter(torch.zeros(BINS))

    def train(self, mode: bool = True) -> CupHeadNetwork:
        """As usual, but the stem and block 0 keep weights and statistics."""
        super().train(mode)
        for part in (self.stem, self.stages[0]):
            part.eval().requires_grad_(False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        maps, x = [], self.stem(_levelled(x))
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        deep = self.deep(maps[2])
        y = self.laterals[2](self.drop(deep)) + self.whole(deep.mean((2, 3)))[:, :, None, None]
        for level in (1, 0):
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = self.smooth[1 - level](self.laterals[level](maps[level]) + y)
        edge = WRAP // 2
        return (self.last(y)[:, 0, edge:-edge, :BINS] + self.prior).log_softmax(-1)


def _levelled(x: Tensor) -> Tensor:
    """Each channel of each disc at mean 0 and deviation `SPREAD`, wrapped around by `WRAP` rows."""
    x = x - x.mean((2, 3), keepdim=True)
    x = x / x.square().mean((2, 3), keepdim=True).sqrt().clamp_min(0.02) * SPREAD
    return torch.cat([x[:, :, -WRAP:], x, x[:, :, :WRAP]], 2)


def inside_cup(log_border: Tensor) -> Tensor:
    """(B, A, BINS): how likely the middle of each bin lies in the cup."""
    p = log_border.exp()
    return (p.flip(-1).cumsum(-1).flip(-1) - 0.5 * p).clamp(1e-4, 1 - 1e-4)


def expected_share(log_border: Tensor) -> Tensor:
    """(B, A) expected share of the disc's radius."""
    return (log_border.exp() * (torch.arange(BINS, device=log_border.device) + 0.5) / BINS).sum(-1)
