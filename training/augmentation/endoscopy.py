"""What other endoscopes show: another hue, glints, blue dye, instruments, burned-in text, the scope's own border.

Parts of photographs, (B, C, H, W) in 0..1, for recipes of the colon; all strengths and ranges are chosen. Nothing of
another centre is used: everything is drawn.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .parts import Part, View, chosen, light, on_each_of_some, on_some, per_image, uniform
from .photographs import enlarge

YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB -> luminance and two chrominances (NTSC): hue is an angle in the plane of the latter two."""
RGB = torch.linalg.inv(YIQ)


def hue(x: Tensor, strength: float, g: Generator) -> Tensor:
    """The hue turned (rarely to anything at all) and the white balance shifted, in six of ten images."""

    def turned(some: Tensor) -> Tensor:
        n = len(some)
        angle = torch.randn(n, generator=g) * 0.2 * strength
        anything = torch.rand(n, generator=g) < 0.08 * strength
        angle = torch.where(anything, uniform(n, -math.pi, math.pi, g), angle)
        gains = torch.exp(torch.randn(n, 3, generator=g) * 0.2 * strength)
        gains = gains / gains.mean(1, keepdim=True)
        mix = hue_rotation(angle) * gains[:, :, None]
        return torch.einsum("bij,bjhw->bihw", mix.to(x.device, x.dtype), some).clamp(0, 1)

    return on_some(x, 0.6 if strength else 0.0, g, turned)


def hue_rotation(angle: Tensor) -> Tensor:
    """(B, 3, 3) matrices on RGB that turn the hue by angles (B,) in radians; luminance and greys stay."""
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([zero + 1, zero, zero, zero, c, -s, zero, s, c], 1).view(-1, 3, 3)
    return RGB @ turn @ YIQ


def coloured_light(x: Tensor, strength: float, g: Generator) -> Tensor:
    """A smooth light of another colour in every corner, in a third of the images."""

    def lit(some: Tensor) -> Tensor:
        coarse = torch.randn(len(some), 3, 3, 3, generator=g) * 0.15 * strength
        return (some * torch.exp(enlarge(coarse, x.shape[-1])).to(x.device)).clamp(0, 1)

    return on_some(x, 0.35 if strength else 0.0, g, lit)


def glints(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Small saturated reflections on what is lit, in clusters: wet mucosa under a lamp beside the camera."""
    size = x.shape[-1]

    def wet(some: Tensor) -> Tensor:
        n = len(some)
        k = int(torch.randint(24, 72, (1,), generator=g))
        fine = F.interpolate(torch.randn(n, 1, k, k, generator=g), (size, size), mode="bicubic", align_corners=False)
        clusters = enlarge(torch.randn(n, 1, 5, 5, generator=g), size)
        rare = uniform(n, 1.6, 2.4, g).view(n, 1, 1, 1)
        spots = torch.sigmoid((fine + 0.6 * clusters - rare) * 14).to(x.device) * (some.mean(1, keepdim=True) > 0.15)
        tint = 1 - 0.15 * torch.rand(n, 3, 1, 1, generator=g).to(x.device)
        return some + spots * (tint - some)

    return on_some(x, probability, g, wet).clamp(0, 1)


def dye(view: View, probability: float, g: Generator) -> View:
    """Blue contrast or lifted mucosa over part of some frames; the object is mostly spared."""
    rows = chosen(len(view.x), probability, g)
    if not len(rows):
        return view
    some, n = view.x[rows], len(rows)
    field = enlarge(torch.randn(n, 1, 4, 4, generator=g), some.shape[-1])
    edge, from_where = (uniform(n, *r, g).view(n, 1, 1, 1) for r in ((3.0, 20.0), (-0.5, 1.0)))
    amount = torch.sigmoid((field - from_where) * edge) * uniform(n, 0.4, 0.95, g).view(n, 1, 1, 1)
    spared = (torch.rand(n, generator=g) < 0.7).float().view(n, 1, 1, 1)
    amount = amount.to(some.device) * (1 - spared.to(some.device) * view.target[rows][:, :1])
    blue = torch.stack([uniform(n, *r, g) for r in ((0.15, 0.65), (0.5, 0.95), (0.75, 1.15))], 1)[..., None, None]
    blue = blue.to(some.device)
    grey = some.mean(1, keepdim=True).clamp(0, 1) ** per_image(uniform(n, 0.7, 1.3, g), some)
    through = per_image(uniform(n, 0, 0.5, g), some)
    x = view.x.clone()
    x[rows] = some * (1 - amount) + amount * blue * ((1 - through) * grey * 1.15 + through * some)
    return view._replace(x=x.clamp(0, 1))


def instrument(x: Tensor, probability: float, g: Generator) -> Tensor:
    """A rod from the frame's rim into some images, grey or coloured, lit along one side: forceps, snare, catheter."""
    axis = torch.linspace(-1, 1, x.shape[-1])
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")

    def held(one: Tensor) -> Tensor:
        draw = torch.rand(8, generator=g).tolist()
        start = torch.tensor([math.sin(2 * math.pi * draw[0]), math.cos(2 * math.pi * draw[0])]) * 1.45
        way = torch.tensor([draw[1] - 0.5, draw[2] - 0.5]) * 1.2 - start
        length, half = float(way.norm()), 0.02 + 0.07 * draw[3]
        way = way / length
        along = (yy - start[0]) * way[0] + (xx - start[1]) * way[1]
        across = ((yy - start[0]) * way[1] - (xx - start[1]) * way[0]) / half  # -1..1 on the rod
        on = ((across.abs() < 1) & (along < length)).float()
        shade = (0.25 + 0.6 * draw[4]) * (1 - 0.6 * across.abs().clamp(max=1))
        shade = shade + 0.25 * torch.exp(-(((across - 0.3) / 0.2) ** 2))
        metal = torch.tensor([1.0, 0.97 + 0.06 * (draw[5] - 0.5), 0.95 + 0.2 * (draw[6] - 0.5)])
        tint = metal if draw[7] < 0.7 else torch.rand(3, generator=g)
        rod = (shade[None] * tint[:, None, None]).clamp(0, 1)[None]
        return one * (1 - on.to(x.device)) + (on * rod).to(x.device)

    return on_each_of_some(x, probability, g, held)


def overlay(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Rows of burned-in text near the rim of some images, often with a black or coloured inset in a corner."""

    def written(one: Tensor) -> Tensor:
        one = one.clone()
        for _ in range(int(torch.randint(1, 6, (1,), generator=g))):
            _write_row(one, g)
        if torch.rand(1, generator=g) < 0.4:
            _draw_inset(one, g)
        return one

    return on_each_of_some(x, probability, g, written)


def _write_row(one: Tensor, g: Generator) -> None:
    """One row of made-up glyphs into (1, 3, s, s), in place."""
    size = one.shape[-1]
    height, letters = (int(torch.randint(low, high, (1,), generator=g)) for low, high in ((5, 11), (3, 17)))
    glyphs = (torch.rand(1, 1, 5, letters * 4, generator=g) < 0.5).float()
    glyphs[..., 3::4] = 0  # the space between two letters
    row = F.interpolate(glyphs, (height, letters * max(2, height * 2 // 3 - 1)))[0, 0]
    at = torch.rand(3, generator=g).tolist()
    left = at[2] < 0.7  # in a column at the left, else along the upper or lower rim
    y = int((at[0] if left else (0.02 if at[1] < 0.5 else 0.93)) * (size - height - 1))
    x0 = int((at[1] * 0.12 if left else at[0]) * size)
    row = row[:, : size - x0].to(one.device)
    colour = torch.ones(3) if torch.rand(1, generator=g) < 0.7 else torch.rand(3, generator=g)
    part = one[0, :, y : y + row.shape[0], x0 : x0 + row.shape[1]]
    part.copy_(part * (1 - row) + row * colour.to(one.device)[:, None, None])


def _draw_inset(one: Tensor, g: Generator) -> None:
    """One box in a corner of (1, 3, s, s), in place."""
    size = one.shape[-1]
    draw = torch.rand(5, generator=g).tolist()
    h, w = int(size * (0.15 + 0.25 * draw[0])), int(size * (0.15 + 0.25 * draw[1]))
    y, x = (0 if draw[2] < 0.3 else size - h), (0 if draw[3] < 0.7 else size - w)
    fill = torch.zeros(3) if draw[4] < 0.4 else torch.rand(3, generator=g)
    one[0, :, y : y + h, x : x + w] = fill.to(one.device)[:, None, None]


def scope_border(view: View, probability: float, g: Generator) -> View:
    """The lit field of some frames cut to an octagon, a circle or a rectangle, which keeps most of the object."""
    rows = chosen(len(view.x), probability, g)
    if not len(rows):
        return view
    x, target, size = view.x.clone(), view.target.clone(), view.x.shape[-1]
    for row in rows.tolist():
        keep, black = _lit_field(size, g)
        keep = keep.to(x.device)
        there = target[row, 0] > 0.5
        if not there.any() or (there & keep).sum() > 0.85 * there.sum():
            x[row] = torch.where(keep, x[row], black)
            target[row] = target[row] * keep
    return View(x, target, view.inside)


def _lit_field(size: int, g: Generator) -> tuple[Tensor, float]:
    """(s, s) bool of what a scope lights, and the grey of the rest."""
    draw = torch.rand(6, generator=g).tolist()
    axis = torch.linspace(-1, 1, size)
    u = ((axis[:, None] - (draw[0] - 0.5) * 0.15) / (0.8 + 0.3 * draw[2])).abs()
    v = ((axis[None] - (draw[1] - 0.3) * 0.3) / (0.7 + 0.4 * draw[3])).abs()
    box = (u < 1) & (v < 1)
    octagon, disc = u + v < 1.25 + 0.4 * draw[5], u * u + v * v < 1.05 + 0.5 * draw[5]
    return box & (octagon if draw[4] < 0.55 else disc if draw[4] < 0.8 else box), 0.03 * draw[5]


BEFORE_LIGHT = (
    Part("dye", dye),
    light("glints", glints),
    light("instruments", instrument),
)
"""What lies in the scene: the scope's light and colour fall on it."""
AFTER_LIGHT = (Part("scope_border", scope_border), light("overlay", overlay))
"""What the processor draws on the picture."""
COLOURS = (light("hue", coloured_light), light("hue", hue))
