"""Small drawn domains for tests: fundus-like discs with cups, and stacks of ellipses, written as real files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image


def drawn_fundus(seed: int, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """An image (size, size, 3) uint8 and labels (0, 1 rim, 2 cup) with a bright disc somewhere near the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    cy, cx = rng.uniform(0.4, 0.6, 2)
    r = rng.uniform(0.12, 0.2)
    distance = np.hypot(y - cy, x - cx)
    labels = (distance < r).astype(np.uint8)
    labels[distance < r * rng.uniform(0.4, 0.7)] = 2
    image = np.zeros((size, size, 3)) + np.array([120, 60, 30])
    image[labels == 1] = [220, 150, 80]
    image[labels == 2] = [250, 220, 160]
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), labels


def fundus_domain(folder: Path, count: int, experts: bool = False) -> Path:
    """A domain folder of `count` drawn photographs; with `experts`, also vote counts."""
    for part in ("images", "labels", *(("experts/disc", "experts/cup") if experts else ())):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        image, labels = drawn_fundus(number)
        name = f"eye_{number:02d}.png"
        Image.fromarray(image).save(folder / "images" / name)
        Image.fromarray(labels).save(folder / "labels" / name)
        if experts:
            Image.fromarray((labels >= 1).astype(np.uint8) * 4).save(folder / "experts" / "disc" / name)
            Image.fromarray((labels == 2).astype(np.uint8) * 3).save(folder / "experts" / "cup" / name)
    return folder


def prostate_domain(folder: Path, count: int, shape: tuple[int, int, int] = (64, 64, 5)) -> Path:
    """A domain folder of `count` NIfTI volumes (x, y, z), 2 mm pixels and 4 mm slices, one bright ellipsoid each."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    x, y, z = np.mgrid[: shape[0], : shape[1], : shape[2]]
    for number in range(count):
        rng = np.random.default_rng(number)
        centre = rng.uniform(0.4, 0.6, 2) * shape[0]
        inside = ((x - centre[0]) / 14) ** 2 + ((y - centre[1]) / 10) ** 2 + ((z - shape[2] / 2) / 2.4) ** 2 < 1
        volume = (200 + 300 * inside + rng.normal(0, 20, shape)).astype(np.float32)
        affine = np.diag([-2.0, -2.0, 4.0, 1.0])
        nib.save(nib.Nifti1Image(volume, affine), folder / "images" / f"case{number}.nii.gz")
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), folder / "labels" / f"case{number}.nii.gz")
    return folder
