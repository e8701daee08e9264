"""The prompted student: the dense student's stages and decoder, with a side branch for prompts at the stem."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.prompts.maps import MAPS
from napari_tinymig.recipes.student import StudentSpec

from ..networks.student import ConvBlock, Decoder, DenseEncoder

FINE = 24
"""Channels of the map at half resolution that sharpens the border (chosen)."""


class PromptNetwork(nn.Module):
    """Image and prompt maps in, the logit of one object out.

    x: (B, 8, H, W): three image channels in -1..1, then the maps of `napari_tinymig.prompts.maps`; H and W multiples
    of 32. Returns (B, 1, H, W). The prompts join the image after the first convolution (RITM's side branch).
    """

    def __init__(self, spec: StudentSpec):
        super().__init__()
        body = DenseEncoder(spec.widths, spec.blocks)
        self.image_stem = nn.Conv2d(3, FINE, 3, 2, 1, bias=False)
        self.prompt_stem = nn.Sequential(
            nn.Conv2d(len(MAPS), 16, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(16, FINE, 3, 1, 1, bias=False)
        )
        self.norm = nn.BatchNorm2d(FINE)
        self.down = ConvBlock(FINE, spec.widths[0], stride=2)
        self.stages = body.stages
        self.decoder = Decoder(tuple(spec.widths), spec.decoder)
        self.fine = nn.Conv2d(FINE, FINE, 1)
        self.coarse = nn.Conv2d(spec.decoder, FINE, 1)
        self.sharpen = ConvBlock(FINE, FINE)
        self.head = nn.Conv2d(FINE, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        half = F.relu(self.norm(self.image_stem(x[:, :3]) + self.prompt_stem(x[:, 3:])))  # (B, 24, H/2, W/2)
        maps, y = [], self.down(half)  # (B, C0, H/4, W/4)
        for stage in self.stages:
            y = stage(y)
            maps.append(y)
        coarse = self.coarse(self.decoder(maps))  # (B, 24, H/4, W/4)
        up = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        logits = self.head(self.sharpen(self.fine(half) + up))  # (B, 1, H/2, W/2)
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)  # (B, 1, H, W)


def border_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy, threefold within some pixels of the border, plus soft Dice; logits and truth (B, 1, H, W).

    Chosen: from a short training it follows prompts better than the normalised focal loss of the published design
    (docs/PROMPTS.md).
    """
    inner = F.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)
    weight = 1 + 2 * ((inner > 0.01) & (inner < 0.99)).float()
    entropy = (weight * F.binary_cross_entropy_with_logits(logits, truth, reduction="none")).sum() / weight.sum()
    p = torch.sigmoid(logits)
    dice = 1 - (2 * (p * truth).sum((2, 3)) + 1) / (p.sum((2, 3)) + truth.sum((2, 3)) + 1)
    return entropy + dice.mean()
