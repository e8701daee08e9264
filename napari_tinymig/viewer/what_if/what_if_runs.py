"""Work of the what-if panel that runs in a thread: opening the images, trying strengths, measuring curves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from ...base.records import Scan
from ...predict.task_guess import scan_for_task
from ...sets.what_if import STRENGTHS, Tried, WhatIf
from ...shift.corruptions import CORRUPTIONS, TITLES, TWO_SIDED
from ..parts.predicting import ready
from ..parts.settings import setting

Curves = dict[str, dict[str, tuple[list[float], list[float]]]]
"""Corruption -> model -> (strengths, Dice)."""


@dataclass
class Opened:
    """A running what-if: one WhatIf per model, the untouched answers, and what Dice is measured against."""

    layer: Layer
    what_ifs: dict[str, WhatIf]
    references: dict[str, NDArray[np.uint8]]
    against: str


def open_what_ifs(
    layer: Layer,
    scan: Scan,
    models: list[str],
    index: int | None,
    truth: NDArray[np.uint8] | None,
    report: Callable[[Any], None],
) -> Opened:
    """A what-if per model, all on the first one's piece of the image; runs in a thread."""
    what_ifs: dict[str, WhatIf] = {}
    references = {}
    for name in models:
        report(None)
        predictor = ready(name, str(setting("general", "device")), 0)
        first = next(iter(what_ifs.values()), None)
        if first is None:
            what_if = WhatIf.open(predictor, scan_for_task(scan, predictor.task.input), index)
        else:
            what_if = WhatIf(predictor, first.pixels, first.box, first.index, first.spacing_mm, first.middle)
        what_ifs[name] = what_if
        references[name] = what_if.try_out({}).labels if truth is None else what_if.reference(truth)
    return Opened(layer, what_ifs, references, "its own answer" if truth is None else "my mask")


def try_all(
    opened: Opened, strengths: dict[str, float], report: Callable[[Any], None]
) -> tuple[dict[str, float], dict[str, Tried]]:
    """One set of strengths through every model; runs in a thread."""
    tries = {}
    for name, what_if in opened.what_ifs.items():
        report(None)
        tries[name] = what_if.try_out(strengths)
    return strengths, tries


def curves_in_steps(opened: Opened) -> Generator[tuple[int, int, str], None, Curves]:
    """Every point of every curve, one at a time; yields (done, total, name)."""
    curves: Curves = {name: {} for name in CORRUPTIONS}
    per_model = sum(2 * len(STRENGTHS) - 1 if name in TWO_SIDED else len(STRENGTHS) for name in CORRUPTIONS)
    done = 0
    for model, what_if in opened.what_ifs.items():
        for name, strength, dice in what_if.curve(opened.references[model]):
            x, y = curves[name].setdefault(model, ([], []))
            x.append(strength)
            y.append(dice)
            done += 1
            yield done, per_model * len(opened.what_ifs), TITLES[name]
    return curves
