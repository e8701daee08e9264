"""What the parts of a fine-tuning run take here and now, tried on one image, and the budget they have to fit into."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_tinymig.base.stopwatch import Stopwatch, in_words
from napari_tinymig.recipes.student import Recipe

from ..data.image_set import ImageSet
from ..networks.student import Student
from .mixing import EPOCH, Views
from .plan import SHARES, THRESHOLDS, USUAL_SHARE
from .steps import WholeTraining

Clock = Callable[[], float]

LEAST_STEPS = 20
"""Training steps of a part below which a run is not begun (chosen)."""
LOOKING = 0.25
"""Looks at held-out cases take at most this part of the training's time (chosen)."""
SLOWER = 1.2
"""What comes after the training is counted as so many times what was measured (chosen)."""
EXPORT_S = 4.0
"""Export, parity check and the writing of the model (measured: 3 to 4 s on two shared cores)."""


class Costs(NamedTuple):
    """Seconds of a run's parts.

    step: one training step. prepare: everything before the first one. look: one look at all annotated images. fold:
    all annotated images and the replay pictures at every share, which the ends of all folds take together.
    references: the acceptance check.
    """

    step: float
    prepare: float
    look: float
    fold: float
    references: float

    @property
    def after(self) -> float:
        """What follows the last step."""
        return SLOWER * (self.references + EXPORT_S)

    def looked_step(self) -> float:
        """A training step with its part of the looks between the steps."""
        return self.step + min(self.look / EPOCH, LOOKING * self.step)

    def between_looks(self) -> int:
        """Epochs between two looks at held-out cases."""
        return max(1, math.ceil(self.look / (LOOKING * EPOCH * self.step)))

    def least(self, parts: int) -> float:
        """Seconds from now to the end with as few steps as a run is begun with."""
        training = parts * LEAST_STEPS * self.looked_step()
        return self.prepare + training + (SLOWER * self.fold if parts > 1 else 0.0) + self.after

    def part_seconds(self, left: float, number: int, folds: int, slower: float = 1.0) -> float:
        """Seconds of training for part `number` of `folds` parts and a last one, in equal shares of `left` seconds.

        slower: how many times as long a step takes as it did when it was tried.
        """
        to_score = (folds - number) / max(1, folds) * SLOWER * self.fold
        return (left - slower * (self.after + to_score)) / (folds - number + 1)

    def told(self, parts: int) -> str:
        """The parts of `least`, in words."""
        folds = SLOWER * self.fold if parts > 1 else 0.0
        named = {
            "looking at the images": self.prepare,
            f"{LEAST_STEPS} steps of {parts} part{'s' if parts > 1 else ''}": parts * LEAST_STEPS * self.looked_step(),
            "scoring": folds,
            "export and the acceptance check": self.after,
        }
        return ", ".join(f"{what} {in_words(seconds)}" for what, seconds in named.items() if seconds >= 0.5)


class Trial:
    """One annotated image goes through the parts of a run, each is timed, and nothing is kept.

    way: how it is trained, without replay pictures. replayed: number of replay pictures the run will have.
    """

    def __init__(
        self,
        parent: Student,
        images: ImageSet,
        rows: list[list[int]],
        recipe: Recipe,
        way: WholeTraining,
        replayed: int,
        clock: Clock,
    ):
        self.parent, self.rows, self.recipe, self.way = parent, rows, recipe, way
        self.replayed, self.clock = replayed, clock
        self.view = Views(images, rows[0][:1], recipe)

    def costs(self, folder: Path, references_s: float) -> Costs:
        """Seconds of everything; folder: of the run, where the trial writes nothing that is kept."""
        n = sum(len(some) for some in self.rows)
        whole = self._of(lambda: self.view.probabilities(self.parent))
        tick = self.clock()
        sampled = self.way.sample(self.recipe)
        view = (self.clock() - tick) / max(1, sampled)
        answer = whole
        if self.way.scope == "decoder":
            self.view.keep_maps(self.parent)
            answer = self._of(lambda: self.view.probabilities(self.parent))
        probabilities = self.view.probabilities(self.parent)
        table = self._of(lambda: self._table(probabilities))
        encoded = len(self.way.order()) * view + (n * whole if self.way.scope == "decoder" else 0.0)
        further = sum(share > USUAL_SHARE for share in SHARES)
        return Costs(
            step=self._step(folder),
            prepare=encoded + n * answer + self.replayed * whole,
            look=n * answer,
            fold=len(SHARES) * n * (answer + table) + 2 * further * self.replayed * whole,
            references=references_s,
        )

    def _of(self, part: Callable[[], Any]) -> float:
        """Seconds of a part."""
        tick = self.clock()
        part()
        return self.clock() - tick

    def _table(self, probabilities: NDArray[np.float32]) -> None:
        """One image at every threshold, as at a fold's end."""
        for threshold in (0.5, *THRESHOLDS.tolist()):
            self.view.dice(probabilities, [threshold] * probabilities.shape[1])

    def _step(self, folder: Path) -> float:
        """The median of two steps after a first one."""
        optim = self.recipe.optim.model_copy(update={"iterations_per_epoch": 3, "epochs": 1})
        run = self.way.run([0], self.recipe.model_copy(update={"optim": optim}), folder)
        run.student.train()
        seconds = []
        tick = self.clock()
        for batch in run.batches.epoch(torch.Generator().manual_seed(0), run.objective.needs_clean):
            run._step(batch, 0.0)
            seconds.append(self.clock() - tick)
            tick = self.clock()
        return max(1e-3, float(np.median(seconds[1:])))


class Budget:
    """How many steps fit into the time, and when a part has had its share. Without costs nothing is limited.

    seconds: asked for. folds: parts before the last one; where each case is left out once, a plan is made as for two
    folds, the run takes as many times longer, and no part is cut. watch: what has passed since the user asked.
    """

    def __init__(self, seconds: float, folds: int, watch: Stopwatch):
        self.seconds, self.watch = seconds, watch
        self.folds, self.cuts = min(2, folds), folds <= 2
        self.costs: Costs | None = None
        self._number, self._begun = 0, 0.0

    @property
    def step_s(self) -> float:
        """Seconds of one step with its looks; 0 where they were not tried."""
        return 0.0 if self.costs is None else self.costs.looked_step()

    @property
    def between_looks(self) -> int:
        """Epochs between two looks at the held-out cases."""
        return 1 if self.costs is None else self.costs.between_looks()

    def too_short(self) -> tuple[float, str]:
        """Minutes that the run needs and the sentence that says so; (0, '') where it fits."""
        parts, passed = self.folds + 1, self.watch.passed
        need = 0.0 if self.costs is None else passed + self.costs.least(parts)
        if self.costs is None or need <= self.seconds:
            return 0.0, ""
        minutes = math.ceil(need * 1.1 / 6) / 10
        return minutes, (
            f"{in_words(self.seconds)} are too short for these images on this machine as it is now; expected at least "
            f"about {minutes:g} min ({in_words(passed)} until now, {self.costs.told(parts)}). Give it {minutes:g} min "
            "or more, or fewer images (of the reference folder, too)."
        )

    def steps(self, most: int) -> int:
        """Steps of each part, a multiple of an epoch's, at most `most`."""
        if self.costs is None:
            return most
        self.begin(0)
        fitting = int(self._allowed(1.0) / self.step_s)
        return max(EPOCH, min(most, fitting) // EPOCH * EPOCH)

    def begin(self, number: int) -> None:
        """Part `number` begins to train."""
        self._number, self._begun = number, self.watch.passed

    def is_over(self, steps: int) -> bool:
        """Whether the part that began last has had its time, `steps` steps later."""
        if self.costs is None or not self.cuts or not steps:
            return False
        trained = self.watch.passed - self._begun
        return trained >= self._allowed(max(1.0, trained / steps / self.step_s))

    def _allowed(self, slower: float) -> float:
        left = self.seconds - self._begun
        return 0.0 if self.costs is None else self.costs.part_seconds(left, self._number, self.folds, slower)
