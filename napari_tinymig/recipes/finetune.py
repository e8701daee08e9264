"""Settings of a fine-tuning run, and what few cases get instead of what many get."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..tasks.task import Frozen


class FineTuneSpec(Frozen):
    """What the user may set; None = chosen from the number of annotated images."""

    minutes: float = Field(1.0, gt=0, le=600, description="Time budget from start to kept model, minutes.")
    guard: bool = Field(
        True, description="Keep what the model knows: frozen self-teacher, replay, mixing with the parent."
    )
    steps: int | None = Field(None, ge=1, description="Training steps of each part; None = from the time budget.")
    lr: float | None = Field(None, gt=0, le=1e-2, description="Learning rate; None = by the number of images.")
    replay: float | None = Field(None, ge=0, le=0.9, description="Part of every batch that replays the old domain.")
    distil: float | None = Field(None, ge=0, description="Weight of the three TinyMIG terms against the self-teacher.")
    folds: Literal["two", "each", "none"] = Field(
        "two",
        description="How the gain is measured: two halves inside the time budget; each case left out once (takes as "
        "many times longer); none, and nothing is known about it.",
    )
    teacher: str = Field(
        "", description="timm name of a frozen teacher for the three TinyMIG terms; empty = the parent itself."
    )
    teacher_weights: str = Field("", description="Local weights of that teacher; empty = timm's hub.")
    scope: Literal["auto", "whole", "decoder"] = Field(
        "auto", description="What learns: the whole student, or its decoder alone (fast on a CPU); auto = by cost."
    )
    school: bool = Field(
        True, description="Disc and cup: keep the weights and set the cups' size alone where that gains more."
    )
    margin: float = Field(
        0.10, gt=0, le=1, description="Acceptance check: largest loss of agreement with the parent on references."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    device: str = Field("auto", description="auto, cpu, cuda or mps.")
    labels: str = Field("", description="Foreign label codes of a plain folder: 0:2,128:1; empty = the task's own.")
    name: str = Field("", description="Name of the new model; empty = the parent's name with '-tuned'.")
    reference: str = Field("", description="Images of the original domain for the acceptance check; empty = none.")


class SettingsByCount(Frozen):
    """Settings by number of annotated images (all chosen on development data, benchmarks/finetune.md).

    replay is 0: with half of every batch replayed the child gained less on its centre and kept the source no better
    than half-way mixing with the parent does alone.
    """

    lr: float
    most_steps: int
    replay: float
    distil: float
    folds: int
    batch: int = 8


SETTINGS_BY_COUNT: tuple[tuple[int, SettingsByCount], ...] = (
    (1, SettingsByCount(lr=5e-4, most_steps=40, replay=0.0, distil=0.25, folds=0)),
    (2, SettingsByCount(lr=5e-4, most_steps=60, replay=0.0, distil=0.25, folds=2)),
    (3, SettingsByCount(lr=1e-3, most_steps=80, replay=0.0, distil=0.25, folds=2)),
    (5, SettingsByCount(lr=1e-3, most_steps=120, replay=0.0, distil=0.25, folds=2)),
    (10, SettingsByCount(lr=1e-3, most_steps=200, replay=0.0, distil=0.25, folds=2)),
    (50, SettingsByCount(lr=1e-3, most_steps=800, replay=0.0, distil=0.25, folds=2)),
)
"""From this many images on."""


def settings_for(n: int) -> SettingsByCount:
    """The settings of the largest entry that is not above `n`. ValueError for no image at all."""
    if n < 1:
        raise ValueError("no annotated image is included; expected at least one; mend a mask and add it to the set")
    return [spec for least, spec in SETTINGS_BY_COUNT if least <= n][-1]


def folds_of(names: list[str], kind: str = "two", seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """(train, held-out) positions by case: equal names stay together; [] for a single case, and for kind 'none'.

    kind 'two': two halves, whose order depends on the names alone, so that adding a case moves few others; 'each':
    every case is held out once (leave-one-out).
    """
    import hashlib

    order = sorted(set(names), key=lambda n: hashlib.sha256(f"{seed}{n}".encode()).hexdigest())
    if len(order) < 2 or kind == "none":
        return []
    middle = (len(order) + 1) // 2
    held = [order[middle:], order[:middle]] if kind == "two" else [[name] for name in order]
    return [
        ([i for i, n in enumerate(names) if n not in out], [i for i, n in enumerate(names) if n in out]) for out in held
    ]
