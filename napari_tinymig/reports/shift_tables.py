"""The tables of a comparison of two sets: a row per image, and a row per number that differs."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from ..sets.compare import Comparison
from ..shift.descriptors import IMAGE_NAMES
from ..shift.trust import expected_dice

COLUMNS = ("set", "file", "shift_score", "shift_distance", "shift_level", "reason", "expected_dice", "error")


def write_tables(out: Path, pages: list[tuple[str, dict[str, Any], Comparison]]) -> None:
    """shift.csv (a row per image) and differences.csv (a row per number) in a folder."""
    _write_rows(out / "shift.csv", pages)
    _write_differences(out / "differences.csv", pages)


def _write_rows(path: Path, pages: list[tuple[str, dict[str, Any], Comparison]]) -> None:
    """shift.csv: one row per image and model."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", *COLUMNS, *IMAGE_NAMES])
        for model_id, statistics, comparison in pages:
            for one in (comparison.a, comparison.b):
                for image in one.images:
                    row: list[Any] = [model_id, one.name, str(image.path)]
                    if image.result is None:
                        writer.writerow([*row, "", "", "", "", "", image.error])
                        continue
                    expected = expected_dice(statistics, image.records)
                    mean = sum(v[0] for v in expected.values()) / len(expected) if expected else math.nan
                    r = image.result
                    values = image.records[len(image.records) // 2].image.values
                    row += [f"{r.score:.1f}", f"{r.distance:.3f}", r.level, r.reason, _number(mean), ""]
                    writer.writerow([*row, *(_number(values[k]) for k in IMAGE_NAMES)])


def _write_differences(path: Path, pages: list[tuple[str, dict[str, Any], Comparison]]) -> None:
    """differences.csv: one row per number and model."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "name", "median_a", "median_b", "distance_in_source_spreads"])
        for model_id, _, comparison in pages:
            for d in [*comparison.differences, *comparison.anatomy]:
                writer.writerow([model_id, d.name, _number(d.median_a), _number(d.median_b), _number(d.distance)])


def _number(value: float) -> str:
    """Four significant digits; '' for what is not measurable."""
    return f"{value:.4g}" if math.isfinite(value) else ""
