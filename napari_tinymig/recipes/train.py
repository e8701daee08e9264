"""How a student is taught: augmentation, teacher, ensemble, losses, optimiser, data; the tables of a training recipe.

`config.Recipe` holds them all. Every field says what it does; values marked "chosen" are this project's own, values
marked "known" a paper's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..tasks.task import Frozen


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
    hue: float = Field(
        0.0, ge=0, le=3, description="Endoscopy: hue turned, white balance shifted, light of another colour."
    )
    glints: float = Field(0.0, ge=0, le=1, description="Endoscopy: probability of reflections on wet mucosa.")
    dye: float = Field(0.0, ge=0, le=1, description="Endoscopy: probability of blue dye beside the object.")
    instruments: float = Field(0.0, ge=0, le=1, description="Endoscopy: probability of an instrument in view.")
    overlay: float = Field(0.0, ge=0, le=1, description="Probability of burned-in text and an inset.")
    scope_border: float = Field(
        0.0, ge=0, le=1, description="Endoscopy: probability of an octagonal, round or square lit field."
    )
    sharpen: float = Field(0.0, ge=0, le=3, description="Scans: unsharp masking, as reconstruction filters do.")
    window: float = Field(0.0, ge=0, le=3, description="Scans: display windows that saturate at either end.")
    ends: bool = Field(
        False, description="Volumes: slices of the object are drawn twice, the first and last two three times as often."
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
    inner: float = Field(
        0.0, ge=0, le=1, description="Disc and cup: probability that the cup gets another size in the same disc."
    )
    inner_ratio: tuple[float, float] = Field(
        (0.2, 0.85), description="Disc and cup: range of vertical ratios drawn evenly for `inner`."
    )
    pallor: float = Field(
        0.0, ge=0, le=1, description="Disc and cup: probability that the cup becomes paler or less pale than it is."
    )
    patches: float = Field(
        0.0, ge=0, le=1, description="Fundus: probability of pale patches (atrophy, exudates, glare) beside the disc."
    )


class TeacherSpec(Frozen):
    """The frozen foundation model, used in training only."""

    name: str = Field(
        "mobilenetv2_100",
        description="timm model name, 'litemedsam', or 'self' (the parent student is its own teacher).",
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
    """L = l1 Dice + l2 CE + l3 GDC + l4 LRA_sem + l5 LRA_gen (TinyMIG [known]; which lambda weighs what is chosen)."""

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
    boundary: float = Field(
        0.0, ge=0, le=10, description="How much more pixels near a border weigh (PraNet's weights) [chosen]."
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
    keep: Literal["best", "last"] = Field(
        "best", description="The epoch that is kept: best on held-out source cases, or the last one [chosen]."
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
