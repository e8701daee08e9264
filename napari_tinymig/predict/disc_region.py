"""Disc and cup through the disc's region: locate, look, look again where the disc itself moves the box, and grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..base.geometry import Box, whole_box
from ..base.records import Scan
from ..measures.clinical import extent
from ..network.ellipse_pull import drawn_to_ellipse
from ..network.labels_from_logits import keep_one_object, region_logits
from ..network.run import Network
from ..network.seen_frame import DecidedMask, SeenFrame
from ..recipes.student import ModelHeader
from .cup_school import redrawn
from .disc_locator import Located, locate_disc
from .photograph import PhotographStudent
from .quality import Quality, fundus_quality

RECENTRE = 0.12
"""The region of interest is drawn again if the student's disc says that its centre or size is off by this part."""


class Locator(Protocol):
    """A model that finds the disc."""

    network: Network
    header: ModelHeader


def redraw_disc_and_cup(logits: NDArray[np.float32], cup_offset: float) -> NDArray[np.float32]:
    """Logits (2, s, s), disc first, drawn towards their own ellipses, the cup in the size of its school."""
    logits = drawn_to_ellipse(logits)
    logits[1] = redrawn(logits[1], logits[0] > 0, cup_offset)
    return logits


@dataclass(frozen=True)
class DiscRegionStudent:
    """A student of disc and cup that works on the disc's surroundings. locator: None if the model names none."""

    student: PhotographStudent
    locator: Locator | None
    cup_offset: float = 0.0

    def find_and_answer(self, scan: Scan, scale: float, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """The mask in a region of `scale` disc diameters; an empty one, with the reason, where no disc is found.

        Raises ValueError for a model without a locator.
        """
        if self.locator is None:
            name = self.student.header.name
            raise ValueError(f"model '{name}' works on a region of interest but names no locator; use --roi full.")
        located = locate_disc(scan.pixels, self.locator.network, self.locator.header)
        if not located.found:
            answer = self._nothing(scan, located, probabilities)
        else:
            answer = self._look_twice(scan.pixels, located.roi(scale), scale, probabilities, uncertainty)
            _grade(answer, fundus_quality(scan.pixels, located.field, answer.frames[0].placement.box))
            answer.findings.eye = laterality(located)
        answer.findings.locator_confidence = round(located.confidence, 3)
        return answer

    def answer(self, pixels: NDArray[np.uint8], box: Box, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """The mask in a box that the user gave (y0, x0, y1, x1; pixel edges)."""
        return self._with_facts(self.student.answer(pixels, box, probabilities, uncertainty))

    def _look_twice(
        self, pixels: NDArray[np.uint8], box: Box, scale: float, probabilities: bool, uncertainty: bool
    ) -> DecidedMask:
        matched = self.student.matched(pixels, box)
        frame = self.student.look(matched, box)
        if (better := self._recentred(frame, scale)) is not None:
            frame = self.student.look(matched, better)
        return self._with_facts(self.student.decide(matched, frame, probabilities, uncertainty))

    def _with_facts(self, answer: DecidedMask) -> DecidedMask:
        answer.findings.cup_offset = self.cup_offset or None
        if answer.labels.any():
            answer.findings.disc_confidence = round(answer.confidence, 3)
        return answer

    def _nothing(self, scan: Scan, located: Located, probabilities: bool) -> DecidedMask:
        """An empty mask with the reason; the whole photograph is seen, so that the shift score can say what it is."""
        student, quality = self.student, fundus_quality(scan.pixels, located.field)
        reason = "; ".join(quality.reasons) or "the photograph may show another part of the eye"
        answer = DecidedMask(np.zeros(scan.grid_shape, np.uint8))
        answer.notes = [f"No optic disc found: {reason}; give its place with a region of interest if there is one."]
        if probabilities:
            answer.probabilities = np.zeros((len(student.task.regions), *scan.grid_shape), np.float16)
        if student.header.statistics:
            answer.frames = [student.look(scan.pixels, whole_box(scan.pixels.shape))]
        answer.findings.gradable, answer.findings.quality = False, quality.numbers()
        return answer

    def _recentred(self, frame: SeenFrame, scale: float) -> Box | None:
        """A better box around the disc that the student sees in this one; None if this one is good enough."""
        task = self.student.task
        logits = region_logits(frame.logits, self.student.header)
        disc = keep_one_object(logits[:1], task.model_copy(update={"regions": task.regions[:1]}))[0] > 0
        (r0, r1), (c0, c1) = extent(disc)
        if r1 - r0 < 4:
            return None
        y0, x0, y1, _ = frame.placement.box
        side, step = y1 - y0, (y1 - y0) / frame.placement.grid_shape[0]
        centre = (y0 + (r0 + r1) / 2 * step, x0 + (c0 + c1) / 2 * step)
        wanted = scale * max(r1 - r0, c1 - c0) * step
        away = max(abs(centre[0] - y0 - side / 2), abs(centre[1] - x0 - side / 2)) / side
        if away < RECENTRE / 2 and 1 / (1 + RECENTRE) < wanted / side < 1 + RECENTRE:
            return None
        return (centre[0] - wanted / 2, centre[1] - wanted / 2, centre[0] + wanted / 2, centre[1] + wanted / 2)


def _grade(answer: DecidedMask, quality: Quality) -> None:
    """Say whether the photograph can be graded: its own quality, and a disc in it."""
    answer.findings.gradable = bool(quality.gradable and answer.labels.any())
    answer.findings.quality = quality.numbers()
    if quality.reasons:
        answer.notes.append(f"Hard to grade: {'; '.join(quality.reasons)}.")


def laterality(located: Located) -> Literal["right", "left"] | None:
    """Which eye a full-field photograph shows, by the side of the field the disc lies on; None if that cannot be said.

    The macula lies temporal of the disc, so a disc right of the field's middle means a right eye, as long as the
    photograph is centred between the two or on the macula.
    """
    y0, x0, y1, x1 = located.field
    side = max(y1 - y0, x1 - x0)
    offset = (located.centre[1] - (x0 + x1) / 2) / side
    if located.diameter_px > 0.3 * side or abs(offset) < 0.06:
        return None
    return "right" if offset > 0 else "left"
