"""A one-page report: picture with outlines, numbers with units, how they came about, and what they are not for."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.records import Prediction, Scan
from ..base.safe_files import write_atomic
from ..measures.clinical import measure, rim_profile
from ..measures.declared import DECLARED
from ..measures.plausible import implausible
from ..tasks.task import Task
from .numbers import with_unit
from .overlay import overlay_of
from .page_colours import PRINT_DOUBT, PRINT_NOTICE, PRINT_QUIET, PRINT_TEXT
from .page_detail import draw_detail

LEFT, WIDTH = 0.07, 0.86
NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment decisions. Check the outline."


def number_rows(labels: NDArray[Any], task: Task, spacing_mm: tuple[float, ...] | None) -> list[tuple[str, str]]:
    """Name and value with unit of every measure of a mask."""
    values = measure(labels, task, spacing_mm)
    in_mm = {key.removesuffix("_mm2") for key in values if key.endswith("_mm2")}
    shown = [m for m in DECLARED.values() if m.report and m.key in values and m.key.removesuffix("_px") not in in_mm]
    rows = [(m.title, with_unit(values[m.key], m.unit, m.digits)) for m in shown]
    if "cup_disc" in task.measures:
        profile = rim_profile(labels, None, spacing_mm)
        if profile is not None:
            rows += [
                (f"rim width, {k}", with_unit(v, profile.unit, 1 if profile.unit == "px" else 2))
                for k, v in profile.sectors.items()
            ]
            rows.append(("thinnest rim", f"{profile.thinnest_hour} o'clock"))
    return rows


def report_bytes(
    scan: Scan, labels: NDArray[np.uint8], task: Task, about: Mapping[str, Any], suffix: str = ".pdf"
) -> bytes:
    """The report as PDF or PNG bytes; see `report_figure`. Runs in any thread."""
    out = io.BytesIO()
    report_figure(scan, labels, task, about).savefig(out, format=suffix.lstrip("."))
    return out.getvalue()


def report_figure(scan: Scan, labels: NDArray[np.uint8], task: Task, about: Mapping[str, Any]) -> Any:
    """The page as a matplotlib figure: image with outlines, rim by clock hour or three planes, numbers with the model's
    ranges, how far to trust them, how they came about.

    about: model_id, edited_px, source, shift_score, and extra as `Findings.as_dict` has it; what is missing is left
    out, and of a source only the file's name is shown. Drawn without a window and without pyplot's global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = labels.reshape(scan.grid_shape)
    figure = Figure(figsize=(8.27, 11.69), dpi=150, facecolor="white")  # A4
    FigureCanvasAgg(figure)
    figure.text(LEFT, 0.95, f"{task.title}: {scan.name or 'unnamed'}", fontsize=17, weight="bold", parse_math=False)
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    figure.text(LEFT, 0.93, f"{made}    mask: {_made_by(about)}", fontsize=9.5, color=PRINT_QUIET, parse_math=False)
    top = _picture(figure, scan, shown, task, about, 0.915)
    drawn = draw_detail(figure, scan, shown, task, (LEFT, top - 0.29, 0.4, 0.27))
    end = _numbers(figure, number_rows(shown, task, scan.spacing_mm), scan, about, top - 0.03, 0.53 if drawn else LEFT)
    _trust(figure, shown, task, scan, about, min(end, top - 0.3 if drawn else end) - 0.015)
    for k, line in enumerate(_provenance(scan, about)):
        figure.text(LEFT, 0.092 - 0.016 * k, line, fontsize=8.5, color=PRINT_QUIET, parse_math=False)
    figure.text(LEFT, 0.03, NOTICE, fontsize=8.5, weight="bold", color=PRINT_NOTICE)
    return figure


def _picture(
    figure: Any, scan: Scan, labels: NDArray[np.uint8], task: Task, about: Mapping[str, Any], top: float
) -> float:
    """The image with its outlines over the full width; where it ends."""
    prediction = Prediction(
        labels=labels,
        class_names=task.class_names,
        measures=measure(labels, task, scan.spacing_mm),
        task=task.name,
        model_id=str(about.get("model_id") or "drawn by hand"),
        status="ok" if labels.any() else "not_found",
    )
    picture = np.asarray(overlay_of(scan, prediction, task))
    height = min(0.4, WIDTH * (8.27 / 11.69) * picture.shape[0] / picture.shape[1])
    axes = figure.add_axes((LEFT, top - height, WIDTH, height))
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_anchor("N")
    return top - height


def ranges_by_title(about: Mapping[str, Any], spacing_mm: tuple[float, ...] | None) -> dict[str, str]:
    """Title of a measure -> the model's 90 % range in the unit in which the page shows it: areas in mm² where the
    pixel size is known."""
    out = {}
    for key, (low, high) in ((about.get("extra") or {}).get("intervals") or {}).items():
        in_mm = key.removesuffix("_px") + "_mm2"
        if key.endswith("_px") and in_mm in DECLARED and spacing_mm is not None:
            low, high, key = low * math.prod(spacing_mm[-2:]), high * math.prod(spacing_mm[-2:]), in_mm
        if key in DECLARED:
            digits = DECLARED[key].digits
            out[DECLARED[key].title] = f"({low:.{digits}f} to {high:.{digits}f})"
    return out


def _numbers(
    figure: Any, rows: list[tuple[str, str]], scan: Scan, about: Mapping[str, Any], top: float, left: float
) -> float:
    """Names and values, the model's 90 % range beside those that have one; where they end."""
    by_title = ranges_by_title(about, scan.spacing_mm)
    figure.text(left, top, "Numbers", fontsize=11.5, weight="bold")
    step = min(0.021, 0.25 / max(len(rows), 1))
    for i, (name, value) in enumerate(rows):
        y = top - 0.024 - step * i
        figure.text(left, y, name, fontsize=9.5, color=PRINT_TEXT)
        value += f"   {by_title[name]}" if name in by_title else ""
        figure.text(LEFT + WIDTH, y, value, fontsize=9.5, weight="bold", ha="right")
    y = top - 0.024 - step * len(rows)
    if any(name in by_title for name, _ in rows):
        edited = ", before it was edited" if about.get("edited_px") else ""
        figure.text(left, y, f"In brackets: the model's 90 % range{edited}.", fontsize=8, color=PRINT_QUIET)
    return y


def _trust(
    figure: Any, labels: NDArray[np.uint8], task: Task, scan: Scan, about: Mapping[str, Any], top: float
) -> None:
    """How far to trust the mask: expected Dice, the shift in words, and every doubt as a sentence."""
    said = trust_lines(about)
    doubts = implausible(labels, task, measure(labels, task, scan.spacing_mm))
    figure.text(LEFT, top, "How far to trust it", fontsize=11.5, weight="bold")
    lines = [(line, PRINT_TEXT) for line in said or ["No model has judged this mask."]]
    lines += [(f"Look again: {doubt}", PRINT_DOUBT) for doubt in doubts]
    wrapped = [(part, colour) for line, colour in lines for part in textwrap.wrap(line, 105)]
    for k, (line, colour) in enumerate(wrapped):
        figure.text(LEFT, top - 0.022 - 0.018 * k, line, fontsize=9.5, color=colour, parse_math=False)


def trust_lines(about: Mapping[str, Any]) -> list[str]:
    """Sentences on what a model said of its own mask: expected overlap, and the shift, words first."""
    extra, lines = about.get("extra") or {}, []
    for region, (middle, low, high) in (extra.get("expected_dice") or {}).items():
        lines.append(f"Expected overlap with a reader's {region} (Dice): {middle:.2f}, likely {low:.2f} to {high:.2f}.")
    level, score = extra.get("shift_level"), about.get("shift_score")
    if level == "drawn image" or (level and score is None):
        lines.append(f"Domain shift: {level}.")
    elif level:
        lines.append(f"Domain shift: {level}; {score:.0f} of 100 home images are nearer to the training images.")
    if lines and about.get("edited_px"):
        lines.append("These speak of the model's mask, before it was edited.")
    return lines


def _made_by(about: Mapping[str, Any]) -> str:
    made = str(about.get("model_id") or "drawn by hand")
    return made + (f", then edited by hand ({about['edited_px']} px changed)" if about.get("edited_px") else "")


def _provenance(scan: Scan, about: Mapping[str, Any]) -> list[str]:
    spacing = " x ".join(f"{s:.3g}" for s in scan.spacing_mm) + " mm" if scan.spacing_mm else "unknown (numbers in px)"
    source = re.split(r"[/\\]", str(about.get("source") or scan.name))[-1]  # folders may hold names of people
    return [
        f"file: {source};  pixel or voxel size: {spacing};  grid {' x '.join(map(str, scan.grid_shape))}",
        f"napari-tinymig {version('napari-tinymig')}",
    ]


def write_report(path: Path, content: bytes) -> None:
    """Put a report on the disk in one step. Raises OutputRefused."""
    write_atomic(path, content)
