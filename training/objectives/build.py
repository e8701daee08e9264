"""Which objective a recipe asks for."""

from __future__ import annotations

import torch
from torch import nn

from napari_tinymig.recipes.student import Recipe

from .ensemble import EnsembleObjective
from .supervised import Objective, SupervisedObjective
from .tinymig import build_distillation


def build_objective(recipe: Recipe, student: nn.Module, device: torch.device) -> Objective:
    """The objective of a recipe: supervised, or TinyMIG's when it has a teacher and a distillation weight.

    With an ensemble: the supervised terms and the members' mean answer. Raises ValueError for half a distillation (a
    teacher that nothing asks, weights without a teacher), for a teacher beside a baseline network, which has no stages
    that could follow one, and for a teacher beside an ensemble.
    """
    if recipe.ensemble is not None:
        if recipe.teacher is not None:
            raise ValueError(f"'{recipe.name}' names a teacher and an ensemble; expected one of them; take one out")
        return EnsembleObjective(recipe, recipe.ensemble, device)
    wanted = any(recipe.loss.lambdas[2:])
    if wanted and recipe.teacher is None:
        raise ValueError(
            f"loss.lambdas {list(recipe.loss.lambdas)} ask for distillation, but '{recipe.name}' has no teacher; set "
            "teacher.name, or the last three weights to 0"
        )
    if recipe.teacher is not None and not wanted:
        raise ValueError(
            f"'{recipe.name}' names the teacher {recipe.teacher.name}, but the last three of loss.lambdas are 0; give "
            "one of them a weight (the paper's: 0.5), or take the teacher out"
        )
    if wanted and recipe.network != "student":
        raise ValueError(
            f"the network '{recipe.network}' has no stages that could follow a teacher; expected network = "
            '"student", or a recipe without a teacher'
        )
    if recipe.teacher is not None:
        return build_distillation(recipe, student, device)
    return SupervisedObjective(recipe)
