"""Light and artefacts of prostate MRI: bias fields, gamma, windows, noise, 8-bit steps, a synthetic endorectal coil."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .parts import Part, View, chosen, light, on_some, per_image, uniform
from .photographs import blur, gaussian, gin, light_field


def intensity(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Gamma, and sometimes a random monotone curve, of scans scaled to 0..1 and above."""
    n = len(x)
    gamma = torch.exp(torch.randn(n, generator=g) * 0.35 * strength).view(n, 1, 1, 1).to(x.device)
    x = x.clamp_min(1e-4) ** gamma

    def bent(some: Tensor) -> Tensor:
        knots = torch.rand(len(some), 6, generator=g).cumsum(1)
        knots = torch.cat([torch.zeros(len(some), 1), knots / knots[:, -1:]], 1).to(x.device)  # (b, 7) rising 0..1
        at = some.clamp(0, 0.999) * 6
        low = at.long()
        table = knots[:, :, None].expand(-1, -1, at[0].numel())
        flat = low.flatten(1)[:, None]
        below, above = table.gather(1, flat)[:, 0], table.gather(1, flat + 1)[:, 0]
        return (below + (above - below) * (at - low).flatten(1)).view_as(at)

    return on_some(x, 0.3 * min(strength, 2), g, bent)


def bias_field(x: Tensor, strength: float, g: Generator) -> Tensor:
    """A smooth multiplicative receive field."""
    return x * light_field(len(x), x.shape[-1], 0.35 * strength, g).to(x.device)


def rician(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Magnitude noise of MR, and 8-bit steps, in some images."""

    def noisy(some: Tensor) -> Tensor:
        sd = uniform(len(some), 0.005, 0.06 * strength, g).view(-1, 1, 1, 1)
        real, imaginary = (torch.randn(some.shape, generator=g) * sd for _ in range(2))
        return ((some + real.to(x.device)) ** 2 + imaginary.to(x.device) ** 2).sqrt()

    return on_some(on_some(x, min(0.5 * strength, 0.9), g, noisy), 0.3 if strength else 0.0, g, _in_8_bits)


def _in_8_bits(x: Tensor) -> Tensor:
    top = x.amax((1, 2, 3), keepdim=True).clamp_min(1e-4)
    return torch.round(x / top * 255) / 255 * top


def sharpen(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Unsharp masking of a third of the images, as reconstruction filters do."""

    def sharper(some: Tensor) -> Tensor:
        amount = per_image(uniform(len(some), 0.3, 0.3 + 2.2 * strength, g), x)
        return (some + amount * (some - gaussian(some, uniform(len(some), 0.6, 2.0, g)))).clamp_min(0)

    return on_some(x, 0.35 if strength else 0.0, g, sharper)


def display_window(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Another contrast and brightness in a third of the images: a linear window that saturates at either end."""

    def windowed(some: Tensor) -> Tensor:
        top = some[:, :, ::2, ::2].flatten(1).quantile(0.99, 1).view(-1, 1, 1, 1)
        low = per_image(uniform(len(some), -0.1, 0.15 * strength, g), x) * top
        high = per_image(uniform(len(some), 0.5, 1.3, g), x) * top
        return ((some - low) / (high - low).clamp_min(1e-4)).clamp(0, 1)

    return on_some(x, 0.35 if strength else 0.0, g, windowed)


def _gland_box(target: Tensor) -> tuple[float, float, float] | None:
    """Lowest row, centre column and half width of the gland in -1..1, None where there is none."""
    ys, xs = torch.nonzero(target[0] > 0.5, as_tuple=True)
    if len(ys) < 20:
        return None
    size = target.shape[-1]
    return (
        float(ys.max()) / size * 2 - 1,
        float(xs.float().mean()) / size * 2 - 1,
        float(xs.max() - xs.min()) / size,
    )


def endorectal_coil(x: Tensor, target: Tensor, probability: float, g: Generator) -> tuple[Tensor, Tensor]:
    """A synthetic coil behind the gland: a dark balloon with a bright rim, tissue pushed forward, 1/r^2 gain.

    The balloon lies behind the gland's posterior border, two thirds of the time with tissue between (or in the lower
    middle where there is no gland); the gland is flattened and moved anteriorly by the warp; the gain falls with the
    distance from the balloon, and saturates.
    """
    rows = chosen(len(x), probability, g)
    if not len(rows):
        return x, target
    x, target = x.clone(), target.clone()
    size = x.shape[-1]
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    for row in rows.tolist():
        box = _gland_box(target[row])
        low, column, half = box or (float(uniform(1, -0.1, 0.3, g)), 0.0, float(uniform(1, 0.15, 0.3, g)))
        draw = torch.rand(9, generator=g).tolist()
        ry = half * (0.55 + 0.7 * draw[0])
        rx = ry * (0.9 + 0.5 * draw[1])
        between = half * max(0.0, 1.3 * draw[8] - 0.4)  # at the base, fat and seminal vesicles lie before the coil
        cy = low + ry * (0.85 + 0.25 * draw[2]) + between
        cx = column + (draw[3] - 0.5) * 0.15 * half
        radius = (((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2).sqrt()  # 1 on the balloon's wall
        # tissue inside r0 is pushed out to the wall: what is now at radius r came from where it was before
        push = (draw[4] * 0.7 + 0.2) * torch.exp(-(((radius - 1).clamp_min(0) / 0.6) ** 2))
        pull = 1 - push / radius.clamp_min(1.0)
        grid = torch.stack([cx + (xx - cx) * pull, cy + (yy - cy) * pull], -1)[None].to(x.device)
        both = F.grid_sample(torch.cat([x[row], target[row]])[None], grid, padding_mode="border", align_corners=False)
        image, label = both[0, :3], both[0, 3:]
        outside = torch.sigmoid((radius - 1) * 25).to(x.device)
        distance = ((yy - cy) ** 2 + (xx - cx) ** 2).sqrt() / half
        near = 0.3 + 0.5 * draw[5]
        gain = ((near**2 + 0.3) / (near**2 + (distance - ry / half).clamp_min(0) ** (1.5 + draw[6]))).to(x.device)
        floor = 0.02 + 0.25 * draw[7] ** 2
        rim = torch.exp(-(((radius - 1.08) / 0.1) ** 2)).to(x.device)
        image = image * (gain + floor) * outside + (0.5 + draw[6]) * rim * gain + 0.02 * (1 - outside)
        x[row] = image.clamp(max=float(image.quantile(0.998 - 0.02 * draw[3])))
        target[row] = label * outside
    return x, target


def drop_neighbours(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Some images with the middle slice in the place of its neighbours."""
    return on_some(x, probability, g, lambda some: some[:, 1:2].expand_as(some))


def _with_coil(view: View, probability: float, g: Generator) -> View:
    x, target = endorectal_coil(view.x, view.target, probability, g)
    return View(x, target, view.inside)


SCAN_PARTS = (
    light("colour", intensity),
    light("gin", gin),
    Part("coil", _with_coil),
    light("illumination", bias_field),
    light("blur", blur),
    light("sharpen", sharpen),
    light("window", display_window),
    light("noise", rician),
    light("drop_neighbours", drop_neighbours),
)
