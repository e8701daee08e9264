"""A drawn colonoscopy frame with a polyp, computed from a seed; its truth comes along."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..base.records import Scan
from .drawn import Sample, smooth_noise

Plane = NDArray[np.float64]


def polyp_sample(side: int = 384, seed: int = 5, size: float = 0.17) -> Sample:
    """A frame (side, side * 1.2, 3) of a drawn colon, lit from the camera, with one sessile polyp (1) as truth.

    size: half the polyp's width, in parts of `side`. Depth is drawn first: a tube with folds, and the polyp as a bump
    on its wall; light falls with the square of the distance and with the angle to the surface.
    """
    rng = np.random.default_rng(seed)
    height, width = side, int(side * 1.2)
    y, x = np.mgrid[:height, :width] / side
    middle = (0.5, 0.6)
    angle = rng.uniform(0, 2 * np.pi)
    lumen = (middle[0] + 0.22 * np.sin(angle), middle[1] + 0.22 * np.cos(angle))
    at = (middle[0] - 0.13 * np.sin(angle), middle[1] - 0.13 * np.cos(angle))
    wall = _wall(y, x, lumen, rng)
    bump, inside = _bump(y, x, at, size, rng)
    surface = wall + 0.9 * bump
    light, glare = _light(surface, y, x, lumen, side)
    colour = _colour(inside, y.shape, side, rng)
    image = colour * light[..., None] + glare[..., None]
    image = ndimage.gaussian_filter(image, (side / 500, side / 500, 0))
    image += rng.normal(0, 0.012, image.shape)
    corner = np.clip((0.60 - np.hypot((y - middle[0]) * 1.0, (x - middle[1]) * 0.9)) * side / 3, 0, 1)
    pixels = (np.clip(image * corner[..., None], 0, 1) * 255 + 0.5).astype(np.uint8)
    truth = ((inside > 0.5) & (corner > 0.5)).astype(np.uint8)
    return Sample(Scan(pixels, None, "demo_polyp", drawn=True), truth, "polyp")


def _wall(y: Plane, x: Plane, lumen: tuple[float, float], rng: np.random.Generator) -> Plane:
    """Height of the wall towards the camera: a funnel into the lumen with ring-shaped folds."""
    noise = smooth_noise(y.shape, y.shape[0] / 6, rng)
    r = np.hypot(y - lumen[0], x - lumen[1]) + 0.018 * noise
    folds = np.maximum(0, np.sin(2 * np.pi * (np.log(r + 0.09) * 1.5 + rng.uniform(0, 1)))) ** 2
    return 0.75 * np.log(r + 0.12) + 0.05 * folds * np.clip(r / 0.3, 0, 1) + 0.004 * noise


def _bump(y: Plane, x: Plane, at: tuple[float, float], size: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """The polyp's height, and 1 inside its outline with a soft border."""
    turn = rng.uniform(0, np.pi)
    dy, dx = y - at[0], x - at[1]
    a, b = dy * np.cos(turn) - dx * np.sin(turn), dy * np.sin(turn) + dx * np.cos(turn)
    phi = np.arctan2(a, b)
    lobes = 1 + 0.06 * np.sin(2 * phi + rng.uniform(0, 6)) + 0.05 * np.sin(3 * phi + rng.uniform(0, 6))
    rho = np.hypot(a / (0.85 * size), b / size) / lobes
    height = size * np.sqrt(np.clip(1 - rho**2, 0, 1)) * (1 + 0.05 * smooth_noise(y.shape, y.shape[0] / 30, rng))
    return ndimage.gaussian_filter(height, 1.2), 1 / (1 + np.exp(np.clip((rho - 1) / 0.03, -40, 40)))


def _light(surface: Plane, y: Plane, x: Plane, lumen: tuple[float, float], side: int) -> tuple[Plane, Plane]:
    """Brightness 0..1 of a surface lit from the camera, and the glare of wet mucosa."""
    gy, gx = np.gradient(ndimage.gaussian_filter(surface, side / 300), 1 / side)
    vy, vx = (y - 0.5) * 0.9, (x - 0.6) * 0.9
    facing = (1 + gy * vy + gx * vx) / np.sqrt((1 + gy**2 + gx**2) * (1 + vy**2 + vx**2))
    facing = np.clip(facing, 0, 1)
    near = 1 / (0.62 + 0.75 * np.clip(-surface, 0, None)) ** 2
    lit = np.clip(near * (0.25 + 0.75 * facing) * 0.62, 0, 1.15)
    return lit, 0.5 * np.clip((facing - 0.985) / 0.015, 0, 1) ** 3 * np.clip(near, 0, 1.2)


def _colour(inside: Plane, shape: tuple[int, ...], side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pink mucosa with faint vessels; the polyp a little redder, with a finer pattern."""
    broad, fine = smooth_noise(shape, side / 14, rng), smooth_noise(shape, side / 90, rng)
    vessels = np.exp(-((smooth_noise(shape, side / 22, rng) / 0.06) ** 2))
    mucosa = np.array([0.95, 0.58, 0.47]) * (1 + 0.05 * broad + 0.02 * fine)[..., None]
    mucosa *= 1 - 0.16 * vessels[..., None] * np.array([0.4, 1.0, 0.9])
    polyp = np.array([0.93, 0.46, 0.40]) * (1 + 0.07 * fine + 0.04 * broad)[..., None]
    return mucosa * (1 - inside[..., None]) + polyp * inside[..., None]
