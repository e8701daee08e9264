"""Epochs of augmented batches from an image set that lies in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_tinymig.recipes.student import Recipe

from ..augmentation.apply import Augmenter, Batch
from ..machine.replicas import own_share
from .image_set import ImageSet


class Batches:
    """Epochs of augmented batches from an image set that lies in memory.

    negatives: rows of frames without the object; each drawn frame is replaced by one of them with the probability
    `AugmentSpec.negatives`.
    """

    def __init__(self, data: ImageSet, recipe: Recipe, device: torch.device, negatives: np.ndarray | None = None):
        self.recipe, self.device = recipe, device
        self.volume = data.is_volume
        images = torch.from_numpy(data.images)
        parts = [torch.from_numpy(data.targets)]
        if data.known is not None:
            parts.append(torch.from_numpy(data.known))
        if not self.volume:
            parts.insert(0, images.permute(0, 3, 1, 2))
        self.cache = torch.cat(parts, 1)  # photographs (N, 3 + R [+ 1], c, c), volumes (N, R [+ 1], c, c), uint8
        self.slices = images if self.volume else None  # (N, c, c) float32
        self.view, self.fov = torch.from_numpy(data.view), torch.from_numpy(data.fov_mm)
        self.centre = torch.from_numpy(data.centre)
        self.before, self.after = torch.from_numpy(data.before), torch.from_numpy(data.after)
        self.negatives = torch.from_numpy(np.asarray([] if negatives is None else negatives, np.int64))
        excluded = set(self.negatives.tolist())
        repeats = how_often(data) if recipe.augment.ends else np.ones(len(data), int)
        self.rows = torch.tensor([i for i, n in enumerate(repeats) for _ in range(n) if i not in excluded])
        if self.volume:
            flat = images[:, ::2, ::2].flatten(1)
            self.low, self.high = (torch.quantile(flat, q, dim=1) for q in (0.002, 0.998))
        self.augment = Augmenter(recipe.augment, recipe.input, self.volume, len(recipe.task.regions))

    @property
    def steps(self) -> int:
        """Steps per epoch: as the recipe says, else one pass."""
        wanted = self.recipe.optim.iterations_per_epoch
        return wanted or max(1, len(self.rows) // self.recipe.optim.batch)

    def epoch(self, g: Generator, want_clean: bool) -> Iterator[Batch]:
        """The batches of one epoch, in an order drawn from `g`."""
        batch = self.recipe.optim.batch
        need = self.steps * batch
        order: list[Tensor] = []
        while sum(len(o) for o in order) < need:
            order.append(self.rows[torch.randperm(len(self.rows), generator=g)])
        rows = torch.cat(order)[:need]
        if len(self.negatives) and self.recipe.augment.negatives:
            swap = torch.rand(need, generator=g) < self.recipe.augment.negatives
            picks = self.negatives[torch.randint(0, len(self.negatives), (need,), generator=g)]
            rows = torch.where(swap, picks, rows)
        for start in range(0, need, batch):
            index = own_share(rows[start : start + batch])
            yield self.augment(
                self._rows(index), self.view[index], self.centre[index], index, g, want_clean, self.fov[index]
            )

    def view_of(self, index: Tensor, g: Generator) -> Batch:
        """Augmented views of given rows, for validation under other styles."""
        return self.augment(self._rows(index), self.view[index], self.centre[index], index, g, False, self.fov[index])

    def _rows(self, index: Tensor) -> Tensor:
        """(B, 3 + R [+ 1], c, c) in 0..1: pixels, targets, where annotated."""
        labels = self.cache[index].to(self.device).float().mul_(1 / 255)
        if self.slices is None:
            return labels
        context = self.recipe.input.context_slices
        picks = (self.before[index], index, self.after[index]) if context else (index, index, index)
        x = torch.stack([self.slices[i] for i in picks], 1).to(self.device)  # (B, 3, c, c)
        low, high = (v[index].to(self.device).view(-1, 1, 1, 1) for v in (self.low, self.high))
        return torch.cat([((x - low) / (high - low).clamp_min(1e-6)).clamp(0, 1.5), labels], 1)


def how_often(data: ImageSet) -> NDArray[np.int64]:
    """(N,) times each slice is drawn: 1 without the object, 2 with it, 3 at its first and last two and just beyond."""
    there = (data.targets[:, 0] > 127).any((1, 2))
    cases = np.asarray(data.cases)
    out = np.where(there, 2, 1)
    for case in dict.fromkeys(data.cases):
        rows = np.flatnonzero((cases == case) & there)
        if len(rows):
            own = np.flatnonzero(cases == case)
            ends = np.minimum(abs(own - rows[0]), abs(own - rows[-1])) <= 1
            out[own[ends]] = 3
    return out
