"""LiteMedSAM's image encoder: a TinyViT whose early stages keep the resolution, so that its maps are fine.

Written from the published descriptions (TinyViT, Wu et al., ECCV 2022; LiteMedSAM's settings); the names of the parts
are those of the published weights, which therefore load as they are. Evaluation only: it is a frozen network here.
Maps are (B, C, h, w) throughout; side = 256 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
REDUCTIONS = (1, 2, 4, 4)
"""Input pixels per map pixel of the four stages: the last merging does not stride."""
EMBEDDING = 256
"""Channels of the final map."""


class ConvNorm(nn.Sequential):
    """A convolution without bias and its BatchNorm."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.add_module("c", nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(outputs))


class Stem(nn.Module):
    """Pixels (B, 3, s, s) to (B, 64, s, s), pixel by pixel."""

    def __init__(self, width: int):
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2), nn.GELU(), ConvNorm(width // 2, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class InvertedResidual(nn.Module):
    """Widen four times, filter each channel by 3x3, narrow, add (MBConv)."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Merging(nn.Module):
    """To the next stage's channels, at half the resolution where `stride` is 2."""

    def __init__(self, width: int, wider: int, stride: int):
        super().__init__()
        self.conv1 = ConvNorm(width, wider)
        self.conv2 = ConvNorm(wider, wider, 3, stride, groups=wider)
        self.conv3 = ConvNorm(wider, wider)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class WindowAttention(nn.Module):
    """Multi-head attention inside windows of `side` x `side` tokens, with a learned bias per distance."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, side * side))
        self.register_buffer("distances", _distances(side), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm(x)).view(n, tokens, self.heads, -1).transpose(1, 2)  # (n, heads, tokens, 3 d)
        q, k, v = qkv.chunk(3, -1)
        bias = self.attention_biases[:, self.distances].to(q.dtype)  # type: ignore[index]  # (heads, tokens, tokens)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(x.transpose(1, 2).reshape(n, tokens, width))


def _distances(side: int) -> Tensor:
    """(side^2, side^2): row of the bias table for two tokens, |dy| * side + |dx|."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y[None]).abs() * side + (x[:, None] - x[None]).abs()


class Mlp(nn.Module):
    """Norm, widen four times, GELU, narrow; on tokens (..., C)."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class WindowBlock(nn.Module):
    """Attention in windows, a 3x3 filter per channel, an MLP."""

    def __init__(self, width: int, heads: int, side: int):
        super().__init__()
        self.side = side
        self.attn = WindowAttention(width, heads, side)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attended(x)
        x = self.local_conv(x).permute(0, 2, 3, 1)  # (B, h, w, C)
        return (x + self.mlp(x)).permute(0, 3, 1, 2)

    def attended(self, x: Tensor) -> Tensor:
        """The map cut into windows, zeros below and right where it does not divide (they attend too, as published)."""
        b, c, h, w = x.shape
        s = self.side
        padded = F.pad(x, (0, -w % s, 0, -h % s))
        rows, columns = padded.shape[2] // s, padded.shape[3] // s
        windows = padded.view(b, c, rows, s, columns, s).permute(0, 2, 4, 3, 5, 1).reshape(-1, s * s, c)
        y = self.attn(windows).view(b, rows, columns, s, s, c).permute(0, 5, 1, 3, 2, 4)
        return y.reshape(b, c, rows * s, columns * s)[:, :, :h, :w]


class Stage(nn.Module):
    """Blocks of one width, and the way to the next width."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """The stage's own map, before merging."""
        for block in self.blocks:
            x = block(x)
        return x


class ImageEncoder(nn.Module):
    """Images (B, 3, 256, 256) in 0..1 -> embedding (B, 256, 64, 64)."""

    def __init__(self) -> None:
        from timm.layers import LayerNorm2d  # here, so that no other training waits for timm

        super().__init__()
        self.patch_embed = Stem(WIDTHS[0])
        self.layers = nn.ModuleList(_stage(level) for level in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], EMBEDDING, 1, bias=False),
            LayerNorm2d(EMBEDDING, eps=1e-6),
            nn.Conv2d(EMBEDDING, EMBEDDING, 3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING, eps=1e-6),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x)[-1]

    def stages(self, x: Tensor) -> list[Tensor]:
        """Five maps: of the four stages (64, 128, 160, 320 channels at 1/1, 1/2, 1/4, 1/4) and the embedding."""
        x, maps = self.patch_embed(x), []
        for stage in self.layers:
            x = stage(x)
            maps.append(x)
            x = x if stage.downsample is None else stage.downsample(x)
        return [*maps, self.neck(x)]


def _stage(level: int) -> Stage:
    width, depth = WIDTHS[level], DEPTHS[level]
    blocks: list[nn.Module] = [
        InvertedResidual(width) if level == 0 else WindowBlock(width, HEADS[level], WINDOWS[level])
        for _ in range(depth)
    ]
    last = level + 1 == len(WIDTHS)
    stride = 1 if last else REDUCTIONS[level + 1] // REDUCTIONS[level]
    return Stage(blocks, None if last else Merging(width, WIDTHS[level + 1], stride))
