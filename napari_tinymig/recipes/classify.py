"""Frozen settings of a probe (MoVL and its baselines) and the record that a classifier file carries.

MoVL (arXiv 2405.07411): backbone frozen, a visual prompt on the input and a linear probe on the features are trained
with a categorisation loss plus a discrepancy between prompted and plain answers. What the paper's text fixes is
marked [known], what this project chose [chosen].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ..tasks.task import Frozen
from .read import RECIPES, read_recipe, recipe_path, validate

Method = Literal["movl", "lp", "vp", "ff", "zero_shot"]
Strategy = Literal["joint", "lp_then_vp", "lp_then_both"]
METHODS: tuple[str, ...] = ("movl", "lp", "vp", "ff", "zero_shot")
STRATEGIES: tuple[str, ...] = ("joint", "lp_then_vp", "lp_then_both")
OWN_PREFIX = "tinymig:"


class BackboneSpec(Frozen):
    """The frozen network that looks at the image."""

    name: str = Field(
        "resnet50",
        description="timm model name (resnet50, vit_base_patch16_clip_224.openai, ...), or 'tinymig:' followed by "
        "the name or file of a model of ours, whose encoder is used.",
    )
    weights: str | None = Field(None, description="Local .safetensors/.pth; None = timm's hub; 'random' = tests only.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further arguments of the timm builder, e.g. {pad_type = 'same'}."
    )
    size: int | None = Field(None, ge=32, le=1024, description="Side of the input in pixels; None = the model's own.")
    mean: tuple[float, float, float] | None = Field(None, description="Channel means; None = the model's own.")
    std: tuple[float, float, float] | None = Field(None, description="Channel deviations; None = the model's own.")


class PromptSpec(Frozen):
    """What is learned on the input, in units of the normalised image."""

    kind: Literal["padding", "full", "patch", "none"] = Field(
        "padding", description="padding: a frame of width p [known: MoVL prompts]; full: every pixel; patch: a square."
    )
    width: int = Field(
        30, ge=1, description="p at an input of 224, scaled with the input: frame width, or side of the patch."
    )
    mode: Literal["add", "replace", "shrink"] = Field(
        "add", description="Added to the image, in place of it, or around an image shrunk to fit inside the frame."
    )
    init: Literal["zero", "normal"] = Field("zero", description="Start of the prompt [chosen; known to matter].")
    init_std: float = Field(0.1, gt=0, description="Standard deviation of a normal start.")

    @model_validator(mode="after")
    def _fits(self) -> PromptSpec:
        if self.mode == "shrink" and self.kind not in ("padding", "none"):
            raise ValueError(f"mode 'shrink' needs kind 'padding', found '{self.kind}'; use mode 'add'")
        if self.mode == "replace" and self.kind == "full":
            raise ValueError("mode 'replace' with kind 'full' leaves no image; use mode 'add'")
        return self


class DiscrepancySpec(Frozen):
    """lambda * sign * D(P+, P-); the plain branch is detached [known]; the form of D is chosen."""

    term: Literal["kl", "ce", "mse", "l1", "feature_mse"] = Field(
        "kl", description="kl: KL(P- || P+); ce: -sum P- log P+; mse, l1: of probabilities; feature_mse: of features."
    )
    weight: float = Field(0.5, ge=0, description="lambda; 0 leaves the cross-entropy alone.")
    sign: Literal[1, -1] = Field(1, description="+1 keeps prompted and plain answers together, -1 drives them apart.")


class ProbeDataSpec(Frozen):
    """Which images, how they are split, how classes are balanced."""

    val_fraction: float = Field(0.15, gt=0, lt=1, description="Part of the source cases for choosing.")
    test_fraction: float = Field(0.2, ge=0, lt=1, description="Part of the source cases never trained or chosen on.")
    split_seed: int = Field(0, ge=0, description="Seed of the test split; `seed` draws train and validation.")
    case_pattern: str | None = Field(
        None, description="Regular expression whose first group is the person or case of a file name; None = stem."
    )
    per_class: int | None = Field(None, ge=2, description="Use at most this many training images of each class.")
    balance: Literal["weights", "none"] = Field("weights", description="weights: rare classes weigh more in the loss.")
    pooling: Literal["mean", "top_k"] = Field("mean", description="How the slices of a volume become one feature row.")
    top_k: int = Field(3, ge=1, description="top_k: mean of the k largest values of each feature over the slices.")
    max_slices: int = Field(24, ge=1, description="At most this many evenly spaced slices of a volume.")


class ProbeOptimSpec(Frozen):
    """Separate optimisers for prompt and head [known that both are trained; values chosen]."""

    epochs: int = Field(5, ge=1, description="Passes over the training images.")
    batch: int = Field(32, ge=1, description="Images per step.")
    optimiser: Literal["adam", "sgd"] = Field("adam", description="Optimiser of prompt and head.")
    lr_prompt: float = Field(0.01, ge=0, description="Learning rate of the prompt; 0 freezes it.")
    lr_head: float = Field(1e-3, ge=0, description="Learning rate of the linear probe; 0 freezes it.")
    lr_backbone: float = Field(3e-4, gt=0, description="Learning rate of full fine-tuning (method ff).")
    l2: float = Field(1e-2, ge=0, description="L2 penalty of the fitted linear probe when `trials` is 1.")
    trials: int = Field(1, ge=1, le=8, description="Settings tried per method, chosen on source validation alone.")
    trial_epochs: int = Field(2, ge=1, description="Epochs of one trial.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 for features and full fine-tuning where the processor is fast at it."
    )
    flip: bool = Field(False, description="Random mirroring; turns the cache of the plain branch off.")


class ProbeRecipe(Frozen):
    """Everything a probe depends on, except where its data lie."""

    name: str = Field("probe", description="Name of the classifier.")
    method: Method = Field("movl", description="movl, or a baseline: lp, vp, ff, zero_shot.")
    strategy: Strategy = Field(
        "joint", description="movl: joint (= MoVL), LP then VP, LP then both [known: these three are compared]."
    )
    backbone: BackboneSpec = BackboneSpec()
    prompt: PromptSpec = PromptSpec()
    discrepancy: DiscrepancySpec = DiscrepancySpec()
    head_init: Literal["default", "zero", "lp"] = Field("default", description="Start of the head for `joint`.")
    data: ProbeDataSpec = ProbeDataSpec()
    optim: ProbeOptimSpec = ProbeOptimSpec()
    text_embeddings: str | None = Field(None, description="zero_shot: .npz or .safetensors, one vector per class name.")
    seed: int = Field(0, ge=0, description="Seed of split, start and order.")

    @model_validator(mode="after")
    def _can_learn(self) -> ProbeRecipe:
        stuck = self.head_init == "zero" and self.prompt.init == "zero" and self.strategy == "joint"
        if self.method == "movl" and stuck and self.optim.lr_head == 0:
            raise ValueError("a zero head with lr_head 0 gives the prompt no gradient; use head_init 'default' or 'lp'")
        return self


class BackboneCard(Frozen):
    """What a classifier remembers of its backbone: enough to build it again and to refuse another one."""

    name: str
    weights_sha256: str = Field(description="SHA-256 over the backbone's tensors, classifier excluded.")
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    options: dict[str, Any] = Field(default_factory=dict)
    features: int
    weights: str = Field("", description="Where the weights came from: a file's name, 'timm hub' or 'random'.")
    keep_head: bool = Field(False, description="Features are the outputs of the model's own head (CLIP projection).")


class ClassifierCard(Frozen):
    """The part of a classifier's header beyond `ModelHeader` (its `extra['classifier']`)."""

    backbone: BackboneCard
    prompt: PromptSpec
    method: Method
    strategy: Strategy
    pooling: Literal["mean", "top_k"] = "mean"
    top_k: int = 3
    max_slices: int = 24
    trained_parameters: int = 0
    distance_percentiles: tuple[float, ...] = Field(
        (), description="Feature distances of the source validation images at percentiles 0, 1, ... 100."
    )


def recipe_toml(recipe: ProbeRecipe) -> str:
    """The recipe as TOML text that `load_probe_recipe` reads back."""
    plain, tables = [], []
    for key, value in recipe.model_dump(exclude_none=True).items():
        if isinstance(value, dict):
            rows = [f"{k} = {_toml_value(v)}" for k, v in value.items()]
            tables.append("\n".join([f"\n[{key}]", *rows]))
        else:
            plain.append(f"{key} = {_toml_value(value)}")
    return "\n".join(plain + tables) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def shipped_probes() -> dict[str, Path]:
    """Probe recipes inside the package by name."""
    return {p.stem: p for p in sorted(RECIPES.glob("probe*.toml"))}


def load_probe_recipe(name_or_path: str | Path = "probe", overrides: dict[str, Any] | None = None) -> ProbeRecipe:
    """A shipped probe recipe by name, or a .toml file, with dotted overrides, e.g. {"optim.epochs": 3}.

    Raises ValueError naming the nearest name or key.
    """
    shipped = shipped_probes()
    path = recipe_path(name_or_path, shipped, "probe recipe")
    return validate(ProbeRecipe, read_recipe(path, shipped, overrides), str(path))
