"""What the prompted student learns on: frames with one object each, and frames cut into natural regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from napari_tinymig.base.geometry import Box, place, square_box, whole_box
from napari_tinymig.formats import open_input
from napari_tinymig.prompts.grey import slice_picture
from napari_tinymig.recipes.prompted import PromptRecipe

from ..data.cases import Case, find_cases
from ..data.read_files import read_image, read_label

ZOOM = 2.4
"""Side of a zoomed frame in sides of the object's box; training crops are cut out of it."""


@dataclass
class ObjectFrames:
    """Frames in memory: images (n, s, s, 3) uint8; regions (n, s, s) uint8; is_object (n,).

    An object frame's regions are 0 and 1 (the object); a region frame's are numbers, each of which can be an object.
    """

    images: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    is_object: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)


def object_frames(case: Case, side: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(image, object) of every object of a case: zoomed on it, and for photographs in the whole field.

    Labels are read as nested, label 2 inside label 1 (cup in disc): the objects are labels >= 1, labels >= 2, ...
    """
    opened = open_input(case.image)
    pixels = opened.scan.pixels
    labels, _ = read_label(case.label, like=opened) if case.label else (None, None)
    if labels is None or not labels.any():
        return
    if pixels.dtype == np.uint8 and pixels.shape[-1] == 3:
        planes = [(pixels, labels)]
    else:
        planes = [(slice_picture(p), m) for p, m in zip(pixels, labels.reshape(pixels.shape))]
    for picture, plane in planes:
        for value in sorted(set(np.unique(plane).tolist()) - {0, 255}):
            mask = (plane >= value) & (plane != 255)
            if mask.sum() >= 40:
                yield from _two_views(picture, mask, side)


def _two_views(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], side: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    ys, xs = np.nonzero(mask)
    centre = ((ys.min() + ys.max() + 1) / 2, (xs.min() + xs.max() + 1) / 2)
    extent = max(np.ptp(ys), np.ptp(xs)) + 1
    boxes: list[Box] = [square_box(centre, ZOOM * extent)]
    if max(picture.shape[:2]) > 1.5 * ZOOM * extent:
        boxes.append(whole_box(picture.shape))
    for box in boxes:
        image, _ = place(picture, box, side)
        target, _ = place(mask.astype(np.uint8), box, side, order=0)
        if target.sum() >= 30:
            yield image.round().astype(np.uint8), target


def region_frame(picture: NDArray[np.uint8], side: int, scale: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame cut into natural regions (Felzenszwalb's graph method), numbered 1..255; smaller ones are dropped."""
    image, _ = place(picture, whole_box(picture.shape), side)
    image = image.round().astype(np.uint8)
    found = felzenszwalb(image, scale=scale, sigma=1.0, min_size=200)
    values, counts = np.unique(found, return_counts=True)
    kept = values[np.argsort(-counts)][:254]
    numbers = np.zeros(int(found.max()) + 1, np.uint8)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return image, numbers[found]


def load_frames(sources: Sequence[Path], recipe: PromptRecipe) -> tuple[ObjectFrames, tuple[str, ...]]:
    """Frames of annotated folders and of folders of images without labels, and the hashes of the annotated images.

    Of every source `recipe.most_images` images at most give objects, and `recipe.region_images` are cut into natural
    regions at a random scale. Raises UnreadableInput for a folder without images.
    """
    rng, side = np.random.default_rng(recipe.seed), recipe.frame_side
    images, regions, kinds, hashes = [], [], [], []
    for folder in sources:
        cases = find_cases(folder, need_labels=False)
        order = rng.permutation(len(cases)).tolist()
        for index in sorted(order[: recipe.most_images]):
            case = cases[index]
            if case.label is not None:
                hashes.append(case.content_hash())
            for image, target in object_frames(case, side):
                images.append(image)
                regions.append(target)
                kinds.append(True)
        for index in sorted(order[: recipe.region_images]):
            scale = float(np.exp(rng.uniform(np.log(60), np.log(900))))
            image, numbered = region_frame(some_picture(cases[index], rng), side, scale)
            images.append(image)
            regions.append(numbered)
            kinds.append(False)
    return ObjectFrames(np.stack(images), np.stack(regions), np.array(kinds)), tuple(hashes)


def some_picture(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A photograph, or a random slice of a volume, (H, W, 3)."""
    pixels, _ = read_image(case.image, "any")
    if pixels.dtype == np.uint8 and pixels.shape[-1] == 3:
        return pixels
    return slice_picture(pixels[rng.integers(len(pixels))])
