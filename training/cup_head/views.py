"""Unwrapped discs to learn from: borders as a student might have drawn them, cups of every ratio, other cameras' light.

Everything here is chosen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_tinymig.network.disc_polar import ANGLES, RADII, REACH

from ..augmentation import photographs as light
from ..augmentation.fundus import pallor
from ..augmentation.inner_region import source_radius
from ..augmentation.parts import View, on_some, uniform
from ..networks.cup_head_network import BINS
from .eyes import Eyes

JITTER = 0.06
"""Largest change of the disc's radius: 12 % of its area, what predicted discs miss on other cameras (chosen)."""
RATIOS = (0.2, 0.85)
FACTORS = (0.35, 2.2)
"""Least and greatest change of a cup's share: further, the texture is no longer an eye's (chosen)."""
SMOOTH = (-0.06, -0.03, 0.0, 0.03, 0.06)
"""Offsets, in radii of the disc, over which the warp's kink is averaged (chosen: vessels bend, they do not break)."""


def angles() -> Tensor:
    """(ANGLES,) in radians."""
    return (torch.arange(ANGLES) + 0.5) * (2 * math.pi / ANGLES)


def radii() -> Tensor:
    """(RADII,) in radii of the disc."""
    return (torch.arange(RADII) + 0.5) / RADII * REACH


def positions(centre: Tensor, border: Tensor, rho: Tensor) -> Tensor:
    """Sampling positions (B, A, R, 2) of radii rho (B, A, R) around centres (B, 2) inside borders (B, A)."""
    turn = torch.stack([angles().cos(), angles().sin()], -1)
    return centre[:, None, None] + (rho * border[..., None])[..., None] * turn[None, :, None]


def views(eyes: Eyes, g: Generator, warp: float) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, 3, ANGLES, RADII), target (B, ANGLES / 2, BINS) in 0..1 and border (B, ANGLES) of one augmented batch.

    warp: part of the eyes whose cup gets another ratio, drawn evenly from `RATIOS`.
    """
    centre, border = _jittered(eyes, g)
    rho = _warped(eyes, centre, border, warp, g)
    both = F.grid_sample(torch.cat([eyes.crops, eyes.cups], 1), positions(centre, border, rho), align_corners=False)
    x, cup = _styled(both[:, :3], both[:, 3:], g), both[:, 3, :, : 2 * BINS]
    target = cup.reshape(len(x), ANGLES // 2, 2, BINS, 2).mean((2, 4))
    turn = int(torch.randint(0, ANGLES // 2, (1,), generator=g))
    x, target, border = x.roll(2 * turn, 2), target.roll(turn, 1), border.roll(2 * turn, 1)
    if torch.rand(1, generator=g) < 0.5:
        x, target, border = x.flip(2), target.flip(1), border.flip(1)
    return x, target, border


def _jittered(eyes: Eyes, g: Generator) -> tuple[Tensor, Tensor]:
    """centre (B, 2) and border (B, A) in another size, moved and stretched a little."""
    n = len(eyes.crops)
    size = uniform(n, -JITTER, JITTER, g)
    wave = torch.randn(n, 2, 2, generator=g) * 0.02
    extra = torch.zeros(n, ANGLES)
    for k in range(2):
        extra += wave[:, k, :1] * torch.cos((k + 2) * angles()) + wave[:, k, 1:] * torch.sin((k + 2) * angles())
    shift = torch.randn(n, 2, generator=g) * 0.02 * eyes.border.mean(1, keepdim=True)
    along = shift @ torch.stack([angles().cos(), angles().sin()])
    return eyes.centre + shift, (eyes.border - along) * torch.exp(size[:, None] + extra)


def _warped(eyes: Eyes, centre: Tensor, border: Tensor, warp: float, g: Generator) -> Tensor:
    """(B, A, R) radii to sample from, so that some cups get another ratio inside the same border."""
    n = len(eyes.crops)
    plain = radii().expand(n, ANGLES, RADII)
    cup = F.grid_sample(eyes.cups, positions(centre, border, plain), align_corners=False)[:, 0] > 0.5
    share = (cup.float().mean(-1) * REACH).clamp(0.08, 0.92)
    share = torch.stack([share.roll(k, 1) for k in range(-2, 3)]).mean(0)
    ratio = share.mean(1)
    drawn = uniform(n, *RATIOS, g).maximum(ratio * FACTORS[0]).minimum(ratio * FACTORS[1]).clamp_max(0.9)
    keep = (torch.rand(n, generator=g) >= warp) | (cup.sum((1, 2)) < 50)
    offset = torch.where(keep, 0.0, torch.logit(drawn) - torch.logit(ratio))
    lean = torch.randn(n, 2, generator=g) * 0.15 * (~keep)[:, None]
    bend = lean[:, :1] * torch.cos(angles()) + lean[:, 1:] * torch.sin(angles())
    wanted = torch.sigmoid(torch.logit(share) + offset[:, None] + bend).clamp(0.06, 0.94)
    moved = torch.stack([source_radius(plain + b, share[..., None], wanted[..., None]) for b in SMOOTH]).mean(0)
    return torch.where(keep[:, None, None] | (plain >= 1.2), plain, moved)


def _styled(x: Tensor, cup: Tensor, g: Generator) -> Tensor:
    """Pallor, Fourier mixing, GIN, uneven light, colour, sharpness and noise, as photographs get them."""
    outer = (radii() < 1).float().expand_as(cup)
    x = pallor(View(x, torch.cat([outer, cup], 1), outer.bool()), 0.4, g).x
    x = light.gin(light.fourier_mix(x, 0.2, g), 0.15, g)
    x = on_some(x, 0.5, g, lambda some: some * _uneven(len(some), g)).clamp(0, 1)
    x = light.grey_world(light.colour(x, 1.2, g), g)
    return light.noise(light.blur(x, 1.2, g), 1.0, g)


def _uneven(n: int, g: Generator) -> Tensor:
    """(n, 1, ANGLES, RADII) smooth multiplicative light, closed around the disc."""
    coarse = torch.randn(n, 1, 5, 3, generator=g) * 0.2
    coarse = torch.cat([coarse, coarse[:, :, :1]], 2)
    return torch.exp(F.interpolate(coarse, (ANGLES, RADII), mode="bicubic", align_corners=True))
