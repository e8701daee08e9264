"""Settings of a first model for a structure of a user's own: few cases, a minute, no recipe file."""

from __future__ import annotations

from pathlib import Path

from ..tasks.task import Task
from .student import InputSpec, Recipe, StudentSpec
from .train import AugmentSpec, DataSpec, OptimSpec

BATCH = 4
EPOCH = 5
"""Steps between two looks at the held-out cases."""
FEWEST = 3
"""Epochs at least, however slow the machine (chosen: five drawn cases are learned after ten steps)."""
MOST = 30
"""Epochs at most, however fast the machine (chosen)."""


def epochs_in(seconds: float, step_s: float) -> int:
    """How many epochs fit into a time, at so many seconds a step."""
    return min(MOST, max(FEWEST, int(seconds / max(step_s, 1e-3)) // EPOCH))


def structure_recipe(task: Task, start: Path, looks: InputSpec, student: StudentSpec, epochs: int) -> Recipe:
    """The recipe of a first model.

    start: a student of the same kind of image, whose encoder and decoder are taken over. looks, student: its input and
    network; the new one sees the whole frame or slice, since nobody knows yet where the structure lies.
    """
    photograph = task.input == "photograph"
    return Recipe(
        name=task.name,
        task=task,
        input=InputSpec(size=256, normalisation=looks.normalisation, context_slices=looks.context_slices),
        student=student.model_copy(update={"init_weights": str(start), "presence": False}),
        augment=AugmentSpec(
            rotate_deg=180.0 if photograph else 15.0,
            scale=(0.6, 1.5) if photograph else (0.8, 1.25),
            shift=0.15,
            elastic=0.2,
            aspect=0.2,
            colour=0.7,
            blur=0.5,
            noise=0.6,
            illumination=0.6,
        ),
        optim=OptimSpec(
            epochs=epochs, batch=BATCH, lr=1e-3, iterations_per_epoch=EPOCH, keep="last", encoder_lr_scale=0.5
        ),
        data=DataSpec(val_fraction=0.2),
    )
