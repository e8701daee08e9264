"""Two ways to spend the steps of a fine-tuning run: the whole student, or the decoder behind kept maps."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from napari_tinymig.base.records import Message
from napari_tinymig.recipes.finetune import FineTuneSpec
from napari_tinymig.recipes.student import ModelHeader, Recipe

from ..data.batches import Batches
from ..data.image_set import ImageSet, concatenate
from ..networks.student import Student
from ..run.loop import Run
from .decoder_only import (
    ENCODE_BATCH,
    DecoderObjective,
    KeptMaps,
    KeptMapsBatches,
    encode_views,
    freeze_encoder,
)
from .mixing import build_tuning_objective, hold_statistics

Scope = Literal["whole", "decoder"]
VIEWS = 48
"""Augmented views of the user's images whose maps are kept, at least 8 of each."""
REHEARSED = 16

LONG_MINUTES = 10.0
"""From this budget on even a slow encoder is trained whole on the CPU."""


def choose_scope(spec: FineTuneSpec, header: ModelHeader, device: torch.device) -> Scope:
    """Whole student where a step is cheap (dense encoder, GPU, long budget), else the decoder alone."""
    if spec.teacher and spec.scope == "decoder":
        raise ValueError("a teacher is followed by the encoder, which scope = 'decoder' leaves as it is; use 'whole'")
    if spec.scope != "auto":
        return spec.scope
    if spec.teacher and spec.guard:
        return "whole"
    cheap = device.type != "cpu" or header.student.encoder == "dense" or spec.minutes >= LONG_MINUTES
    return "whole" if cheap else "decoder"


class WholeTraining:
    """How parts of the run are trained, on what.

    images, rows: the user's cases and, per item, their labelled rows. extra: replay pictures, None without.
    share: part of every batch that replays.
    """

    scope: Scope = "whole"

    def __init__(
        self,
        parent: Student,
        images: ImageSet,
        rows: Sequence[Sequence[int]],
        extra: ImageSet | None,
        share: float,
        device: torch.device,
        seed: int,
    ):
        self.parent, self.rows, self.share, self.device, self.seed = parent, rows, share, device, seed
        self.data = images if extra is None else concatenate(images, extra)
        self.extra_rows = list(range(len(images), len(self.data)))

    def order(self) -> list[int]:
        """Rows whose augmented views are encoded before the first step."""
        return []

    def prepare(self, recipe: Recipe) -> Iterator[Message]:
        """What is done once before the first step."""
        yield from ()

    def sample(self, recipe: Recipe) -> int:
        """As little of `prepare` as a few steps need that only tell how long one takes; augmented views encoded."""
        return 0

    def student(self) -> Student:
        """A copy of the parent, ready to learn."""
        torch.manual_seed(self.seed)
        student: Student = copy.deepcopy(self.parent)
        hold_statistics(student)
        return student.to(self.device)

    def run(self, items: Sequence[int], recipe: Recipe, folder: Path) -> Run:
        """A run of the shared loop on some items."""
        batches = Batches(self.data, recipe, self.device)
        own = [r for i in items for r in self.rows[i]]
        rows = own
        if self.extra_rows and self.share:
            # in 64 draws, so many of each
            replayed = max(1, round(64 * self.share))
            rows = _repeat(own, 64 - replayed) + _repeat(self.extra_rows, replayed)
        batches.rows = torch.tensor(rows)
        student = self.student()
        objective = build_tuning_objective(recipe, self.parent, student, self.device)
        return Run(student, objective, batches, None, recipe, folder, self.device)


class DecoderTraining(WholeTraining):
    """Views are encoded once by the frozen encoder; the decoder and the head learn from the kept maps."""

    scope: Scope = "decoder"
    kept: KeptMaps

    def order(self) -> list[int]:
        """Rows whose augmented views are encoded, again and again where they are few."""
        own = [r for some in self.rows for r in some]
        order = own * max(8, -(-VIEWS // len(own))) if len(own) < VIEWS else own * 2
        if self.extra_rows and self.share:
            order = order + _repeat(self.extra_rows, REHEARSED)
        return order

    def prepare(self, recipe: Recipe) -> Iterator[Message]:
        """Encode the views and keep their maps; progress as 'log' messages."""
        order = self.order()
        for done in self._encode(recipe, order):
            yield Message("log", done, len(order), text="Looking at augmented views of your images.")

    def sample(self, recipe: Recipe) -> int:
        """Encode one batch of views of the first row."""
        return max(self._encode(recipe, [self.rows[0][0]] * ENCODE_BATCH))

    def _encode(self, recipe: Recipe, order: list[int]) -> Iterator[int]:
        """Encode one augmented view per entry of `order` and keep their maps; yields how many are done."""
        batches = Batches(self.data, recipe, torch.device("cpu"))
        for done, kept in encode_views(self.parent, batches, order, self.seed):
            if kept is not None:
                self.kept = kept
            yield done

    def run(self, items: Sequence[int], recipe: Recipe, folder: Path) -> Run:
        """A run of the shared loop on the kept maps of some items."""
        student = freeze_encoder(self.student())
        rows = torch.tensor([r for i in items for r in self.rows[i]])
        own = torch.nonzero(torch.isin(self.kept.owner, rows))[:, 0]
        extra = torch.nonzero(torch.isin(self.kept.owner, torch.tensor(self.extra_rows, dtype=torch.long)))[:, 0]
        batches = KeptMapsBatches(self.kept, own, extra, self.share, recipe, self.device)
        return Run(student, DecoderObjective(recipe), batches, None, recipe, folder, self.device)  # type: ignore[arg-type]


def _repeat(rows: Sequence[int], count: int) -> list[int]:
    """`rows` again and again, `count` in all."""
    return [rows[i % len(rows)] for i in range(count)]
