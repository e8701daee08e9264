"""The eyes that teach a cup head: experts' counts, masks, or one ratio an eye, all as crops with a cup and a border."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.base.geometry import Box, place, square_box
from napari_tinymig.formats import open_input
from napari_tinymig.measures.ellipse import extent
from napari_tinymig.network.disc_polar import DiscBorder, border_of
from napari_tinymig.network.seen_frame import SeenFrame
from napari_tinymig.predict.disc_cup_shape import drawn_to_ellipse, redrawn
from napari_tinymig.predict.disc_region import DiscRegionStudent
from napari_tinymig.predict.photograph import PhotographStudent
from napari_tinymig.predict.predictor import Predictor

SIDE, SCALE = 256, 2.2
"""Crops: pixels a side and disc diameters a side, as the students' own."""
SOFT = (0.0, 0.0, 0.03, 0.23, 1.0)
"""How far a pixel is cup by the number of experts who say so: the students' own targets (chosen)."""


Row = tuple[NDArray[Any], NDArray[np.float32], DiscBorder]
"""Grid (s, s, 3) in 0..255, cup (s, s) in 0..1, and the disc's border."""


@dataclass
class Eyes:
    """crops (n, 3, SIDE, SIDE) and cups (n, 1, SIDE, SIDE) in 0..1; the disc's centre (n, 2; x, y) and border
    (n, ANGLES) in half sides of the crop; weight (n,): how often an eye is drawn."""

    crops: Tensor
    cups: Tensor
    centre: Tensor
    border: Tensor
    weight: Tensor

    def rows(self, keep: Tensor) -> Eyes:
        """Some of the eyes: indices or a mask (n,)."""
        return Eyes(*(getattr(self, f.name)[keep] for f in fields(self)))


def joined(parts: Sequence[Eyes]) -> Eyes:
    """All eyes in one; every part is drawn as often as the first."""
    total = float(parts[0].weight.sum())
    evened = [p.weight * (total / float(p.weight.sum())) for p in parts]
    crops, cups, centre, border = (
        torch.cat([getattr(p, n) for p in parts]) for n in ("crops", "cups", "centre", "border")
    )
    return Eyes(crops, cups, centre, border, torch.cat(evened))


def counted_eyes(folder: Path) -> Eyes:
    """A folder with images/ and experts/{disc,cup} (counts 0-4): the disc is where all four agree, in its true box."""
    rows: list[Row] = []
    for path in sorted((folder / "images").iterdir()):
        votes = [_read(folder / "experts" / k / f"{path.stem}.png").astype(np.float32) for k in ("disc", "cup")]
        (y0, y1), (x0, x1) = extent(votes[0] >= 4)
        box = square_box(((y0 + y1) / 2, (x0 + x1) / 2), SCALE * max(y1 - y0, x1 - x0))
        grid = place(open_input(path).scan.pixels, box, SIDE)[0]
        disc, cup = (place(v, box, SIDE)[0] for v in votes)
        soft = np.interp(cup, np.arange(5), SOFT).astype(np.float32)
        rows.append((grid, soft, _found(border_of(disc > 3.5), path)))
    return _as_eyes(rows, folder)


def seen_eyes(predictor: Predictor, folder: Path, disc_scale: float = 1.0, half: str = "all") -> Eyes:
    """Eyes of another centre as a predictor sees them: images/ with labels/ (masks) or with vcdr.csv (one ratio each).

    disc_scale: masks only, disc and cup are scaled so around the disc's middle (another school's border). A ratio
    scales the predictor's own cup, in the disc that it draws. half: 'all', or the 'even' or 'odd' eyes in the
    order of names. Eyes without a disc are left out.
    """
    rows: list[Row] = []
    for path, ratio in _listed(folder)[{"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[half]]:
        seen = look(predictor, path)
        if seen is None:
            continue
        frame, logits = seen[0], drawn_to_ellipse(seen[1])
        if ratio is None:
            truth = _read(folder / "labels" / f"{path.stem}.png")
            rows.append(_masked(frame, truth, disc_scale, path))
        else:
            border = _found(border_of(logits[0] > 0), path)
            rows.append((frame.grid, _cup_of_ratio(logits, border, ratio), border))
    return _as_eyes(rows, folder)


def look(predictor: Predictor, path: Path) -> tuple[SeenFrame, NDArray[np.float32]] | None:
    """The disc's region as the product looks at it, and the mean logits (2, s, s) of all looks before shapes are drawn,
    no school, no head; None without a disc."""
    plain = predictor.photograph_student()
    kept: list[NDArray[np.float32]] = []

    def keep(logits: NDArray[np.float32], _: object) -> NDArray[np.float32]:
        kept.append(logits.copy())
        return logits

    student = PhotographStudent(plain.network, plain.header, plain.colour_match, keep)
    answer = DiscRegionStudent(student, predictor.locator).answer(open_input(path).scan, None, SCALE, False, False)
    return (answer.frames[0], kept[-1]) if kept and answer.labels.any() else None


def _listed(folder: Path) -> list[tuple[Path, float | None]]:
    """Photographs with the experts' ratio, None where masks say more."""
    table = folder / "vcdr.csv"
    if not table.exists():
        return [(p, None) for p in sorted((folder / "images").iterdir())]
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    return [(folder / "images" / r["file"], float(r["vcdr_expert"])) for r in rows]


def _masked(frame: SeenFrame, truth: NDArray[np.uint8], scale: float, path: Path) -> Row:
    """Grid, cup and border of an eye with a mask, drawn `scale` times as large."""
    y0, x0, y1, x1 = frame.placement.box
    disc = place((truth >= 1).astype(np.float32), (y0, x0, y1, x1), SIDE)[0] > 0.5
    centre, radius = _found(border_of(disc), path)
    cy, cx = ((c + 1) / 2 * side + start for c, side, start in zip(centre, (y1 - y0, x1 - x0), (y0, x0)))
    wide: Box = tuple(c + (edge - c) / scale for c, edge in zip((cy, cx, cy, cx), (y0, x0, y1, x1)))  # type: ignore
    return frame.grid, place((truth == 2).astype(np.float32), wide, SIDE)[0], DiscBorder(centre, radius * scale)


def _cup_of_ratio(logits: NDArray[np.float32], border: DiscBorder, ratio: float) -> NDArray[np.float32]:
    """The predictor's cup (s, s; 0..1) moved on the log-odds of its vertical ratio until that is the wanted one."""
    disc, cup = logits > 0
    (r0, r1), (d0, d1) = extent(cup)[0], extent(disc)[0]
    if r1 == r0:
        return np.zeros_like(logits[1])
    own, wanted = (float(np.clip(v, 0.1, 0.95)) for v in ((r1 - r0) / (d1 - d0), ratio))
    gap = np.log(wanted / (1 - wanted)) - np.log(own / (1 - own))
    return (1 / (1 + np.exp(-np.clip(3 * redrawn(logits[1], disc, gap), -30, 30)))).astype(np.float32)


def _as_eyes(rows: Sequence[Row], folder: Path) -> Eyes:
    if not rows:
        raise UnreadableInput(f"{folder} holds no eye with a disc; expected images/ and labels/, experts/ or vcdr.csv")
    grids, cups, borders = zip(*rows)
    crops = torch.stack([torch.from_numpy(np.clip(np.rint(g), 0, 255) / np.float32(255)).float() for g in grids])
    return Eyes(
        crops.permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(np.stack(cups))[:, None].float(),
        torch.tensor([b.centre[::-1] for b in borders], dtype=torch.float32),
        torch.from_numpy(np.stack([b.radius for b in borders])).float(),
        torch.ones(len(rows)),
    )


def _found(border: DiscBorder | None, path: Path) -> DiscBorder:
    if border is None:
        raise UnreadableInput(f"{path} has no disc in its mask; expected one; mend the mask or take the image out")
    return border


def _read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))
