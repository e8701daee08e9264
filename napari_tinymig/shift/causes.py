"""What differs between an image and a model's training images, in words: 'darker and bluer; disc 40 % larger'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .frame_record import FrameRecord

NOTABLE = 2.5
"""Robust z beyond which a difference is named (chosen)."""
STRIKING = 5.0
"""Robust z beyond which a difference is named even on known ground (chosen)."""
MOST = 4

WORDS: dict[str, tuple[str, str]] = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter in contrast", "higher in contrast"),
    "red": ("greener", "redder"),
    "blue": ("yellower", "bluer"),
    "saturation": ("paler in colour", "stronger in colour"),
    "sharpness": ("more blurred", "sharper"),
    "texture": ("smoother", "more finely textured"),
    "noise": ("less noisy", "noisier"),
    "vignette": ("darker towards the border", "brighter towards the border"),
    "unevenness": ("more evenly lit", "more unevenly lit"),
    "clipping": ("less overexposed", "more overexposed"),
}
PLAIN: dict[str, tuple[str, str]] = {
    "field": ("the picture fills less of the network's field", "the picture fills more of the network's field"),
    "view": ("a wider photograph", "a closer crop"),
    "spacing_mm": ("finer pixels", "coarser pixels"),
    "fov_mm": ("a smaller field of view", "a larger field of view"),
}
TITLES: dict[str, str] = {
    "brightness": "brightness",
    "contrast": "contrast",
    "red": "redness",
    "blue": "blueness",
    "saturation": "colour strength",
    "sharpness": "sharpness",
    "texture": "texture",
    "noise": "noise",
    "vignette": "border light",
    "unevenness": "unevenness of light",
    "clipping": "overexposure",
    "field": "filled part of the field",
    "view": "width of the view",
    "spacing_mm": "pixel size",
    "fov_mm": "field of view",
    "ratio": "cup-to-disc ratio",
    "disc_area": "disc size in the view",
    "cup_area": "cup size in the view",
}
"""Names for people, in tables and plots."""


@dataclass(frozen=True)
class Cause:
    """One difference. name: descriptor; z: signed robust z; text: plain words; kind: 'image', 'field' or 'anatomy'."""

    name: str
    z: float
    text: str
    kind: str


def explain(statistics: dict[str, Any], records: Sequence[FrameRecord], pick: int) -> tuple[Cause, ...]:
    """Differences worth a word of frame `pick`, largest first.

    Only robust z-scores beyond 2.5 are named. Sizes are given in per cent of the source median; a ratio with both
    numbers. Descriptors that apply to neither side are left out.
    """
    record = records[pick]
    found: list[Cause] = []
    for name, value in record.image.values.items():
        known = statistics["image"].get(name)
        if known is None or not math.isfinite(value):
            continue
        z = (value - known["median"]) / known["spread"]
        words, kind = (WORDS[name], "image") if name in WORDS else (PLAIN.get(name), "field")
        if words and abs(z) > NOTABLE:
            found.append(Cause(name, z, words[z > 0], kind))
    for name, value in record.output.items():
        known = statistics["output"].get(name)
        if known and math.isfinite(value):
            z = (value - known["median"]) / known["spread"]
            text = _anatomy(name, value, known["median"])
            if text and abs(z) > NOTABLE:
                found.append(Cause(name, z, text, "anatomy"))
    return tuple(sorted(found, key=lambda c: -abs(c.z)))


def _anatomy(name: str, value: float, usual: float) -> str:
    """Words for the size of a region, the cup-to-disc ratio or a doubtful border; '' for what needs no word."""
    if name.endswith("_area") and usual > 0:
        region = name.removesuffix("_area")
        if value == 0:
            return f"no {region} found"
        change = 100 * (value / usual - 1)
        return f"{region} {abs(change):.0f} % {'larger' if change > 0 else 'smaller'}"
    if name == "ratio":
        return f"cup-to-disc ratio {value:.2f} against a usual {usual:.2f}"
    if name.endswith("_band") and value > usual:
        return f"border of the {name.removesuffix('_band')} doubtful"
    if name.endswith("_solid") and value < usual and value > 0:
        return f"{name.removesuffix('_solid')} in several pieces"
    return ""


def sentence(level: str, causes: Sequence[Cause], profile: dict[str, float]) -> str:
    """One plain sentence for a badge."""
    if level == "known ground":
        striking = [c.text for c in causes if abs(c.z) > STRIKING][:2]
        return "Like the training images" + (f", though {_listed(striking)}." if striking else ".")
    looks = [c.text for c in causes if c.kind == "image"][:MOST]
    rest = [c.text for c in causes if c.kind != "image"][: MOST - 1]
    parts = [f"{_listed(looks)} than the training images", *rest] if looks else rest
    if not parts:
        deepest = max((k for k in profile if k.startswith("stage")), key=lambda k: (profile[k], k), default="")
        where = f" (most in {deepest} of the network)" if deepest else ""
        return f"Texture or shapes differ from the training images{where}; light and colour are ordinary."
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _listed(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
