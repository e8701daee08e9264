"""Several finished students teach one: their mean answer on the very view that the new student sees.

An ensemble's answer is steadier than that of any member, above all on images unlike the source; a student that is asked
to give the same answer on strongly augmented views takes most of that with it at one student's cost. [known: Hinton
et al. 2015, distillation of an ensemble; Beyer et al. 2022, teacher and student see the same view.] The weight beside
the supervised terms is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.models.registry import open_model
from napari_tinymig.recipes.student import InputSpec, ModelHeader, Recipe
from napari_tinymig.recipes.train import EnsembleSpec

from ..augmentation.apply import Batch
from ..losses.segmentation import region_probabilities
from ..networks.saved import load_student
from .supervised import SupervisedObjective

SMALLEST = 1e-6


class EnsembleObjective(SupervisedObjective):
    """The supervised terms of a recipe + weight x `answer_loss` against the mean of frozen students."""

    def __init__(self, recipe: Recipe, spec: EnsembleSpec, device: torch.device):
        super().__init__(recipe)
        self.weight = spec.weight
        self.members, self.heads = nn.ModuleList(), []
        for name in spec.members:
            model = open_model(name)
            check_member(model.header, recipe)
            self.members.append(load_student(model).to(device).requires_grad_(False))
            self.heads.append(model.header.head)

    def train(self, mode: bool = True) -> EnsembleObjective:
        """Members never leave evaluation mode."""
        super().train(mode)
        self.members.eval()
        return self

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Nothing of the members is trained."""
        return iter(())

    def forward(self, student: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named terms; 'answer_loss' is 0 where the student answers as the ensemble does."""
        output = student(batch.image)
        terms = self.terms(output, batch)
        answers = region_probabilities(output.logits.float(), self.task, self.loss.head)
        terms["answer_loss"] = answer_loss(answers, self.answers(batch.image))
        return terms | {"loss": terms["loss"] + self.weight * terms["answer_loss"]}

    @torch.no_grad()
    def answers(self, image: Tensor) -> Tensor:
        """Mean region probabilities (B, R, s, s) of the members on an input (B, 3, s, s)."""
        return sum(
            region_probabilities(m(image).logits.float(), self.task, head)
            for m, head in zip(self.members, self.heads, strict=True)
        ) / len(self.members)  # type: ignore[return-value]


def answer_loss(student: Tensor, ensemble: Tensor) -> Tensor:
    """Mean Bernoulli KL(ensemble || student) over regions and pixels; both are probabilities (B, R, h, w)."""
    p, q = (x.clamp(SMALLEST, 1 - SMALLEST) for x in (ensemble, student))
    return F.binary_cross_entropy(q, p) - F.binary_cross_entropy(p, p)


def check_member(header: ModelHeader, recipe: Recipe) -> None:
    """Raise ValueError for a member that cannot answer about the recipe's own views."""
    if header.kind != "segmenter" or header.task is None or header.task.name != recipe.task.name:
        what = f"a {header.kind} of {header.task.name}" if header.task else f"a {header.kind}"
        raise ValueError(
            f"'{header.name}' is {what}; expected segmenters of {recipe.task.name} in ensemble.members; take it out"
        )
    unlike = [k for k in ("size", "normalisation", "context_slices") if _differs(k, header.input, recipe.input)]
    if unlike:
        found = ", ".join(f"{k} {getattr(header.input, k)}" for k in unlike)
        wanted = ", ".join(f"{k} {getattr(recipe.input, k)}" for k in unlike)
        raise ValueError(f"'{header.name}' reads {found}; '{recipe.name}' reads {wanted}; they must see the same input")


def _differs(key: str, one: InputSpec, other: InputSpec) -> bool:
    return getattr(one, key) != getattr(other, key)
