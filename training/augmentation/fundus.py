"""What the fundus adds to photographs: pale patches beside the disc, and cups paler or less pale than they are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .parts import Part, View, chosen, per_image, uniform
from .photographs import enlarge

PALLOR = (-0.5, 1.3)
"""How far the inner region's colour goes towards the rim's: 1 = their means are equal, below 0 = further away."""


def pallor(view: View, probability: float, g: Generator) -> View:
    """The inner region's mean colour moved towards the rim's, or away from it: the border is more than a change of
    brightness. Views with another number of regions than two stay as they are. [chosen]"""
    rows = chosen(len(view.x), probability, g)
    if not len(rows) or view.target.shape[1] != 2:
        return view
    outer, inner = view.target[rows, :1], view.target[rows, 1:]
    rim, some, x = (outer - inner).clamp_min(0), view.x[rows], view.x.clone()
    there, here = _mean_colour(some, rim), _mean_colour(some, inner)
    amount = per_image(uniform(len(rows), *PALLOR, g), x) * (rim.sum((2, 3), keepdim=True) > 50)
    x[rows] = (some + amount * F.avg_pool2d(inner, 9, 1, 4) * (there - here)).clamp(0, 1)
    return view._replace(x=x)


def _mean_colour(x: Tensor, weight: Tensor) -> Tensor:
    """(B, 3, 1, 1) of x (B, 3, h, w) under a weight (B, 1, h, w)."""
    return (x * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1)


def patches(view: View, probability: float, g: Generator) -> View:
    """Atrophy, exudates, glare: one to four soft patches in the image's brightest colours, under the object, never over
    it; two in five touch it. [chosen]"""
    rows = chosen(len(view.x), probability, g)
    if not len(rows):
        return view
    x = view.x.clone()
    for row in rows.tolist():
        free = 1 - view.target[row, :1]
        pale = torch.quantile(x[row, :, ::4, ::4].flatten(1), 0.97, dim=1)[:, None, None]
        for _ in range(int(torch.randint(1, 5, (1,), generator=g))):
            weight = patch_shape(view.target[row, 0] > 0.5, g).to(x.device) * free
            tint = pale * torch.exp(0.25 * torch.randn(1, generator=g) + 0.1 * torch.randn(3, 1, 1, generator=g))
            texture = 1 + 0.08 * enlarge(torch.randn(1, 1, 12, 12, generator=g), x.shape[-1])[0]
            x[row] = x[row] * (1 - weight) + (tint.clamp(0, 1) * texture).to(x.device) * weight
    return view._replace(x=x.clamp(0, 1))


def patch_shape(mask: Tensor, g: Generator) -> Tensor:
    """Weight (s, s) in 0..1 of one soft, wobbly ellipse: anywhere, or near a pixel of `mask` (s, s)."""
    size = mask.shape[-1]
    middle = torch.rand(2, generator=g)
    near = torch.nonzero(mask)
    if float(torch.rand(1, generator=g)) < 0.4 and len(near):
        pick = near[int(torch.randint(len(near), (1,), generator=g))].cpu() / size
        middle = pick + 0.1 * torch.randn(2, generator=g)
    large = float(torch.rand(1, generator=g)) < 0.5
    a, b = uniform(2, 0.06, 0.3, g) if large else uniform(2, 0.01, 0.05, g)
    turn = float(uniform(1, 0, math.pi, g))
    axis = (torch.arange(size) + 0.5) / size
    dy, dx = axis[:, None] - middle[0], axis[None] - middle[1]
    u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
    radius = ((u / a) ** 2 + (v / b) ** 2).sqrt()
    wobble = 1 + 0.25 * enlarge(torch.randn(1, 1, 5, 5, generator=g), size)[0, 0]
    return torch.sigmoid((wobble - radius) * float(uniform(1, 4, 20, g))) * float(uniform(1, 0.4, 1.0, g))


FUNDUS_PARTS = (Part("pallor", pallor), Part("patches", patches))
"""Before light and colour, which then treat the whole picture alike."""
