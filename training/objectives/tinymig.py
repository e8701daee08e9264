"""TinyMIG's objective for the loop every run shares: the student under style, the teacher on the clean view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.recipes.student import Recipe

from ..augmentation.apply import Batch, normalise_batch
from ..machine.device import wants_bf16
from ..networks.student import StudentOutput
from ..networks.teacher import Teacher, build_teacher
from ..networks.teacher_cache import CachedTeacher, build_cache, image_key
from .supervised import PRESENCE_WEIGHT
from .tinymig_terms import Distillation

GRADIENT_LOGS = 10
"""How often in a run the gradient norms are measured; each costs one backward pass per term."""


class TinyMIGObjective(nn.Module):
    """L = l1 Dice + l2 CE + l3 GDC + l4 LRA_sem + l5 LRA_gen (+ the presence term where the student has that head).

    The student sees the style-augmented view, the teacher the clean view of the same geometry. Terms come back by
    name (dice_loss, ce_loss, gdc, sem, gen, ...) with 'loss' for their weighted sum; in about ten epochs of a run also
    grad_TERM, grad_TERM_projector and projector_share_TERM.
    """

    needs_clean = True

    def __init__(self, recipe: Recipe, student: nn.Module, teacher: Teacher, bf16: bool = False):
        super().__init__()
        self.recipe = recipe
        self.distillation = Distillation(recipe, student, teacher)
        self.bf16 = bf16  # of the teacher's forward: a third faster; cached maps are fp32
        spec = recipe.teacher
        cache = build_cache(spec.cache) if spec is not None else None
        self.cached = CachedTeacher(teacher, cache)
        self._keys: dict[int, str] = {}
        self._norms: dict[str, float] = {}
        self._norms_epoch = -1

    def forward(self, student: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The terms of one step; progress = share of the run done, 0..1."""
        epoch = min(int(progress * self.recipe.optim.epochs + 1e-6), self.recipe.optim.epochs - 1)
        output = student(batch.image)
        d = self.distillation
        with torch.autocast(batch.image.device.type, enabled=False):  # affinities and moments need fp32
            features = self.teacher_maps(batch) if d.needs_teacher(epoch) else None
            clean = None
            if d.needs_clean(epoch):
                clean = student(batch.clean)
            terms = d.terms(output, clean, features, batch.target, batch.known, epoch)
            self._measure_gradients(terms, student, epoch)
            loss = d.total(terms, epoch)
        named = {{"dice": "dice_loss", "ce": "ce_loss"}.get(k, k): v for k, v in terms.items()}
        if output.presence is not None and "dice" in terms:
            named["presence_loss"] = presence_loss(output, batch)
            loss = loss + PRESENCE_WEIGHT * named["presence_loss"]
        logged = {k: torch.tensor(v) for k, v in self._norms.items()} if epoch == self._norms_epoch else {}
        return named | logged | {"loss": loss}

    def teacher_maps(self, batch: Batch) -> list[Tensor]:
        """R_l of the clean view: the teacher's own answer, or cached maps of the whole frame cut and warped.

        cache = none asks the teacher for every view: exact. memory or disk ask it once per frame and mirrored frame;
        rotation, zoom and shift then move with the map (`feature_cache.geometry_gap` says how far that is off).
        """
        if self.cached.cache is None or batch.frame is None:
            if batch.clean is None:
                raise ValueError("the batch carries no clean view; the loop must ask for it (needs_clean)")
            with torch.autocast(batch.clean.device.type, torch.bfloat16, enabled=self.bf16):
                return self.cached.teacher.features(batch.clean)
        keys = [self._frame_key(int(i), frame) for i, frame in zip(batch.index, batch.frame, strict=True)]
        return self.cached.views(_normalised(batch.frame, self.recipe), keys, batch.theta, batch.share)

    def _frame_key(self, row: int, frame: Tensor) -> str:
        """Content hash of a frame, computed once per row of the image set."""
        if row not in self._keys:
            self._keys[row] = image_key(frame.cpu().numpy())
        return self._keys[row]

    def _measure_gradients(self, terms: dict[str, Tensor], student: nn.Module, epoch: int) -> None:
        every = max(1, self.recipe.optim.epochs // GRADIENT_LOGS)
        if epoch % every == 0 and epoch != self._norms_epoch:
            self._norms, self._norms_epoch = self.distillation.gradient_norms(terms, student, epoch), epoch


def _normalised(frames: Tensor, recipe: Recipe) -> Tensor:
    inside = torch.ones_like(frames[:, :1], dtype=torch.bool)
    return normalise_batch(frames, recipe.input, inside)


def presence_loss(output: StudentOutput, batch: Batch) -> Tensor:
    """Binary cross-entropy of the frame-level head: is each region in the frame at all?"""
    there = (batch.target > 0.5).flatten(2).any(2).float()  # (B, R)
    return F.binary_cross_entropy_with_logits(output.presence.float(), there)


def build_distillation(recipe: Recipe, student: nn.Module, device: torch.device) -> TinyMIGObjective:
    """The objective of a recipe with a teacher, on the device; raises what `build_teacher` raises."""
    if recipe.teacher is None:
        raise ValueError(f"recipe '{recipe.name}' has no [teacher] record; expected one for distillation")
    teacher = build_teacher(recipe.teacher, recipe.input.normalisation, student)
    return TinyMIGObjective(recipe, student, teacher, wants_bf16(recipe, device)).to(device)
