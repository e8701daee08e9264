"""Frozen settings: the student, its input, the recipe of a training run, the header of a model file.

The same models are read from TOML, written into checkpoints, and shown as forms in the viewer. Every field says
what it does; values marked "chosen" are this project's own, not a paper's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from .recipe_file import RECIPES, read_recipe, recipe_path, validate
from .tasks import TASKS, Frozen, Task

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
        description="mobile only: 'imagenet' (timm hub), or a local file of mobilenetv2_100; None = random.",
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


class AugmentSpec(Frozen):
    """Single-domain augmentation; each strength 0 turns the part off (all chosen)."""

    flip: bool = Field(True, description="Mirror left-right (left and right eyes).")
    rotate_deg: float = Field(25.0, ge=0, le=180, description="Largest rotation, degrees.")
    scale: tuple[float, float] = Field((0.7, 1.4), description="Range of zoom factors.")
    shift: float = Field(0.1, ge=0, le=0.5, description="Largest shift as a fraction of the frame.")
    elastic: float = Field(0.0, ge=0, le=1, description="Strength of smooth deformation.")
    colour: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Channel gains, gamma, brightness, contrast, hue, saturation, grey world.",
    )
    blur: float = Field(1.0, ge=0, le=3, description="Gaussian blur and down-up sampling (low resolution).")
    noise: float = Field(1.0, ge=0, le=3, description="Sensor noise and JPEG artefacts.")
    illumination: float = Field(
        1.0, ge=0, le=3, description="Vignetting, illumination gradients, MR bias field, endorectal coil."
    )
    fourier: float = Field(0.0, ge=0, le=1, description="Probability of Fourier amplitude mixing within the source.")
    randconv: float = Field(0.0, ge=0, le=1, description="Probability of a random convolution (RandConv, ICLR 2021).")
    gin: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability of global intensity non-linear augmentation (GIN, TMI 2022).",
    )
    cutout: float = Field(0.0, ge=0, le=1, description="Probability of pasted occluders (text, glare, instruments).")
    mixstyle: float = Field(0.0, ge=0, le=1, description="Probability of MixStyle in feature space (ICLR 2021).")
    trid: float = Field(
        0.0, ge=0, le=1, description="Probability of TriD style randomisation in feature space (MICCAI 2023)."
    )
    coil: float = Field(0.0, ge=0, le=1, description="Prostate: probability of a synthetic endorectal coil.")
    fov_mm: tuple[float, float] | None = Field(
        None, description="Volumes: range of fields of view drawn in training, mm."
    )
    drop_neighbours: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Volumes: probability that neighbour slices are replaced by the middle one.",
    )
    negatives: float = Field(0.0, ge=0, le=1, description="Polyp: probability of a synthetic frame without polyp.")
    frame: float = Field(
        0.0, ge=0, le=1, description="Probability that the photograph ends inside the grid (tight crop)."
    )
    aspect: float = Field(0.0, ge=0, le=0.5, description="Largest relative stretch of one axis against the other.")


class TeacherSpec(Frozen):
    """The frozen foundation model, used in training only."""

    name: str = Field(
        "mobilenetv2_100", description="timm model name, or 'self' (the parent student is its own teacher)."
    )
    weights: str | None = Field(
        None, description="Local .safetensors/.pth; None = timm's hub; 'random' for tests only."
    )
    layers: tuple[int, ...] = Field(
        (3, 6, 9, 12),
        description="1-based tapped blocks of a 12-block ViT [known]; other depths take the same fractions.",
    )
    size: int | None = Field(None, description="Input side; None = the model's own.")
    cache: Literal["none", "memory", "disk"] = Field("memory", description="Where features of clean views are kept.")


class EnsembleSpec(Frozen):
    """Finished students whose mean answer a new student learns to give."""

    members: tuple[str, ...] = Field(min_length=1, description="Segmenters of the same task: names or model files.")
    weight: float = Field(1.0, gt=0, description="Weight of the answers beside the supervised terms [chosen].")


class LossSpec(Frozen):
    """L = l1 Dice + l2 CE + l3 GDC + l4 LRA_sem + l5 LRA_gen (METHODS; map of lambdas is chosen)."""

    lambdas: tuple[float, float, float, float, float] = Field(
        (1.0, 1.0, 0.0, 0.0, 0.0), description="lambda1..5; the paper's are 1, 1, .5, .5, .5 [known]."
    )
    lambda_map: Literal["dice_ce_gdc_sem_gen", "seg_mu_sigma_sem_gen"] = Field(
        "dice_ce_gdc_sem_gen", description="What the five weights weigh [chosen]."
    )
    head: Literal["sigmoid", "softmax"] = Field(
        "sigmoid", description="Nested sigmoids with BCE, or softmax with CE [chosen]."
    )
    gdc: Literal["kl", "moments", "prior", "cwd", "w2"] = Field(
        "kl", description="Form of global distribution consistency [chosen]."
    )
    gdc_direction: Literal["SR", "RS", "sym"] = Field(
        "SR", description="KL(student||teacher), the reverse, or both [chosen]."
    )
    gdc_moments: Literal["instance", "batch"] = Field(
        "instance", description="Spatial moments per image, or pooled over the batch [chosen]."
    )
    gdc_view: Literal["aug", "clean"] = Field("aug", description="View the student sees for GDC [chosen].")
    sem: Literal["token", "prototype"] = Field(
        "token", description="Token cosine, or class prototypes by masked average pooling [chosen]."
    )
    gen_grid: int = Field(
        16, ge=4, le=32, description="Largest side of the token grid of LRA_gen; 32 costs 16 times 16's time [chosen]."
    )
    schedule: Literal["joint", "distil_first"] = Field(
        "joint", description="All terms together, or encoder distillation first, then the task."
    )
    distil_fraction: float = Field(
        0.3, gt=0, lt=1, description="Part of the epochs spent on distillation alone (distil_first)."
    )
    soft_labels: bool = Field(False, description="Use experts' counts as soft targets where the source has them.")


class OptimSpec(Frozen):
    """AdamW with poly decay l_t = l0 (1 - t/T)^0.9 per epoch [known]."""

    epochs: int = Field(100, ge=1, description="T; 100 for OD/OC and polyp, 200 for prostate [known].")
    batch: int = Field(8, ge=1, description="Images per step [known: 8].")
    lr: float = Field(1e-4, gt=0, description="l0 [known: 1e-4].")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW weight decay [chosen].")
    power: float = Field(0.9, gt=0, description="Exponent of the poly schedule [known].")
    iterations_per_epoch: int | None = Field(None, ge=1, description="Steps per epoch; None = one pass over the cases.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto = bf16 where the device is fast at it."
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="Decay of averaged weights used for validation and export; 0 = off."
    )
    grad_clip: float = Field(5.0, ge=0, description="Largest gradient norm; 0 = off.")
    encoder_lr_scale: float = Field(1.0, gt=0, description="Learning-rate factor of a pretrained encoder.")


class DataSpec(Frozen):
    """Which labels, how they are split."""

    val_fraction: float = Field(0.15, ge=0, lt=1, description="Part of the source CASES held back for validation.")
    folds: int | None = Field(None, ge=2, description="Cross-validation: number of folds.")
    fold: int = Field(0, ge=0, description="Fold held out.")
    label_map: dict[int, int] = Field(
        default_factory=dict, description="Foreign label code -> ours, e.g. {128: 1, 0: 2, 255: 0}."
    )
    cup_agreement: int | None = Field(
        None, ge=1, le=4, description="Drishti `experts/`: votes needed for cup; None = labels/ as they are."
    )
    disc_agreement: int | None = Field(None, ge=1, le=4, description="Drishti `experts/`: votes needed for disc.")
    case_pattern: str | None = Field(
        None, description="Regular expression whose first group is the case of a file name; None = stem."
    )
    limit: int | None = Field(None, ge=1, description="Use at most this many cases (tests).")


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
    kind: Literal["segmenter", "locator", "gate", "classifier"] = "segmenter"
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


def shipped_recipes() -> dict[str, Path]:
    """Training recipes inside the package by name; probes have their own (`probe_config.shipped_probes`)."""
    return {p.stem: p for p in sorted(RECIPES.glob("*.toml")) if not p.stem.startswith("probe")}


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
