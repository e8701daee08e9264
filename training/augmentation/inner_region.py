"""Cups of every size from few eyes: the inner region grown or shrunk inside the fixed border of the outer one.

A source has a narrow range of cups, and a student learns that range as a habit: small cups are drawn too large, large
ones too small. Here an eye's cup gets a ratio drawn evenly; pixels and targets move together along rays from the cup's
centre, so that vessels bend at the cup's border only, as they do in eyes. Everything here is chosen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .parts import chosen, uniform

ANGLES, STEPS = 64, 64
REACH = 0.5
"""Length of a ray in half cache sides: twice the radius of a disc in its region of interest."""
FACTORS = (0.3, 2.3)
"""Least and greatest change of the ratio: further, the texture is no longer an eye's."""
SHARES = (0.06, 0.94)
"""Least and greatest share of the inner region along a ray."""
BLUR = (-0.08, -0.04, 0.0, 0.04, 0.08)
"""Offsets, in outer radii, over which the change of scale at the borders is averaged: no visible kink."""
FEWEST = 30


class Rays(NamedTuple):
    """centre (2,) x, y in -1..1 of the cache; outer (A,): radius of the outer border by angle; share (A,): the inner
    border's part of it; ratio: of the vertical extents."""

    centre: Tensor
    outer: Tensor
    share: Tensor
    ratio: float


def resized_inside(
    grid: Tensor, targets: Tensor, probability: float, ratios: tuple[float, float], g: Generator
) -> Tensor:
    """Sampling positions (B, s, s, 2) that give some images another inner region; the outer border stays.

    grid: positions x, y in -1..1 of the cache. targets: (B, 2, c, c) outer and inner region on the cache, 0..1. The
    vertical ratio is drawn evenly from `ratios`; images without an inner region stay as they are.
    """
    out = grid.clone()
    for row in chosen(len(grid), probability, g).tolist():
        wanted = float(uniform(1, *ratios, g))
        rays = rays_of(targets[row].cpu())
        if rays is not None:
            out[row] = moved_along(grid[row], rays, wanted)
    return out


def rays_of(target: Tensor) -> Rays | None:
    """Both borders of a target (2, c, c) as radii around the inner region's centre; None where that is too small."""
    outer, inner = target > 0.5
    if int(inner.sum()) < FEWEST:
        return None
    ys, xs = torch.nonzero(inner, as_tuple=True)
    centre = (torch.stack([xs.float().mean(), ys.float().mean()]) + 0.5) * 2 / target.shape[-1] - 1
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    length = (torch.arange(STEPS) + 0.5) / STEPS * REACH
    along = centre + length[None, :, None] * torch.stack([angle.cos(), angle.sin()], -1)[:, None]  # (A, S, 2)
    seen = F.grid_sample(torch.stack([outer, inner]).float()[None], along[None], align_corners=False)[0]
    reach = (seen.mean(-1) * REACH).clamp_min(0.01)  # (2, A)
    reach = torch.stack([reach.roll(k, 1) for k in (-2, -1, 0, 1, 2)]).mean(0)
    rows = torch.nonzero(outer.any(1))[:, 0]
    ratio = float(ys.max() - ys.min() + 1) / float(rows.max() - rows.min() + 1)
    return Rays(centre, reach[0], (reach[1] / reach[0]).clamp(0.05, 0.95), ratio)


def moved_along(grid: Tensor, rays: Rays, wanted: float) -> Tensor:
    """Positions (s, s, 2) from which an image with the ratio `wanted` is sampled."""
    factor = min(max(wanted / rays.ratio, FACTORS[0]), FACTORS[1])
    away = grid - rays.centre
    turn = torch.atan2(away[..., 1], away[..., 0]) / (2 * math.pi) * ANGLES
    low = turn.floor()
    first, second, mix = low.long() % ANGLES, (low.long() + 1) % ANGLES, turn - low

    def at_angle(values: Tensor) -> Tensor:
        return values[first] * (1 - mix) + values[second] * mix

    share, wished = at_angle(rays.share), at_angle((rays.share * factor).clamp(*SHARES))
    rho = away.norm(dim=-1).clamp_min(1e-5) / at_angle(rays.outer)  # 1 on the outer border
    source = torch.stack([source_radius(rho + offset, share, wished) for offset in BLUR]).mean(0)
    return rays.centre + away * torch.where(rho < 1.2, source / rho, 1.0)[..., None]


def source_radius(rho: Tensor, share: Tensor, wished: Tensor) -> Tensor:
    """Where the radius `rho` is taken from when the inner border moves from `share` to `wished`; all in outer radii.

    Linear inside the inner border and in the rim, the identity beyond the outer border; odd in rho.
    """
    size = rho.abs()
    rim = share + (size - wished) * (1 - share) / (1 - wished)
    return rho.sign() * torch.where(size <= wished, size * share / wished, torch.where(size < 1, rim, size))
