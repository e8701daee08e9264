"""Parts of a fine-tuning run: BatchNorms that stand still, the objective, mixing with the parent, held-out scores."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_tinymig.base.geometry import place, square_box
from napari_tinymig.network.normalise import normalise
from napari_tinymig.recipes.finetune import FineTuneSpec, SettingsByCount
from napari_tinymig.recipes.student import ModelHeader, Recipe, recipe_from_dict
from napari_tinymig.recipes.train import AugmentSpec, LossSpec, OptimSpec, TeacherSpec

from ..augmentation.apply import Batch
from ..data.image_set import ImageSet, middle_views
from ..losses.alignment import affinity_loss, resize_map, token_cosine_loss
from ..losses.distribution import gdc_parts, normalise_tokens, spatial_moments
from ..losses.segmentation import region_probabilities
from ..networks.student import Student
from ..objectives.supervised import Objective, SupervisedObjective
from ..objectives.tinymig import build_distillation

AFFINITY_GRID = 16
"""Side of the grid on which child and parent are compared: coarse, because one CPU thread pays for it."""
EPOCH = 5
"""Steps between two looks at the held-out cases."""


@functools.cache
def _still(kind: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """A BatchNorm class that keeps its running statistics: eight views of five images are no population."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        return nn.Module.train(self, False)

    return type(f"Still{kind.__name__}", (kind,), {"train": train})


def hold_statistics(student: nn.Module) -> nn.Module:
    """Make every BatchNorm of a student stand still, in place: evaluation mode whatever `train()` says."""
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = _still(type(module))  # type: ignore[arg-type]
            module.eval()
    return student


def child_recipe(header: ModelHeader, spec: FineTuneSpec, by_count: SettingsByCount, steps: int) -> Recipe:
    """The recipe of one part of the run: the parent's input and student, optimisation by the number of images,
    self-teacher."""
    if header.task is None or header.kind != "segmenter":
        raise ValueError(f"'{header.name}' is a {header.kind}; expected a segmenter; only segmenters are fine-tuned")
    distil = (by_count.distil if spec.distil is None else spec.distil) if spec.guard else 0.0
    return Recipe(
        name=spec.name or f"{header.name}-tuned",
        task=header.task,
        input=header.input,
        student=header.student.model_copy(update={"init_weights": None}),
        augment=_augment(header),
        teacher=TeacherSpec(name=spec.teacher or "self", weights=spec.teacher_weights or None, cache="none")
        if distil
        else None,
        loss=LossSpec(lambdas=(1.0, 1.0, distil, distil, distil), head=header.head),
        optim=OptimSpec(
            epochs=max(1, -(-steps // EPOCH)),
            iterations_per_epoch=EPOCH,
            batch=by_count.batch,
            lr=spec.lr or by_count.lr,
        ),
        seed=spec.seed,
        network=header.network,
    )


def _augment(header: ModelHeader) -> AugmentSpec:
    """The parent's own augmentation where its header tells it."""
    raw = header.lineage.recipe
    if raw:
        try:
            return recipe_from_dict(raw, "lineage").augment
        except ValueError:  # a recipe of another version: the defaults are as good
            pass
    return AugmentSpec()


class TuningObjective(SupervisedObjective):
    """Dice and cross-entropy on the mended masks, and TinyMIG's three terms against the frozen parent.

    The child sees the style-augmented view, the parent the clean one. Parent and child share their channels, so no
    projector stands between them: every difference is the child's own.
    """

    needs_clean = True

    def __init__(self, recipe: Recipe, parent: nn.Module):
        super().__init__(recipe)
        self._parent = [copy.deepcopy(parent).eval().requires_grad_(False)]  # a list: no sub-module, never saved

    def forward(self, student: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Terms of one step; 'loss' is their weighted sum."""
        output = student(batch.image)
        terms = self.terms(output, batch)
        if batch.clean is None:
            raise ValueError("the parent needs the clean view; the batch has none")
        with torch.no_grad():
            theirs = self._parent[0].to(batch.clean.device)(batch.clean).stages
        weights = dict(zip(("gdc", "sem", "gen"), self.loss.lambdas[2:]))
        for name, term in _parent_terms(output.stages, theirs).items():
            terms[name] = term
            terms["loss"] = terms["loss"] + weights[name] * term
        return terms


def _parent_terms(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> dict[str, Tensor]:
    """GDC (closed-form KL of moments), LRA_sem (token cosine), LRA_gen (affinities), means over the stages."""
    sums: dict[str, list[Tensor]] = {"gdc": [], "sem": [], "gen": []}
    with torch.autocast(ours[0].device.type, enabled=False):
        for stage, target in zip(ours, theirs):
            grid = (min(stage.shape[-2], AFFINITY_GRID), min(stage.shape[-1], AFFINITY_GRID))
            a, b = (resize_map(normalise_tokens(m.float()), grid) for m in (stage, target))
            means, deviations = gdc_parts(spatial_moments(a), spatial_moments(b), "kl", "SR")
            sums["gdc"].append(means + deviations)
            sums["sem"].append(token_cosine_loss(a, b))
            sums["gen"].append(affinity_loss(a, b))
    return {k: torch.stack(v).mean() for k, v in sums.items()}


def build_tuning_objective(recipe: Recipe, parent: nn.Module, student: nn.Module, device: torch.device) -> Objective:
    """Supervised terms alone, with the frozen parent as the teacher, or with a foundation model behind projectors."""
    if recipe.teacher is None:
        return SupervisedObjective(recipe)
    if recipe.teacher.name == "self":
        return TuningObjective(recipe, parent)
    return build_distillation(recipe, student, device)


def mixed(parent: nn.Module, child: nn.Module, share: float) -> nn.Module:
    """parent + share (child - parent), weight by weight (WiSE-FT, CVPR 2022); statistics of both are the parent's."""
    out = copy.deepcopy(child)
    ours, theirs = parent.state_dict(), child.state_dict()
    out.load_state_dict({k: torch.lerp(v, theirs[k], share) if v.is_floating_point() else v for k, v in ours.items()})
    return out.eval()


class Views:
    """Deployed views of labelled rows, ready for the network.

    inputs: (n, 3, s, s). truth: (n, R, s, s) bool. known: (n, 1, s, s) bool. cases: (n,) case of each row.
    """

    def __init__(self, data: ImageSet, rows: Sequence[int], recipe: Recipe):
        size = recipe.input.size
        self.grids, targets = middle_views(data, rows, size)
        self.inputs = torch.from_numpy(np.stack([normalise(g, recipe.input) for g in self.grids]))
        self.truth = targets >= 0.5
        self.known = np.ones((len(rows), 1, size, size), bool)
        if data.known is not None:
            side = data.images.shape[1]
            for i, row in enumerate(rows):
                box = square_box((side / 2, side / 2), side * float(data.view[row]))
                self.known[i, 0] = place(data.known[row, 0].astype(np.float32), box, size)[0] > 127
        self.cases = [data.cases[r] for r in rows]
        self.names = [data.names[r] for r in rows]
        self.recipe = recipe
        self.maps: list[Tensor] | None = None

    @torch.no_grad()
    def keep_maps(self, parent: Student) -> None:
        """Ask the encoder once: from now on only decoders are asked, which must share the parent's encoder."""
        parts = [parent.eval().encode(x) for x in self.inputs.split(16)]
        self.maps = [torch.cat([p[level] for p in parts]) for level in range(len(parts[0]))]

    @torch.no_grad()
    def probabilities(self, student: nn.Module) -> NDArray[np.float32]:
        """(n, R, s, s)."""
        was = student.training
        student.eval()
        device = next(student.parameters()).device
        if self.maps is not None:
            answers = [student.decode([m.to(device) for m in self.maps])]
        else:
            answers = [student(x.to(device)) for x in self.inputs.split(16)]
        student.train(was)
        task, head = self.recipe.task, self.recipe.loss.head
        return torch.cat([region_probabilities(a.logits.float(), task, head).cpu() for a in answers]).numpy()

    def dice(
        self, probabilities: NDArray[np.float32], thresholds: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """(cases, R) Dice where known, slices of one case stacked; cases in order of first appearance."""
        limits = np.asarray(thresholds or [0.5] * probabilities.shape[1]).reshape(1, -1, 1, 1)
        answer = (probabilities >= limits) & self.known
        truth = self.truth & self.known
        both = (answer & truth).sum((2, 3)).astype(float)  # (n, R)
        size = answer.sum((2, 3)) + truth.sum((2, 3)).astype(float)
        names = list(dict.fromkeys(self.cases))
        out = []
        for name in names:
            pick = [i for i, c in enumerate(self.cases) if c == name]
            b, s = both[pick].sum(0), size[pick].sum(0)
            out.append(np.where(s > 0, 2 * b / np.maximum(s, 1), 1.0))
        return np.array(out)
