"""The visual prompt: learned numbers put on, around or in place of the normalised image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_tinymig.recipes.classify import PromptSpec

REFERENCE_SIZE = 224


def prompt_width(spec: PromptSpec, size: int) -> int:
    """The frame's width (or the patch's side) in pixels of a `size` input; p is for 224. ValueError if too wide."""
    width = max(1, round(spec.width * size / REFERENCE_SIZE))
    limit = (size - 1) // 2 if spec.kind == "padding" else size
    if spec.kind in ("padding", "patch") and width > limit:
        raise ValueError(
            f"prompt width {spec.width} (at {REFERENCE_SIZE}) is {width} pixels at an input of {size}; expected at "
            f"most {limit}; use a smaller width"
        )
    return width


def prompt_mask(spec: PromptSpec, size: int) -> Tensor:
    """Where the prompt acts: bool (size, size).

    padding: a frame of width p, which at 224 and p = 30 covers 224^2 - 164^2 = 23,280 pixels, times three channels =
    69,840 parameters (Bahng et al. 2022). patch: the upper left square [chosen].
    """
    if spec.kind == "none":
        return torch.zeros(size, size, dtype=torch.bool)
    if spec.kind == "full":
        return torch.ones(size, size, dtype=torch.bool)
    width = prompt_width(spec, size)
    mask = torch.zeros(size, size, dtype=torch.bool)
    if spec.kind == "patch":
        mask[:width, :width] = True
        return mask
    mask[:] = True
    mask[width : size - width, width : size - width] = False
    return mask


class Prompt(nn.Module):
    """x (B, 3, S, S), normalised -> prompted image of the same shape. Only the numbers under the mask exist."""

    def __init__(self, spec: PromptSpec, size: int, generator: torch.Generator | None = None):
        super().__init__()
        self.spec, self.size = spec, size
        mask = prompt_mask(spec, size).expand(3, size, size).reshape(-1)
        self.register_buffer("index", mask.nonzero().squeeze(1), persistent=False)  # (n,)
        values = torch.zeros(int(mask.sum()))
        if spec.init == "normal":
            values.normal_(0, spec.init_std, generator=generator)
        self.values = nn.Parameter(values)

    index: Tensor
    """Positions of the prompt's numbers in the flattened picture (3 * S * S)."""

    def image(self) -> Tensor:
        """The prompt as a picture (3, S, S), zero where it does not act, in units of the normalised image."""
        canvas = self.values.new_zeros(3 * self.size * self.size)
        return canvas.index_copy(0, self.index, self.values).view(3, self.size, self.size)

    def forward(self, x: Tensor) -> Tensor:
        if self.spec.kind == "none":
            return x
        if self.spec.mode == "add":
            return x + self.image()
        if self.spec.mode == "replace":
            keep = x.new_ones(3 * self.size * self.size).index_fill(0, self.index, 0.0)
            return x * keep.view(3, self.size, self.size) + self.image()
        width = prompt_width(self.spec, self.size)
        inner = self.size - 2 * width
        small = F.interpolate(x, (inner, inner), mode="bilinear", align_corners=False, antialias=True)
        return F.pad(small, (width,) * 4) + self.image()
