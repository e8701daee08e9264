"""Rivals of the prompted student in benchmarks/prompts.py, on the same prompts.

The automatic mask with an ideal brush of as many strokes (a disk of a tenth of the object's size, never wrong),
scikit-image's random walker, and the graph cut of OpenCV (GrabCut; `pip install opencv-python-headless`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from prompt_targets import Target, begin
from prompt_users import User, region_of
from skimage.segmentation import random_walker

from napari_tinymig.measures.overlap import dice
from napari_tinymig.prompts.grey import slice_picture
from napari_tinymig.prompts.zoom import extent_of, view_around


def brush(target: Target, strokes: int) -> list[float]:
    """An ideal brush: every stroke makes a disk around the deepest fault right."""
    session = begin(target)
    truth = target.truth
    mask = region_of(session.labels, target)
    user, out = User("centre", 0), [dice(mask, truth)]
    radius = 0.1 * np.sqrt(4 * truth.sum() / np.pi)
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    for _ in range(strokes):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            (y, x), _ = asked
            disk = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            mask = np.where(disk, truth, mask)
        out.append(dice(mask, truth))
    return out


Cut = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A rival: picture (n, n, 3) uint8 and seeds (n, n), 1 = object, 2 = not, 0 = open -> object, bool."""
FRAME = 96


def walker(picture: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """scikit-image's random walker."""
    return np.asarray(random_walker(picture.mean(2) / 127.5 - 1, seeds, beta=300, mode="cg_j", tol=1e-2) == 1)


def graph_cut(picture: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """GrabCut of OpenCV (Rother et al., 2004), five rounds; what is open in the middle may be the object."""
    import cv2

    middle = np.hypot(*(np.ogrid[-1 : 1 : FRAME * 1j, -1 : 1 : FRAME * 1j])) <= 1 / 1.6
    state = np.where(middle, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[seeds == 1], state[seeds == 2] = cv2.GC_FGD, cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(picture), state, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


def seeded(target: Target, prompts: int, cut: Cut) -> list[float]:
    """A rival whose seeds are the prompts of a `centre` user and the frame of a view around the truth."""
    truth, user = target.truth, User("centre", 0)
    session = begin(target)
    mask = region_of(session.labels, target)
    out, positive, negative = [dice(mask, truth)], [], []
    picture = target.image if target.image.shape[-1] == 3 else slice_picture(target.image[0])
    for _ in range(prompts):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            (positive if asked[1] else negative).append(asked[0])
            extent = extent_of(mask) or extent_of(truth)
            view = view_around([extent, extent_of(truth)], truth.shape, FRAME, margin=1.6)
            looked = np.clip(np.rint((view.picture(picture) + 1) * 127.5), 0, 255).astype(np.uint8).transpose(1, 2, 0)
            seeds = np.zeros((FRAME, FRAME), int)
            seeds[[0, -1]], seeds[:, [0, -1]] = 2, 2
            for points, value in ((positive, 1), (negative, 2)):
                for y, x in np.clip(np.rint(view.on_grid(points)).astype(int), 1, FRAME - 2) if points else []:
                    seeds[y - 1 : y + 2, x - 1 : x + 2] = value
            if (seeds == 1).any():
                mask = np.zeros_like(truth)
                mask[view.window] = view.in_window(cut(looked, seeds).astype(np.float32) - 0.5) > 0
        out.append(dice(mask, truth))
    return out


RIVALS: dict[str, Callable[[Target, int], list[float]]] = {
    "ideal brush": brush,
    "random walker": lambda target, prompts: seeded(target, prompts, walker),
    "graph cut": lambda target, prompts: seeded(target, prompts, graph_cut),
}
