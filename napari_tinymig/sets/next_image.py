"""Which image to annotate next: the one whose mask is most in doubt and whose look is furthest from the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..base.errors import TinyMIGError
from ..base.records import Prediction
from ..formats import InputItem, open_input
from ..formats.scan_file import as_photograph, as_volume
from ..predict.predictor import Predictor
from ..predict.task_guess import TaskGate
from ..tasks.table import TASKS

ASKED = 8
"""Images that the gate looks at before a ranking."""


@dataclass(frozen=True)
class Candidate:
    """One image of a folder and what the model thinks of it.

    uncertainty: 0..1, expected or measured disagreement; shift_score: percentile 0..100, None where the model cannot
    say; shift_level: the same in words, '' where nobody said. problem: why it was not looked at. usable: False for
    images that no annotation can rescue (not found and hard to grade).
    """

    path: Path
    name: str
    uncertainty: float | None = None
    shift_score: float | None = None
    shift_reason: str = ""
    found: bool = True
    usable: bool = True
    problem: str = ""
    shift_level: str = ""


@dataclass(frozen=True)
class Ranked:
    """A candidate with its place. value: 0..1, the mean of its ranks. reason: why it is here, in words."""

    candidate: Candidate
    value: float
    reason: str


def look_at(
    items: Sequence[InputItem], predictor: Predictor, progress: Callable[[int, int], None] | None = None
) -> Iterator[Candidate]:
    """Every image through the model, with a second, mirrored look; failures become candidates with a problem."""
    for number, item in enumerate(items):
        try:
            scan = open_input(item).scan
            scan = as_photograph(scan) if predictor.task.input == "photograph" else as_volume(scan)
            yield candidate_of(item, predictor.predict(scan, uncertainty=True))
        except (TinyMIGError, ValueError) as e:
            yield Candidate(item.path, item.name, problem=str(e), usable=False)
        if progress:
            progress(number + 1, len(items))


def of_another_task(items: Sequence[InputItem], task: str, gate: TaskGate | None = None) -> str:
    """A sentence where most images are clearly of another task than `task`, by the gate; '' otherwise.

    At most eight images, spread over the list, are asked. gate: default the bundled one.
    """
    if task not in TASKS:  # the gate knows the built-in ones alone
        return ""
    gate = gate or TaskGate()
    asked = [items[i] for i in sorted(set(np.linspace(0, len(items) - 1, min(len(items), ASKED)).astype(int)))]
    found = []
    for item in asked:
        try:
            opened = open_input(item)
            found.append(gate.task_of(opened.scan, opened.metadata))
        except (TinyMIGError, ValueError):  # unreadable, or unclear
            continue
    others = Counter(name for name in found if name != task)
    if 2 * others.total() <= len(asked):
        return ""
    likely = others.most_common(1)[0][0]
    return (
        f"{others.total()} of {len(asked)} image(s) looked at seem to be of the task '{likely}', not '{task}', so that "
        f"this ranking says little; if so, use --task {likely}."
    )


def candidate_of(item: InputItem, prediction: Prediction) -> Candidate:
    """What a prediction says about its image."""
    doubt = prediction.uncertainty
    if doubt is None:
        doubt = prediction.findings.look_disagreement
    found = prediction.status == "ok"
    return Candidate(
        item.path,
        item.name,
        doubt,
        prediction.shift_score,
        prediction.shift_reason,
        found,
        found or prediction.findings.gradable is not False,
        shift_level=prediction.findings.shift.level if prediction.findings.shift else "",
    )


def rank(candidates: Sequence[Candidate]) -> list[Ranked]:
    """Most instructive first: mean rank of doubt and shift; images without a mask count as most in doubt.

    Unusable images come last, whatever their numbers: an ungradable picture teaches nothing.
    """
    usable = [c for c in candidates if c.usable and not c.problem]
    doubt = _ranks([1.0 if not c.found else c.uncertainty for c in usable])
    shift = _ranks([c.shift_score for c in usable])
    scored = []
    for c, d, s in zip(usable, doubt, shift):
        parts = [v for v in (d, s) if v is not None]
        scored.append(Ranked(c, float(np.mean(parts)) if parts else 0.0, _reason(c)))
    scored.sort(key=lambda r: (-r.value, r.candidate.name))
    rest = [
        Ranked(c, -1.0, c.problem or "hard to grade: no annotation would help") for c in candidates if c not in usable
    ]
    return scored + rest


def _ranks(values: Sequence[float | None]) -> list[float | None]:
    """Ranks 0..1, ties shared; None stays None."""
    known = np.array([v for v in values if v is not None], float)
    if not known.size:
        return [None] * len(values)
    return [None if v is None else float(((known < v).sum() + 0.5 * (known == v).sum()) / known.size) for v in values]


def _reason(c: Candidate) -> str:
    if not c.found:
        return "nothing was found in it"
    words = []
    if c.uncertainty is not None:
        words.append(f"expected Dice {100 * (1 - c.uncertainty):.0f} %")
    if c.shift_score is not None:
        place = f"further than {c.shift_score:.0f} % of the training images"
        reason = f" ({c.shift_reason.rstrip('.')})" if c.shift_reason else ""
        words.append((f"{c.shift_level}, {place}" if c.shift_level else place) + reason)
    return ", ".join(words) or "the model can say nothing about it"
