"""What the command-line tests share: a drawn photograph, a drawn scan, and the rows of a table."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image


def photograph(path, disc=True, seed=0):
    """Writes a fundus photograph (300, 400) with a disc and a cup of vCDR 0.5, or with neither; returns its path."""
    y, x = np.mgrid[:300, :400]
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[np.hypot(y - 150, x - 200) < 145] = (110, 50, 20)
    if disc:
        pixels[((y - 150) / 40) ** 2 + ((x - 250) / 36) ** 2 <= 1] = 160
        pixels[((y - 150) / 20) ** 2 + ((x - 250) / 18) ** 2 <= 1] = 230
    noise = np.random.default_rng(seed).integers(0, 3, pixels.shape, dtype=np.uint8)
    Image.fromarray(pixels + noise).save(path)
    return path


def volume(path, spacing=(0.6, 0.5, 3.0)):
    """Writes a NIfTI (x, y, z), `spacing` in mm, with a bright ellipsoid; returns the ellipsoid as (x, y, z) bool."""
    x, y, z = np.mgrid[:90, :80, :9]
    gland = ((x - 45) / 18) ** 2 + ((y - 40) / 15) ** 2 + ((z - 4) / 3) ** 2 <= 1
    values = np.random.default_rng(0).normal(100, 5, gland.shape) + 300 * gland
    nib.save(nib.Nifti1Image(values.astype(np.int16), np.diag([*spacing, 1.0])), path)
    return gland


def rows_of(path):
    """Rows of a CSV file, or of `measurements.csv` in a folder, by column."""
    path = Path(path)
    with (path / "measurements.csv" if path.is_dir() else path).open(newline="") as stream:
        return list(csv.DictReader(stream))
