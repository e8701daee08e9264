"""A one-page report: picture with outlines, numbers with units, how they came about, and what they are not for."""

from __future__ import annotations

import io
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
from ..tasks.task import Task
from .numbers import with_unit
from .overlay import overlay_of

NOTICE = "For research use only. Not a medical device; not for diagnosis or treatment decisions. Check the outline."


def number_rows(labels: NDArray[Any], task: Task, spacing_mm: tuple[float, ...] | None) -> list[tuple[str, str]]:
    """Name and value with unit of every measure of a mask."""
    values = measure(labels, task, spacing_mm)
    shown = [m for m in DECLARED.values() if m.report and m.key in values]
    rows = [(m.title, with_unit(values[m.key], m.unit, m.digits)) for m in shown]
    if "cup_disc" in task.measures:
        profile = rim_profile(labels, None, spacing_mm)
        if profile is not None:
            rows += [(f"rim width, {k}", with_unit(v, profile.unit, 1)) for k, v in profile.sectors.items()]
            rows.append(("thinnest rim", f"{profile.thinnest_hour} o'clock"))
    return rows


def report_bytes(
    scan: Scan, labels: NDArray[np.uint8], task: Task, about: Mapping[str, Any], suffix: str = ".pdf"
) -> bytes:
    """The report as PDF or PNG bytes. about: model_id, edited_px, source; what is missing is left out.

    Runs in any thread: the figure is drawn without a window and without pyplot's global state.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = labels.reshape(scan.grid_shape)
    prediction = Prediction(
        labels=shown,
        class_names=task.class_names,
        measures=measure(shown, task, scan.spacing_mm),
        task=task.name,
        model_id=str(about.get("model_id") or "drawn by hand"),
        status="ok" if shown.any() else "not_found",
    )
    picture = np.asarray(overlay_of(scan, prediction, task))
    figure = Figure(figsize=(8.27, 11.69), dpi=150, facecolor="white")  # A4
    FigureCanvasAgg(figure)
    figure.text(0.07, 0.955, f"{task.title}: {scan.name or 'unnamed'}", fontsize=16, weight="bold", parse_math=False)
    height = min(0.5, 0.86 * (8.27 / 11.69) * picture.shape[0] / picture.shape[1])
    axes = figure.add_axes((0.07, 0.935 - height, 0.86, height))
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_anchor("N")
    _lines(figure, number_rows(shown, task, scan.spacing_mm), top=0.9 - height)
    for k, line in enumerate(_provenance(scan, about)):
        figure.text(0.07, 0.13 - 0.018 * k, line, fontsize=8.5, color="#444444", parse_math=False)
    figure.text(0.07, 0.035, NOTICE, fontsize=8, weight="bold", color="#a01010")
    out = io.BytesIO()
    figure.savefig(out, format=suffix.lstrip("."))
    return out.getvalue()


def _lines(figure: Any, rows: list[tuple[str, str]], top: float) -> None:
    """Two columns of names and values."""
    half = (len(rows) + 1) // 2
    for i, (name, value) in enumerate(rows):
        left = 0.07 if i < half else 0.53
        y = top - 0.026 * (i % half)
        figure.text(left, y, name, fontsize=10.5, color="#333333")
        figure.text(left + 0.4, y, value, fontsize=10.5, weight="bold", ha="right")


def _provenance(scan: Scan, about: Mapping[str, Any]) -> list[str]:
    spacing = " x ".join(f"{s:g}" for s in scan.spacing_mm) + " mm" if scan.spacing_mm else "unknown (numbers in px)"
    lines = [
        f"source: {about.get('source') or scan.name}",
        f"pixel or voxel size: {spacing}; grid {' x '.join(map(str, scan.grid_shape))}",
        f"mask: {about.get('model_id') or 'drawn by hand'}",
    ]
    if about.get("edited_px"):
        lines[-1] += f", then edited by hand ({about['edited_px']} px changed)"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines.append(f"made {made} with napari-tinymig {version('napari-tinymig')}")
    return lines


def write_report(path: Path, content: bytes) -> None:
    """Put a report on the disk in one step. Raises OutputRefused."""
    write_atomic(path, content)
