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
    unit, beyond which the number is in doubt (chosen; of known eyes no ratio's is wider than 0.29). interval: what the
    statistics of a model call its 90 % range, '' = they have none.
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
    interval: str = ""

    @property
    def name(self) -> str:
        """The title as narrow panels show it."""
        return self.short or self.title


VCDR = "vcdr"
HCDR = "hcdr"
AREA_RATIO = "area_ratio"
DISC_AREA_PX = "disc_area_px"
CUP_AREA_PX = "cup_area_px"
DISC_AREA_MM2 = "disc_area_mm2"
VOLUME_ML = "volume_ml"
PSA_DENSITY = "psa_density"
TRANSVERSE_MM = "diameter_transverse_mm"
AP_MM = "diameter_ap_mm"
CC_MM = "diameter_cc_mm"
ELLIPSOID_ML = "ellipsoid_volume_ml"
AREA_PX = "area_px"
AREA_FRACTION = "area_fraction"
OBJECTS = "objects"
AREA_MM2 = "area_mm2"
GLAND_VOXELS = "gland_voxels"
"""The keys, for code that has a place for one of them; the last one is counted where no spacing makes it a volume."""

DECLARED: dict[str, Measure] = {
    m.key: m
    for m in (
        Measure(
            VCDR,
            "vertical cup-to-disc ratio",
            column=True,
            main=True,
            short="vertical CDR",
            widest=0.4,
            interval="ratio",
        ),
        Measure(HCDR, "horizontal cup-to-disc ratio", main=True, short="horizontal CDR"),
        Measure(AREA_RATIO, "cup area / disc area"),
        Measure(DISC_AREA_PX, "disc area", "px²", 0, column=True, interval="disc_area"),
        Measure(CUP_AREA_PX, "cup area", "px²", 0, column=True, interval="cup_area"),
        Measure(DISC_AREA_MM2, "disc area", "mm²", 2, column=True),
        Measure("cup_area_mm2", "cup area", "mm²", 2),
        Measure(VOLUME_ML, "gland volume", "mL", 1, column=True, main=True, widest=20, interval="gland_area"),
        Measure(PSA_DENSITY, "PSA density", "ng/mL²", 2, report=False),
        Measure(TRANSVERSE_MM, "transverse diameter", "mm", 0),
        Measure(AP_MM, "antero-posterior diameter", "mm", 0),
        Measure(CC_MM, "craniocaudal diameter", "mm", 0),
        Measure(ELLIPSOID_ML, "volume by the ellipsoid formula", "mL", 1),
        Measure(AREA_PX, "area", "px²", 0),
        Measure(AREA_FRACTION, "part of the frame", "", 3, main=True),
        Measure(OBJECTS, "separate objects", "", 0, main=True),
        Measure(AREA_MM2, "area", "mm²", 1),
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
    density = values.get(PSA_DENSITY)
    return row if density is None or not math.isfinite(density) else row | {PSA_DENSITY: density}
