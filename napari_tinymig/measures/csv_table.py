"""measurements.csv: one row per input, written whole or not at all, kept up to date while a run goes on."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..base.errors import OutputRefused
from ..base.records import Prediction
from ..base.safe_files import write_atomic
from .declared import DECLARED, PSA_DENSITY, cells, columns

CONTRACT = (
    "file",
    "mask",
    "status",
    "task",
    "model",
    "vcdr",
    "disc_area_px",
    "cup_area_px",
    "volume_ml",
    "diameters_mm",
    "uncertainty",
    "shift_score",
    "seconds",
    "error",
)
"""Columns that others rely on, in this order; other declared measures follow, then `TRUST`."""
TRUST = ("shift_level", "doubts", "range_low", "range_high")
"""shift_level: known ground, some shift, far away or drawn image, the words of `shift_score`. doubts: sentences that
say why a mask should be looked at; empty = none. range_low, range_high: the model's 90 % range of the main number, the
ratio or the volume; empty where it has none."""


def table_columns(psa: bool = False) -> tuple[str, ...]:
    """The header of measurements.csv: the contract, then every other declared measure with a column, then the words,
    and the PSA density where a PSA value was given."""
    return (*CONTRACT, *(key for key in columns() if key not in CONTRACT), *TRUST, *((PSA_DENSITY,) if psa else ()))


PAUSE_S = 2.0
"""Least time between two writes of a growing table."""


class Table:
    """Rows by their first column, in the order they were first put; rows of earlier runs in the same file stay.

    columns: header; a column of the file that is unknown here is kept at the end. afresh: the file's rows go. Raises
    OutputRefused where the file exists but is no table, or cannot be written.
    """

    def __init__(self, path: Path, columns: Iterable[str] | None = None, afresh: bool = False):
        self.path = path
        self.columns = tuple(table_columns() if columns is None else columns)
        self._rows: dict[str, dict[str, str]] = {}
        self._written = 0.0
        if path.is_file() and not afresh:
            self._read()

    def _read(self) -> None:
        try:
            with self.path.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                names = [n for n in reader.fieldnames or [] if n]
                if names and self.columns[0] not in names:
                    raise OutputRefused(
                        f"{self.path} exists and has the columns {', '.join(names[:6])}; expected '{self.columns[0]}' "
                        "first; move it away or choose another folder."
                    )
                self.columns += tuple(n for n in names if n not in self.columns)
                self._rows = {r[self.columns[0]]: {k: r.get(k) or "" for k in self.columns} for r in reader}
        except (OSError, UnicodeDecodeError, csv.Error) as e:
            raise OutputRefused(f"{self.path} exists and cannot be read as a table ({e}); move it away.") from e

    def put(self, row: Mapping[str, Any]) -> None:
        """Add or replace the row of the same first column; written at most every two seconds, and by `write`."""
        text = {k: cell(row.get(k)) for k in self.columns}
        self._rows[text[self.columns[0]]] = text
        if time.monotonic() - self._written > PAUSE_S:
            self.write()

    def order(self, first: Iterable[str]) -> None:
        """Put the named rows first, in this order; the others follow as they were."""
        names = [n for n in first if n in self._rows]
        rest = [n for n in self._rows if n not in set(names)]
        self._rows = {n: self._rows[n] for n in (*names, *rest)}

    def write(self) -> None:
        """Put the table on the disk in one step. Raises OutputRefused."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows.values())
        write_atomic(self.path, out.getvalue().encode("utf-8"))
        self._written = time.monotonic()

    @property
    def rows(self) -> list[dict[str, str]]:
        """Every row as text."""
        return list(self._rows.values())


def cell(value: Any) -> str:
    """A value as a field: numbers short, NaN and None empty, line breaks gone."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.0f}"
    return " ".join(str(value).split())


def diameters(measures: Mapping[str, float]) -> str:
    """Antero-posterior x transverse x craniocaudal, mm, one decimal: '31.5x47.0x36.0'; empty where unknown."""
    values = [measures.get(f"diameter_{k}_mm", math.nan) for k in ("ap", "transverse", "cc")]
    return "x".join(f"{v:.1f}" for v in values) if all(math.isfinite(v) and v > 0 for v in values) else ""


def main_range(intervals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """`range_low` and `range_high` of the first main measure that has a range; {} without one."""
    found = [intervals[m.key] for m in DECLARED.values() if m.main and m.key in intervals]
    return dict(zip(("range_low", "range_high"), found[0])) if found else {}


def row_of(prediction: Prediction) -> dict[str, Any]:
    """The columns that a prediction fills."""
    m = prediction.measures
    return main_range(prediction.findings.intervals) | {
        "status": prediction.status,
        "task": prediction.task,
        "model": prediction.model_id,
        **cells(m),
        "diameters_mm": diameters(m),
        "uncertainty": prediction.uncertainty,
        "shift_score": prediction.shift_score,
        "seconds": round(prediction.seconds, 4),
        "shift_level": prediction.findings.shift.level if prediction.findings.shift else "",
        "doubts": " ".join(prediction.findings.doubts),
        "error": " ".join(prediction.notes[:1]) if prediction.status == "not_found" else "",
    }
