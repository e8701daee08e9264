"""Frames without the object, made from annotated ones: windows beside it, and the object painted over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_tinymig.base.geometry import place, square_box
from napari_tinymig.recipes.student import Recipe

from .image_set import ImageSet

WINDOWS = (0.65, 0.5, 0.4)
"""Sides of candidate windows over the frame's (chosen)."""


def empty_frames(data: ImageSet, recipe: Recipe) -> ImageSet:
    """One or two frames without the object per frame of `data`, where they can be had: targets all zero.

    A window of the photograph that the object does not touch, enlarged to the cache; and, for small objects, the
    frame with the object painted over by mirrored tissue. Raises ValueError for volumes, where slices without the
    organ are there anyway.
    """
    if data.is_volume:
        raise ValueError("AugmentSpec.negatives is for photographs; volumes have slices without the organ already")
    rng = np.random.default_rng(recipe.seed)
    images, source = [], []
    for row, (image, target) in enumerate(zip(data.images, data.targets[:, 0])):
        if data.known is not None and not data.known[row].all():
            continue  # the object may lie where nobody labelled
        for made in (window_without(image, target > 30, rng), painted_over(image, target > 30)):
            if made is not None:
                images.append(made)
                source.append(row)
    n, side = len(images), data.images.shape[1]
    stacked = np.stack(images) if n else np.zeros((0, side, side, 3), np.uint8)
    return ImageSet(
        stacked,
        np.zeros((n, *data.targets.shape[1:]), np.uint8),
        data.view[source],
        data.fov_mm[source],
        np.arange(n),
        np.arange(n),
        np.zeros((n, 2), np.float32),
        [f"{data.names[i]}:empty" for i in source],
        [data.cases[i] for i in source],
    )


def window_without(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.uint8] | None:
    """The largest drawn window that the mask does not touch and that is mostly lit, enlarged to the frame."""
    side = len(image)
    lit = image.max(-1) > 30
    for share in WINDOWS:
        width = int(side * share)
        for y, x in rng.integers(0, side - width + 1, (12, 2)):
            inside = (slice(y, y + width), slice(x, x + width))
            if not mask[inside].any() and lit[inside].mean() > 0.8:
                box = square_box((y + width / 2, x + width / 2), width)
                return np.clip(np.round(place(image, box, side)[0]), 0, 255).astype(np.uint8)
    return None


def painted_over(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    """The frame with the object replaced by its mirror image's tissue, blended and matched in colour.

    None where the object is large (> 15 % of the frame) or its mirror image touches it.
    """
    if not mask.any() or mask.mean() > 0.15:
        return None
    wide = ndimage.binary_dilation(mask, iterations=max(2, len(image) // 60))
    for flip in ((slice(None), slice(None, None, -1)), (slice(None, None, -1), slice(None))):
        other = image[flip]
        if (wide & wide[flip]).any() or (other[wide].max(-1) > 30).mean() < 0.95:
            continue
        ring = ndimage.binary_dilation(wide, iterations=max(3, len(image) // 40)) & ~wide
        here, there = image[ring].astype(np.float32), other[ring].astype(np.float32)
        fill = (other.astype(np.float32) - there.mean(0)) + here.mean(0)
        weight = np.clip(ndimage.gaussian_filter(wide.astype(np.float32), len(image) / 90) * 2, 0, 1)[..., None]
        weight = np.maximum(weight * wide[..., None], mask[..., None])
        return np.clip(image * (1 - weight) + fill * weight, 0, 255).astype(np.uint8)
    return None
