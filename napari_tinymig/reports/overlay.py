"""Pictures of a result, legible at a glance: contours on the image, the cup-to-disc lines, the volume as a montage.

Drawn at twice the final size and shrunk, so that lines are smooth; text in a font that ships with Pillow.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ..base.records import Prediction, Scan
from ..base.safe_files import write_atomic
from ..measures.ellipse import extent
from ..measures.headline import headline_words
from ..tasks.colours import colour_of, rgb
from ..tasks.task import Task
from .page_colours import BLACK, OVERLAY_GREY, OVERLAY_INK, OVERLAY_PAPER, OVERLAY_WARN

PANEL = 720
"""Side of the main picture in pixels."""
BAR = 92
FINE = 2
RESEARCH = "Research use only"


def overlay_of(scan: Scan, prediction: Prediction, task: Task) -> Image.Image:
    """One picture of a prediction: a photograph with its region of interest beside it, or a volume's montage."""
    if scan.kind == "photograph":
        return _photograph(scan, prediction, task)
    return _volume(scan, prediction, task)


def save_overlay(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG in one step. Raises OutputRefused."""
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    write_atomic(path, out.getvalue())


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Closed contours (n, 2) of a mask in pixel-edge coordinates (y, x)."""
    from skimage.measure import find_contours

    (y0, y1), (x0, x1) = extent(mask)[:2]
    if y1 == y0:
        return []
    crop = np.pad(mask[y0:y1, x0:x1], 2).astype(np.float32)
    if min(crop.shape) > 24:
        crop = ndimage.gaussian_filter(crop, 0.8)
    return [c + (y0 - 2 + 0.5, x0 - 2 + 0.5) for c in find_contours(crop, 0.5)]


def _font(size: int, bold: bool = False) -> Any:
    """Pillow's own scalable font; its default is one weight, so bold is drawn with a stroke by the caller."""
    return ImageFont.load_default(size * FINE)


class _Canvas:
    """A picture drawn at FINE times its size."""

    def __init__(self, width: int, height: int):
        self.image = Image.new("RGB", (width * FINE, height * FINE), OVERLAY_PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def paste(self, pixels: Image.Image, x: float, y: float, width: float, height: float) -> None:
        size = (max(1, round(width * FINE)), max(1, round(height * FINE)))
        small = pixels.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        self.image.paste(small, (round(x * FINE), round(y * FINE)))

    def line(self, points: Any, colour: tuple[int, ...], width: float) -> None:
        flat = [(float(x) * FINE, float(y) * FINE) for y, x in points]
        self.draw.line(flat, fill=colour, width=max(1, round(width * FINE)), joint="curve")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: int,
        colour: tuple[int, ...] = OVERLAY_INK,
        anchor: str = "la",
        halo: int = 0,
    ) -> None:
        self.draw.text(
            (x * FINE, y * FINE),
            text,
            colour,
            font=_font(size),
            anchor=anchor,
            stroke_width=halo * FINE,
            stroke_fill=BLACK,
        )

    def width_of(self, text: str, size: int) -> float:
        return float(self.draw.textlength(text, font=_font(size))) / FINE

    def finished(self) -> Image.Image:
        return self.image.reduce(FINE)


def _contours(canvas: _Canvas, labels: NDArray[Any], task: Task, box: Any, x: float, y: float, side: float) -> None:
    """Draw every region's outline of labels (H, W) where the box (y0, x0, y1, x1) is shown at (x, y)."""
    scale = side / (box[2] - box[0])
    for region in task.regions:
        for contour in outlines(np.isin(labels, region.labels)):
            points = (contour - (box[0], box[1])) * scale + (y, x)
            canvas.line(points, BLACK, 4.0)
            canvas.line(points, rgb(colour_of(task, region)), 2.2)


def _photograph(scan: Scan, prediction: Prediction, task: Task) -> Image.Image:
    """Whole photograph with its region marked, beside the enlarged region with contours; numbers above."""
    height, width = scan.grid_shape
    close = _close_box(scan, prediction)
    two = close is not None
    scale = PANEL / max(height, width)
    shown_w = width * scale
    canvas = _Canvas(round(shown_w + (PANEL + 12 if two else 0)), BAR + PANEL)
    top = BAR + (PANEL - height * scale) / 2
    canvas.paste(Image.fromarray(scan.pixels), 0, top, shown_w, height * scale)
    whole = (0.0, 0.0, float(height), float(width))
    if close is None:
        _contours(canvas, prediction.labels, task, whole, 0, top, height * scale)
    else:
        corners = [(close[0], close[1]), (close[0], close[3]), (close[2], close[3]), (close[2], close[1])]
        frame = [(y * scale + top, x * scale) for y, x in (*corners, corners[0])]
        canvas.line(frame, BLACK, 3.5)
        canvas.line(frame, OVERLAY_INK, 1.8)
        left = round(shown_w) + 12
        canvas.paste(_cut(scan.pixels, close), left, BAR, PANEL, PANEL)
        _contours(canvas, prediction.labels, task, close, left, BAR, PANEL)
        if "cup_disc" in task.measures:
            _ratio_lines(canvas, prediction.labels, close, left, BAR, task)
    _headline(canvas, scan, prediction, task)
    return canvas.finished()


def _close_box(scan: Scan, prediction: Prediction) -> tuple[float, float, float, float] | None:
    """A square around what was found, 1.7 times its size; None where that is most of the photograph anyway."""
    (y0, y1), (x0, x1) = extent(prediction.labels > 0)
    if y1 == y0:
        return None
    side = 1.7 * max(y1 - y0, x1 - x0)
    if side > 0.85 * min(scan.grid_shape):
        return None
    cy, cx = (y0 + y1) / 2, (x0 + x1) / 2
    return (cy - side / 2, cx - side / 2, cy + side / 2, cx + side / 2)


def _cut(pixels: NDArray[np.uint8], box: Any) -> Image.Image:
    """The box of a photograph at the panel's own resolution."""
    from ..base.geometry import place

    return Image.fromarray(np.clip(place(pixels, box, PANEL * FINE)[0], 0, 255).astype(np.uint8))


def _ratio_lines(canvas: _Canvas, labels: NDArray[Any], box: Any, x: float, y: float, task: Task) -> None:
    """Vertical extents of disc and cup as two rulers right of the disc, with their lengths."""
    scale = PANEL / (box[2] - box[0])
    disc, cup = extent(labels >= 1), extent(labels == 2)
    right = (disc[1][1] - box[1]) * scale + x
    for index, ((low, high), _) in enumerate((disc, cup)):
        if high == low:
            continue
        colour = rgb(colour_of(task, task.regions[index]))
        at = min(right + 26 + 34 * index, x + PANEL - 46 + 20 * index)
        y0, y1 = (low - box[0]) * scale + y, (high - box[0]) * scale + y
        for ends in (((y0, at), (y1, at)), ((y0, at - 7), (y0, at + 7)), ((y1, at - 7), (y1, at + 7))):
            canvas.line(ends, BLACK, 5.0)
            canvas.line(ends, colour, 2.6)


def _headline(canvas: _Canvas, scan: Scan, prediction: Prediction, task: Task) -> None:
    """The number in large figures, then name, model and warnings."""
    width = canvas.image.width / FINE
    big, small = headline(prediction, task)
    found = prediction.status == "ok"
    canvas.text(16, 12, big, 34, OVERLAY_INK if found else OVERLAY_WARN)
    x = 16 + canvas.width_of(big, 34) + 24
    if x + canvas.width_of(small, 15) < width - 16:
        canvas.text(x, 27, small, 15, OVERLAY_GREY)
    warning = _warning(prediction)
    line = warning or f"{scan.name}   {prediction.model_id}   {RESEARCH}"
    while canvas.width_of(line, 14) > width - 32 and len(line) > 12:
        line = line[: max(10, len(line) - 6)].rstrip(" .") + "…"
    canvas.text(16, 62, line, 14, OVERLAY_WARN if warning else OVERLAY_GREY)


def headline(prediction: Prediction, task: Task) -> tuple[str, str]:
    """The one number of a task in words, and what explains it: ('vCDR 0.46', 'disc 312 px high, cup 144 px')."""
    if prediction.status != "ok":
        return f"no {task.regions[0].name} found", ""
    return headline_words(prediction.measures, task.measures, task.regions[0].name)


def _warning(prediction: Prediction) -> str:
    """The note that a reader must not miss."""
    if prediction.findings.far_away:
        return f"Far from the training images: {prediction.shift_reason}"
    hard = [n for n in prediction.notes if n.startswith(("Hard to grade", "No ", "Nothing"))]
    return hard[0] if hard else ""


def _volume(scan: Scan, prediction: Prediction, task: Task) -> Image.Image:
    """The slices that hold something, and one on either side, as a montage in order, with contours and numbers."""
    picks = montage_slices(prediction.labels)
    columns = min(len(picks), 3 if len(picks) <= 6 else 4 if len(picks) <= 12 else 5)
    rows = math.ceil(len(picks) / columns)
    tile = max(200, min(360, 1100 // columns))
    box = _slice_box(scan, prediction)
    canvas = _Canvas(columns * (tile + 4) - 4, BAR + rows * (tile + 4) - 4)
    low, high = np.percentile(scan.pixels[picks], (0.5, 99.5))
    for n, z in enumerate(picks):
        x, y = (n % columns) * (tile + 4), BAR + (n // columns) * (tile + 4)
        _slice_tile(canvas, scan, prediction.labels, task, int(z), box, (x, y, tile), (low, high))
    _headline(canvas, scan, prediction, task)
    return canvas.finished()


def montage_slices(labels: NDArray[Any], most: int = 20) -> NDArray[np.intp]:
    """Slices to show: those with something and one on either side, evenly thinned to `most`; all if none has."""
    filled = np.flatnonzero(labels.any(axis=(1, 2)))
    low, high = (max(filled[0] - 1, 0), min(filled[-1] + 1, len(labels) - 1)) if filled.size else (0, len(labels) - 1)
    every = np.arange(low, high + 1)
    return every if len(every) <= most else np.unique(np.linspace(low, high, most).round().astype(np.intp))


def _slice_box(scan: Scan, prediction: Prediction) -> tuple[float, float, float, float]:
    """A box around the gland over all slices (or the whole slice), square in mm where the spacing is known."""
    height, width = scan.pixels.shape[1:]
    sy, sx = scan.spacing_mm[1:] if scan.spacing_mm else (1.0, 1.0)
    _, (y0, y1), (x0, x1) = extent(prediction.labels > 0)
    if y1 == y0:
        y0, y1, x0, x1 = 0, height, 0, width
        side = max(height * sy, width * sx)
    else:
        side = min(2.2 * max((y1 - y0) * sy, (x1 - x0) * sx), max(height * sy, width * sx))
    cy, cx = (y0 + y1) / 2, (x0 + x1) / 2
    return (cy - side / sy / 2, cx - side / sx / 2, cy + side / sy / 2, cx + side / sx / 2)


def _slice_tile(
    canvas: _Canvas,
    scan: Scan,
    labels: NDArray[Any],
    task: Task,
    z: int,
    box: tuple[float, float, float, float],
    where: tuple[int, int, int],
    window: tuple[float, float],
) -> None:
    from ..base.geometry import place

    x, y, tile = where
    grid, _ = place(scan.pixels[z], box, tile * FINE)
    grey = np.clip((grid - window[0]) / max(window[1] - window[0], 1e-6) * 255, 0, 255).astype(np.uint8)
    canvas.paste(Image.fromarray(grey).convert("RGB"), x, y, tile, tile)
    sy, sx = tile / (box[2] - box[0]), tile / (box[3] - box[1])
    for region in task.regions:
        for contour in outlines(np.isin(labels[z], region.labels)):
            points = (contour - (box[0], box[1])) * (sy, sx)
            points = np.clip(points, 0, tile) + (y, x)
            canvas.line(points, BLACK, 3.4)
            canvas.line(points, rgb(colour_of(task, region)), 1.9)
    canvas.text(x + 8, y + 6, f"{z + 1}/{len(labels)}", 13, OVERLAY_INK, halo=1)
