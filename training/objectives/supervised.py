"""What a step minimises: the supervised terms, and the place where distillation objectives join."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.recipes.student import Recipe

from ..augmentation.apply import Batch
from ..losses.segmentation import border_weights, cross_entropy_loss, dice_loss, region_probabilities
from ..networks.student import StudentOutput

PRESENCE_WEIGHT = 0.5


class Objective(Protocol):
    """A loss with its own trained parts (projectors), told how far the run is.

    Called with the student, a batch and the share of the run done (0..1); returns named terms, 'loss' is minimised.
    `needs_clean`: the batch must carry the clean view. `parameters()`: extra parameters for the optimiser.
    """

    needs_clean: bool

    def __call__(self, student: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]: ...

    def parameters(self) -> object: ...


class SupervisedObjective(nn.Module):
    """lambda1 Dice + lambda2 cross-entropy, and the presence term where the student has that head."""

    needs_clean = False

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.task, self.loss = recipe.task, recipe.loss

    def forward(self, student: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.terms(student(batch.image), batch)

    def terms(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor]:
        """Supervised terms of one forward pass; 'loss' is their weighted sum."""
        logits = output.logits.float()
        probabilities = region_probabilities(logits, self.task, self.loss.head)
        weight = batch.known
        if self.loss.boundary:
            weight = weight * border_weights(batch.target, self.loss.boundary)
        dice = dice_loss(probabilities, batch.target, weight)
        ce = cross_entropy_loss(logits, batch.target, weight, self.task, self.loss.head)
        terms = {"dice_loss": dice, "ce_loss": ce}
        total = self.loss.lambdas[0] * dice + self.loss.lambdas[1] * ce
        if output.presence is not None:
            there = (batch.target > 0.5).flatten(2).any(2).float()  # (B, R)
            terms["presence_loss"] = F.binary_cross_entropy_with_logits(output.presence.float(), there)
            total = total + PRESENCE_WEIGHT * terms["presence_loss"]
        return terms | {"loss": total}
