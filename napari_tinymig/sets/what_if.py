"""What if: the same image from a worse camera or scanner, predicted again at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, place, whole_box
from ..base.records import Prediction, Scan
from ..measures.overlap import dice
from ..shift.corruptions import CORRUPTIONS, TWO_SIDED, corrupt, corrupt_all
from ..tasks.task import Task
from .survey import frames_of

if TYPE_CHECKING:
    from ..predict.predictor import Predictor

SIDE = 512
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Tried:
    """One answer of the what-if. pixels, labels: (h, w[, 3]) and (h, w) of the what-if's grid; seconds: of it all."""

    pixels: NDArray[Any]
    labels: NDArray[np.uint8]
    prediction: Prediction
    seconds: float


@dataclass
class WhatIf:
    """A piece of one image ready to be spoiled: the region of interest of a photograph, or one slice.

    pixels: (h, w, 3) uint8 of at most 512 pixels a side, or (1..3, H, W), a slice with its neighbours. box: where
    the pixels lie in the source frame, pixel edges. index: the slice in the volume, None for photographs;
    middle: where that slice is among the pixels.
    """

    predictor: Predictor
    pixels: NDArray[Any]
    box: Box
    index: int | None = None
    spacing_mm: tuple[float, ...] | None = None
    middle: int = 0

    @classmethod
    def open(cls, predictor: Predictor, scan: Scan, index: int | None = None) -> WhatIf:
        """A what-if for a scan: the region the model looks at, or slice `index` of a volume (default: the middle
        one)."""
        if scan.kind == "volume":
            z = len(scan.pixels) // 2 if index is None else int(np.clip(index, 0, len(scan.pixels) - 1))
            low, high = max(z - 1, 0), min(z + 2, len(scan.pixels))
            box = (0.0, 0.0, float(scan.pixels.shape[1]), float(scan.pixels.shape[2]))
            return cls(predictor, scan.pixels[low:high], box, z, scan.spacing_mm, z - low)
        frames = frames_of(predictor, scan)
        box = frames[0].placement.box if frames else whole_box(scan.pixels.shape)
        side = int(min(SIDE, max(64, round(box[2] - box[0]))))
        grid, _ = place(scan.pixels, box, side)
        return cls(predictor, np.clip(np.round(grid), 0, 255).astype(np.uint8), box)

    @property
    def task(self) -> Task:
        """The model's task."""
        return self.predictor.task

    def try_out(self, strengths: dict[str, float], seed: int = 0) -> Tried:
        """The image after `strengths` (corruption -> strength) and what the model makes of it."""
        start = time.perf_counter()
        spoiled = corrupt_all(self.pixels, strengths, seed)
        return self._answer(spoiled, start)

    def _answer(self, spoiled: NDArray[Any], start: float) -> Tried:
        scan = Scan(spoiled, self.spacing_mm, "what if")
        if self.index is None:
            prediction = self.predictor.predict(scan, roi=whole_box(spoiled.shape))
            return Tried(spoiled, prediction.labels, prediction, time.perf_counter() - start)
        prediction = self.predictor.predict(scan)
        labels = prediction.labels[self.middle]
        return Tried(spoiled[self.middle], labels, prediction, time.perf_counter() - start)

    def reference(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An annotated mask of the whole image, (H, W) or (D, H, W), on the what-if's grid."""
        if self.index is not None:
            return labels[self.index] if labels.ndim == 3 else labels
        return place(labels, self.box, self.pixels.shape[0], order=0)[0]

    def dice(self, labels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> dict[str, float]:
        """Dice per region of two masks on the what-if's grid; two empty ones agree."""
        out = {}
        for region in self.task.regions:
            a, b = np.isin(labels, region.labels), np.isin(reference, region.labels)
            out[region.name] = dice(a, b)
        return out

    def curve(
        self,
        reference: NDArray[np.uint8] | None = None,
        names: Sequence[str] = tuple(CORRUPTIONS),
        strengths: Sequence[float] = STRENGTHS,
    ) -> Iterator[tuple[str, float, float]]:
        """(corruption, strength, mean Dice over regions) for every point of the robustness curves, one at a time.

        reference: a mask on the what-if's grid; None = the model's own answer to the untouched image. Two-sided
        corruptions run from -1 to 1.
        """
        plain = self.try_out({})
        against = plain.labels if reference is None else reference
        for name in names:
            steps = sorted({*strengths, *(-s for s in strengths)}) if name in TWO_SIDED else strengths
            for strength in steps:
                tried = plain if strength == 0 else self._answer(self._spoil(name, strength), time.perf_counter())
                yield name, float(strength), float(np.mean(list(self.dice(tried.labels, against).values())))

    def _spoil(self, name: str, strength: float) -> NDArray[Any]:
        return corrupt(self.pixels, name, strength)
