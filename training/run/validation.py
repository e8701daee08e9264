"""Held-out cases on the network's grid: the score by which a run keeps its checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from napari_tinymig.network.normalise import normalise
from napari_tinymig.recipes.student import Recipe

from ..data.batches import Batches
from ..data.image_set import ImageSet, middle_known, middle_views
from ..losses.segmentation import region_probabilities

STYLED_VIEWS = 2


class GridValidation:
    """Held-out cases on the network's grid: mean Dice per region of the plain view, and 'score', what a run keeps by.

    The score is the mean over the plain view and `STYLED_VIEWS` fixed augmented ones (chosen): a dozen held-out
    cases of the source alone cannot tell a student that will travel from one that will not. Frames where a region is
    empty count as in `measures.overlap`: 1 if the answer is empty too, else 0.
    """

    def __init__(self, data: ImageSet, recipe: Recipe, device: torch.device):
        self.recipe, self.cases, self.volume = recipe, data.cases, data.is_volume
        grids, targets = middle_views(data, range(len(data)), recipe.input.size)
        plain = torch.from_numpy(np.stack([normalise(g, recipe.input) for g in grids]))
        known = torch.from_numpy(middle_known(data, range(len(data)), recipe.input.size)).to(device)
        self.views = [(plain.to(device), torch.from_numpy(targets >= 0.5).to(device), known)]
        batches = Batches(data, recipe, device)
        for view in range(STYLED_VIEWS):
            g = torch.Generator().manual_seed(9_000_011 + view)
            made = [batches.view_of(rows, g) for rows in torch.arange(len(data)).split(16)]
            image = torch.cat([m.image for m in made])
            known = torch.cat([m.known for m in made]) > 0.5
            self.views.append((image, torch.cat([m.target for m in made]) >= 0.5, known))

    @torch.no_grad()
    def __call__(self, student: nn.Module) -> dict[str, float]:
        student.eval()
        dice = [self._dice(student, *view) for view in self.views]
        values = {f"dice_{r.name}": float(dice[0][:, i].mean()) for i, r in enumerate(self.recipe.task.regions)}
        if len(dice) > 1:
            values["dice_styled"] = float(torch.stack([d.mean() for d in dice[1:]]).mean())
        return values | {"score": float(torch.stack([d.mean() for d in dice]).mean())}

    def _dice(
        self, student: nn.Module, images: torch.Tensor, targets: torch.Tensor, known: torch.Tensor
    ) -> torch.Tensor:
        """(n, R) Dice per frame, or per volume, where it is labelled."""
        answers = []
        for some in images.split(16):
            logits = student(some).logits.float()
            answers.append(region_probabilities(logits, self.recipe.task, self.recipe.loss.head) >= 0.5)
        answer, targets = torch.cat(answers) & known, targets & known
        overlap = (answer & targets).flatten(2).sum(2).double()  # (n, R)
        size = answer.flatten(2).sum(2).double() + targets.flatten(2).sum(2).double()
        if self.volume:
            rows = [[i for i, c in enumerate(self.cases) if c == n] for n in sorted(set(self.cases))]
            overlap = torch.stack([overlap[r].sum(0) for r in rows])
            size = torch.stack([size[r].sum(0) for r in rows])
        return torch.where(size > 0, 2 * overlap / size.clamp_min(1), 1.0)
