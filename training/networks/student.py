"""The student: a tiny encoder with four tapped stages and a light decoder. One family for every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.base.errors import HubUnreachable
from napari_tinymig.recipes.student import StudentSpec

from .weights import create_pretrained

MOBILE_WIDTHS = (24, 32, 96, 160)
MOBILE_TAPS = (1, 2, 4, 5)  # timm mobilenetv2_100 blocks whose outputs have strides 4, 8, 16, 32


@dataclass
class StudentOutput:
    """What one forward pass gives.

    logits: (B, R, H, W) at input size, one channel per region of the task. stages: maps at strides 4, 8, 16, 32,
    (B, C_l, H / s_l, W / s_l). presence: (B, R) logits that the region is in the frame at all, None without that
    head; the logits already contain it.
    """

    logits: Tensor
    stages: tuple[Tensor, Tensor, Tensor, Tensor]
    presence: Tensor | None = None


class ConvBlock(nn.Module):
    """3x3 convolution, BatchNorm, ReLU; adds its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.relu(y + x if self.residual else y)


class DenseEncoder(nn.Module):
    """Stem of stride 4 and plain 3x3 stages: the shape that is fast on a CPU (BatchNorm folds, no depthwise)."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]):
        super().__init__()
        self.widths = tuple(widths)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 7, 4, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        stages, previous = [], widths[0]
        for level, (width, depth) in enumerate(zip(widths, blocks)):
            first = [] if level == 0 else [ConvBlock(previous, width, stride=2)]
            stages.append(nn.Sequential(*first, *(ConvBlock(width, width) for _ in range(depth))))
            previous = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps, x = [], self.stem(x)  # (B, C0, H/4, W/4)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class MobileEncoder(nn.Module):
    """Stem and blocks 0-5 of timm's MobileNetV2, which can start from ImageNet."""

    def __init__(self, init_weights: str | None = None):
        super().__init__()
        full: Any = mobilenet(init_weights)
        self.widths = MOBILE_WIDTHS
        self.stem = nn.Sequential(full.conv_stem, full.bn1)  # timm's bn1 carries the ReLU6
        self.blocks = nn.ModuleList(list(full.blocks)[: MOBILE_TAPS[-1] + 1])
        fix_same_padding(self)

    def freeze(self, blocks: int) -> None:
        """The stem and the first `blocks` blocks stop learning (0 = none); the loop keeps their statistics still."""
        for part in [self.stem, *self.blocks[:blocks]] if blocks else []:
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps, x = [], self.stem(x)  # (B, 32, H/2, W/2)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in MOBILE_TAPS:
                maps.append(x)
        return maps


class PadThenConv(nn.Sequential):
    """A stride-2 convolution with 'same' padding of an even-sized map: one row below, one column right."""


def fix_same_padding(module: nn.Module) -> None:
    """Replace timm's shape-dependent 'same' convolutions by fixed padding, equal for even sizes and exportable."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Conv2d) or type(child).__name__ != "Conv2dSame":
            fix_same_padding(child)
            continue
        k, s = child.kernel_size[0], child.stride[0]
        conv = nn.Conv2d(child.in_channels, child.out_channels, k, s, 0, groups=child.groups, bias=False)
        conv.weight = child.weight
        before, after = (k - s) // 2, (k - s) - (k - s) // 2
        setattr(module, name, PadThenConv(nn.ZeroPad2d((before, after, before, after)), conv))


def mobilenet(init_weights: str | None, name: str = "mobilenetv2_100") -> nn.Module:
    """A mobile network of timm: random, 'imagenet' (TINYMIG_WEIGHTS or the hub), or a local file.

    Always with 'same' padding, so that a student is the same function wherever its weights came from. Raises
    HubUnreachable, which says how to give a file, and ModelFileError for a file that does not fit.
    """
    if init_weights is None:
        import timm  # a second of start-up that a plain student never pays

        return timm.create_model(name, pretrained=False, pad_type="same")
    try:
        return create_pretrained(name, None if init_weights == "imagenet" else init_weights, pad_type="same")
    except HubUnreachable as e:
        raise HubUnreachable(
            f"{e} For the student's encoder: --init-weights FILE, or 'none' to start at random."
        ) from e


class Decoder(nn.Module):
    """Laterals of 1x1, nearest upsampling and addition, one 3x3 block per level; ends at stride 4."""

    def __init__(self, widths: tuple[int, ...], channels: int):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in widths)
        self.smooth = nn.ModuleList(ConvBlock(channels, channels) for _ in widths)

    def forward(self, maps: list[Tensor]) -> Tensor:
        y = self.smooth[-1](self.laterals[-1](maps[-1]))
        for lateral, smooth, stage in list(zip(self.laterals, self.smooth, maps))[-2::-1]:
            y = F.interpolate(y, scale_factor=2.0, mode="nearest")
            y = smooth(y + lateral(stage))
        return y  # (B, D, H/4, W/4)


class LocalContrast(nn.Module):
    """Each channel minus its local mean, divided by its local standard deviation (window: a quarter of the frame).

    Takes away what a receive coil does to brightness; part of the network, so that training and ONNX agree.
    Chosen, after local response normalisation of MR bias (no paper's formula).
    """

    def forward(self, x: Tensor) -> Tensor:
        window = x.shape[-1] // 8 * 2 + 1
        coarse = F.avg_pool2d(x, 4)  # the statistics are smooth, a quarter of the resolution is enough
        size, pad = window // 4 // 2 * 2 + 1, window // 8
        mean = F.avg_pool2d(coarse, size, 1, pad, count_include_pad=False)
        square = F.avg_pool2d(F.avg_pool2d(x * x, 4), size, 1, pad, count_include_pad=False)
        sd = (square - mean * mean).clamp_min(0).sqrt()
        mean, sd = (F.interpolate(t, x.shape[-2:], mode="bilinear", align_corners=False) for t in (mean, sd))
        return ((x - mean) / (sd + 0.05)).clamp(-4, 4)


class Student(nn.Module):
    """Encoder, decoder, head. `x` (B, 3, H, W), H and W multiples of 32; see StudentOutput for what comes back."""

    def __init__(self, spec: StudentSpec, out_channels: int):
        super().__init__()
        self.spec = spec
        self.encoder: DenseEncoder | MobileEncoder
        if spec.encoder == "dense":
            self.encoder = DenseEncoder(spec.widths, spec.blocks)
        else:
            self.encoder = MobileEncoder(spec.init_weights)
            self.encoder.freeze(spec.frozen_blocks)
        self.front = LocalContrast() if spec.front == "local_contrast" else nn.Identity()
        self.decoder = Decoder(self.encoder.widths, spec.decoder)
        self.head = nn.Conv2d(spec.decoder, out_channels, 1)
        self.presence = nn.Linear(2 * self.encoder.widths[-1], out_channels) if spec.presence else None

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Channels of the four tapped stages."""
        return self.encoder.widths

    def encode(self, x: Tensor) -> list[Tensor]:
        """The four stage maps alone."""
        return self.encoder(self.front(x))

    def forward(self, x: Tensor) -> StudentOutput:
        return self.decode(self.encode(x))

    def decode(self, stages: list[Tensor]) -> StudentOutput:
        """The answer to stage maps that `encode` gave."""
        logits = self.head(self.decoder(stages))  # (B, R, H/4, W/4)
        logits = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)  # (B, R, H, W)
        present = None
        if self.presence is not None:
            deepest = stages[-1]
            pooled = torch.cat([deepest.mean((2, 3)), deepest.amax((2, 3))], 1)  # (B, 2C)
            present = self.presence(pooled)
            # a frame without the object pulls every pixel down by the log-probability of presence, written so that it
            # stays finite: ONNX has no log-sigmoid, and the log of ONNX Runtime's sigmoid is -inf from -18 on
            logits = logits - F.softplus(-present)[:, :, None, None]
        return StudentOutput(logits, tuple(stages), present)  # type: ignore[arg-type]


def count_parameters(module: nn.Module) -> int:
    """Number of trained and frozen parameters."""
    return sum(p.numel() for p in module.parameters())


def count_macs(module: nn.Module, size: int) -> int:
    """Multiply-accumulates of one (1, 3, size, size) forward: convolutions and linear layers."""
    total = 0

    def add(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            k = layer.kernel_size[0] * layer.kernel_size[1]
            total += output[0].numel() * k * layer.in_channels // layer.groups
        elif isinstance(layer, nn.Linear):
            total += layer.in_features * layer.out_features

    hooks = [m.register_forward_hook(add) for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    was_training = module.training
    module.eval()
    with torch.no_grad():
        module(torch.zeros(1, 3, size, size, device=next(module.parameters()).device))
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
