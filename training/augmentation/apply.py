"""Single-domain augmentation, batched in torch on the student's device; every part is its own function.

Photometric parts take and give (B, C, H, W) in 0..1; each draws per image from a CPU generator, so that a run is the
same on every device. `Augmenter` composes them as an AugmentSpec says. All strengths and ranges are chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.recipes.train import AugmentSpec

from .inner_region import resized_inside
from .order import PHOTOGRAPH_PARTS
from .parts import View, apply_parts, uniform
from .photographs import enlarge
from .scans import SCAN_PARTS


@dataclass
class Batch:
    """One step's views, all of the same geometry.

    image: (B, 3, s, s) normalised, style-augmented. clean: the same without photometric change, None unless asked
    for. target: (B, R, s, s) in 0..1. inside: (B, 1, s, s) bool, False on padding. known: (B, 1, s, s) float,
    0 where the image is not annotated. index: (B,) rows of the ImageSet.
    theta: (B, 2, 3) grid -> cache affine, for warping cached teacher maps. frame: (B, 3, c, c), the cache itself before
    geometry. share: side of the deployed view over the side of the cache, mean.
    """

    image: Tensor
    clean: Tensor | None
    target: Tensor
    inside: Tensor
    known: Tensor
    index: Tensor
    theta: Tensor
    frame: Tensor | None = None
    share: float = 1.0


def draw_theta(view: Tensor, centre: Tensor, spec: AugmentSpec, g: Generator) -> Tensor:
    """(B, 2, 3) affine maps from the network's grid to the cache, both in -1..1, centre 0.

    view: (B,) side of the deployed view over the side of the cache. centre: (B, 2) of the object, the fixed point of
    zooming in. Zoom is drawn log-uniformly: a factor of 2 shows the object twice as large.
    """
    n = len(view)
    angle = uniform(n, -spec.rotate_deg, spec.rotate_deg, g) * math.pi / 180
    zoom = torch.exp(uniform(n, math.log(spec.scale[0]), math.log(spec.scale[1]), g))
    stretch = torch.exp(uniform(n, -spec.aspect, spec.aspect, g) / 2)
    mirror = torch.where((torch.rand(n, generator=g) < 0.5) & torch.tensor(spec.flip), -1.0, 1.0)
    side = view.cpu() / zoom
    shift = uniform(2 * n, -spec.shift, spec.shift, g).view(n, 2) * 2 * side[:, None]
    shift = shift + centre.cpu() * (1 - side / view.cpu()).clamp_min(0)[:, None]
    cos, sin = angle.cos() * side, angle.sin() * side
    rows = [
        torch.stack([cos * stretch * mirror, -sin / stretch, shift[:, 0]], 1),
        torch.stack([sin * stretch * mirror, cos / stretch, shift[:, 1]], 1),
    ]
    return torch.stack(rows, 1)  # (B, 2, 3)


def elastic_field(n: int, size: int, strength: float, g: Generator) -> Tensor:
    """(B, size, size, 2) smooth displacement in grid units (-1..1 spans the frame), random on a 5 x 5 lattice."""
    coarse = torch.randn(n, 2, 5, 5, generator=g) * 0.06 * strength
    return enlarge(coarse, size).permute(0, 2, 3, 1)


def sampling_grid(theta: Tensor, size: int, displacement: Tensor | None = None) -> Tensor:
    """(B, size, size, 2) sampling positions for grid_sample; `displacement` in grid units, before the affine map."""
    n = len(theta)
    base = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), [n, 1, size, size], align_corners=False)
    if displacement is not None:
        base = base + displacement.cpu()
    return base.flatten(1, 2).bmm(theta[:, :, :2].transpose(1, 2)).view(n, size, size, 2) + theta[:, None, None, :, 2]


def normalise_batch(x: Tensor, spec: InputSpec, inside: Tensor) -> Tensor:
    """engine.normalise on a batch: x (B, 3, s, s) in 0..1 (photographs) or any unit (volumes), inside (B, 1, s, s)."""
    if spec.normalisation == "rgb_half":
        return x * 2 - 1
    out = torch.empty_like(x)
    for frame, mask, put in zip(x, inside[:, 0], out):
        middle = frame[1][mask] if mask.any() else frame[1].flatten()
        some = middle[:: max(1, len(middle) // 16384)]  # percentiles of a sample: within a grey level of the whole
        low, high = torch.quantile(some, torch.tensor([0.002, 0.998], device=x.device)).tolist()
        clipped = middle.clamp(low, high)
        mean, sd = clipped.mean(), clipped.std(unbiased=False).clamp_min(1e-6)
        put.copy_((frame.clamp(low, high) - mean) / sd)
        put[:, ~mask] = ((low - mean) / sd).to(put.dtype)
    return out


class Augmenter:
    """Rows of an image set -> a Batch. Geometry first, one sampling for image and target; then light and colour."""

    def __init__(self, spec: AugmentSpec, input_spec: InputSpec, volume: bool, regions: int):
        self.spec, self.input, self.volume, self.regions = spec, input_spec, volume, regions
        self.parts = SCAN_PARTS if volume else PHOTOGRAPH_PARTS

    def __call__(
        self,
        cache: Tensor,
        view: Tensor,
        centre: Tensor,
        index: Tensor,
        g: Generator,
        want_clean: bool = False,
        fov_mm: Tensor | None = None,
    ) -> Batch:
        """cache (B, 3 + R [+ 1], c, c) in 0..1: pixels, region targets, and where annotated if not everywhere."""
        spec, size = self.spec, self.input.size
        if self.volume and spec.fov_mm is not None:
            view = self.drawn_view(view, fov_mm, g)
        theta = draw_theta(view, centre, spec, g)
        bend = elastic_field(len(view), size, spec.elastic, g) if spec.elastic else None
        grid = sampling_grid(theta, size, bend)
        if spec.inner and self.regions == 2:
            grid = resized_inside(grid, cache[:, 3:5], spec.inner, spec.inner_ratio, g)
        inside = (grid.abs().amax(-1) <= 1)[:, None].to(cache.device)  # (B, 1, s, s)
        both = self._sampled(cache, theta, grid)
        x, target, known = both[:, :3], both[:, 3 : 3 + self.regions], both[:, 3 + self.regions :]
        known = ((known > 0.5) | ~inside).float() if known.shape[1] else torch.ones_like(target[:, :1])
        clean = normalise_batch(x, self.input, inside) if want_clean else None
        styled, target, inside = apply_parts(self.parts, View(x, target, inside), spec, g)
        styled = styled * inside
        image = normalise_batch(styled, self.input, inside)
        share = float(view.mean())
        return Batch(image, clean, target.clamp(0, 1), inside, known, index, theta, cache[:, :3], share)

    def _sampled(self, cache: Tensor, theta: Tensor, grid: Tensor) -> Tensor:
        """The cache on the grid; rows shown much smaller are averaged down first, so that nothing aliases."""
        step = theta[:, :, :2].norm(dim=1).amax(1) * cache.shape[-1] / self.input.size  # (B,) cache pixels per pixel
        far = step > 1.5
        if not far.any():
            return F.grid_sample(cache, grid.to(cache.device), align_corners=False)
        out = cache.new_empty(len(cache), cache.shape[1], *grid.shape[1:3])
        for rows, source in ((~far, cache), (far, None)):
            if rows.any():
                part = cache[rows] if source is not None else F.avg_pool2d(cache[rows], 2)
                out[rows] = F.grid_sample(part, grid[rows].to(cache.device), align_corners=False)
        return out

    def drawn_view(self, view: Tensor, fov_mm: Tensor | None, g: Generator) -> Tensor:
        """A field of view in mm drawn log-uniformly; slices of unknown spacing keep their own."""
        limits = self.spec.fov_mm or (100.0, 400.0)
        low, high = (math.log(v) for v in limits)
        drawn = torch.exp(uniform(len(view), low, high, g))
        fov = torch.full((len(view),), math.nan) if fov_mm is None else fov_mm.cpu()
        return torch.where(torch.isnan(fov), view.cpu(), drawn / fov)
