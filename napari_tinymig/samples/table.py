"""The table of drawings: how images of a known task are drawn, to be shown and to rehearse on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .drawn import Sample, fundus_sample, prostate_sample
from .polyp import polyp_sample

Vary = Callable[[int, np.random.Generator], Sample]


@dataclass(frozen=True)
class Drawing:
    """demo: the one sample shown to people (`shown.SHOWN`). vary: sample number n of many different ones, small, for
    rehearsals and checks of what is forgotten."""

    demo: Callable[[], Sample]
    vary: Vary


def _eye(number: int, rng: np.random.Generator) -> Sample:
    return fundus_sample(384, 100 + number, float(rng.uniform(0.3, 0.8)), ("right", "left")[number % 2])


def _gland(number: int, rng: np.random.Generator) -> Sample:
    return prostate_sample(seed=11 + number)


def _polyp(number: int, rng: np.random.Generator) -> Sample:
    return polyp_sample(384, 220 + number, float(rng.uniform(0.12, 0.2)))


DRAWN: dict[str, Drawing] = {
    "optic": Drawing(fundus_sample, _eye),
    "prostate": Drawing(prostate_sample, _gland),
    "polyp": Drawing(polyp_sample, _polyp),
}
"""By the task's name. A task without an entry has no drawings: no demo, nothing to rehearse on but the user's own."""
