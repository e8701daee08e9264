"""The one number of a task in words, by group of measures: a new group is one entry here and one in `clinical`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..tasks.task import Task
from .declared import DECLARED

Values = Mapping[str, float]


@dataclass(frozen=True)
class Headline:
    """key: the measure in front, whose agreement is reported first. words: values and what was measured ('polyp') to
    ('vCDR 0.46', 'disc 312 px high, cup 144 px'): the number, and what explains it."""

    key: str
    words: Callable[[Values, str], tuple[str, str]]


def _cup_disc(m: Values, noun: str) -> tuple[str, str]:
    text = f"vCDR {m['vcdr']:.2f}" if math.isfinite(m["vcdr"]) else "vCDR unknown"
    return text, f"disc {m['disc_height_px']:.0f} px high, cup {m['cup_height_px']:.0f} px"


def _volume(m: Values, noun: str) -> tuple[str, str]:
    if not math.isfinite(m["volume_ml"]):
        return f"{m['gland_voxels']:.0f} voxels", "spacing unknown, so no mL"
    sizes = " x ".join(f"{m[f'diameter_{k}_mm']:.0f}" for k in ("ap", "transverse", "cc"))
    density = f", PSA density {m['psa_density']:.2f}" if "psa_density" in m else ""
    return f"{m['volume_ml']:.1f} mL", f"{sizes} mm (AP x transverse x CC){density}"


def _area(m: Values, noun: str) -> tuple[str, str]:
    count = int(m.get("objects", 1))
    return f"{count} {noun}{'s' if count != 1 else ''}", f"{m.get('area_fraction', 0):.1%} of the frame"


HEADLINES: dict[str, Headline] = {
    "cup_disc": Headline("vcdr", _cup_disc),
    "volume": Headline("volume_ml", _volume),
    "area": Headline("area_px", _area),
}
"""By group of measures, as a task's record names them."""


def headline_measure(task: Task) -> str:
    """Key of the measure of a task that matters most."""
    return next((HEADLINES[m].key for m in task.measures if m in HEADLINES), "area_px")


def headline_words(values: Values, measures: tuple[str, ...], noun: str) -> tuple[str, str]:
    """The number of a mask in words, and what explains it; ('', '') where no group of `measures` has one.

    noun: what was measured. Raises KeyError where the group's values are not there.
    """
    group = next((HEADLINES[m] for m in measures if m in HEADLINES), None)
    return group.words(values, noun) if group else ("", "")


def words_of_values(values: Mapping[str, float | None], noun: str = "object") -> str:
    """The number in front among `values`, where the task is not known: 'vCDR 0.46', '' where none is there."""
    there = {k: v if v is not None else math.nan for k, v in values.items()}
    for group in HEADLINES.values():
        if group.key in there:
            return group.words(there, noun)[0]
    return ""


def pixels_of_values(values: Mapping[str, float | None]) -> list[str]:
    """'disc area 312 px²' of every declared measure in pixels with a column in the table."""
    shown = [m for m in DECLARED.values() if m.column and m.unit in ("px", "px²") and values.get(m.key) is not None]
    return [f"{m.title} {values[m.key]:.{m.digits}f} {m.unit}" for m in shown]
