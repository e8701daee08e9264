"""One frame as the network saw it, and the answer a task's own code gives before it is measured and judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.findings import Findings
from ..base.records import Placement
from .run import NetworkOutput


@dataclass(frozen=True)
class SeenFrame:
    """One frame as the network saw it.

    grid: (s, s, 3) before normalisation. inside: (s, s), which part of the grid shows the picture. output, index:
    the network's answer to the batch the frame was part of, and its place there.
    """

    grid: NDArray[Any]
    inside: NDArray[np.bool_]
    output: NetworkOutput
    index: int
    placement: Placement

    @property
    def logits(self) -> NDArray[np.float32]:
        """(R, s, s), raw."""
        return self.output.logits[self.index]


@dataclass
class DecidedMask:
    """Labels in the scan's shape, not measured yet, and what else was found on the way.

    confidence: mean probability of the outermost region over what was found, 0 for nothing. frames: every frame looked
    at, in order.
    """

    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float16] | None = None
    uncertainty_map: NDArray[np.float16] | None = None
    notes: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    confidence: float = 0.0
    frames: list[SeenFrame] = field(default_factory=list)
