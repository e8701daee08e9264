"""A prompted classifier on a frozen backbone, and how prompt and probe are trained together or after each other."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_tinymig.recipes.classify import DiscrepancySpec, ProbeDataSpec, ProbeOptimSpec

from .backbone import Backbone
from .images import Pixels
from .linear_probe import FeatureHead, mean_cross_entropy
from .losses import ClassifierOutput, class_weights, movl_loss
from .visual_prompt import Prompt

INFERENCE_BATCH = 64


def pool_slices(features: Tensor, owner: Tensor, items: int, how: str, k: int) -> Tensor:
    """Rows of slices (M, F) -> rows of items (N, F). owner: (M,), the item of each row, 0..items-1.

    mean: over the slices. top_k: mean of the k largest values of each feature over the slices.
    """
    if len(features) == items:
        return features
    if how == "mean":
        total = features.new_zeros(items, features.shape[1]).index_add(0, owner, features)
        counts = torch.bincount(owner, minlength=items).to(features.dtype)
        return total / counts[:, None]
    rows = [features[owner == i] for i in range(items)]
    return torch.stack([r.topk(min(k, len(r)), dim=0).values.mean(0) for r in rows])


class PromptedClassifier(nn.Module):
    """h(f(x + d)): prompt d and head h learn, backbone f does not."""

    def __init__(self, backbone: Backbone | nn.Module, prompt: Prompt, head: FeatureHead, data: ProbeDataSpec):
        super().__init__()
        self.backbone, self.prompt, self.head, self.data = backbone, prompt, head, data

    def answer(self, x: Tensor, owner: Tensor, items: int, prompted: bool = True) -> ClassifierOutput:
        """Logits and features of `items` items whose slices are x (M, 3, S, S), normalised."""
        rows = self.backbone(self.prompt(x) if prompted else x).float()  # (M, F)
        pooled = pool_slices(rows, owner, items, self.data.pooling, self.data.top_k)  # (N, F)
        return ClassifierOutput(self.head(pooled), pooled)

    def learned(self) -> dict[str, Tensor]:
        """Copies of everything that can learn or that learning needs: prompt and head."""
        parts = {f"prompt.{k}": v for k, v in self.prompt.state_dict().items()}
        parts |= {f"head.{k}": v for k, v in self.head.state_dict().items()}
        return {k: v.detach().clone() for k, v in parts.items()}

    def restore(self, learned: dict[str, Tensor]) -> None:
        """Back to a copy made by `learned`."""
        self.load_state_dict(learned, strict=False)


@dataclass(frozen=True)
class Stage:
    """What learns, how fast, for how long."""

    prompt: bool
    head: bool
    backbone: bool = False
    lr_prompt: float = 0.01
    lr_head: float = 1e-3
    lr_backbone: float = 3e-4
    epochs: int = 5


@dataclass
class EpochReport:
    """Numbers of one epoch; epoch 0 is the start."""

    epoch: int
    step: int
    steps: int
    loss: float
    terms: dict[str, float]
    validation: dict[str, float] = field(default_factory=dict)
    best: bool = False


def pick_device(wanted: str = "auto") -> torch.device:
    """The device asked for, or the best there is. ValueError if it is not there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, no CUDA device is visible; use --device cpu or auto")
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' was asked for, there is none; use --device cpu or auto")
    return torch.device(wanted)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """bf16 on CUDA, or where asked for. Not on a CPU by itself: the gradient of depthwise convolutions is slower."""
    on = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16) if on else contextlib.nullcontext()


def batch_of(pixels: Pixels, items: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 slices (M, S, S, 3) of some items, and for each slice its item's place in the batch (M,)."""
    rows = pixels.rows(items)
    place = {int(item): i for i, item in enumerate(items)}
    owner = torch.tensor([place[int(o)] for o in pixels.owner[rows]], device=device)
    return torch.from_numpy(pixels.values[rows]).to(device), owner


@torch.no_grad()
def infer(
    model: PromptedClassifier,
    pixels: Pixels,
    items: NDArray[np.int64],
    normalise: Callable[[Tensor], Tensor],
    precision: str = "auto",
    prompted: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (N, C) and pooled features (N, F) of items, in eval mode."""
    model.eval()
    device = model.head.linear.weight.device
    logits, features = [], []
    for part in np.array_split(items, math.ceil(len(items) / INFERENCE_BATCH)) if len(items) else []:
        images, owner = batch_of(pixels, part, device)
        with autocast(device, precision):
            said = model.answer(channels_last(normalise(images)), owner, len(part), prompted)
        logits.append(said.logits.float().cpu().numpy())
        features.append(said.features.float().cpu().numpy())
    if not logits:
        width = model.head.linear
        return np.zeros((0, width.out_features), np.float32), np.zeros((0, width.in_features), np.float32)
    return np.concatenate(logits), np.concatenate(features)


def channels_last(x: Tensor) -> Tensor:
    """The same numbers in the memory order in which convolutions are fast."""
    return x.contiguous(memory_format=torch.channels_last)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C) probabilities."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def validate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Class-mean cross-entropy (what the best epoch is chosen by) and balanced accuracy."""
    right = logits.argmax(1) == labels
    return {
        "val_loss": mean_cross_entropy(logits, labels),
        "val_balanced_accuracy": float(np.mean([right[labels == c].mean() for c in np.unique(labels)])),
    }


def optimisers(model: PromptedClassifier, stage: Stage, kind: str) -> list[torch.optim.Optimizer]:
    """One optimiser each for what learns; what does not has no gradient and no optimiser."""
    made: list[torch.optim.Optimizer] = []
    body = model.backbone
    for part, learns, rate in (
        (model.prompt, stage.prompt and stage.lr_prompt > 0, stage.lr_prompt),
        (model.head, stage.head and stage.lr_head > 0, stage.lr_head),
    ):
        part.requires_grad_(learns)
        parameters = [p for p in part.parameters() if p.numel()]
        if learns and parameters and kind == "adam":
            made.append(torch.optim.Adam(parameters, lr=rate))
        elif learns and parameters:
            made.append(torch.optim.SGD(parameters, lr=rate, momentum=0.9))
    if stage.backbone:
        made.append(torch.optim.AdamW(body.parameters(), lr=stage.lr_backbone, weight_decay=1e-2))
    return made


@dataclass(frozen=True)
class StageData:
    """What a stage learns from, and how.

    train: rows of `pixels`. plain_features: (len(pixels), F) cached f(x), used for the detached plain branch when
    nothing is random; None = computed in every step. balance: classes count alike.
    """

    pixels: Pixels
    train: NDArray[np.int64]
    normalise: Callable[[Tensor], Tensor]
    stage: Stage
    discrepancy: DiscrepancySpec
    optim: ProbeOptimSpec
    plain_features: NDArray[np.float32] | None
    balance: bool
    seed: int


def train_stage(
    model: PromptedClassifier, data: StageData, val: NDArray[np.int64], stop: Callable[[], bool] = lambda: False
) -> Iterator[EpochReport]:
    """Train one stage; the model ends with the best epoch on validation (`val`, rows of the pixels), the start counted
    as epoch 0. Reports come after every tenth step (loss alone) and every epoch."""
    pixels, normalise, stage, optim = data.pixels, data.normalise, data.stage, data.optim
    steps = math.ceil(len(data.train) / optim.batch)
    total = steps * stage.epochs
    step = _Step(model, data, total)
    best = validate(infer(model, pixels, val, normalise, optim.precision)[0], pixels.labels[val])
    kept = _snapshot(model, stage)
    yield EpochReport(0, 0, total, math.nan, {}, best, True)
    for epoch in range(1, stage.epochs + 1 if step.optimisers else 1):
        losses: list[float] = []
        terms: dict[str, float] = {}
        _learning_mode(model, stage)
        order = step.rng.permutation(data.train)
        for i in range(steps):
            loss, terms = step.take(order[i * optim.batch : (i + 1) * optim.batch])
            losses.append(loss)
            if stop():
                _put_back(model, kept)
                return
            if (i + 1) % 10 == 0:
                yield EpochReport(epoch, (epoch - 1) * steps + i + 1, total, losses[-1], terms)
        found = validate(infer(model, pixels, val, normalise, optim.precision)[0], pixels.labels[val])
        better = found["val_loss"] < best["val_loss"]
        if better:
            best, kept = found, _snapshot(model, stage)
        yield EpochReport(epoch, epoch * steps, total, float(np.mean(losses)), terms, found, better)
    _put_back(model, kept)


class _Step:
    """One step of a stage: a batch, its loss, and what learns moved once. total: steps of the whole stage."""

    def __init__(self, model: PromptedClassifier, data: StageData, total: int):
        self.model, self.data = model, data
        stage, optim = data.stage, data.optim
        self.device = device = model.head.linear.weight.device
        self.optimisers = optimisers(model, stage, optim.optimiser)
        self.schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, max(1, total)) for o in self.optimisers]
        self.labels = torch.from_numpy(data.pixels.labels).to(device)
        classes = model.head.linear.out_features
        self.weights = class_weights(self.labels[data.train], classes).to(device) if data.balance else None
        plain = None if optim.flip else data.plain_features
        self.cache = None if plain is None else torch.from_numpy(plain).to(device)
        self.with_plain = data.discrepancy.weight > 0 and not stage.backbone
        self.rng = np.random.default_rng(data.seed)

    def take(self, items: NDArray[np.int64]) -> tuple[float, dict[str, float]]:
        """Learn from some items; the loss and its terms."""
        x, owner = self._batch(items)
        with autocast(self.device, self.data.optim.precision):
            prompted = self.model.answer(x, owner, len(items))
            plain = _plain(self.model, x, owner, items, self.cache) if self.with_plain else None
        loss, terms = movl_loss(prompted, plain, self.labels[items], self.data.discrepancy, self.weights)
        for o in self.optimisers:
            o.zero_grad(set_to_none=True)
        loss.backward()
        for o, schedule in zip(self.optimisers, self.schedules):
            o.step()
            schedule.step()
        return float(loss.detach()), terms

    def _batch(self, items: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Normalised images (M, 3, s, s), mirrored at random where the recipe asks for it, and the item of each."""
        images, owner = batch_of(self.data.pixels, items, self.device)
        if self.data.optim.flip:
            turn = torch.from_numpy(self.rng.random(len(items)) < 0.5).to(self.device)[owner]
            images = torch.where(turn[:, None, None, None], images.flip(2), images)
        return channels_last(self.data.normalise(images)), owner


def _plain(
    model: PromptedClassifier, x: Tensor, owner: Tensor, items: NDArray[np.int64], cache: Tensor | None
) -> ClassifierOutput:
    """P(-VP) of a batch without a graph, from cached features where there are any (the head moves, f(x) does not)."""
    with torch.no_grad():
        if cache is None:
            return model.answer(x, owner, len(items), prompted=False)
        features = cache[torch.from_numpy(items).to(cache.device)]
        return ClassifierOutput(model.head(features), features)


def _learning_mode(model: PromptedClassifier, stage: Stage) -> None:
    model.eval()
    if stage.backbone:
        model.backbone.train()


def _snapshot(model: PromptedClassifier, stage: Stage) -> dict[str, Tensor]:
    if stage.backbone:
        return copy.deepcopy(model.state_dict())
    return model.learned()


def _put_back(model: PromptedClassifier, kept: dict[str, Tensor]) -> None:
    model.load_state_dict(kept, strict=False)
    model.requires_grad_(False)
    model.eval()
