"""The acceptance check: is the child better where it was mended, and has it kept what the parent knew?

(a) before/after Dice on corrected cases that the scored model did not train on; (b) a PROXY for forgetting: Dice
between parent's and child's masks on references that need no truth: pictures shipped or recoloured by the package, and
the user's own reference folder. The proxy is no measurement of the true drop; docs/FINETUNE.md reports how the two
went together. All margins are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.measures.bootstrap import mean_interval
from napari_tinymig.measures.overlap import dice
from napari_tinymig.reports.numbers import dice_change
from napari_tinymig.tasks.task import Task

MARGIN = 0.10
"""Largest mean loss of agreement (1 - Dice of parent and child) on references."""
CASE_DROP = 0.05
"""A held-out case whose Dice falls by more than this is named in a warning."""
RESAMPLES = 10_000


def region_dice(
    a: NDArray[Any], b: NDArray[Any], task: Task, known: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Dice per region of two label arrays, where `known`; both empty = 1, one empty = 0."""
    out = {}
    for region in task.regions:
        x, y = np.isin(a, region.labels), np.isin(b, region.labels)
        if known is not None:
            x, y = x & known, y & known
        out[region.name] = dice(x, y)
    return out


@dataclass(frozen=True)
class Paired:
    """Before and after on the same cases, one region.

    low, high: 95 % percentile bootstrap of the mean difference over cases, NaN for fewer than 4 cases.
    """

    name: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    low: float = math.nan
    high: float = math.nan

    @property
    def gain(self) -> float:
        """Mean of after - before."""
        return float(np.mean(np.subtract(self.after, self.before))) if self.before else math.nan


def paired(name: str, before: Sequence[float], after: Sequence[float], seed: int = 0) -> Paired:
    """A comparison with its interval."""
    difference = np.subtract(after, before)
    if len(difference) < 4:
        return Paired(name, tuple(before), tuple(after))
    low, high = mean_interval(difference, RESAMPLES, seed)
    return Paired(name, tuple(before), tuple(after), low, high)


@dataclass(frozen=True)
class Acceptance:
    """What the acceptance check says.

    keep: the child may become the default. measured: False where too few cases let nothing be measured. reasons: one
    sentence each, the decisive ones first. gains: per region. proxy: reference kind -> mean agreement of parent and
    child, 0..1. names: held-out cases in the order of `Paired.before`.
    """

    keep: bool
    measured: bool
    reasons: tuple[str, ...]
    gains: tuple[Paired, ...] = ()
    proxy: dict[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values for gate.json and the model's header."""
        raw = asdict(self)
        for gain, paired_gain in zip(raw["gains"], self.gains):
            gain["gain"] = paired_gain.gain
        return _finite(raw)

    @property
    def text(self) -> str:
        """All sentences as one paragraph."""
        return " ".join(self.reasons)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def decide_acceptance(
    gains: Sequence[Paired],
    names: Sequence[str],
    proxy: Mapping[str, Sequence[float]],
    margin: float = MARGIN,
    same_case: bool = False,
    unread: str = "",
) -> Acceptance:
    """Keep or refuse. gains: per region on held-out cases, empty if nothing was held out. proxy: agreements per kind.

    same_case: the held-out slices come from the volume that was trained on, so that the gain is flattered.
    unread: why the references that the user named could not be looked at, '' if they were or if there are none.
    """
    agreement = {kind: float(np.mean(values)) for kind, values in proxy.items() if len(values)}
    refused = _forgotten(agreement, margin, unread)
    lost = any(1 - value > margin for value in agreement.values())
    notes: list[str] = []
    measured = bool(gains) and bool(names)
    if not measured:
        refused.append(
            "Not made the default: nothing was held out (a single annotated image, no folds, or stopped before their "
            "end), so that the gain is unknown; annotate a second one, let the run end, or keep this model knowingly."
        )
    else:
        no_gain, notes = _gained(gains, names, same_case)
        refused += no_gain
    if agreement and not lost:
        worst = min(agreement, key=agreement.__getitem__)
        notes.append(f"Agreement with the old model on {worst}: {100 * agreement[worst]:.1f} % (proxy for forgetting).")
    return Acceptance(not refused, measured, (*refused, *notes), tuple(gains), agreement, tuple(names))


def _forgotten(agreement: Mapping[str, float], margin: float, unread: str) -> list[str]:
    """Why forgetting speaks against the child, or why it could not be checked."""
    refused = [
        f"Refused: on {kind} the new mask agrees only {100 * value:.1f} % (Dice) with the old one; the limit "
        f"is {100 - 100 * margin:.0f} %, so the model may have forgotten its original domain."
        for kind, value in agreement.items()
        if 1 - value > margin
    ]
    if unread:
        refused.append(f"Not made the default: {unread}; name another folder or none, or keep this model knowingly.")
    elif not agreement:
        refused.append(
            "Not made the default: there was no picture on which forgetting could be checked; name a folder of images "
            "of the original domain as reference, or keep this model knowingly."
        )
    return refused


def _gained(gains: Sequence[Paired], names: Sequence[str], same_case: bool) -> tuple[list[str], list[str]]:
    """What speaks against the child, and notes, from the gain on held-out cases."""
    overall = float(np.mean([g.gain for g in gains]))
    words = "; ".join(_words(g) for g in gains)
    held = f"{len(names)} {'blocks of slices' if same_case else 'cases'}"
    warnings = _warnings(gains, names, same_case)
    if overall <= 0:
        return [f"Refused: no gain on the {held} held out ({words}); annotate more, or keep knowingly."], warnings
    notes = [f"Better on {held} it did not train on: {words}."]
    if all(g.low < 0 for g in gains):
        notes.append("Every interval includes zero: the gain may be chance, more cases will tell.")
    return [], notes + warnings


def _words(gain: Paired) -> str:
    numbers, change = dice_change(gain.before, gain.after)
    interval = "" if math.isnan(gain.low) else f" [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    return f"{gain.name} Dice {numbers} ({change}{interval})"


def _warnings(gains: Sequence[Paired], names: Sequence[str], same_case: bool) -> list[str]:
    out = []
    if len(names) < 4:
        out.append(f"With {len(names)} of them this is an impression, not a measurement.")
    if same_case:
        out.append(
            "They are of the same case as the slices trained on, which flatters the gain; annotate a second case."
        )
    for gain in gains:
        fell = [n for n, b, a in zip(names, gain.before, gain.after) if a - b < -CASE_DROP]
        if fell:
            out.append(f"{gain.name}: worse by more than {100 * CASE_DROP:.0f} points on {', '.join(fell[:3])}.")
    return out
