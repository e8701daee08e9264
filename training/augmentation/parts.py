"""What parts of augmentation are made of: draws per image, changes of some images, and the parts in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from napari_tinymig.recipes.train import AugmentSpec


def uniform(n: int, low: float, high: float, g: Generator) -> Tensor:
    """(n,) numbers drawn evenly from low..high."""
    return torch.rand(n, generator=g) * (high - low) + low


def chosen(n: int, probability: float, g: Generator) -> Tensor:
    """Rows of a batch that a part applies to: each with `probability`."""
    return torch.nonzero(torch.rand(n, generator=g) < probability)[:, 0]


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """(n,) or (n, C) values as (n, 1 or C, 1, 1) on the device and in the dtype of x."""
    return values.to(x.device, x.dtype).view(len(values), -1, 1, 1)


def on_some(x: Tensor, probability: float, g: Generator, change: Callable[[Tensor], Tensor]) -> Tensor:
    """x (B, C, H, W) with `change` done to the images chosen, all at once; x itself stays as it is."""
    rows = chosen(len(x), probability, g)
    if not len(rows):
        return x
    out = x.clone()
    out[rows] = change(x[rows])
    return out


def on_each_of_some(x: Tensor, probability: float, g: Generator, change: Callable[[Tensor], Tensor]) -> Tensor:
    """As `on_some`, but `change` gets the images chosen one after the other, (1, C, H, W)."""
    rows = chosen(len(x), probability, g)
    if not len(rows):
        return x
    out = x.clone()
    for row in rows.tolist():
        out[row] = change(x[row : row + 1])[0]
    return out


class View(NamedTuple):
    """Pixels (B, 3, H, W), targets (B, R, H, W) and what lies inside the image (B, 1, H, W) bool."""

    x: Tensor
    target: Tensor
    inside: Tensor


@dataclass(frozen=True)
class Part:
    """One step: `change(view, strength, generator)`, left out where field `strength` of the AugmentSpec is 0."""

    strength: str
    change: Callable[[View, float, Generator], View]


def light(strength: str, change: Callable[[Tensor, float, Generator], Tensor]) -> Part:
    """A part that changes pixels alone."""
    return Part(strength, lambda view, value, g: view._replace(x=change(view.x, value, g)))


def apply_parts(parts: Sequence[Part], view: View, spec: AugmentSpec, g: Generator) -> View:
    """The view after all parts that are on, in their order."""
    for part in parts:
        strength = getattr(spec, part.strength)
        if strength:
            view = part.change(view, strength, g)
    return view
