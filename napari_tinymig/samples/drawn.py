"""Drawn demo images with anatomy plausible enough to be segmented, because no patient's image may be shipped.

Everything is computed from a seed; the same seed gives the same pixels. The truth comes along, so that a demo can say
how well it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..base.errors import UnreadableInput
from ..base.records import Scan


@dataclass(frozen=True)
class Sample:
    """A drawn scan and its truth (uint8 labels in the scan's grid)."""

    scan: Scan
    truth: NDArray[np.uint8]
    task: str


def smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise of unit deviation, smoothed at `sigma` pixels: drawn coarse and enlarged, so that it is quick."""
    step = max(1, int(sigma / 2))
    small = rng.standard_normal([s // step + 3 for s in shape]).astype(np.float32)
    small = ndimage.gaussian_filter(small, sigma / step)
    if step > 1:
        small = ndimage.zoom(small, step, order=1)
    out = small[tuple(slice(0, s) for s in shape)]
    return (out - out.mean()) / max(float(out.std()), 1e-6)


def fundus_sample(side: int = 1024, seed: int = 7, cup_ratio: float = 0.5, eye: str = "right") -> Sample:
    """A full-field fundus photograph (side, side * 1.12, 3) of a drawn eye, with disc rim (1) and cup (2) as truth.

    cup_ratio: vertical cup-to-disc ratio. eye: 'right' puts the disc right of the field's middle.
    """
    rng = np.random.default_rng(seed)
    height, width = side, int(side * 1.12)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = 0.485 * side
    cy, cx = height / 2, width / 2
    sign = 1.0 if eye == "right" else -1.0
    disc = (cy - 0.02 * side, cx + sign * 0.21 * side, 0.088 * side, 0.078 * side)
    fovea = (cy + 0.03 * side, cx - sign * 0.16 * side)
    r = np.hypot(y - cy, x - cx) / radius
    base = _retina(y, x, r, side, fovea, rng)
    vessels = _vessels(height, width, disc, fovea, sign, rng)
    disc_mask, cup_mask = _soft_ellipse(y, x, disc, 0.012), _soft_ellipse(y, x, _cup_of(disc, cup_ratio, sign), 0.10)
    base = _paint_disc(base, disc_mask, cup_mask, y, x, disc, side, rng)
    dark = 1 - np.array([0.36, 0.62, 0.50], np.float32) * vessels[..., None]
    image = base * (1 - cup_mask[..., None] * 0.25 * (1 - dark)) * (dark + cup_mask[..., None] * 0.3 * (1 - dark))
    light = np.clip(1.06 - 0.42 * r**2 + 0.07 * smooth_noise((height, width), side / 5, rng), 0.2, 1.3)
    image = ndimage.gaussian_filter(image * light[..., None], (side / 1100, side / 1100, 0))
    image += rng.normal(0, 0.012, image.shape).astype(np.float32)
    field = np.clip((1 - r) * radius / 2.5, 0, 1)[..., None]
    pixels = (np.clip(image * field, 0, 1) * 255 + 0.5).astype(np.uint8)
    truth = np.zeros((height, width), np.uint8)
    truth[disc_mask > 0.5] = 1
    truth[(cup_mask > 0.5) & (disc_mask > 0.5)] = 2
    return Sample(Scan(pixels, None, f"demo_fundus_{eye}_eye", drawn=True), truth, "optic")


def _cup_of(disc: tuple[float, ...], ratio: float, sign: float) -> tuple[float, float, float, float]:
    """The cup's ellipse: a little above and temporal of the disc's centre."""
    return (disc[0] - 0.01 * disc[2], disc[1] - sign * 0.07 * disc[3], ratio * disc[2], ratio * 0.98 * disc[3])


def _retina(
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    r: NDArray[np.float32],
    side: int,
    fovea: tuple[float, float],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Orange background with choroidal mottling and the dark macula, (H, W, 3) in 0..1."""
    mottle = 0.5 * smooth_noise(r.shape, side / 40, rng) + 0.5 * smooth_noise(r.shape, side / 130, rng)
    grain = smooth_noise(r.shape, side / 400, rng)
    shade = 1 + 0.045 * mottle + 0.018 * grain
    macula = np.exp(-(((y - fovea[0]) ** 2 + (x - fovea[1]) ** 2) / (2 * (0.075 * side) ** 2)))
    pit = np.exp(-(((y - fovea[0]) ** 2 + (x - fovea[1]) ** 2) / (2 * (0.016 * side) ** 2)))
    colour = np.array([0.66, 0.33, 0.16], np.float32)
    image = shade[..., None] * colour
    image *= 1 - (0.22 * macula + 0.16 * pit)[..., None] * np.array([0.75, 1.0, 1.0], np.float32)
    return image.astype(np.float32)


def _soft_ellipse(
    y: NDArray[np.float32], x: NDArray[np.float32], e: tuple[float, ...], softness: float
) -> NDArray[np.float32]:
    """1 inside an ellipse (cy, cx, half height, half width), 0 outside, with a soft border; 0.5 on the border."""
    rho = np.sqrt(((y - e[0]) / e[2]) ** 2 + ((x - e[1]) / e[3]) ** 2)
    return (1 / (1 + np.exp(np.clip((rho - 1) / softness, -40, 40)))).astype(np.float32)


def _paint_disc(
    image: NDArray[np.float32],
    disc: NDArray[np.float32],
    cup: NDArray[np.float32],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    e: tuple[float, ...],
    side: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Orange-pink rim, pale cup, and the nerve-fibre glow above and below."""
    glow = np.exp(-(((y - e[0]) / (2.3 * e[2])) ** 2 + ((x - e[1]) / (1.7 * e[3])) ** 2))
    image = (image * (1 + 0.16 * glow[..., None] * np.array([0.6, 1.0, 0.9]))).astype(np.float32)
    streaks = 1 + 0.03 * smooth_noise(disc.shape, side / 220, rng)
    rim = streaks[..., None] * np.array([0.90, 0.57, 0.31], np.float32)
    pale = streaks[..., None] * np.array([0.98, 0.85, 0.60], np.float32)
    image = image * (1 - disc[..., None]) + rim * disc[..., None]
    return (image * (1 - cup[..., None]) + pale * cup[..., None]).astype(np.float32)


def _vessels(
    height: int,
    width: int,
    disc: tuple[float, ...],
    fovea: tuple[float, float],
    sign: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Darkness 0..1 of two arcades of arteries and veins with branches, from the disc's middle around the fovea."""
    from PIL import Image, ImageDraw

    fine = 2
    canvas = Image.new("L", (width * fine, height * fine), 0)
    draw = ImageDraw.Draw(canvas)
    for up in (-1.0, 1.0):
        for vein in (0, 1):
            for temporal in (True, False):
                start = np.array([disc[0], disc[1] + sign * (0.22 - 0.09 * vein) * disc[3]])
                path = _arcade(start, disc, fovea, up, sign if temporal else -sign, temporal, vein, rng)
                thick = (0.135 if vein else 0.10) * disc[3] * (1.0 if temporal else 0.75)
                _draw_vessel(draw, path, thick, 235 if vein else 170, fine, rng, depth=3)
    drawn = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32)
    return drawn * np.float32(1 / 255)


def _arcade(
    start: NDArray[np.float64],
    disc: tuple[float, ...],
    fovea: tuple[float, float],
    up: float,
    sign: float,
    temporal: bool,
    vein: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """A smooth path (n, 2) of (y, x): up or down out of the disc, then arching over the fovea or away to the nose."""
    reach = abs(fovea[1] - disc[1])
    t = np.linspace(0, 1, 60)
    wobble = np.cumsum(rng.normal(0, 0.0035, 60)) * reach
    offset = 0.16 * vein * reach
    if temporal:
        ys = start[0] + up * ((1.05 * reach + offset) * np.sin(np.pi * t * 0.62) ** 0.8) + wobble
        xs = start[1] - sign * (0.08 * reach + 2.1 * reach * t**1.25) + sign * 0.08 * reach
    else:
        ys = start[0] + up * (1.25 * reach * t**0.85 + offset * t) + wobble
        xs = start[1] - sign * (0.75 * reach * t**1.3) + wobble[::-1]
    return np.stack([ys, xs], axis=1)


def _draw_vessel(
    draw: object, path: NDArray[np.float64], thick: float, dark: int, fine: int, rng: np.random.Generator, depth: int
) -> None:
    """A tapering line, and smaller ones that branch from it."""
    n = len(path)
    for i in range(n - 1):
        width = max(1, round(thick * (1 - 0.72 * i / n) * fine))
        (y0, x0), (y1, x1) = path[i] * fine, path[i + 1] * fine
        shade = int(dark * (1 - 0.35 * i / n))
        draw.line([(x0, y0), (x1, y1)], fill=shade, width=width)  # type: ignore[attr-defined]
        r = width / 2
        draw.ellipse([x1 - r, y1 - r, x1 + r, y1 + r], fill=shade)  # type: ignore[attr-defined]
    if depth == 0 or thick < 0.6:
        return
    for at in rng.integers(n // 4, n - 8, size=4 if depth == 3 else 2):
        heading = path[at + 2] - path[at]
        angle = np.arctan2(heading[0], heading[1]) + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
        length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum() * rng.uniform(0.25, 0.45)
        turn = np.cumsum(rng.normal(0, 0.09, 40)) + angle
        steps = np.stack([np.sin(turn), np.cos(turn)], axis=1) * (length / 40)
        branch = path[at] + np.cumsum(steps, axis=0)
        _draw_vessel(draw, branch, thick * (1 - 0.7 * at / n) * 0.6, int(dark * 0.85), fine, rng, depth - 1)


def prostate_sample(side: int = 256, slices: int = 20, seed: int = 3) -> Sample:
    """A drawn axial T2 volume (slices, side, side) int16 at 3.0 x 0.7 x 0.7 mm, with the gland (1) as truth.

    Fat, muscles, hips, bladder above, rectum behind, a gland with bright peripheral and mixed central zone, bias field
    and Rician noise.
    """
    rng = np.random.default_rng(seed)
    spacing = (3.0, 180.0 / side, 180.0 / side)
    z, y, x = np.meshgrid(
        (np.arange(slices) - (slices - 1) / 2) * spacing[0],
        (np.arange(side) - (side - 1) / 2) * spacing[1],
        (np.arange(side) - (side - 1) / 2) * spacing[2],
        indexing="ij",
    )
    wobble = 1.2 * smooth_noise(z.shape[1:], side / 12, rng)[None]
    image = _pelvis(y + wobble, x + wobble, z, rng)
    gland, rho = _gland(y + 0.6 * wobble, x + 0.6 * wobble, z)
    image = _paint_gland(image, gland, rho, y, x, z, side, rng)
    blurred = ndimage.gaussian_filter(image, (0.35, 1.2, 1.2))
    bias = 1 + 0.16 * smooth_noise(z.shape[1:], side / 2.5, rng)[None] + 0.10 * (y / 90)
    signal = blurred * np.clip(bias, 0.4, 1.8)
    noisy = np.hypot(signal + rng.normal(0, 0.04, z.shape), rng.normal(0, 0.04, z.shape))
    pixels = np.clip(noisy * 620, 0, 4095).astype(np.int16)
    return Sample(Scan(pixels, spacing, "demo_prostate_t2", drawn=True), gland.astype(np.uint8), "prostate")


def _inside(*terms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Inside an ellipsoid given its scaled coordinates."""
    return np.sum([t**2 for t in np.broadcast_arrays(*terms)], axis=0) <= 1


def _pelvis(
    y: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Everything but the gland, T2 brightness 0..1. y grows backwards, x to the patient's left, z upwards."""
    texture = smooth_noise(y.shape[1:], 3, rng)[None]
    image = np.where(_inside((y + 2) / 76, x / 100), 0.75 + 0.03 * texture, 0.02).astype(np.float32)  # body, fat
    for side in (-1, 1):
        image[_inside((y - 2) / 26, (x - side * 62) / 22)] = 0.42  # hip, marrow
        image[_inside((y - 2) / 29, (x - side * 62) / 25) & ~_inside((y - 2) / 26, (x - side * 62) / 22)] = 0.05
        image[_inside((y - 4) / 30, (x - side * 33) / 7)] = 0.16  # obturator internus
        image[_inside((y - 34) / 9, (x - side * 24) / 22)] = 0.18  # levator and gluteal muscles
        image[_inside((y + 38) / 12, (x - side * 26) / 20)] = 0.19  # pubic muscles
    image[_inside((y + 34) / 7, x / 16)] = 0.10  # pubic bone
    plexus = smooth_noise(y.shape[1:], 2, rng)[None] * np.cos(z / 5)
    around = _inside((y + 8) / 26, x / 29)
    image = np.where(around, 0.65 + 0.10 * plexus, image).astype(np.float32)  # fat and veins around the gland
    base = around & (z > 17)
    image[base] = 0.66 + 0.10 * np.broadcast_to(plexus, z.shape)[base]
    hug = 11 + 15 * np.clip((z + 24) / 20, 0, 1)  # the levator hugs the apex and stands off the middle
    for side in (-1, 1):
        image[_inside((y - 8) / 22, (x - side * hug) / 3.2) & (z < 12)] = 0.14  # levator ani
    image[_inside((y - 2) / 7, x / 7.5) & (z < -19)] = 0.17  # sphincter below the apex
    image[_inside((y - 2) / 2.5, x / 2.5) & (z < -19)] = 0.42  # urethra in it
    image[_inside((y + 16) / 7, x / 14) & (z < -17)] = 0.62  # veins before the apex
    image[_inside((y - 29) / 13, x / 15)] = 0.24  # wall of the rectum
    image[_inside((y - 29) / 9, x / 11)] = 0.12  # gas and stool
    image[_inside((y + 14) / 24, x / 32, (z - 44) / 24)] = 0.30  # wall of the bladder
    image[_inside((y + 14) / 21, x / 29, (z - 44) / 21)] = 0.98  # urine
    for side in (-1, 1):
        image[_inside((y - 15) / 5, (x - side * 13) / 12, (z - 24) / 7)] = 0.85  # seminal vesicles
    return image * (1 + 0.05 * texture)


def _gland(
    y: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """The gland (a chestnut, flat behind, narrow at the apex) and its normalised radius."""
    narrow = np.clip(1 - np.maximum(-z - 4, 0) / 60, 0.5, 1)
    flat = np.where(y > 2, 15.5, 17.5)
    rho = np.sqrt(((y - 2) / (flat * narrow)) ** 2 + (x / (24.0 * narrow)) ** 2 + (z / 21.0) ** 2)
    return rho <= 1, rho


def _paint_gland(
    image: NDArray[np.float32],
    gland: NDArray[np.bool_],
    rho: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    z: NDArray[np.float64],
    side: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Bright peripheral zone behind, nodular transition zone in front, dark capsule, urethra."""
    nodules = smooth_noise(y.shape[1:], side / 100, rng)[None] * np.cos(z / 9)
    image = image.copy()
    image[(rho > 1) & (rho <= 1.07)] = 0.10  # capsule
    image[gland] = 0.50 + 0.05 * np.broadcast_to(nodules, z.shape)[gland]
    transition = _inside((y + 2) / 12.5, x / 17, z / 18) & gland
    image[transition] = (0.40 + 0.20 * nodules * np.ones_like(z))[transition]
    edge = _inside((y + 2) / 13.6, x / 18.2, z / 19) & gland & ~transition
    image[edge] = 0.35
    image[_inside((y - 1) / 2, x / 2) & gland] = 0.48
    image[_inside((y + 15) / 5, x / 12, z / 18) & gland] = 0.15  # anterior stroma
    return image


def retina_photograph() -> Scan:
    """scikit-image's CC0 photograph of a retina (1411 x 1411). Raises UnreadableInput where it cannot be fetched."""
    try:
        from skimage import data

        return Scan(np.ascontiguousarray(data.retina()[..., :3]), None, "retina")
    except (OSError, ImportError, ValueError, RuntimeError) as e:
        raise UnreadableInput(
            f"scikit-image's photograph 'retina' could not be fetched ({e}); it needs a network and pooch the first "
            "time; pip install pooch, or leave --sample out."
        ) from e
