"""Batches for the prompted student: any object, zoomed and turned, in any light, with a starting mask or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .objects import ObjectFrames

TRIES = 6


@dataclass
class Batch:
    """images (B, 3, s, s) in -1..1; truth (B, 1, s, s) 0/1; start (B, s, s) bool, a mask to mend."""

    images: Tensor
    truth: Tensor
    start: NDArray[np.bool_]


class PromptBatches:
    """Draws batches of `size` crops; the same seed gives the same ones.

    drawn: share of crops in which a drawn shape is the object. regions: share of natural regions among the others.
    """

    def __init__(
        self, frames: ObjectFrames, size: int, batch: int, seed: int, drawn: float = 0.15, regions: float = 0.25
    ):
        self.frames, self.size, self.batch = frames, size, batch
        self.drawn, self.regions = drawn, regions
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)
        self._objects = np.flatnonzero(frames.is_object)
        self._pictures = np.flatnonzero(~frames.is_object)

    def draw(self) -> Batch:
        """One batch."""
        rows, masks = zip(*(self._one() for _ in range(self.batch)))
        images = torch.from_numpy(self.frames.images[list(rows)]).permute(0, 3, 1, 2).float()
        truth = torch.from_numpy(np.stack(masks)).float()[:, None]
        images, truth = self._crop(images, truth)
        images = self._light(images / 127.5 - 1)
        images, truth = self._draw_shapes(images, truth)
        start = self._damaged(truth)
        return Batch(images, truth, start)

    def _one(self) -> tuple[int, NDArray[np.bool_]]:
        """A frame's row and the object in it: the annotated one, or some neighbouring natural regions together."""
        rng, frames = self.rng, self.frames
        if len(self._pictures) and (rng.random() < self.regions or not len(self._objects)):
            for _ in range(TRIES):
                row = int(rng.choice(self._pictures))
                mask = self._merged(frames.regions[row])
                if 300 < mask.sum() < 0.5 * mask.size:
                    return row, mask
        row = int(rng.choice(self._objects if len(self._objects) else self._pictures))
        return row, frames.regions[row] > 0

    def _merged(self, numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """One natural region, in half of the cases with one or two that touch it."""
        rng = self.rng
        y, x = rng.integers(0, numbers.shape[0], 2)
        mask: NDArray[np.bool_] = numbers == numbers[y, x]
        for _ in range(rng.choice([0, 0, 1, 2])):
            ring = np.zeros_like(mask)
            ring[1:] |= mask[:-1]
            ring[:-1] |= mask[1:]
            ring[:, 1:] |= mask[:, :-1]
            ring[:, :-1] |= mask[:, 1:]
            near = numbers[ring & ~mask]
            if near.size:
                mask |= numbers == rng.choice(near)
        return mask & (numbers > 0) if numbers[y, x] else mask

    def _crop(self, images: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Zoom on the object (1.15 to 4 times its box), off centre, turned, mirrored, a little stretched."""
        rng, matrices = self.rng, []
        for mask in truth[:, 0].numpy() > 0.5:
            ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            side = mask.shape[0]
            extent = max(ys[-1] - ys[0], xs[-1] - xs[0]) + 1
            zoom = float(np.exp(rng.uniform(np.log(1.15), np.log(3.5))))
            scale = min(max(zoom * extent / side, 0.12), 1.3)
            free = max(zoom - 1, 0.1) * extent / side * 0.8
            cy = (ys[0] + ys[-1] + 1) / side - 1 + rng.uniform(-free, free)
            cx = (xs[0] + xs[-1] + 1) / side - 1 + rng.uniform(-free, free)
            angle = rng.normal(0, 0.35) if rng.random() < 0.6 else 0.0
            stretch = float(np.exp(rng.normal(0, 0.08)))
            cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
            sx, sy = rng.choice([-1, 1]) * stretch, rng.choice([-1, 1]) / stretch
            matrices.append([[cos * sx, -sin * sy, cx], [sin * sx, cos * sy, cy]])
        grid = F.affine_grid(
            torch.tensor(np.array(matrices), dtype=torch.float32),
            [len(images), 1, self.size, self.size],
            align_corners=False,
        )
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        truth = F.grid_sample(truth, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return images, (truth > 0.5).float()

    def _light(self, x: Tensor) -> Tensor:
        """Gain and offset per channel, gamma, grey, blur and noise, each in some of the images."""
        b, g = len(x), self.torch_rng

        def some(p: float) -> Tensor:
            return (torch.rand(b, 1, 1, 1, generator=g) < p).float()

        def normal(c: int, sd: float) -> Tensor:
            return torch.randn(b, c, 1, 1, generator=g) * sd

        x = x * (1 + normal(1, 0.2) + normal(3, 0.08)) + normal(1, 0.12) + normal(3, 0.06)
        gamma = torch.exp(normal(1, 0.25))
        x = ((x + 1).clamp_min(1e-3) / 2).pow(gamma) * 2 - 1
        grey = some(0.15)
        x = grey * x.mean(1, keepdim=True) + (1 - grey) * x
        soft = some(0.2)
        x = soft * F.avg_pool2d(x, 3, 1, 1) + (1 - soft) * x
        x = x * (1 - 2 * some(0.03))
        return x + torch.randn(x.shape, generator=g) * 0.04 * some(0.4)

    def _draw_shapes(self, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """In some images a drawn blob becomes the object: another image's texture, or a tone, behind a soft border."""
        chosen = np.flatnonzero(self.rng.random(len(x)) < self.drawn)
        if not len(chosen):
            return x, truth
        x, truth = x.clone(), truth.clone()
        for i in chosen:
            for last in [False] * int(self.rng.integers(0, 3)) + [True]:
                radius = self._blob()
                soft = torch.sigmoid(radius / float(self.rng.choice([0.7, 1.5, 3.0])))[None]  # (1, s, s)
                other = x[int(self.rng.integers(len(x)))].flip(2) * float(self.rng.uniform(0.3, 1))
                tone = torch.from_numpy(self.rng.normal(0, 0.35, (3, 1, 1)).astype(np.float32))
                strength = float(self.rng.uniform(0.35, 1))
                paint = other + tone if self.rng.random() < 0.5 else x[i] + tone
                x[i] = x[i] * (1 - strength * soft) + paint * strength * soft
                if last and (radius > 0).sum() > 150:
                    truth[i, 0] = (radius > 0).float()
        return x, truth

    def _blob(self) -> Tensor:
        """Signed distance, roughly, of a random smooth star shape (s, s), positive inside."""
        rng, s = self.rng, self.size
        cy, cx = rng.uniform(0.25, 0.75, 2) * s
        y, x = torch.meshgrid(torch.arange(s) - cy, torch.arange(s) - cx, indexing="ij")
        x = x * float(np.exp(rng.normal(0, 0.25)))
        angle = torch.atan2(y, x)
        edge = torch.ones_like(angle)
        for k in range(1, 6):
            edge = edge + float(rng.normal(0, 0.22 / k)) * torch.cos(k * angle + float(rng.uniform(0, 6.28)))
        return (edge.clamp_min(0.2) * float(rng.uniform(0.08, 0.36) * s) - torch.hypot(y, x)).float()

    def _damaged(self, truth: Tensor) -> NDArray[np.bool_]:
        """Masks as an automatic student would give them: borders off, parts lost, parts too much, sometimes wrong."""
        b, s, rng = len(truth), self.size, self.rng
        area = truth.sum((1, 2, 3)).numpy()
        soft = _blurred(truth, 4)
        wide = _blurred(truth, 12)
        mix = torch.from_numpy((np.sqrt(area) / s > 0.25).astype(np.float32) * rng.random(b).astype(np.float32))
        blurred = soft + mix[:, None, None, None] * (wide - soft)
        noise = sum(
            F.interpolate(torch.randn(b, 1, k, k, generator=self.torch_rng), (s, s), mode="bicubic") * w
            for k, w in ((4, 0.6), (9, 0.4))
        )
        amount = torch.from_numpy(rng.choice([0.1, 0.25, 0.4, 0.6], (b, 1, 1, 1)).astype(np.float32))
        shift = torch.from_numpy(rng.normal(0, 0.15, (b, 1, 1, 1)).astype(np.float32))
        mask = (blurred + amount * noise + shift > 0.5).numpy()[:, 0]
        for i in range(b):
            if rng.random() < 0.3:
                moved = np.roll(mask[i], tuple(rng.integers(-s // 16, s // 16 + 1, 2)), (0, 1))
                mask[i] = moved
            if rng.random() < 0.05:
                mask[i] = False
        return mask


def _blurred(mask: Tensor, block: int) -> Tensor:
    """A blur of about two blocks, made on a grid of blocks."""
    size = mask.shape[-2:]
    small = F.avg_pool2d(mask, block)
    small = F.avg_pool2d(small, 3, 1, 1, count_include_pad=False)
    return F.interpolate(small, size, mode="bilinear", align_corners=False)
