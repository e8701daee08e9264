"""What a model found in a scan beside its mask and measures: region, quality, doubts, shift, intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["known ground", "some shift", "far away", "drawn image"]
"""The words for a shift, everywhere. Of a drawn image, the distance to images of patients says nothing."""


@dataclass(frozen=True)
class ShiftFindings:
    """How unlike the training images a scan is; see `shift.distance.ShiftResult`.

    distance: 0 = the median source image, 1 = the 95th percentile. level: the badge. profile: part of the network ->
    percentile. causes: what differs, largest first, each with name, text and z. notes: sentences. slices: score per
    slice of a volume.
    """

    distance: float
    level: Level
    profile: dict[str, float]
    causes: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    slices: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values under the names that files use: shift_distance, shift_level, ..."""
        out: dict[str, Any] = {
            "shift_distance": self.distance,
            "shift_level": self.level,
            "shift_profile": self.profile,
            "shift_causes": list(self.causes),
        }
        if self.notes:
            out["shift_notes"] = list(self.notes)
        if self.slices:
            out["shift_slices"] = list(self.slices)
        return out


@dataclass
class Findings:
    """What was found beside mask and measures; None and {} = does not apply, or was not asked.

    roi: (y0, x0, y1, x1) in pixel edges, the box of a photograph that was looked at. eye: by the side of the disc.
    locator_confidence, disc_confidence: 0-1. gradable, quality: can disc and cup be graded, and the numbers behind it.
    cup_offset: with which cups were drawn, log-odds of the ratio. doubtful_objects: how many were not shown.
    look_disagreement: 1 - mean Dice between several looks. expected_dice: region -> (middle, low, high), an 80 % range.
    intervals: measure -> (low, high), 90 % nominal. doubts: what in the mask is unlike anatomy, or too unsure, as
    sentences (`measures.plausible`).
    """

    roi: tuple[float, float, float, float] | None = None
    eye: Literal["right", "left"] | None = None
    locator_confidence: float | None = None
    disc_confidence: float | None = None
    gradable: bool | None = None
    quality: dict[str, float] | None = None
    cup_offset: float | None = None
    doubtful_objects: int | None = None
    look_disagreement: float | None = None
    shift: ShiftFindings | None = None
    expected_dice: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def far_away(self) -> bool:
        """Whether the scan is far away from everything the model was trained on."""
        return self.shift is not None and self.shift.level == "far away"

    def as_dict(self) -> dict[str, Any]:
        """Plain values of what applies, by the names that tables, reports and layers have had since version 0.1.0."""
        given = {k: _plain(v) for k, v in vars(self).items() if v is not None and v != {} and v != () and k != "shift"}
        return given | (self.shift.as_dict() if self.shift else {})


def _plain(value: Any) -> Any:
    """Tuples become lists, also inside a dict."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
