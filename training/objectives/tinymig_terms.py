"""What a training step adds up: segmentation, and the three ways in which the student follows the teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_tinymig.recipes.student import Recipe
from napari_tinymig.recipes.train import LossSpec

from ..losses.alignment import affinity_loss, prototype_loss, resize_map, token_cosine_loss
from ..losses.distribution import Moments, channel_wise_divergence, gdc_parts, normalise_tokens, spatial_moments
from ..losses.segmentation import cross_entropy_loss, dice_loss, exclusive_classes, region_probabilities
from ..networks.student import StudentOutput
from ..networks.teacher import Teacher, stage_channels

DISTILLED = ("gdc", "mu", "sigma", "sem", "gen")
PRIOR_MOMENTUM = 0.99


class Projector(nn.Module):
    """1x1 projection of a student stage onto the teacher's channels; training only, discarded at inference.

    No bias, rows of unit norm, and the output gets the teacher's own affine-free LayerNorm, so that it can neither
    shift nor scale a channel: the moments have to come from the student [chosen].
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(teacher_channels, student_channels))
        nn.init.normal_(self.weight)

    def forward(self, stage: Tensor) -> Tensor:
        """(B, C_l, h, w) -> (B, C_R, h, w), LayerNorm'ed tokens."""
        rows = F.normalize(self.weight, dim=1)[..., None, None]  # (C_R, C_l, 1, 1)
        return normalise_tokens(F.conv2d(stage.float(), rows))


class Distillation(nn.Module):
    """The terms of L = l1 Dice + l2 CE + l3 GDC + l4 LRA_sem + l5 LRA_gen, and what they need in training.

    Holds the projectors (its only parameters; give them to the optimiser beside the student's) and the running prior.
    It is never part of the student, so nothing of it can be exported. Without a teacher only Dice and CE remain.

    The printed lambdas are (1, 1, .5, .5, .5) [known]; which weighs what is `loss.lambda_map` [chosen].
    """

    def __init__(self, recipe: Recipe, student: nn.Module, teacher: Teacher | None = None):
        super().__init__()
        self.recipe = recipe
        spec = recipe.loss
        wanted = any(self._lambda_names(spec).get(k, 0) > 0 for k in DISTILLED)
        if wanted and teacher is None:
            raise ValueError(
                f"recipe '{recipe.name}' weighs distillation ({spec.lambdas}) but has no teacher; give a [teacher] "
                "record, or set the last three of loss.lambdas to 0"
            )
        if spec.lambda_map == "seg_mu_sigma_sem_gen" and spec.gdc == "cwd":
            raise ValueError("gdc = 'cwd' has no moments; loss.lambda_map must be 'dice_ce_gdc_sem_gen' with it")
        self.prior_steps: Tensor
        self._teacher = [teacher] if teacher is not None and wanted else []  # a list: not a sub-module, never saved
        self.projectors = nn.ModuleList()
        if self._teacher:
            ours = stage_channels(student)
            theirs = self._teacher[0].channels
            if len(theirs) != len(ours):
                theirs = tuple(theirs[min(i, len(theirs) - 1)] for i in range(len(ours)))
            self.projectors.extend(Projector(a, b) for a, b in zip(ours, theirs, strict=True))
            for level, channels in enumerate(theirs):
                self.register_buffer(f"prior_mean_{level}", torch.zeros(1, channels))
                self.register_buffer(f"prior_square_{level}", torch.zeros(1, channels))
            self.register_buffer("prior_steps", torch.zeros(()))

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Devices and dtypes reach the teacher too, although it is no sub-module."""
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    # ------------------------------------------------------------------ what the loop asks before a step

    @property
    def teacher(self) -> Teacher | None:
        """The frozen teacher, or None where nothing is distilled."""
        return self._teacher[0] if self._teacher else None

    def needs_teacher(self, epoch: int = 0) -> bool:
        """True where this epoch has a distillation term."""
        return bool(self._teacher) and any(v for k, v in self.weights(epoch).items() if k in DISTILLED)

    def needs_clean(self, epoch: int = 0) -> bool:
        """True where the student must also see the clean view (gdc_view = clean)."""
        return self.needs_teacher(epoch) and self.recipe.loss.gdc_view == "clean"

    def weights(self, epoch: int) -> dict[str, float]:
        """Weight of every term in this epoch.

        joint: always all. distil_first: the first `distil_fraction` of the epochs only distil, the rest only segment.
        """
        weights = self._lambda_names(self.recipe.loss)
        if self.recipe.loss.schedule == "joint" or not self._teacher:
            return weights
        distilling = epoch < self.distil_epochs
        return {k: v if (k in DISTILLED) == distilling else 0.0 for k, v in weights.items()}

    @property
    def distil_epochs(self) -> int:
        """Epochs of distillation alone: 0 for joint."""
        if self.recipe.loss.schedule == "joint" or not self._teacher:
            return 0
        return max(1, round(self.recipe.optim.epochs * self.recipe.loss.distil_fraction))

    @staticmethod
    def _lambda_names(spec: LossSpec) -> dict[str, float]:
        a, b, c, d, e = spec.lambdas
        if spec.lambda_map == "dice_ce_gdc_sem_gen":
            return {"dice": a, "ce": b, "gdc": c, "sem": d, "gen": e}
        return {"dice": a, "ce": a, "mu": b, "sigma": c, "sem": d, "gen": e}

    # ------------------------------------------------------------------ a step

    def terms(
        self,
        aug: StudentOutput,
        clean: StudentOutput | None,
        teacher_features: list[Tensor] | None,
        targets: Tensor,
        valid: Tensor | None = None,
        epoch: int = 0,
    ) -> dict[str, Tensor]:
        """Every unweighted term of this epoch with a weight above zero, scalars.

        aug: output of the style-augmented view a(x). clean: output of x (only where `needs_clean`). teacher_features:
        R_l(x) of the clean view, same geometry. targets: (B, R, H, W) in 0..1. valid: (B, 1, H, W), None = all known.
        """
        weights = {k: v for k, v in self.weights(epoch).items() if v > 0}
        terms: dict[str, Tensor] = {}
        task, head = self.recipe.task, self.recipe.loss.head
        logits = aug.logits.float()
        if "dice" in weights:
            terms["dice"] = dice_loss(region_probabilities(logits, task, head), targets, valid)
        if "ce" in weights:
            terms["ce"] = cross_entropy_loss(logits, targets, valid, task, head)
        if self._teacher and teacher_features is not None and any(k in weights for k in DISTILLED):
            terms |= self._distilled(aug, clean, teacher_features, targets, weights)
        return terms

    def total(self, terms: dict[str, Tensor], epoch: int = 0) -> Tensor:
        """The weighted sum."""
        weights = self.weights(epoch)
        return torch.stack([weights[k] * v for k, v in terms.items()]).sum()

    def _distilled(
        self,
        aug: StudentOutput,
        clean: StudentOutput | None,
        features: list[Tensor],
        targets: Tensor,
        weights: dict[str, float],
    ) -> dict[str, Tensor]:
        spec = self.recipe.loss
        sums: dict[str, list[Tensor]] = {k: [] for k in weights if k in DISTILLED}
        if self.needs_clean() and clean is None:
            raise ValueError("gdc_view = 'clean' needs the student's output of the clean view; none was given")
        features = [features[min(i, len(features) - 1)].detach().float() for i in range(len(self.projectors))]
        for level, (stage, target) in enumerate(zip(aug.stages, features, strict=True)):
            grid = (target.shape[-2], target.shape[-1])
            projector = self.projectors[level]
            on_aug = clean is None or spec.gdc_view == "aug"
            if "sem" in sums or ({"gdc", "mu", "sigma"} & sums.keys() and on_aug):
                projected = projector(resize_map(stage.float(), grid))  # (B, C_R, h, w)
            if {"gdc", "mu", "sigma"} & sums.keys():
                seen = (
                    projected if clean is None or on_aug else projector(resize_map(clean.stages[level].float(), grid))
                )
                self._add_gdc(sums, level, seen, target)
            if "sem" in sums:
                sums["sem"].append(self._semantic(projected, target, targets))
            if "gen" in sums:
                sums["gen"].append(affinity_loss(stage.float(), target, spec.gen_grid))
        return {k: torch.stack(v).mean() for k, v in sums.items()}

    def _add_gdc(self, sums: dict[str, list[Tensor]], level: int, student: Tensor, teacher: Tensor) -> None:
        spec = self.recipe.loss
        if spec.gdc == "cwd":
            sums["gdc"].append(channel_wise_divergence(student, teacher))
            return
        pool = spec.gdc_moments
        theirs = self.prior_moments(level, teacher) if spec.gdc == "prior" else spatial_moments(teacher, pool)
        of_means, of_deviations = gdc_parts(spatial_moments(student, pool), theirs, spec.gdc, spec.gdc_direction)
        if "gdc" in sums:
            sums["gdc"].append(of_means + of_deviations)
        if "mu" in sums:
            sums["mu"].append(of_means)
        if "sigma" in sums:
            sums["sigma"].append(of_deviations)

    def _semantic(self, student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        if self.recipe.loss.sem == "token":
            return token_cosine_loss(student, teacher)
        return prototype_loss(student, teacher, exclusive_classes(targets, self.recipe.task))

    @torch.no_grad()
    def prior_moments(self, level: int, teacher: Tensor) -> Moments:
        """Moments of the teacher over the source set: running means (momentum .99) of mean and square, debiased."""
        mean, square = getattr(self, f"prior_mean_{level}"), getattr(self, f"prior_square_{level}")
        if self.training:
            if level == 0:
                self.prior_steps.add_(1)
            mean.lerp_(teacher.mean(dim=(0, 2, 3))[None], 1 - PRIOR_MOMENTUM)
            square.lerp_((teacher**2).mean(dim=(0, 2, 3))[None], 1 - PRIOR_MOMENTUM)
        share = (1 - PRIOR_MOMENTUM**self.prior_steps).clamp_min(1e-6)  # zero start, as in Adam
        mu = mean / share
        return mu, (square / share - mu**2).clamp_min(1e-6).sqrt()

    # ------------------------------------------------------------------ what the log wants to know

    def gradient_norms(self, terms: dict[str, Tensor], student: nn.Module, epoch: int = 0) -> dict[str, float]:
        """Norm of each weighted term's gradient at the student and at the projectors, and the projectors' share.

        Keys: grad_TERM, grad_TERM_projector, projector_share_TERM = projector / (student + projector). Call before
        backward; the graph is kept. A share near 1 means that the projector, not the student, answers the term.
        """
        ours = [p for p in student.parameters() if p.requires_grad]
        extra = list(self.projectors.parameters())
        weights, values = self.weights(epoch), {}
        for name, term in terms.items():
            if not term.requires_grad:
                continue
            found = torch.autograd.grad(weights[name] * term, [*ours, *extra], retain_graph=True, allow_unused=True)
            at_student, at_projector = _norm(found[: len(ours)]), _norm(found[len(ours) :])
            values[f"grad_{name}"] = at_student
            if name in DISTILLED:
                values[f"grad_{name}_projector"] = at_projector
                values[f"projector_share_{name}"] = at_projector / max(at_student + at_projector, 1e-12)
        return values


def _norm(gradients: tuple[Tensor | None, ...]) -> float:
    squares = [float(g.float().pow(2).sum()) for g in gradients if g is not None]
    return sum(squares) ** 0.5
