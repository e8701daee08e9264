"""How each method of a probe is fitted: LP, VP, MoVL in three strategies, full fine-tuning, zero-shot."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.base.errors import MissingExtra, ModelFileError
from napari_tinymig.base.records import Message
from napari_tinymig.recipes.classify import BackboneSpec, ProbeRecipe, PromptSpec

from .backbone import open_backbone, trainable
from .features import FeatureRows
from .images import Pixels
from .lazy_backbone import LazyBackbone
from .linear_probe import L2_GRID, FeatureHead, LinearProbe, choose_linear_probe, feature_moments
from .losses import class_weights
from .movl import PromptedClassifier, Stage, StageData, autocast, channels_last, train_stage, validate
from .visual_prompt import Prompt
from .zero_shot import text_embeddings, zero_shot_logits

RATE_FACTORS = (1.0, 3.0, 0.3, 10.0, 0.1, 2.0, 0.5, 30.0)
"""Factors on the learning rates, in the order in which a growing budget of trials tries them."""


@dataclass
class FitData:
    """What every method stands on: recipe, features and pixels of the source's items, and who is in which part."""

    recipe: ProbeRecipe
    classes: tuple[str, ...]
    rows: FeatureRows
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    backbone: LazyBackbone
    device: torch.device
    stop: Callable[[], bool]
    pixels: Pixels | None = None

    @property
    def balance(self) -> bool:
        """Whether rare classes weigh more."""
        return self.recipe.data.balance == "weights"

    def class_weight(self) -> NDArray[np.float32] | None:
        """(C,) weights of the training classes, or None."""
        labels = torch.from_numpy(self.rows.labels[self.train])
        return class_weights(labels, len(self.classes)).numpy() if self.balance else None


@dataclass
class Fitted:
    """A fitted method. model: None for zero-shot, whose `zero_shot` weights are used. notes: sentences."""

    model: PromptedClassifier | None
    trained_parameters: int
    val_loss: float
    settings: dict[str, float] = field(default_factory=dict)
    zero_shot: NDArray[np.float32] | None = None
    fine_tuned: bool = False
    notes: tuple[str, ...] = ()


def fit(data: FitData) -> Generator[Message, None, Fitted]:
    """Fit the recipe's method; returns a Fitted. With trials > 1 its settings are chosen on source validation."""
    method = data.recipe.method
    if method == "lp":
        return (yield from _fit_linear(data))
    if method == "zero_shot":
        return (yield from _fit_zero_shot(data))
    if data.recipe.optim.trials == 1:
        return (yield from _fit_by_gradient(data, data.recipe))
    candidates = trial_recipes(data.recipe)
    losses = []
    for i, candidate in enumerate(candidates):
        outcome = yield from _quietly(_fit_by_gradient(data, candidate))
        losses.append(outcome.val_loss)
        said = ", ".join(f"{k} {v:g}" for k, v in outcome.settings.items())
        yield Message("log", i + 1, len(candidates), {"val_loss": outcome.val_loss}, f"Trial {i + 1}: {said}")
        if data.stop():
            break
    best = candidates[int(np.argmin(losses))].optim
    chosen = {k: getattr(best, k) for k in ("lr_prompt", "lr_head", "lr_backbone")}
    recipe = data.recipe.model_copy(update={"optim": data.recipe.optim.model_copy(update=chosen)})
    return (yield from _fit_by_gradient(data, recipe))


def trial_recipes(recipe: ProbeRecipe) -> list[ProbeRecipe]:
    """The settings tried: the recipe's learning rates times each factor, `trial_epochs` long."""
    made = []
    for factor in RATE_FACTORS[: recipe.optim.trials]:
        rates = {k: getattr(recipe.optim, k) * factor for k in ("lr_prompt", "lr_head", "lr_backbone")}
        optim = recipe.optim.model_copy(update=rates | {"epochs": recipe.optim.trial_epochs})
        made.append(recipe.model_copy(update={"optim": optim}))
    return made


def _quietly(messages: Generator[Message, None, Fitted]) -> Generator[Message, None, Fitted]:
    """Run a generator for its result; nothing of it is passed on."""
    while True:
        try:
            next(messages)
        except StopIteration as e:
            return cast(Fitted, e.value)
        if False:
            yield


def _linear_probe(data: FitData, recipe: ProbeRecipe) -> tuple[LinearProbe, dict[float, float]]:
    """The linear probe that is best on source validation, and the loss there of each penalty tried."""
    penalties = L2_GRID[: recipe.optim.trials] if recipe.optim.trials > 1 else (recipe.optim.l2,)
    train, val = ((data.rows.values[part], data.rows.labels[part]) for part in (data.train, data.val))
    return choose_linear_probe(train, val, len(data.classes), penalties, data.class_weight())


def _fit_linear(data: FitData) -> Generator[Message, None, Fitted]:
    best, losses = _linear_probe(data, data.recipe)
    for l2, loss in losses.items():
        yield Message("log", values={"val_loss": loss, "l2": l2}, text=f"Linear probe with penalty {l2:g}")
    head = FeatureHead(data.rows.values.shape[1], len(data.classes))
    head.take(best)
    prompt = Prompt(PromptSpec(kind="none"), data.backbone.card.size)
    model = PromptedClassifier(nn.Identity(), prompt, head, data.recipe.data)
    return Fitted(model, best.weight.size + best.bias.size, losses[best.l2], {"l2": best.l2})


def _fit_by_gradient(data: FitData, recipe: ProbeRecipe) -> Generator[Message, None, Fitted]:
    """VP, MoVL and full fine-tuning."""
    if data.pixels is None:
        raise ValueError("pixels are needed to train a prompt or a backbone; load them first")
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    head, notes = _starting_head(data, recipe)
    full = recipe.method == "ff"
    spec = PromptSpec(kind="none") if full else recipe.prompt
    prompt = Prompt(spec, data.backbone.card.size, generator)
    fast = data.backbone.fast()
    body = trainable(data.backbone.original()) if full else fast
    model = PromptedClassifier(body, prompt, head, recipe.data).to(data.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if full and _statistics_collapse(body, data):
        _freeze_statistics(body)
        notes += ("This backbone's running statistics do not survive train mode; they stay frozen in fine-tuning.",)
    stage = _stage(recipe)
    before = None if full else fast.fingerprint()
    discrepancy = recipe.discrepancy
    if recipe.method != "movl":
        discrepancy = discrepancy.model_copy(update={"weight": 0.0})
    best = math.inf
    plain = None if full or recipe.optim.flip else data.rows.values
    stage_data = StageData(
        data.pixels, data.train, fast.normalise, stage, discrepancy, recipe.optim, plain, data.balance, recipe.seed
    )
    for report in train_stage(model, stage_data, data.val, data.stop):
        best = min(best, report.validation.get("val_loss", math.inf))
        values = {"loss": report.loss} | report.terms | report.validation
        kind = "epoch" if report.validation else "step"
        yield Message(kind, report.step, report.steps, values, f"epoch {report.epoch}")  # type: ignore[arg-type]
    if before is not None and fast.fingerprint() != before:
        raise ModelFileError("the frozen backbone moved during training; this is a fault of the program, report it")
    trained = _count(model, stage)
    rates = {k: getattr(stage, k) for k, on in _learning(stage).items() if on}
    return Fitted(model, trained, best, rates, fine_tuned=full, notes=notes)


def _learning(stage: Stage) -> dict[str, bool]:
    return {"lr_prompt": stage.prompt, "lr_head": stage.head, "lr_backbone": stage.backbone}


def _count(model: PromptedClassifier, stage: Stage) -> int:
    parts = ((model.prompt, stage.prompt), (model.head, stage.head), (model.backbone, stage.backbone))
    return sum(p.numel() for part, learns in parts if learns for p in part.parameters())


def _stage(recipe: ProbeRecipe) -> Stage:
    optim = recipe.optim
    frozen_head = recipe.method == "vp" or (recipe.method == "movl" and recipe.strategy == "lp_then_vp")
    return Stage(
        prompt=recipe.method in ("movl", "vp"),
        head=not frozen_head,
        backbone=recipe.method == "ff",
        lr_prompt=optim.lr_prompt,
        lr_head=optim.lr_head,
        lr_backbone=optim.lr_backbone,
        epochs=optim.epochs,
    )


def _starting_head(data: FitData, recipe: ProbeRecipe) -> tuple[FeatureHead, tuple[str, ...]]:
    features, labels = data.rows.values[data.train], data.rows.labels[data.train]
    head = FeatureHead(features.shape[1], len(data.classes))
    fitted = recipe.method == "movl" and (recipe.strategy != "joint" or recipe.head_init == "lp")
    if fitted:
        head.take(_linear_probe(data, recipe)[0])
        return head, ()
    if recipe.method == "vp":
        return _mapped_head(data, head, features, labels)
    _standardise(head, features)
    if recipe.head_init == "zero":
        with torch.no_grad():
            head.linear.weight.zero_()
            head.linear.bias.zero_()
    return head, ()


@torch.no_grad()
def _standardise(head: FeatureHead, features: NDArray[np.float32]) -> None:
    """Give the head mean and deviation of the training features (N, F)."""
    mean, std = feature_moments(features)
    head.mean.copy_(torch.from_numpy(mean))
    head.std.copy_(torch.from_numpy(std))


def _mapped_head(
    data: FitData, head: FeatureHead, features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[FeatureHead, tuple[str, ...]]:
    """VP alone needs a head that does not learn: the backbone's own, each class mapped to the output it excites most.

    Frequency mapping after Bahng et al. 2022 and Chen et al. 2023 (ILM-VP). A backbone without a linear head of its
    own gets a fixed random one [chosen].
    """
    own = _own_linear(data.backbone.spec)
    if own is None or own.in_features != features.shape[1]:
        _standardise(head, features)
        return head, ("The backbone has no linear head of its own: VP trains against a fixed random head.",)
    with torch.no_grad():
        says = own(torch.from_numpy(features)).argmax(1).numpy()
        taken: list[int] = []
        for c in range(len(data.classes)):
            counts = np.bincount(says[labels == c], minlength=own.out_features)
            others = np.bincount(says[labels != c], minlength=own.out_features)
            score = counts / max(1, counts.sum()) - others / max(1, others.sum())
            score[taken] = -np.inf
            taken.append(int(score.argmax()))
        head.linear.weight.copy_(own.weight[taken])
        head.linear.bias.copy_(own.bias[taken])
    return head, (f"VP uses the backbone's own outputs {taken} for {', '.join(data.classes)}.",)


def _own_linear(spec: BackboneSpec) -> nn.Linear | None:
    try:
        body = open_backbone(spec, keep_head=True).body
    except (ModelFileError, MissingExtra, ValueError):
        return None
    found = body.get_classifier() if hasattr(body, "get_classifier") else None
    return found if isinstance(found, nn.Linear) and found.bias is not None else None


def _statistics_collapse(body: nn.Module, data: FitData) -> bool:
    """True if batch statistics change the features beyond recognition (exports whose BatchNorm was folded away)."""
    if not any(isinstance(m, nn.BatchNorm2d) for m in body.modules()) or data.pixels is None:
        return False
    test = copy.deepcopy(body)
    images = torch.from_numpy(data.pixels.values[:32]).to(data.device)
    with torch.no_grad(), autocast(data.device, data.recipe.optim.precision):
        x = channels_last(data.backbone.fast().normalise(images))
        learning, fixed = test.train()(x).float(), test.eval()(x).float()
    return float(nn.functional.cosine_similarity(learning, fixed).mean()) < 0.5


def _freeze_statistics(body: nn.Module) -> None:
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: nn.Module.train(module, False)  # type: ignore[method-assign, misc]


def _fit_zero_shot(data: FitData) -> Generator[Message, None, Fitted]:
    """Cosine similarity with given text embeddings, times 100 (CLIP); nothing is trained."""
    weights = text_embeddings(data.recipe.text_embeddings, data.classes)
    features = data.rows.values
    if weights.shape[1] != features.shape[1]:
        raise ValueError(
            f"the text embeddings have {weights.shape[1]} numbers, {data.backbone.card.name} gives "
            f"{features.shape[1]} per image; expected both from the same CLIP model"
        )
    yield Message("log", text="Zero-shot: nothing is trained.")
    loss = validate(zero_shot_logits(features[data.val], weights), data.rows.labels[data.val])["val_loss"]
    return Fitted(None, 0, loss, zero_shot=weights)
