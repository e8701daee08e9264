"""Frozen teachers: any timm ViT or CNN, or the parent student itself. Used in training only, never shipped."""

from __future__ import annotations

import copy
import hashlib
import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_tinymig.recipes.train import TeacherSpec

from ..litemedsam.encoder import EMBEDDING, WIDTHS
from ..litemedsam.network import SIDE
from ..litemedsam.weights import NAME, load_litemedsam
from ..losses.distribution import normalise_tokens
from .weights import create_pretrained

log = logging.getLogger(__name__)

CNN_STRIDES = (4, 8, 16, 32)


class Teacher(nn.Module):
    """A frozen network seen through a few of its layers.

    `features(x)` takes the student's own input batch (B, 3, H, W) and returns one map (B, C, h, w) per layer: prefix
    tokens (CLS, registers) dropped, an affine-free LayerNorm per token, fp32, without gradient. It is always in eval
    mode; `train()` does not change that.

    layers: what is tapped, for logs. channels: C per layer. size: side the input is resized to; None = as it comes.
    stored_as: precision of cached maps. identity: 16 hex digits over weights, layers and size; the key of the feature
    cache. messages: sentences for the user (mapped layers, random weights).
    """

    stored_as = torch.float32

    def __init__(self, network: nn.Module, layers: tuple[int, ...], channels: tuple[int, ...], size: int | None):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.layers = layers
        self.channels = channels
        self.size = size
        self.messages: tuple[str, ...] = ()
        self.identity = f"{state_hash(network)[:8]}{_digest(repr((type(self).__name__, layers, size)).encode())[:8]}"

    def train(self, mode: bool = True) -> Teacher:
        """Frozen means frozen: stays in eval mode."""
        return super().train(False)

    def maps(self, x: Tensor, enlarge: float = 1.0) -> list[Tensor]:
        """The raw maps (B, C, h, w) of the tapped layers."""
        raise NotImplementedError

    @torch.no_grad()
    def features(self, x: Tensor, enlarge: float = 1.0) -> list[Tensor]:
        """LayerNorm'ed maps (B, C, h, w), one per tapped layer, of student input (B, 3, H, W).

        enlarge: side of x in views; a frame twice as wide as a view is seen at twice the side, so that its tokens
        show as much of the image as a view's do. Only networks without a fixed grid (CNNs, 'self') can do that.
        """
        return [normalise_tokens(m.float()) for m in self.maps(x, enlarge)]


class ImageTeacher(Teacher):
    """A timm network. Converts the student's normalisation into its own mean, std and size."""

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[int, ...],
        channels: tuple[int, ...],
        size: int,
        indices: list[int] | None,
        normalisation: str,
    ):
        super().__init__(network, layers, channels, size)
        self.indices = indices
        self.normalisation = normalisation
        if indices is None:
            self.network.to(memory_format=torch.channels_last)  # a fifth faster on CPU for depthwise networks
        cfg = network.pretrained_cfg
        mean, std = cfg.get("mean", (0.5,) * 3), cfg.get("std", (0.5,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def maps(self, x: Tensor, enlarge: float = 1.0) -> list[Tensor]:
        """Raw maps of a batch (B, 3, H, W) in the student's normalisation."""
        x = unit_range(x.float(), self.normalisation)
        side = int(self.size or x.shape[-1])
        if self.indices is None:
            side = max(32, round(side * enlarge / 32) * 32) if enlarge != 1.0 else side
        if x.shape[-1] != side or x.shape[-2] != side:
            x = F.interpolate(x, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        x = (x - self.mean) / self.std
        if self.indices is None:
            maps = self.network(x.contiguous(memory_format=torch.channels_last))
            wanted = self.channels  # some networks (Swin) give channels last
            return [m if m.shape[1] == c else m.permute(0, 3, 1, 2) for m, c in zip(maps, wanted, strict=True)]
        return self.network.forward_intermediates(
            x, indices=self.indices, norm=False, output_fmt="NCHW", intermediates_only=True
        )


class SelfTeacher(Teacher):
    """A frozen copy of a student: its own four stages, at the student's own input."""

    def __init__(self, student: nn.Module):
        network = copy.deepcopy(student)
        super().__init__(network, (0, 1, 2, 3), stage_channels(network), None)

    def maps(self, x: Tensor, enlarge: float = 1.0) -> list[Tensor]:
        """The stages of the frozen copy; it sees x at the size it comes in."""
        return list(self.network(x).stages)


class MedicalTeacher(Teacher):
    """LiteMedSAM: stages 2 to 4 and the embedding, each averaged down to the stride of the stage that follows it.

    Input as its makers do it: 256 pixels, minimum and maximum of each image to 0..1. Without positions of its own it
    takes any side, so frames may be enlarged.
    """

    stored_as = torch.float16  # its maps are fine and slow to make: 1.6 MB an image

    def __init__(self, network: nn.Module, size: int, normalisation: str):
        super().__init__(network, (2, 3, 4, 5), (*WIDTHS[1:], EMBEDDING), size)
        self.normalisation = normalisation

    def maps(self, x: Tensor, enlarge: float = 1.0) -> list[Tensor]:
        """Raw maps (B, C, h, w) at strides 4, 8, 16 and 32 of the side it looks at."""
        x = unit_range(x.float(), self.normalisation)
        side = max(32, round(int(self.size or x.shape[-1]) * enlarge / 32) * 32)
        if x.shape[-1] != side or x.shape[-2] != side:
            x = F.interpolate(x, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        x = ((x - low) / (high - low).clamp_min(1e-6)).contiguous(memory_format=torch.channels_last)
        maps = self.network.image_encoder.stages(x)[1:]  # type: ignore[union-attr, operator]
        return [F.adaptive_avg_pool2d(m, side // stride) for m, stride in zip(maps, CNN_STRIDES, strict=True)]


def build_teacher(spec: TeacherSpec, normalisation: str = "rgb_half", student: nn.Module | None = None) -> Teacher:
    """The teacher of a recipe, frozen, in eval mode, on the CPU.

    normalisation: InputSpec.normalisation of the student, which the teacher undoes. student: needed for 'self'.
    Raises HubUnreachable where weights cannot be had, ModelFileError for a file that does not fit the model, and
    ValueError for an unknown model. There is never a silent random teacher: weights = "random" has to be written.
    """
    if spec.name == "self":
        if student is None:
            raise ValueError("teacher 'self' is a frozen copy of the parent student; no student was given.")
        return SelfTeacher(student)
    teacher = _medical(spec, normalisation) if spec.name == NAME else _of_timm(spec, normalisation)
    if spec.weights == "random":
        told = f"RANDOM TEACHER: '{spec.name}' has random weights; for tests only, its features mean nothing."
        teacher.messages = (*teacher.messages, told)
    for message in teacher.messages:
        log.warning(message)
    return teacher


def _medical(spec: TeacherSpec, normalisation: str) -> Teacher:
    return MedicalTeacher(load_litemedsam(spec.weights), spec.size or SIDE, normalisation)


def _of_timm(spec: TeacherSpec, normalisation: str) -> Teacher:
    import timm  # a second of start-up that a run without this teacher never pays

    if not timm.is_model(spec.name):
        close = timm.list_models(f"*{spec.name.split('_')[0]}*")[:5]
        raise ValueError(
            f"timm has no model '{spec.name}'; expected 'self', '{NAME}' or one of timm's names, such as {close}"
        )
    size = spec.size or int(timm.get_pretrained_cfg(spec.name).input_size[-1])
    network, indices, layers, channels, size, messages = _create(spec, size)
    teacher = ImageTeacher(network, layers, channels, size, indices, normalisation)
    teacher.messages = messages
    return teacher


Created = tuple[nn.Module, list[int] | None, tuple[int, ...], tuple[int, ...], int, tuple[str, ...]]


def _create(spec: TeacherSpec, size: int) -> Created:
    """The timm network with its weights, the tapped layers and sentences about what was mapped."""
    import timm

    with torch.device("meta"):
        plan: Any = timm.create_model(spec.name, num_classes=0)
    reductions = [f["reduction"] for f in plan.feature_info] if isinstance(plan.feature_info, list) else []
    if hasattr(plan, "blocks") and hasattr(plan, "patch_embed") and len(set(reductions)) == 1:
        patch = int(plan.patch_embed.patch_size[0])
        depth = len(plan.blocks)
        indices, layers, messages = vit_layers(spec, depth)
        size, rounded = max(patch, round(size / patch) * patch), size
        if size != rounded:
            messages += (f"'{spec.name}': input side {rounded} becomes {size}, a multiple of its patch {patch}.",)
        network = create_pretrained(spec.name, spec.weights, img_size=size, num_classes=0)
        return network, indices, layers, (int(plan.embed_dim),) * len(layers), size, messages
    with torch.device("meta"):
        strides = timm.create_model(spec.name, features_only=True).feature_info.reduction()
    chosen = [min(range(len(strides)), key=lambda i: abs(strides[i] - s)) for s in CNN_STRIDES]
    tapped = tuple(strides[i] for i in chosen)
    messages = () if tapped == CNN_STRIDES else (f"'{spec.name}' has strides {strides}; tapped: {tapped}.",)
    network = create_pretrained(spec.name, spec.weights, features_only=True, out_indices=tuple(sorted(set(chosen))))
    return (
        network,
        None,
        tuple(network.feature_info.reduction()),
        tuple(network.feature_info.channels()),
        size,
        messages,
    )


def vit_layers(spec: TeacherSpec, depth: int) -> tuple[list[int], tuple[int, ...], tuple[str, ...]]:
    """0-based block indices, 1-based layers, and a sentence where the depth is not 12.

    The printed layers (3, 6, 9, 12) are 1-based blocks of 12 [known]; another depth takes the same fractions [chosen].
    """
    beyond = [x for x in spec.layers if not 1 <= x <= 12]
    if beyond:
        raise ValueError(f"teacher.layers has {beyond}; expected 1-based blocks 1 to 12 of a 12-block ViT")
    mapped = tuple(max(1, round(x * depth / 12)) for x in spec.layers)
    messages: tuple[str, ...] = ()
    if depth != 12:
        messages = (f"'{spec.name}' has {depth} blocks; layers {spec.layers} of 12 become {mapped}.",)
    return [x - 1 for x in mapped], mapped, messages


def unit_range(x: Tensor, normalisation: str) -> Tensor:
    """Student input (B, 3, H, W) back in 0..1, the range every timm teacher starts from.

    rgb_half is undone exactly; percentile_z is stretched from each image's own minimum and maximum (its tails were
    clipped before) [chosen].
    """
    if normalisation == "rgb_half":
        return (x * 0.5 + 0.5).clamp(0, 1)
    low, high = x.amin(dim=(1, 2, 3), keepdim=True), x.amax(dim=(1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-6)


@torch.no_grad()
def stage_channels(student: nn.Module, side: int = 64) -> tuple[int, ...]:
    """Channels of the four tapped stages, by a dry run that changes no running statistic."""
    was_training = student.training
    device = next(student.parameters()).device
    stages = student.eval()(torch.zeros(1, 3, side, side, device=device)).stages
    student.train(was_training)
    return tuple(int(s.shape[1]) for s in stages)


def state_hash(module: nn.Module) -> str:
    """SHA-256 over names and bytes of every parameter and buffer: equal before and after means frozen."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
