"""Frozen settings: the student, its input, the recipe of a training run, the header of a model file.

The same models are read from TOML, written into checkpoints, and shown as forms in the viewer. Every field says
what it does; values marked "chosen" are this project's own, not a paper's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ..tasks.table import TASKS
from ..tasks.task import Frozen, Task
from .read import RECIPES, read_recipe, recipe_path, validate
from .train import AugmentSpec, DataSpec, EnsembleSpec, LossSpec, OptimSpec, TeacherSpec

HEADER_SCHEMA = 1
NETWORK_SIDES = {"nnunet2d": (256, 128)}
"""Baselines that need more than `InputSpec` asks: smallest side, and what it must be a multiple of. nnU-Net's network
halves the grid seven times, and its instance norm needs more than one pixel at the bottom."""


class InputSpec(Frozen):
    """How pixels become the network's input (B, 3, size, size)."""

    size: int = Field(256, ge=64, le=1024, multiple_of=32, description="Side of the square grid in pixels.")
    normalisation: Literal["rgb_half", "percentile_z"] = Field(
        "rgb_half",
        description="rgb_half: (x/255 - 0.5)/0.5; percentile_z: clip at the slice's 0.2/99.8 percentile, z-score.",
    )
    context_slices: bool = Field(False, description="Volumes: channels are previous, this and next slice (2.5-D).")
    fov_mm: float | None = Field(
        None,
        gt=0,
        description="Volumes with known spacing: side of the centred square field put on the grid, mm.",
    )
    roi_scale: float | None = Field(
        None,
        gt=1,
        description="Fundus: side of the region of interest in disc diameters; None = whole frame.",
    )
    locator: str | None = Field(None, description="Name of the bundled model that finds the region of interest.")
    cup_head: str | None = Field(None, description="Name of the bundled model that has a say in the cup's size.")


class StudentSpec(Frozen):
    """The tiny network: four tapped stages and a light decoder."""

    encoder: Literal["dense", "mobile"] = Field(
        "dense",
        description="dense: plain 3x3 stages (fast on CPU); mobile: MobileNetV2 blocks 0-5 (can start from ImageNet).",
    )
    widths: tuple[int, int, int, int] = Field(
        (24, 48, 96, 128), description="Channels of the four stages (dense only)."
    )
    blocks: tuple[int, int, int, int] = Field(
        (1, 1, 2, 1), description="Convolutions per stage beyond the strided one (dense only)."
    )
    decoder: int = Field(32, ge=8, le=256, description="Channels of the decoder.")
    init_weights: str | None = Field(
        None,
        description="mobile only: 'imagenet' (timm hub), or a local file of mobilenetv2_100; a model file of the same "
        "shape: to go on from it; None = random.",
    )
    front: Literal["none", "local_contrast"] = Field(
        "none", description="local_contrast: each channel minus its local mean over its local deviation (MR coils)."
    )
    frozen_blocks: int = Field(
        0,
        ge=0,
        le=6,
        description="mobile only: the stem and this many blocks keep their first weights (on CPU: twice the speed, "
        "and features of ImageNet that do not bend to the source).",
    )
    presence: bool = Field(False, description="A frame-level head: is the object there at all (polyp, locator)?")


class Recipe(Frozen):
    """Everything that a training run depends on, except where its data lie."""

    name: str = Field(description="Name of the recipe and default name of the model.")
    task: Task = Field(description="A built-in task by name, or a whole task record.")
    input: InputSpec = InputSpec()
    student: StudentSpec = StudentSpec()
    augment: AugmentSpec = AugmentSpec()
    teacher: TeacherSpec | None = None
    ensemble: EnsembleSpec | None = None
    loss: LossSpec = LossSpec()
    optim: OptimSpec = OptimSpec()
    data: DataSpec = DataSpec()
    protocol: Literal["house", "benchmark"] = Field(
        "house", description="house: validation split; benchmark: whole source, lowest training loss."
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    network: str = Field("student", description="student, or a baseline: resunet34, nnunet2d, monai_unet.")

    @model_validator(mode="after")
    def _fits_the_network(self) -> Recipe:
        smallest, step = NETWORK_SIDES.get(self.network, (64, 32))
        side = self.input.size
        if side < smallest or side % step:
            near = max(smallest, round(side / step) * step)
            raise ValueError(
                f"network '{self.network}' cannot take input.size {side}; expected at least {smallest} and a multiple "
                f"of {step}; set input.size={near}"
            )
        return self

    def without_paths(self) -> Recipe:
        """The recipe as a model file tells it: no path of this machine in it."""
        student = self.student.model_copy(update={"init_weights": None})
        teacher = None if self.teacher is None else self.teacher.model_copy(update={"weights": None})
        return self.model_copy(update={"student": student, "teacher": teacher, "ensemble": None})


class Lineage(Frozen):
    """Where a model came from."""

    parent: str | None = Field(None, description="model_id of the parent, None for a first training.")
    data_hashes: tuple[str, ...] = Field(
        (), description="SHA-256 (16 hex digits) of every training image with its label."
    )
    domains: tuple[str, ...] = Field((), description="Training domains; never called unseen.")
    created: str = Field("", description="UTC date and time, ISO 8601.")
    software: str = Field("", description="napari-tinymig version that made it.")
    recipe: dict[str, Any] = Field(default_factory=dict, description="The recipe as it was run.")


class ModelHeader(Frozen):
    """The JSON header of a model file (.safetensors metadata key 'tinymig')."""

    schema_version: int = HEADER_SCHEMA
    kind: Literal["segmenter", "locator", "gate", "classifier", "prompted", "cup_head"] = "segmenter"
    name: str
    task: Task | None = None
    input: InputSpec = InputSpec()
    student: StudentSpec = StudentSpec()
    network: str = "student"
    head: Literal["sigmoid", "softmax"] = "sigmoid"
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Region -> probability threshold; default 0.5."
    )
    temperature: float = Field(1.0, gt=0, description="Divides logits before the sigmoid.")
    constants: dict[str, float] = Field(
        default_factory=dict, description="Source-side numbers: mean cup/disc ratio, ..."
    )
    statistics: dict[str, Any] = Field(
        default_factory=dict,
        description="Source statistics for shift scores (versioned by their own 'version' key).",
    )
    classes: tuple[str, ...] = Field((), description="Classifiers and gates: class names in output order.")
    scores: dict[str, Any] = Field(default_factory=dict, description="Scores with the data they were measured on.")
    lineage: Lineage = Lineage()
    licence: str = "Research use only; not a medical device."
    weights_sha256: str = Field(
        "", description="SHA-256 over the sorted weight tensors; the ONNX bytes belong to exactly these."
    )
    extra: dict[str, Any] = Field(default_factory=dict)

    @property
    def segmenter_task(self) -> Task:
        """What the model segments. Raises ValueError for a model that segments nothing."""
        if self.task is None:
            raise ValueError(f"model '{self.name}' is a {self.kind} without a task; expected a segmenter.")
        return self.task


def shipped_recipes() -> dict[str, Path]:
    """Training recipes inside the package by name; probes and prompts have their own."""
    return {p.stem: p for p in sorted(RECIPES.glob("*.toml")) if not p.stem.startswith(("probe", "prompt"))}


def load_recipe(name_or_path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """A shipped recipe by name, or a .toml file. `task = "optic"` stands for the built-in record.

    overrides: dotted keys, e.g. {"optim.epochs": 3}. Raises ValueError naming the nearest name or key.
    """
    shipped = shipped_recipes()
    path = recipe_path(name_or_path, shipped, "recipe")
    return recipe_from_dict(read_recipe(path, shipped, overrides), str(path))


def recipe_from_dict(raw: dict[str, Any], source: str = "recipe") -> Recipe:
    """A recipe from plain values, where `task` may be a built-in task's name."""
    if isinstance(raw.get("task"), str):
        if raw["task"] not in TASKS:
            raise ValueError(
                f"{source}: unknown task '{raw['task']}'; built-in tasks: {', '.join(TASKS)}; or give a [task] record"
            )
        raw = raw | {"task": TASKS[raw["task"]].model_dump()}
    return validate(Recipe, raw, source)
