"""Frozen backbones: any timm model by name or file, or the encoder of a model of ours; frozen by numbers."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.recipes.classify import OWN_PREFIX, BackboneCard, BackboneSpec

from ..machine.weights_folder import local_weights
from ..networks.weights import FileWords, create_pretrained, load_into, said_by, why_not_built

log = logging.getLogger(__name__)
PROBES_WAY = "give it with --weights FILE"


def tensors_sha256(state: dict[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a state dict, sorted by name; step counters left out."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Backbone(nn.Module):
    """images (B, 3, S, S), normalised -> features (B, F). No parameter learns and no running statistic moves.

    `train()` leaves it in eval mode. For full fine-tuning take `trainable()`, which is another network.
    """

    def __init__(self, body: nn.Module, card: BackboneCard):
        super().__init__()
        self.card = card
        self.body = body.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def fingerprint(self) -> str:
        """Hash of every number in it now; equal to the card's as long as it is frozen."""
        return tensors_sha256(self.body.state_dict())

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) RGB -> float (B, 3, S, S) in the units the backbone was trained on."""
        mean = torch.tensor(self.card.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.card.std, device=pixels.device).view(3, 1, 1)
        return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std


class OwnEncoder(nn.Module):
    """The encoder of one of our students: the four stages' spatial means side by side."""

    def __init__(self, student: nn.Module):
        super().__init__()
        self.front, self.encoder = student.front, student.encoder
        self.num_features = sum(student.stage_channels)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([stage.mean((2, 3)) for stage in self.encoder(self.front(x))], 1)  # (B, sum C_l)


def with_local_weights(spec: BackboneSpec) -> BackboneSpec:
    """The spec with the file of the folder TINYMIG_WEIGHTS where it names no weights itself and there is one."""
    found = local_weights(spec.name) if spec.weights is None and not spec.name.startswith(OWN_PREFIX) else None
    return spec.model_copy(update={"weights": str(found)}) if found else spec


def open_backbone(spec: BackboneSpec, keep_head: bool = False) -> Backbone:
    """The frozen backbone of a spec, with the size and normalisation it was trained with.

    Weights: those of the spec, else of the folder TINYMIG_WEIGHTS, else of timm's hub.
    A weights file may say them itself (metadata `pad_type`, `input_mean`, `input_std`); what the spec says wins.
    keep_head: features are the outputs of the model's own head (the projection of a CLIP image tower).
    Raises ValueError for an unknown name, HubUnreachable, ModelFileError for a file that does not fit.
    """
    if spec.name.startswith(OWN_PREFIX):
        return _open_own(spec)
    body, config, options, origin = _build(with_local_weights(spec), keep_head)
    body.eval()  # before anything runs through it: a forward in train mode moves the running statistics
    size = spec.size or int(config.get("input_size", (3, 224, 224))[-1])
    with torch.no_grad():
        features = _features(body, size, spec.name)
    card = BackboneCard(
        name=spec.name,
        weights_sha256=tensors_sha256(body.state_dict()),
        size=size,
        mean=spec.mean or tuple(config["mean"]),
        std=spec.std or tuple(config["std"]),
        options=options,
        features=features,
        weights=origin,
        keep_head=keep_head,
    )
    return Backbone(body, card)


def reopen_backbone(card: BackboneCard, weights: str | None) -> Backbone:
    """The backbone a classifier was made on. ModelFileError if the weights at hand are others."""
    spec = BackboneSpec(
        name=card.name, weights=weights, options=card.options, size=card.size, mean=card.mean, std=card.std
    )
    found = open_backbone(spec, card.keep_head)
    if found.card.weights_sha256 != card.weights_sha256:
        raise ModelFileError(
            f"this classifier was made on {card.name} with weights {card.weights_sha256[:8]} ({card.weights}); the "
            f"weights found are {found.card.weights_sha256[:8]} ({found.card.weights}); give the right file with "
            "--weights FILE."
        )
    return found


def folded(backbone: Backbone, probe_size: int | None = None) -> Backbone:
    """The same function with BatchNorm folded into the convolutions, which halves the cost of a prompt's gradient.

    The outcome is compared on random images; where folding would change the answers, the backbone is returned as is.
    """
    body = copy.deepcopy(backbone.body)
    _fold(body)
    size = probe_size or backbone.card.size
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = backbone.body(x), body(x)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
        log.info("BatchNorm of %s does not fold; it stays as it is", backbone.card.name)
        return backbone
    return Backbone(body, backbone.card)


def trainable(backbone: Backbone) -> nn.Module:
    """A copy of the backbone's body that learns, for full fine-tuning."""
    return copy.deepcopy(backbone.body).requires_grad_(True).train()


def _fold(module: nn.Module) -> None:
    for owner in list(module.modules()):
        children = list(owner.named_children())
        for (_, conv), (name, norm) in itertools.pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if norm.running_mean is None or norm.num_features != conv.out_channels:
                continue
            fused = fuse_conv_bn_eval(conv, norm)
            conv.weight = nn.Parameter(fused.weight.detach(), requires_grad=False)
            conv.bias = nn.Parameter(fused.bias.detach(), requires_grad=False)
            # timm's BatchNormAct2d is a BatchNorm2d that also carries the dropout and the activation
            after = [
                getattr(norm, part) for part in ("drop", "act") if isinstance(getattr(norm, part, None), nn.Module)
            ]
            setattr(owner, name, nn.Sequential(*after) if after else nn.Identity())


def _features(body: nn.Module, size: int, name: str) -> int:
    try:
        out = body(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as e:
        raise ValueError(
            f"{name} does not take images of {size} x {size} ({e}); leave the size out, or change it"
        ) from e
    if out.ndim != 2:
        raise ValueError(
            f"{name} gives features of shape {tuple(out.shape)}; expected one row per image; choose another"
        )
    return int(out.shape[1])


def _build(spec: BackboneSpec, keep_head: bool) -> tuple[nn.Module, dict[str, Any], dict[str, Any], str]:
    """Body, its pretrained_cfg with the file's own word put over it, builder options, origin of the weights."""
    import timm  # here, so that a probe on cached features never pays for it

    options = dict(spec.options)
    path = Path(spec.weights).expanduser() if spec.weights not in (None, "random") else None
    said = said_by(path) if path is not None else FileWords()
    if said.pad_type:
        options.setdefault("pad_type", said.pad_type)
    head: dict[str, Any] = {} if keep_head else {"num_classes": 0}
    try:
        if spec.weights is None:
            body = create_pretrained(spec.name, None, PROBES_WAY, **head, **options)
        else:
            body = timm.create_model(spec.name, pretrained=False, **head, **options)
    except (RuntimeError, TypeError) as e:
        raise ValueError(why_not_built(spec.name, options, e)) from e
    if path is not None:
        load_into(body, path, spec.name, keep_head)
    elif spec.weights == "random":
        log.warning("backbone %s has RANDOM weights: for tests only", spec.name)
    own = {"mean": said.mean, "std": said.std, "input_size": said.input_size}
    config = dict(body.pretrained_cfg) | {k: v for k, v in own.items() if v is not None}  # type: ignore[arg-type]
    origin = path.name if path is not None else ("random" if spec.weights == "random" else "timm hub")
    return body, config, options, origin


def _open_own(spec: BackboneSpec) -> Backbone:
    """The encoder of a student of ours, by the model's name or file; `weights` may give the file."""
    from napari_tinymig.models.file import read_model_file
    from napari_tinymig.models.registry import find_model

    from ..networks.student import Student

    wanted = spec.weights or spec.name.removeprefix(OWN_PREFIX)
    source = read_model_file(wanted) if Path(wanted).suffix == ".safetensors" else read_model_file(find_model(wanted))
    header = source.header
    if header.network != "student" or header.task is None:
        raise ModelFileError(f"{wanted} is a {header.kind} on '{header.network}'; expected a student of ours")
    student = Student(header.student.model_copy(update={"init_weights": None}), len(header.task.regions))
    weights = {k: torch.from_numpy(v.copy()) for k, v in source.weights().items()}
    missing = [k for k in student.encoder.state_dict() if f"encoder.{k}" not in weights and "num_batches" not in k]
    if missing:
        raise ModelFileError(f"{wanted} holds no encoder weights ({missing[0]} is absent); give another model")
    own = {k: v.float() if v.is_floating_point() else v for k, v in weights.items() if k.startswith("encoder.")}
    student.load_state_dict(own, strict=False)
    body = OwnEncoder(student).eval()
    card = BackboneCard(
        name=spec.name,
        weights_sha256=tensors_sha256(body.state_dict()),
        size=spec.size or header.input.size,
        mean=spec.mean or (0.5,) * 3,
        std=spec.std or (0.5,) * 3,
        features=body.num_features,
        weights=source.model_id,
    )
    return Backbone(body, card)
