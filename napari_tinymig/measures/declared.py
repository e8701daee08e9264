"""Every clinical number once: its name for people, its unit, its digits, and where it is shown.

A new measure is one entry here and its computation in `clinical`: the result card, the report, `measurements.csv`,
`tinymig measure` and Save read this table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number of a mask.

    key: its name in `Prediction.measures`. title: for people. unit: '', 'px', 'mm', 'mm²', 'mL'. digits: after the
    decimal point. column: it has a column of that key in measurements.csv. main: a row of the result card. report: a
    row of the one-page report. short: the title where there is little room, if another. widest: 90 % range, in its
    unit, beyond which the number is in doubt (chosen; of known eyes no ratio's is wider than 0.29).
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 2
    column: bool = False
    main: bool = False
    report: bool = True
    short: str = ""
    widest: float = math.inf

    @property
    def name(self) -> str:
        """The title as narrow panels show it."""
        return self.short or self.title


DECLARED: dict[str, Measure] = {
    m.key: m
    for m in (
        Measure("vcdr", "vertical cup-to-disc ratio", column=True, main=True, short="vertical CDR", widest=0.4),
        Measure("hcdr", "horizontal cup-to-disc ratio", main=True, short="horizontal CDR"),
        Measure("area_ratio", "cup area / disc area"),
        Measure("disc_area_px", "disc area", "px", 0, column=True),
        Measure("cup_area_px", "cup area", "px", 0, column=True),
        Measure("disc_area_mm2", "disc area", "mm²", 2, column=True),
        Measure("cup_area_mm2", "cup area", "mm²", 2),
        Measure("volume_ml", "gland volume", "mL", 1, column=True, main=True, widest=20),
        Measure("psa_density", "PSA density", "ng/mL²", 2, report=False),
        Measure("diameter_transverse_mm", "transverse diameter", "mm", 0),
        Measure("diameter_ap_mm", "antero-posterior diameter", "mm", 0),
        Measure("diameter_cc_mm", "craniocaudal diameter", "mm", 0),
        Measure("ellipsoid_volume_ml", "volume by the ellipsoid formula", "mL", 1),
        Measure("area_px", "area", "px", 0),
        Measure("area_fraction", "part of the frame", "", 3, main=True),
        Measure("objects", "separate objects", "", 0, main=True),
        Measure("area_mm2", "area", "mm²", 1),
    )
}
"""In the order in which they are shown."""


def columns() -> tuple[str, ...]:
    """Keys of the measures that have a column of their own in measurements.csv."""
    return tuple(m.key for m in DECLARED.values() if m.column)


def cells(values: Mapping[str, float]) -> dict[str, float | None]:
    """The row's part that measures fill: every column, None where the mask has no such number; a PSA density is
    there only where a PSA value was given."""
    row: dict[str, float | None] = {key: values.get(key) for key in columns()}
    density = values.get("psa_density")
    return row if density is None or not math.isfinite(density) else row | {"psa_density": density}
