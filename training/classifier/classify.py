"""Use a saved classifier: probabilities, prompted beside plain, distance from the source, and where it looked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_tinymig.base.errors import HubUnreachable, ModelFileError
from napari_tinymig.models.classifier_file import BACKBONE_PREFIX, ClassifierFile, read_classifier
from napari_tinymig.recipes.classify import OWN_PREFIX, BackboneSpec, ProbeDataSpec

from .backbone import Backbone, folded, open_backbone, reopen_backbone
from .images import Item, Pixels, fit_to, load_pixels, read_slices
from .linear_probe import FeatureHead
from .movl import PromptedClassifier, channels_last, infer, pick_device, softmax
from .save import feature_distances
from .visual_prompt import Prompt

CHUNK = 64


@dataclass
class ClassAnswer:
    """What a classifier says of one image.

    probabilities: (C,), prompted; plain: (C,), without the prompt. discrepancy: KL(P- || P+) in nats. shift_score:
    percentile 0-100 of the distance among the source validation images (100 = further than every one). error: the
    reason, '' = none.
    """

    name: str
    probabilities: NDArray[np.float32]
    plain: NDArray[np.float32] | None = None
    discrepancy: float | None = None
    shift_score: float | None = None
    seconds: float = 0.0
    error: str = ""
    path: Path | None = None
    notes: list[str] = field(default_factory=list)


class Classifier:
    """A classifier with its backbone, ready to answer."""

    def __init__(self, file: ClassifierFile, backbone: Backbone, device: torch.device):
        card = file.card
        self.file, self.card, self.classes, self.device = file, card, file.classes, device
        prompt = Prompt(card.prompt, card.backbone.size)
        values = torch.from_numpy(file.tensors["prompt"])
        if values.shape != prompt.values.shape:
            raise ModelFileError(
                f"{file.path} is damaged: its prompt has {values.numel()} numbers, expected {prompt.values.numel()}"
            )
        head = FeatureHead(card.backbone.features, len(file.classes))
        with torch.no_grad():
            prompt.values.copy_(values)
            head.linear.weight.copy_(torch.from_numpy(file.tensors["head.weight"]))
            head.linear.bias.copy_(torch.from_numpy(file.tensors["head.bias"]))
            head.mean.copy_(torch.from_numpy(file.tensors["feature_mean"]))
            head.std.copy_(torch.from_numpy(file.tensors["feature_std"]))
        data = ProbeDataSpec(pooling=card.pooling, top_k=card.top_k, max_slices=card.max_slices)
        self.backbone = folded(backbone).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = PromptedClassifier(self.backbone, prompt, head, data).to(device).eval().requires_grad_(False)

    @classmethod
    def open(cls, path: str | Path, weights: str | None = None, device: str = "auto") -> Classifier:
        """A classifier file with the backbone it was made on.

        weights: local file of the backbone; None = timm's hub, or a model of ours by its name. Raises ModelFileError
        for another backbone and HubUnreachable where it cannot be had.
        """
        file = read_classifier(path)
        return cls(file, _backbone_of(file, weights), pick_device(device))

    def answer(self, pixels: Pixels, plain: bool = False) -> list[ClassAnswer]:
        """One answer per item, in order."""
        items = np.arange(len(pixels))
        logits, features = infer(self.model, pixels, items, self.backbone.normalise)
        probabilities = softmax(logits)
        mean, std = self.file.tensors["feature_mean"], self.file.tensors["feature_std"]
        scores = self._percentiles(feature_distances(features, mean, std))
        answers = [
            ClassAnswer(name, p, shift_score=score) for name, p, score in zip(pixels.names, probabilities, scores)
        ]
        if plain:
            unprompted = softmax(infer(self.model, pixels, items, self.backbone.normalise, prompted=False)[0])
            for said, p in zip(answers, unprompted):
                said.plain = p
                said.discrepancy = float((p * (np.log(p + 1e-12) - np.log(said.probabilities + 1e-12))).sum())
        return answers

    def _percentiles(self, distances: NDArray[np.float64]) -> list[float | None]:
        known = np.array(self.card.distance_percentiles)
        if not len(known):
            return [None] * len(distances)
        return [float(np.interp(d, known, np.arange(len(known)))) for d in distances]

    def classify(self, items: Sequence[Item], plain: bool = False) -> Iterator[ClassAnswer]:
        """Answers in the order of the items; an item that cannot be read gets an answer with its reason."""
        for start in range(0, len(items), CHUNK):
            part = items[start : start + CHUNK]
            begun = time.perf_counter()
            pixels = load_pixels(part, self.card.backbone.size, self.card.max_slices)
            said = iter(self.answer(pixels, plain) if len(pixels) else [])
            seconds = (time.perf_counter() - begun) / len(part)
            read = {id(item) for item in pixels.items}  # names may repeat
            for item in part:
                if id(item) not in read:
                    reason = pixels.failed.get(str(item.path)) or pixels.failed[item.name]
                    empty = np.full(len(self.classes), np.nan, np.float32)
                    yield ClassAnswer(item.name, empty, error=reason, path=item.path)
                    continue
                answer = next(said)
                answer.seconds, answer.path = seconds, item.path
                yield answer

    def prompt_picture(self) -> NDArray[np.float32]:
        """(S, S, 3) of the learned prompt in units of the normalised image; zeros where it does not act."""
        return self.model.prompt.image().detach().cpu().numpy().transpose(1, 2, 0)

    def prompted_picture(self, item: Item) -> NDArray[np.uint8]:
        """(S, S, 3) of the item's middle slice as the backbone sees it, clipped to what can be shown."""
        slices, _ = read_slices(item, self.card.max_slices)
        with torch.no_grad():
            x = self.model.prompt(self._input(slices[len(slices) // 2 : len(slices) // 2 + 1]))[0]
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.card.backbone.mean, self.card.backbone.std))
        shown = ((x.cpu() * std + mean).clamp(0, 1) * 255).round().byte()
        return shown.permute(1, 2, 0).numpy()

    def _input(self, slices: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        fitted = np.stack([fit_to(s, self.card.backbone.size) for s in slices])
        return channels_last(self.backbone.normalise(torch.from_numpy(fitted).to(self.device)))

    def attribution(self, image: NDArray[np.uint8], label: int, how: str = "occlusion") -> NDArray[np.float32]:
        """Where the evidence for a class lies in one picture (H, W, 3): float32 (H, W) in the picture's own grid.

        occlusion: fall of the class's log-probability when a square of one sixth of the side is greyed out (positive
        = speaks for the class). gradient: |d log-probability / d pixel|, smoothed. Largest magnitude is 1.
        """
        x = self._input([image])
        if how == "occlusion":
            grid = self._occlusion(x, label)
        elif how == "gradient":
            grid = self._gradient(x, label)
        else:
            raise ValueError(f"unknown attribution '{how}'; expected 'occlusion' or 'gradient'")
        peak = float(np.abs(grid).max())
        grid = grid / peak if peak > 0 else grid
        turned = torch.from_numpy(grid)[None, None]
        size = (image.shape[0], image.shape[1])
        back = torch.nn.functional.interpolate(turned, size, mode="bilinear", align_corners=False)
        return back[0, 0].numpy()

    @torch.no_grad()
    def _occlusion(self, x: torch.Tensor, label: int, steps: int = 12) -> NDArray[np.float32]:
        size = x.shape[-1]
        side = max(4, size // 6)
        corners = np.linspace(0, size - side, steps).round().astype(int)
        owner = torch.zeros(1, dtype=torch.long, device=x.device)
        start = self.model.answer(x, owner, 1).logits.log_softmax(1)[0, label]
        total = np.zeros((size, size), np.float32)
        count = np.zeros((size, size), np.float32)
        for top in corners:
            views = x.repeat(steps, 1, 1, 1)
            for view, left in zip(views, corners):
                view[:, top : top + side, left : left + side] = x.mean((2, 3))[0][:, None, None]
            rows = torch.arange(steps, device=x.device)
            said = self.model.answer(channels_last(views), rows, steps).logits.log_softmax(1)[:, label]
            for left, fall in zip(corners, (start - said).cpu().numpy()):
                total[top : top + side, left : left + side] += fall
                count[top : top + side, left : left + side] += 1
        return total / count.clip(1)

    def _gradient(self, x: torch.Tensor, label: int) -> NDArray[np.float32]:
        x = x.detach().clone().requires_grad_(True)
        owner = torch.zeros(1, dtype=torch.long, device=x.device)
        self.model.answer(x, owner, 1).logits.log_softmax(1)[0, label].backward()
        if x.grad is None:
            raise ModelFileError("the backbone gives no gradient with respect to its input; use occlusion")
        grid = x.grad.abs().sum(1)[0].cpu().numpy()
        return gaussian_filter(grid, x.shape[-1] / 64).astype(np.float32)


def _backbone_of(file: ClassifierFile, weights: str | None) -> Backbone:
    """The backbone of a classifier: its own if it was fine-tuned, else the one with the recorded hash."""
    card = file.card.backbone
    inside = {k.removeprefix(BACKBONE_PREFIX): v for k, v in file.tensors.items() if k.startswith(BACKBONE_PREFIX)}
    if not inside or card.name.startswith(OWN_PREFIX):
        backbone = _reopen(file, weights)
    else:
        spec = BackboneSpec(
            name=card.name, weights="random", options=card.options, size=card.size, mean=card.mean, std=card.std
        )
        backbone = open_backbone(spec, card.keep_head)
    if inside:
        state = {k: torch.from_numpy(v.copy()) for k, v in inside.items()}
        backbone.body.load_state_dict(state, strict=False)
    return backbone


def _reopen(file: ClassifierFile, weights: str | None) -> Backbone:
    card = file.card.backbone
    try:
        return reopen_backbone(card, weights)
    except HubUnreachable as e:
        asked = f"{card.weights} (hash {card.weights_sha256[:8]})"
        raise HubUnreachable(f"{file.path.name} needs the backbone {card.name} with the weights {asked}: {e}") from e
