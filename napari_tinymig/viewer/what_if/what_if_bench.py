"""Work of the what-if panel that runs in a thread: opening benches, trying strengths, measuring curves."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from ...base.records import Scan
from ...predict.task_guess import scan_for_task
from ...sets.what_if import STRENGTHS, Bench, Tried
from ...shift.corruptions import CORRUPTIONS, TITLES, TWO_SIDED
from ..parts.predicting import ready
from ..parts.settings import setting

Curves = dict[str, dict[str, tuple[list[float], list[float]]]]
"""Corruption -> model -> (strengths, Dice)."""


@dataclass
class Opened:
    """A running bench: one Bench per model, the untouched answers, and what Dice is measured against."""

    layer: Layer
    benches: dict[str, Bench]
    references: dict[str, NDArray[np.uint8]]
    against: str


def open_benches(
    layer: Layer,
    scan: Scan,
    models: list[str],
    index: int | None,
    truth: NDArray[np.uint8] | None,
    report: Callable[[Any], None],
) -> Opened:
    """A bench per model, all on the first one's piece of the image; runs in a thread."""
    benches: dict[str, Bench] = {}
    references = {}
    for name in models:
        report(None)
        predictor = ready(name, str(setting("general", "device")), 0)
        first = next(iter(benches.values()), None)
        if first is None:
            bench = Bench.open(predictor, scan_for_task(scan, predictor.task.input), index)
        else:
            bench = Bench(predictor, first.pixels, first.box, first.index, first.spacing_mm, first.middle)
        benches[name] = bench
        references[name] = bench.try_out({}).labels if truth is None else bench.reference(truth)
    return Opened(layer, benches, references, "its own answer" if truth is None else "my mask")


def try_all(
    opened: Opened, strengths: dict[str, float], report: Callable[[Any], None]
) -> tuple[dict[str, float], dict[str, Tried]]:
    """One set of strengths through every model; runs in a thread."""
    tries = {}
    for name, bench in opened.benches.items():
        report(None)
        tries[name] = bench.try_out(strengths)
    return strengths, tries


def curves_in_steps(opened: Opened) -> Generator[tuple[int, int, str], None, Curves]:
    """Every point of every curve, one at a time; yields (done, total, name)."""
    curves: Curves = {name: {} for name in CORRUPTIONS}
    per_model = sum(2 * len(STRENGTHS) - 1 if name in TWO_SIDED else len(STRENGTHS) for name in CORRUPTIONS)
    done = 0
    for model, bench in opened.benches.items():
        for name, strength, dice in bench.curve(opened.references[model]):
            x, y = curves[name].setdefault(model, ([], []))
            x.append(strength)
            y.append(dice)
            done += 1
            yield done, per_model * len(opened.benches), TITLES[name]
    return curves
