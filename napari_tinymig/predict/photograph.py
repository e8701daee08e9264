"""A box of a photograph through a student: source's colours, several looks, labels on the photograph's pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, place, restore
from ..network.labels_from_logits import (
    drop_doubtful,
    drop_islands,
    keep_one_object,
    paste_labels,
    region_probabilities,
)
from ..network.look_disagreement import further_looks
from ..network.normalise import inside_frame, network_input
from ..network.run import Network
from ..network.seen_frame import DecidedMask, SeenFrame
from ..network.several_looks import NEARER_LOOK, PHOTOGRAPH_LOOKS, averaged_logits
from ..recipes.student import ModelHeader
from ..tasks.task import Task
from .colour_match import ColourMatch, match_to_source

OBJECT_LOGIT = "object_logit"
"""Header constant: mean logit, above the decision's, that a separate object needs to be shown."""

Redraw = Callable[[NDArray[np.float32], NDArray[Any]], NDArray[np.float32]]
"""Logits (R, s, s) and the grid (s, s, 3) that was seen -> logits, what a task does to its regions' shapes before
labels are decided."""


@dataclass(frozen=True)
class PhotographStudent:
    """A model that looks at boxes of photographs, whatever it segments. redraw: the task's own, None for none."""

    network: Network
    header: ModelHeader
    colour_match: ColourMatch = "none"
    redraw: Redraw | None = None

    def answer(self, pixels: NDArray[np.uint8], box: Box, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """The mask (H, W) of what the student sees in one box (y0, x0, y1, x1; pixel edges)."""
        matched = self.matched(pixels, box)
        return self.decide(matched, self.look(matched, box), probabilities, uncertainty)

    def matched(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """The photograph in the colours of the training images, judged by `box`; itself without a colour match."""
        if self.colour_match == "none":
            return pixels
        grid, placement = place(pixels, box, self.header.input.size)
        return match_to_source(pixels, grid, inside_frame(placement), self.header.statistics, self.colour_match)

    def look(self, pixels: NDArray[Any], box: Box) -> SeenFrame:
        """One box of a photograph through the network."""
        grid, placement = place(pixels, box, self.header.input.size)  # (s, s, 3)
        inside = inside_frame(placement)
        output = self.network.run(network_input(grid, inside, self.header.input)[None])
        return SeenFrame(grid, inside, output, 0, placement)

    def decide(self, pixels: NDArray[Any], frame: SeenFrame, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """Labels of one looked-at box on the photograph's own pixels."""
        task = self.header.segmenter_task
        logits, doubtful = self._objects(pixels, frame, task)
        sure = region_probabilities(logits, self.header)[0][logits[0] > 0]
        labels, _, _ = paste_labels(logits, frame.placement, task)
        if not task.single_object:
            labels = drop_islands(labels)
        answer = DecidedMask(labels, confidence=float(sure.mean()) if sure.size else 0.0, frames=[frame])
        y0, x0, y1, x1 = map(float, frame.placement.box)
        found = answer.findings
        found.roi, found.doubtful_objects = (round(y0, 1), round(x0, 1), round(y1, 1), round(x1, 1)), doubtful or None
        if probabilities:
            native = restore(logits, frame.placement, fill=-60.0)
            answer.probabilities = region_probabilities(native, self.header).astype(np.float16)
        if uncertainty:
            others = further_looks(self.network, self.header, frame)
            found.look_disagreement = round(others.disagreement, 4)
            answer.uncertainty_map = restore(others.spread, frame.placement).astype(np.float16)
        return answer

    def _objects(self, pixels: NDArray[Any], frame: SeenFrame, task: Task) -> tuple[NDArray[np.float32], int]:
        """Logits (R, s, s) of several looks with the task's shapes, and how many objects were too doubtful to show."""
        looks = PHOTOGRAPH_LOOKS if self.header.input.roi_scale is not None else NEARER_LOOK
        logits = averaged_logits(pixels, frame, self.network, self.header, looks)
        if task.single_object:
            logits = keep_one_object(logits, task)
        if self.redraw is not None:
            logits = self.redraw(logits, frame.grid)
        least = self.header.constants.get(OBJECT_LOGIT)
        return (logits, 0) if least is None or task.single_object else drop_doubtful(logits, least)
