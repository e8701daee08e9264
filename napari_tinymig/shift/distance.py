"""How far an image is from what a model knows, in which layer, and why.

A score is the percentile of a distance among source images that had no part in the statistics: 50 = an ordinary home
image, 100 = further than every one of them. The distance is made of named parts: each stage of the network
(probabilistic-PCA Mahalanobis distance of its spatial moments), nearest neighbours among training frames, the
picture's own descriptors, and the answer's size and doubt. Formulas are chosen; docs/SHIFT.md has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.findings import Level, ShiftFindings
from .causes import Cause, explain, sentence
from .descriptors import IMAGE_NAMES
from .frame_record import FrameRecord
from .source_statistics import reference_of, whiten

FAR = 2.0
"""Distances beyond this many source ranges are 'far away' (chosen; see `badge`)."""
KNOWN = 1.55
"""Distances up to this many source ranges are 'known ground' (chosen: the training images themselves reach 1.53)."""
NEIGHBOURS = 3


@dataclass(frozen=True)
class ShiftResult:
    """The shift of one frame or volume.

    score: percentile 0-100 among unseen source images. distance: the same thing without a ceiling; 0 = the median
    source image, 1 = the 95th percentile of source. level: the badge. reason: plain language. profile: part ->
    percentile. causes: what differs, largest first. slices: score per slice of a volume. raw: `distances` of each
    frame.
    """

    score: float
    distance: float
    level: Level
    reason: str
    profile: dict[str, float]
    causes: tuple[Cause, ...] = ()
    slices: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=())
    raw: tuple[dict[str, float], ...] = ()

    def findings(self) -> ShiftFindings:
        """The same, rounded, as a prediction carries it."""
        return ShiftFindings(
            round(self.distance, 3),
            self.level,
            {k: round(v, 1) for k, v in self.profile.items()},
            tuple({"name": c.name, "text": c.text, "z": round(c.z, 2)} for c in self.causes),
            self.notes,
            tuple(round(v, 1) for v in self.slices),
        )


def distances(statistics: dict[str, Any], record: FrameRecord) -> dict[str, float]:
    """Raw distance of one frame, part by part: 'stage 1'..'stage 4', 'neighbours', 'image', 'output'.

    Stage: square root of the mean of the two normalised halves of the PPCA Mahalanobis distance (inside and outside
    the principal plane). Neighbours: mean distance to the 3 nearest training frames in whitened coordinates. Image
    and output: root mean square of robust z-scores, each clipped at 20.
    """
    reference = reference_of(statistics)
    parts: dict[str, float] = {}
    coordinates = []
    for i, (stage, moments) in enumerate(zip(reference.stages, record.moments)):
        inside, rest = whiten(stage, moments[None])
        coordinates.append(inside)
        half = 0.5 * float(np.mean(inside**2)) + 0.5 * float(np.mean(rest**2)) / stage.residual
        parts[f"stage {i + 1}"] = math.sqrt(half)
    if reference.neighbours is not None and coordinates:
        gaps = np.sort(np.linalg.norm(reference.neighbours - np.concatenate(coordinates, 1), axis=1))
        parts["neighbours"] = float(gaps[:NEIGHBOURS].mean())
    parts["image"] = _rms(z_scores(statistics["image"], record.image.values, IMAGE_NAMES))
    parts["output"] = _rms(z_scores(statistics["output"], record.output, _scored_outputs(statistics)))
    return parts


def _scored_outputs(statistics: dict[str, Any]) -> tuple[str, ...]:
    """Areas, bands and the ratio: what the answer looks like; their low and high versions only make intervals."""
    return tuple(k for k in statistics["output"] if not k.endswith(("_low", "_high")))


def z_scores(source: dict[str, Any], values: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    """Robust z per name, clipped at 20; names unknown on either side are left out."""
    out = {}
    for name in names:
        known, value = source.get(name), values.get(name, math.nan)
        if known and math.isfinite(value):
            out[name] = float(np.clip((value - known["median"]) / known["spread"], -20, 20))
    return out


def _rms(z: dict[str, float]) -> float:
    return math.sqrt(sum(v * v for v in z.values()) / len(z)) if z else 0.0


def calibrate(
    statistics: dict[str, Any], unseen: tuple[str, list[tuple[dict[str, Any], list[FrameRecord]]]]
) -> dict[str, Any]:
    """How unseen source frames lie: centre and spread of every part, and quantiles of the joint distance.

    unseen: where they come from, and (statistics, frames) pairs of which the frames had no part in the statistics.
    """
    source, pairs = unseen
    rows = [(r.case or str(i), distances(s, r), r) for s, records in pairs for i, r in enumerate(records)]
    names = list(rows[0][1])
    logs = np.log(np.asarray([[d[k] for k in names] for _, d, _ in rows]) + 1e-3)  # (n, parts)
    centre = np.median(logs, 0)
    spread = np.maximum(np.maximum(1.4826 * np.median(np.abs(logs - centre), 0), 0.7 * logs.std(0)), 0.05)
    parts = {
        k: {
            "centre": round(float(c), 4),
            "spread": round(float(s), 4),
            "q": _quantiles(logs[:, i]),
        }
        for i, (k, c, s) in enumerate(zip(names, centre, spread))
    }
    joint = np.asarray([_joint(parts, d) for _, d, _ in rows])
    by_case: dict[str, list[tuple[float, FrameRecord]]] = {}
    for value, (case, _, record) in zip(joint, rows):
        by_case.setdefault(case, []).append((float(value), record))
    cases = np.asarray([_whole([v for v, _ in rows], [r for _, r in rows]) for rows in by_case.values()])
    return {
        "source": source,
        "frames": len(joint),
        "cases": len(cases),
        "parts": parts,
        "joint": _quantiles(joint),
        "case": _quantiles(cases),
    }


def _quantiles(values: NDArray[Any]) -> list[float]:
    """Up to 33 quantiles, smallest and largest included."""
    return np.round(np.quantile(values, np.linspace(0, 1, min(33, max(2, len(values))))), 4).tolist()


def _joint(parts: dict[str, Any], raw: dict[str, float]) -> float:
    """One number from all parts: cubic mean of the standardised log distances, so that one strange part is enough
    to be far and ordinary scatter of many parts is not (chosen)."""
    u = [(math.log(raw[k] + 1e-3) - p["centre"]) / p["spread"] for k, p in parts.items() if k in raw]
    return float(np.mean(np.maximum(np.asarray(u) + 2.0, 0) ** 3) ** (1 / 3)) if u else 0.0


def _whole(values: Sequence[float], records: Sequence[FrameRecord]) -> float:
    """Distance of a volume: median over the slices that hold something, over all slices if none does."""
    return float(np.median([values[i] for i in _occupied(records)]))


def _occupied(records: Sequence[FrameRecord]) -> list[int]:
    """Frames in which something was found; all of them if nothing was."""
    found = [i for i, r in enumerate(records) if any(v > 0 for k, v in r.output.items() if k.endswith("_area"))]
    return found or list(range(len(records)))


def percentile(value: float, quantiles: Sequence[float]) -> float:
    """Percentile 0-100 of a value among stored quantiles, linear in between; 100 from the largest on."""
    return float(np.interp(value, quantiles, np.linspace(0, 100, len(quantiles))))


def ranges(value: float, quantiles: Sequence[float]) -> float:
    """Distance in source ranges: 0 at the source median, 1 at its 95th percentile, without a ceiling."""
    middle, high = np.interp((50, 95), np.linspace(0, 100, len(quantiles)), quantiles)
    return float((value - middle) / max(high - middle, 0.05))


def badge(score: float, distance: float) -> Level:
    """known ground: within the 97.5th percentile of source, or no further than KNOWN source ranges; far away: beyond
    FAR ranges; some shift: between."""
    if score <= 97.5 or distance <= KNOWN:
        return "known ground"
    return "far away" if distance > FAR else "some shift"


def score_frames(statistics: dict[str, Any], records: Sequence[FrameRecord]) -> ShiftResult:
    """The shift of one photograph (one record) or one volume (a record per slice, in order)."""
    if not records:
        raise ValueError("no frame was recorded; expected at least one FrameRecord.")
    calibration = statistics["calibration"]
    raw = tuple(distances(statistics, r) for r in records)
    joint = [_joint(calibration["parts"], d) for d in raw]
    whole = _whole(joint, records)
    volume = statistics.get("kind") == "volume"
    scale = calibration["case"] if volume else calibration["joint"]
    score, distance = percentile(whole, scale), ranges(whole, scale)
    pick = min(_occupied(records), key=lambda i: abs(joint[i] - whole))  # the frame that speaks for the volume
    profile = {
        k: percentile(math.log(raw[pick][k] + 1e-3), p["q"]) for k, p in calibration["parts"].items() if k in raw[pick]
    }
    slices = tuple(percentile(v, calibration["joint"]) for v in joint) if volume else ()
    level, notes = badge(score, distance), _few_notes(calibration["cases" if volume else "frames"], volume)
    causes = explain(statistics, records, pick)
    reason = sentence(level, causes, profile)
    return ShiftResult(score, distance, level, reason, profile, causes, slices, notes, raw)


def _few_notes(n: int, volume: bool) -> tuple[str, ...]:
    """What a percentile among `n` source images cannot say."""
    if n >= 20:
        return ()
    what = "volumes" if volume else "images"
    return (f"The shift score is a percentile among only {n} source {what}; its steps are {100 / n:.0f} points wide.",)
