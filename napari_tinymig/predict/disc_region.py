"""Disc and cup through the disc's region: locate, look, look again where the disc itself moves the box, and grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..base.geometry import Box, whole_box
from ..base.records import Scan
from ..measures.ellipse import extent
from ..network.labels_from_logits import keep_one_object, region_logits
from ..network.run import Network
from ..network.seen_frame import DecidedMask, SeenFrame
from ..recipes.student import ModelHeader
from .disc_locator import Located, locate_disc
from .photograph import PhotographStudent
from .quality import fundus_quality

RECENTRE = 0.12
"""The region of interest is drawn again if the student's disc says that its centre or size is off by this part."""


class Locator(Protocol):
    """A model that finds the disc."""

    network: Network
    header: ModelHeader


@dataclass(frozen=True)
class DiscRegionStudent:
    """A student of disc and cup that works on the disc's surroundings. locator: None if the model names none."""

    student: PhotographStudent
    locator: Locator | None
    cup_offset: float = 0.0

    def answer(self, scan: Scan, box: Box | None, scale: float, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """The mask in a box (y0, x0, y1, x1; pixel edges), or, with None, in a region of `scale` disc diameters around
        the disc: empty, with the reason, where none is found.

        Raises ValueError for None and a model without a locator.
        """
        located, eye = None, None
        if box is None:
            if self.locator is None:
                name = self.student.header.name
                raise ValueError(f"model '{name}' works on a region of interest but names no locator; use --roi full.")
            located = locate_disc(scan.pixels, self.locator.network, self.locator.header)
            if not located.found:
                return self._nothing(scan, located, probabilities)
            box, eye = located.roi(scale), located.eye
        matched = self.student.matched(scan.pixels, box)
        frame = self.student.look(matched, box)
        if located is not None and (better := self._recentred(frame, scale)) is not None:
            frame = self.student.look(matched, better)
        answer = self.student.decide(matched, frame, probabilities, uncertainty)
        found = answer.findings
        found.cup_offset = self.cup_offset or None
        if answer.labels.any():
            found.disc_confidence = round(answer.confidence, 3)
        if located is not None:
            quality = fundus_quality(scan.pixels, located.field, frame.placement.box)
            found.gradable, found.quality = bool(quality.gradable and answer.labels.any()), quality.numbers()
            found.eye, found.locator_confidence = eye, round(located.confidence, 3)
            if quality.reasons:
                answer.notes.append(f"Hard to grade: {'; '.join(quality.reasons)}.")
        return answer

    def _nothing(self, scan: Scan, located: Located, probabilities: bool) -> DecidedMask:
        """An empty mask with the reason; the whole photograph is seen, so that the shift score can say what it is."""
        student, quality = self.student, fundus_quality(scan.pixels, located.field)
        reason = "; ".join(quality.reasons) or "the photograph may show another part of the eye"
        answer = DecidedMask(np.zeros(scan.grid_shape, np.uint8))
        answer.notes = [f"No optic disc found: {reason}; give its place with a region of interest if there is one."]
        if probabilities:
            answer.probabilities = np.zeros((len(student.header.segmenter_task.regions), *scan.grid_shape), np.float16)
        if student.header.statistics:
            answer.frames = [student.look(scan.pixels, whole_box(scan.pixels.shape))]
        answer.findings.gradable, answer.findings.quality = False, quality.numbers()
        answer.findings.locator_confidence = round(located.confidence, 3)
        return answer

    def _recentred(self, frame: SeenFrame, scale: float) -> Box | None:
        """A better box around the disc that the student sees in this one; None if this one is good enough."""
        task = self.student.header.segmenter_task
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
