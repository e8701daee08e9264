"""Fine-tuning behind a frozen encoder: augmented views are encoded once, then the decoder learns from the maps.

On one CPU thread a step of the whole MobileNet student takes seconds, a decoder step on kept maps some tens of
milliseconds; that is what lets a minute of fine-tuning see thousands of views. [chosen]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from napari_tinymig.recipes.student import Recipe

from ..data.batches import Batches
from ..losses.segmentation import cross_entropy_loss, dice_loss, region_probabilities
from ..networks.student import Student

ENCODE_BATCH = 8
LOSS_STRIDE = 2
"""The loss is taken on a grid of half the network's side: logits are born at a quarter."""


@dataclass
class KeptMapsBatch:
    """One step's views behind the encoder; the image itself is not needed again.

    stages: maps (B, C, h, w). target: (B, R, s/2, s/2); known: (B, 1, s/2, s/2).
    """

    stages: tuple[Tensor, ...]
    target: Tensor
    known: Tensor
    image: Tensor = field(default_factory=lambda: torch.empty(0, 3, 1, 1))


class KeptMaps:
    """Augmented views of rows, encoded once by the frozen encoder.

    owner: (N,) the row each view was made from. stages: four tensors (N, C, h, w), float16. target, known: uint8.
    """

    def __init__(self, owner: Tensor, stages: list[Tensor], target: Tensor, known: Tensor):
        self.owner, self.stages, self.target, self.known = owner, stages, target, known

    def __len__(self) -> int:
        return len(self.owner)

    def pick(self, index: Tensor, device: torch.device) -> KeptMapsBatch:
        """The batch of some views."""
        stages = tuple(s[index].to(device).float() for s in self.stages)
        target, known = self.target[index].to(device).float() / 255, self.known[index].to(device).float()
        return KeptMapsBatch(stages, target, known)


@torch.no_grad()
def encode_views(
    student: Student, batches: Batches, rows: Sequence[int], seed: int
) -> Iterator[tuple[int, KeptMaps | None]]:
    """Encode one augmented view per entry of `rows` (repeat a row for more); yields (views done, None), at last
    (all, the kept maps).

    The same seed gives the same kept maps to the bit, so that a resumed run needs no stored maps.
    """
    g = Generator().manual_seed(seed)
    student.eval()
    side = batches.recipe.input.size // LOSS_STRIDE
    parts: list[tuple[list[Tensor], Tensor, Tensor]] = []
    order = torch.tensor(list(rows))
    for some in order.split(ENCODE_BATCH):
        batch = batches.augment(
            batches._rows(some), batches.view[some], batches.centre[some], some, g, False, batches.fov[some]
        )
        stages = [s.half().cpu() for s in student.encode(batch.image)]
        target = (F.adaptive_avg_pool2d(batch.target, side) * 255).round().to(torch.uint8).cpu()
        known = (F.adaptive_avg_pool2d(batch.known, side) > 0.99).to(torch.uint8).cpu()
        parts.append((stages, target, known))
        yield sum(len(p[1]) for p in parts), None
    stages = [torch.cat([p[0][level] for p in parts]) for level in range(len(parts[0][0]))]
    yield len(order), KeptMaps(order, stages, torch.cat([p[1] for p in parts]), torch.cat([p[2] for p in parts]))


class KeptMapsBatches:
    """Epochs of batches from kept maps: a share of every batch from the replay views, the rest from the user's.

    own, extra: positions in the kept maps.
    """

    def __init__(
        self, kept: KeptMaps, own: Tensor, extra: Tensor, share: float, recipe: Recipe, device: torch.device
    ) -> None:
        self.kept, self.own, self.extra, self.recipe, self.device = kept, own, extra, recipe, device
        batch = recipe.optim.batch
        self.replayed = min(batch - 1, round(batch * share)) if len(extra) else 0

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.recipe.optim.iterations_per_epoch or 1

    def epoch(self, g: Generator, want_clean: bool) -> Iterator[KeptMapsBatch]:
        """The batches of one epoch, drawn from `g`."""
        for _ in range(self.steps):
            picks = [self.own[torch.randint(len(self.own), (self.recipe.optim.batch - self.replayed,), generator=g)]]
            if self.replayed:
                picks.append(self.extra[torch.randint(len(self.extra), (self.replayed,), generator=g)])
            yield self.kept.pick(torch.cat(picks), self.device)


class DecoderObjective(nn.Module):
    """Dice and cross-entropy of the decoder's answer to kept maps; the encoder is not asked."""

    needs_clean = False

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.task, self.loss = recipe.task, recipe.loss

    def forward(self, student: Student, batch: KeptMapsBatch, progress: float) -> dict[str, Tensor]:
        """Terms of one step; 'loss' is their sum."""
        logits = student.decode(list(batch.stages)).logits.float()
        logits = F.avg_pool2d(logits, LOSS_STRIDE)  # (B, R, s/2, s/2)
        probabilities = region_probabilities(logits, self.task, self.loss.head)
        dice = dice_loss(probabilities, batch.target, batch.known)
        ce = cross_entropy_loss(logits, batch.target, batch.known, self.task, self.loss.head)
        return {"dice_loss": dice, "ce_loss": ce, "loss": dice + ce}


def freeze_encoder(student: Student) -> Student:
    """Only decoder and head learn."""
    student.encoder.requires_grad_(False)
    if student.presence is not None:
        student.presence.requires_grad_(False)
    return student
