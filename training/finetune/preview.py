"""One case before and during fine-tuning, as a small PNG: the old outline, the new one, the user's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from napari_tinymig.tasks.colours import colour_of, rgb
from napari_tinymig.tasks.task import Task

if TYPE_CHECKING:
    from .mixing import Views

SIDE = 256


def draw_preview(
    view: Views,
    row: int,
    before: NDArray[np.float32],
    now: NDArray[np.float32],
    thresholds: Sequence[float],
    task: Task,
) -> bytes:
    """PNG bytes of three panels, before | now | yours, each (256, 256), outlines in the task's colours.

    before, now: (R, s, s) probabilities of row `row` of `view`.
    """
    grid = np.asarray(view.grids[row], np.float32)
    low, high = np.percentile(grid, (0.5, 99.5))
    photo = np.clip((grid - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    if task.input == "volume":
        photo = np.repeat(photo[..., 1:2], 3, axis=2)
    limits = np.asarray(thresholds).reshape(-1, 1, 1)
    panels = [("before", before >= limits), ("now", now >= limits), ("yours", view.truth[row])]
    font = ImageFont.load_default(size=34)  # the panel shows a third of the size
    sheet = Image.new("RGB", (3 * SIDE + 8, SIDE), "black")
    for column, (name, masks) in enumerate(panels):
        picture = Image.fromarray(_outlined(photo, masks, task)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        ImageDraw.Draw(picture).text((8, 4), name, "white", font, stroke_width=3, stroke_fill="black")
        sheet.paste(picture, (column * (SIDE + 4), 0))
    stream = io.BytesIO()
    sheet.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _outlined(photo: NDArray[np.uint8], masks: NDArray[np.bool_], task: Task) -> NDArray[Any]:
    out = photo.copy()
    for region, mask in zip(task.regions, masks):
        edge = mask ^ ndimage.binary_erosion(mask, iterations=4)
        out[edge] = rgb(colour_of(task, region))
    return out
