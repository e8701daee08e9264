"""One scan in, one Prediction out: place, run, decide on the scan's own grid, measure, and say how far to trust it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnsupportedInput
from ..base.geometry import Box, place, restore, whole_box
from ..base.records import Prediction, Scan
from ..measures.clinical import extent, measure
from ..models.file import ModelFile
from ..models.registry import open_model
from ..network.ellipse_pull import drawn_to_ellipse
from ..network.labels_from_logits import (
    drop_doubtful,
    drop_islands,
    keep_one_object,
    paste_labels,
    region_logits,
    region_probabilities,
)
from ..network.look_disagreement import further_looks
from ..network.run import Device, Network, OnnxNetwork, resolve_device
from ..network.seen_frame import DecidedMask, SeenFrame, inside_frame, network_input
from ..network.several_looks import NEARER_LOOK, PHOTOGRAPH_LOOKS, averaged_logits
from ..recipes.student import ModelHeader
from ..shift.add_trust import add_trust
from ..tasks.task import Task
from .colour_match import ColourMatch, checked_match, match_to_source
from .cup_school import CUP_OFFSET, redrawn, school_of
from .disc_locator import Located, locate_disc
from .quality import fundus_quality
from .volume import Progress, predict_volume

Roi = Literal["auto", "full"] | Box
OBJECT_LOGIT = "object_logit"
"""Header constant: mean logit, above the decision's, that a separate object needs to be shown."""
SMALLEST_SIDE = 8
RECENTRE = 0.12
"""The region of interest is drawn again if the student's disc says that its centre or size is off by this part."""
SURE_ENOUGH = 0.5
"""Mean probability over the student's disc below which nothing counts as found (chosen)."""


class Predictor:
    """A model ready to predict; keep it for many scans.

    model: name, file or ModelFile. device: auto, cpu, cuda or mps. threads: of the network; None = all usable, at
    most four. network, locator: ready networks instead of those that would be opened (torch on a GPU, tests).
    colour_match: photographs only: match 'colour' or 'histogram' to the training images before the network looks (off
    by default: it can harm, docs/SHIFT.md). cup_offset: disc and cup only: see `cup_school.redraw_cup`; None = the
    model's own. Raises ModelFileError for a model that cannot be used, ValueError for an unknown device or a setting
    that does not fit the model.
    """

    def __init__(
        self,
        model: ModelFile | str | Path,
        device: str = "auto",
        threads: int | None = None,
        network: Network | None = None,
        locator: Predictor | None = None,
        colour_match: ColourMatch = "none",
        cup_offset: float | None = None,
    ):
        self.model = model if isinstance(model, ModelFile) else open_model(model)
        self.header: ModelHeader = self.model.header
        if self.header.task is None and self.header.kind == "segmenter":
            raise ValueError(f"model '{self.header.name}' names no task; expected a segmenter with a task.")
        self.device: Device = resolve_device(device)
        if network is None and self.device.name != "cpu":
            network, self.device = open_accelerated(self.model, self.device)
        self.network: Network = network or OnnxNetwork(self.model, threads)
        self._threads = threads
        self._locator = locator
        self.colour_match = checked_match(colour_match, self.header)
        self.cup_offset = school_of(cup_offset, self.header)

    @property
    def task(self) -> Task:
        """The task of the model."""
        if self.header.task is None:
            raise ValueError(f"model '{self.header.name}' is a {self.header.kind}; expected a segmenter.")
        return self.header.task

    @property
    def model_id(self) -> str:
        """name@content-hash."""
        return self.model.model_id

    @property
    def locator(self) -> Predictor | None:
        """The model that finds the region of interest, opened when first needed; None if the student needs none."""
        if self._locator is None and self.header.input.locator:
            self._locator = Predictor(self.header.input.locator, "cpu", self._threads)
        return self._locator

    def predict(
        self,
        scan: Scan,
        roi: Roi = "auto",
        probabilities: bool = False,
        uncertainty: bool = False,
        progress: Progress | None = None,
        psa_ng_ml: float | None = None,
    ) -> Prediction:
        """Labels and measures of one scan, in its own grid.

        roi: 'auto' finds the disc where the model wants a region of interest; 'full' takes the frame as it is; a box
        (y0, x0, y1, x1) in pixel edges is used as given (photographs). probabilities: also return them, float16
        (R, *grid). uncertainty: also take further looks and map where they disagree. progress: called with
        (done, total) frames; an exception raised in it stops the prediction. Raises UnsupportedInput for a scan
        that cannot be used, ValueError for a wrong argument.
        """
        start = time.perf_counter()
        check_scan(scan, self.task)
        if self.task.input == "photograph":
            answer = self.answer_photograph(scan, roi, probabilities, uncertainty)
            if progress:
                progress(1, 1)
        else:
            answer = predict_volume(self.network, self.header, scan, probabilities, uncertainty, progress)
        found = bool(answer.labels.any())
        if not found and not any(n.startswith("No ") for n in answer.notes):
            answer.notes.insert(0, f"No {self.task.regions[0].name} found in this image.")
        prediction = Prediction(
            labels=answer.labels,
            class_names=self.task.class_names,
            measures=measure(answer.labels, self.task, scan.spacing_mm, psa_ng_ml),
            task=self.task.name,
            model_id=self.model_id,
            status="ok" if found else "not_found",
            probabilities=answer.probabilities,
            uncertainty_map=answer.uncertainty_map,
            notes=answer.notes,
            extra=answer.extra,
        )
        add_trust(prediction, self.header, answer.frames, scan)
        prediction.seconds = time.perf_counter() - start
        return prediction

    def answer_photograph(self, scan: Scan, roi: Roi, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """A photograph through its region of interest (optic) or as a whole (polyp)."""
        if self.header.input.roi_scale is not None and roi == "auto":
            return self._through_roi(scan, self.header.input.roi_scale, probabilities, uncertainty)
        box: Box = roi if not isinstance(roi, str) else whole_box(scan.pixels.shape)
        pixels = self._matched(scan.pixels, box)
        answer = self._decide(pixels, self.look(pixels, box), probabilities, uncertainty)
        answer.extra["roi"] = [round(float(v), 1) for v in box]
        return answer

    def _through_roi(self, scan: Scan, scale: float, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """Locate the disc, look at its surroundings, and look again if the student's own disc moves the box."""
        located = self._locate(scan.pixels)
        facts: dict[str, Any] = {"locator_confidence": round(located.confidence, 3)}
        if not located.found:
            quality = fundus_quality(scan.pixels, located.field)
            reason = "; ".join(quality.reasons) or "the photograph may show another part of the eye"
            note = f"No optic disc found: {reason}; give its place with a region of interest if there is one."
            labels = np.zeros(scan.grid_shape, np.uint8)
            return DecidedMask(
                labels,
                self._no_probabilities(scan, probabilities),
                notes=[note],
                extra=facts | _gradable(quality, False),
                # seen as a whole, so that the shift score can say what kind of image this is instead
                frames=[self.look(scan.pixels, whole_box(scan.pixels.shape))] if self.header.statistics else [],
            )
        box = located.roi(scale)
        pixels = self._matched(scan.pixels, box)
        frame = self.look(pixels, box)
        moved = self._recentred(frame, scale)
        if moved is not None:
            box, frame = moved, self.look(pixels, moved)
        answer = self._decide(pixels, frame, probabilities, uncertainty)
        quality = fundus_quality(scan.pixels, located.field, box)
        answer.extra |= facts | _gradable(quality, bool(answer.labels.any()))
        answer.extra["roi"] = [round(float(v), 1) for v in box]
        answer.extra |= laterality(located)
        if quality.reasons:
            answer.notes.append(f"Hard to grade: {'; '.join(quality.reasons)}.")
        return answer

    def _locate(self, pixels: NDArray[np.uint8]) -> Located:
        locator = self.locator
        if locator is None:
            raise ValueError(
                f"model '{self.header.name}' works on a region of interest but names no locator; use --roi full."
            )
        return locate_disc(pixels, locator.network, locator.header)

    def _recentred(self, frame: SeenFrame, scale: float) -> Box | None:
        """A better box around the disc that the student sees in this one; None if this one is good enough."""
        logits = region_logits(frame.logits, self.header)
        disc = keep_one_object(logits[:1], self.task.model_copy(update={"regions": self.task.regions[:1]}))[0] > 0
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

    def _matched(self, pixels: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """The photograph in the colours of the training images, judged by `box`; itself without a colour match."""
        if self.colour_match == "none":
            return pixels
        grid, placement = place(pixels, box, self.header.input.size)
        return match_to_source(pixels, grid, inside_frame(placement), self.header.statistics, self.colour_match)

    def look(self, pixels: NDArray[Any], box: Box) -> SeenFrame:
        """One box of a photograph through the network."""
        size = self.header.input.size
        grid, placement = place(pixels, box, size)  # (s, s, 3)
        inside = inside_frame(placement)
        output = self.network.run(network_input(grid, inside, self.header.input)[None])
        return SeenFrame(grid, inside, output, 0, placement)

    def _decide(self, pixels: NDArray[Any], frame: SeenFrame, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """Labels of one looked-at box on the photograph's own pixels."""
        looks = PHOTOGRAPH_LOOKS if self.header.input.roi_scale is not None else NEARER_LOOK
        logits = averaged_logits(pixels, frame, self.network, self.header, looks)  # (R, s, s)
        if self.task.single_object:
            logits = keep_one_object(logits, self.task)
        if "cup_disc" in self.task.measures:
            logits = drawn_to_ellipse(logits)
            logits[1] = redrawn(logits[1], logits[0] > 0, self.cup_offset)  # outermost region first
        doubtful, least = 0, self.header.constants.get(OBJECT_LOGIT)
        if least is not None and not self.task.single_object:
            logits, doubtful = drop_doubtful(logits, least)
        labels, _, _ = paste_labels(logits, frame.placement, self.task)
        if not self.task.single_object:
            labels = drop_islands(labels)
        answer = DecidedMask(labels, frames=[frame])
        if self.cup_offset:
            answer.extra[CUP_OFFSET] = self.cup_offset
        if doubtful:
            answer.extra["doubtful_objects"] = doubtful
        if self.header.input.roi_scale is not None and labels.any():
            sure = region_probabilities(logits, self.header)[0][logits[0] > 0]
            answer.extra["disc_confidence"] = round(float(sure.mean()), 3) if sure.size else 0.0
        if probabilities:
            native = restore(logits, frame.placement, fill=-60.0)
            answer.probabilities = region_probabilities(native, self.header).astype(np.float16)
        if uncertainty:
            others = further_looks(self.network, self.header, frame)
            answer.extra["look_disagreement"] = round(others.disagreement, 4)
            answer.uncertainty_map = restore(others.spread, frame.placement).astype(np.float16)
        return answer

    def _no_probabilities(self, scan: Scan, wanted: bool) -> NDArray[np.float16] | None:
        return np.zeros((len(self.task.regions), *scan.grid_shape), np.float16) if wanted else None


def open_accelerated(model: ModelFile, device: Device) -> tuple[Network | None, Device]:
    """The torch network of a model through `accelerated`, which floor 4 sets; else the CPU, with the reason."""
    if accelerated is None:
        return None, Device("cpu", f"{device.name} is here, but this program runs on the CPU")
    return accelerated(model, device.name), device


accelerated: Callable[[ModelFile, str], Network] | None = None
"""Opens a model in torch on 'cuda' or 'mps'; set by the package's floor 4, because the engine knows no torch."""


def check_scan(scan: Scan, task: Task) -> None:
    """Raise UnsupportedInput where a scan cannot be used for a task: wrong kind, too small, or without any content."""
    name = scan.name or "the image"
    if scan.kind != task.input:
        kinds = {"photograph": "a colour photograph", "volume": "a grey volume or slice"}
        raise UnsupportedInput(
            f"{name} is {kinds[scan.kind]}, task '{task.name}' reads {kinds[task.input]}; choose another --task."
        )
    sides = scan.grid_shape[-2:]
    if min(sides) < SMALLEST_SIDE:
        raise UnsupportedInput(
            f"{name} is {sides[1]}x{sides[0]} pixels; expected at least {SMALLEST_SIDE} each way; use the original."
        )
    pixels = scan.pixels
    if np.issubdtype(pixels.dtype, np.floating):
        finite = np.isfinite(pixels)
        if not finite.any():
            raise UnsupportedInput(f"{name} holds no finite number (all NaN or Inf); expected an image.")
        low, high = float(pixels[finite].min()), float(pixels[finite].max())
    else:
        low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise UnsupportedInput(f"{name} is constant (every pixel is {low:g}); expected an image; check the export.")


def laterality(located: Located) -> dict[str, str]:
    """Which eye a full-field photograph shows, by the side of the field the disc lies on; {} if that cannot be said.

    The macula lies temporal of the disc, so a disc right of the field's middle means a right eye, as long as the
    photograph is centred between the two or on the macula.
    """
    y0, x0, y1, x1 = located.field
    side = max(y1 - y0, x1 - x0)
    offset = (located.centre[1] - (x0 + x1) / 2) / side
    if located.diameter_px > 0.3 * side or abs(offset) < 0.06:
        return {}
    return {"eye": "right" if offset > 0 else "left"}


def _gradable(quality: Any, disc: bool) -> dict[str, Any]:
    return {
        "gradable": bool(quality.gradable and disc),
        "quality": {
            "brightness": round(quality.brightness, 3),
            "saturated": round(quality.saturated, 3),
            "sharpness": round(quality.sharpness, 4),
        },
    }
