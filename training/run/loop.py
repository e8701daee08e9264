"""The loop every run shares, from its entry `fit` down: epochs, steps, averaged weights, validation, stop.

Everything random in epoch e comes from one generator seeded by (seed, e), so a run that was killed continues from its
last checkpoint to the bit on CPU, without saving generator states.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from napari_tinymig.base.records import Message
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.recipes.train import OptimSpec

from ..augmentation.apply import Batch
from ..data.batches import Batches
from ..machine.device import wants_bf16
from ..machine.replicas import average_buffers, average_gradients
from ..objectives.supervised import Objective
from .checkpoint import Part, Progress, read_checkpoint, write_checkpoint

CHECKPOINT_PAUSE = 10
"""Between two checkpoints pass at least so many times the seconds that one takes: half a gigabyte on a slow disk."""
Validate = Callable[[nn.Module], dict[str, float]]


def fit(run: Run, stop: Callable[[], bool]) -> Iterator[Message]:
    """Epochs until the recipe's end or `stop()`; messages 'step' and 'epoch' with measured seconds and ETA."""
    total = run.recipe.optim.epochs
    if run.progress.epoch >= total:
        yield Message("log", total, total, {}, f"epoch {total} of {total} is done already; nothing is trained again")
    while run.progress.epoch < total and not stop():
        start = time.monotonic()
        yield from run.train_epoch(stop)
        if stop():
            return
        message = run.finish_epoch()
        run.progress.seconds += time.monotonic() - start
        left = (total - run.progress.epoch) * run.progress.seconds / run.progress.epoch
        values = message.values | {"seconds": run.progress.seconds, "eta_s": left}
        yield Message("epoch", message.step, message.total, values, message.text)


class Run:
    """One training run: what is trained, where it stands, and how it is saved."""

    def __init__(
        self,
        student: nn.Module,
        objective: Objective,
        batches: Batches,
        validate: Validate | None,
        recipe: Recipe,
        out: Path,
        device: torch.device,
    ):
        self.student, self.objective, self.batches, self.validate = student, objective, batches, validate
        self.recipe, self.out, self.device = recipe, out, device
        self.average = copy.deepcopy(student).requires_grad_(False) if recipe.optim.ema else None
        self.optimiser = build_optimiser(student, objective, recipe.optim)
        self.progress = Progress()
        self.best_state: dict[str, Tensor] | None = None
        self._saved_at, self._save_s = -math.inf, 0.0
        self.losses: list[Tensor] = []  # (2,) of every step of this epoch: what is minimised, and its supervised part
        self.bf16 = wants_bf16(recipe, device)
        student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.1-1.9x faster on AVX-512/AMX

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.student if self.average is None else self.average

    def train_epoch(self, stop: Callable[[], bool]) -> Iterator[Message]:
        """One epoch; yields a 'step' message about once a second. Stops early when `stop()` says so."""
        spec, epoch = self.recipe.optim, self.progress.epoch
        g = Generator().manual_seed(self.recipe.seed * 1_000_003 + epoch)
        torch.manual_seed(self.recipe.seed * 1_000_003 + epoch)
        rate = learning_rate(epoch, spec)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        self.student.train()
        freeze_statistics(self.student)
        steps, told = self.batches.steps, time.monotonic()
        for step, batch in enumerate(self.batches.epoch(g, self.objective.needs_clean)):
            terms = self._step(batch, (epoch + step / steps) / spec.epochs)
            if time.monotonic() - told > 1 or step + 1 == steps:
                told = time.monotonic()
                values = {k: float(v.detach()) for k, v in terms.items()}
                yield Message("step", epoch * steps + step + 1, spec.epochs * steps, values)
            if stop():
                return

    def _step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        batch.image = batch.image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.objective(self.student, batch, progress)
        self.losses.append(torch.stack([terms["loss"].detach(), supervised_part(terms, self.recipe.loss.lambdas)]))
        self.optimiser.zero_grad(set_to_none=True)
        terms["loss"].backward()
        average_gradients(p for group in self.optimiser.param_groups for p in group["params"])
        if self.recipe.optim.grad_clip:
            nn.utils.clip_grad_norm_(self.student.parameters(), self.recipe.optim.grad_clip)
        self.optimiser.step()
        if self.average is not None:
            self._pull_average(self.average)
        return terms

    def _pull_average(self, average: nn.Module) -> None:
        step = self.progress.epoch * self.batches.steps
        decay = min(self.recipe.optim.ema, (1 + step) / (10 + step))
        ours, theirs = average.state_dict(), self.student.state_dict()
        with torch.no_grad():
            for name, value in ours.items():
                if value.is_floating_point():
                    value.lerp_(theirs[name].to(value.dtype), 1 - decay)
                else:
                    value.copy_(theirs[name])

    def finish_epoch(self) -> Message:
        """Validate, remember the best, save the resume state; the 'epoch' message.

        Best is the highest validation score; under the benchmark protocol, which holds nothing out, the lowest mean
        training loss of an epoch, Dice and cross-entropy alone (so that schedules compare); otherwise the latest. With
        `optim.keep = "last"` the latest epoch is the one that is kept, whatever its score.
        """
        p = self.progress
        p.epoch += 1
        average_buffers(self.student)
        values = self.validate(self.judged) if self.validate else {}
        total, supervised = torch.stack(self.losses).mean(0).tolist()
        self.losses.clear()
        if not math.isfinite(total):
            raise ValueError(
                f"the loss became {total} in epoch {p.epoch}: the run diverged; expected finite numbers; lower "
                f"optim.lr ({self.recipe.optim.lr:g}), or set optim.precision to fp32"
            )
        values = values | {"train_loss": total}
        score = -supervised if self.recipe.protocol == "benchmark" else values.get("score", float(p.epoch))
        if score > p.best or self.recipe.optim.keep == "last":
            p.best, p.best_epoch = score, p.epoch
            self.best_state = {k: v.detach().clone() for k, v in self.judged.state_dict().items()}
        if p.epoch == self.recipe.optim.epochs or time.monotonic() - self._saved_at >= CHECKPOINT_PAUSE * self._save_s:
            self.save_last()
        values |= {"lr": learning_rate(p.epoch - 1, self.recipe.optim), "best": p.best, "best_epoch": p.best_epoch}
        return Message("epoch", p.epoch, self.recipe.optim.epochs, values)

    def _parts(self) -> dict[str, Part]:
        """What a checkpoint holds besides the best state."""
        parts: dict[str, Part] = {"student": self.student}
        if self.average is not None:
            parts["average"] = self.average
        if isinstance(self.objective, nn.Module):
            parts["objective"] = self.objective
        return parts | {"optimiser": self.optimiser}

    def save_last(self) -> None:
        """Write the checkpoint of this moment."""
        begun = time.monotonic()
        write_checkpoint(self.out, self._parts(), self.best_state, self.progress, self.recipe)
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - begun

    def load_last(self) -> None:
        """Go on from the checkpoint. Raises ModelFileError where it is absent, damaged or of another recipe."""
        self.best_state, self.progress = read_checkpoint(self.out, self._parts(), self.recipe)


def supervised_part(terms: dict[str, Tensor], lambdas: Sequence[float]) -> Tensor:
    """lambda1 Dice + lambda2 cross-entropy of a step, detached; infinite where distillation alone was trained."""
    if "dice_loss" not in terms:
        return torch.full_like(terms["loss"].detach(), math.inf)
    return (lambdas[0] * terms["dice_loss"] + lambdas[1] * terms["ce_loss"]).detach()


def freeze_statistics(student: nn.Module) -> None:
    """BatchNorms whose weights are frozen keep their running statistics: frozen means frozen."""
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d) and module.weight is not None and not module.weight.requires_grad:
            module.eval()


def learning_rate(epoch: int, spec: OptimSpec) -> float:
    """l0 (1 - t/T)^power at epoch t = 0..T-1 [known]."""
    return spec.lr * (1 - epoch / spec.epochs) ** spec.power


def build_optimiser(student: nn.Module, objective: Objective, spec: OptimSpec) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.999) [known]; no decay on norms and biases; a pretrained encoder has its own rate."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, p in student.named_parameters():
        if p.requires_grad:
            groups.setdefault((name.startswith("encoder."), p.ndim > 1), []).append(p)
    extra = [p for p in objective.parameters() if p.requires_grad]  # type: ignore[attr-defined]
    if extra:
        groups.setdefault((False, True), []).extend(extra)
    return torch.optim.AdamW(
        [
            {
                "params": ps,
                "weight_decay": spec.weight_decay if decayed else 0.0,
                "scale": spec.encoder_lr_scale if encoder else 1.0,
            }
            for (encoder, decayed), ps in groups.items()
        ],
        lr=spec.lr,
        betas=(0.9, 0.999),
    )
