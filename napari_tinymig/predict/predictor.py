"""One scan in, one Prediction out: check, decide on the scan's own grid, measure, and say how far to trust it."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..base.errors import UnsupportedInput
from ..base.geometry import Box, whole_box
from ..base.records import Prediction, Scan
from ..measures.clinical import measure
from ..measures.plausible import implausible
from ..models.file import ModelFile
from ..models.registry import open_model
from ..network.run import Device, Network, OnnxNetwork, OpenOnGpu, resolve_device, threads_of
from ..network.seen_frame import DecidedMask
from ..recipes.student import ModelHeader
from ..shift.add_trust import add_trust
from ..tasks.task import Task
from .colour_match import ColourMatch, checked_match
from .cup_school import school_of
from .disc_cup_shape import redraw_disc_and_cup
from .disc_region import DiscRegionStudent
from .photograph import PhotographStudent
from .volume import Progress, predict_volume

Roi = Literal["auto", "full"] | Box
SMALLEST_SIDE = 8


class Predictor:
    """A model ready to predict; keep it for many scans.

    model: name, file or ModelFile. device: auto, cpu, cuda or mps. threads: of the network; None = all usable, at
    most four. network, locator, cup_head: ready networks instead of those that would be opened (torch on a GPU, tests).
    colour_match: photographs only: match 'colour' or 'histogram' to the training images before the network looks (off
    by default: it can harm, docs/SHIFT.md). cup_offset: disc and cup only: see `cup_school.redraw_cup`; None = the
    model's own. on_gpu: opens the network on a GPU, `jobs.accelerate.open_network`; without it 'auto' stays on the CPU.
    Raises ModelFileError for a model that cannot be used, ValueError for a device that cannot be had or a setting that
    does not fit the model.
    """

    def __init__(
        self,
        model: ModelFile | str | Path,
        device: str = "auto",
        threads: int | None = None,
        network: Network | None = None,
        locator: Predictor | None = None,
        cup_head: Predictor | None = None,
        colour_match: ColourMatch = "none",
        cup_offset: float | None = None,
        on_gpu: OpenOnGpu | None = None,
    ):
        self.model = model if isinstance(model, ModelFile) else open_model(model)
        self.header: ModelHeader = self.model.header
        if self.header.task is None and self.header.kind == "segmenter":
            raise ValueError(f"model '{self.header.name}' names no task; expected a segmenter with a task.")
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; expected a whole number above 0, or None for all usable ones.")
        self.device: Device = resolve_device(device)
        if network is None and self.device.name != "cpu":
            network, self.device = _opened_on_gpu(self.model, self.device, on_gpu)
        self.network: Network = network or OnnxNetwork(self.model, threads)
        self._threads = threads
        self._locator, self._cup_head = locator, cup_head
        self.colour_match = checked_match(colour_match, self.header)
        self.cup_offset = school_of(cup_offset, self.header)

    @property
    def task(self) -> Task:
        """The task of the model."""
        return self.header.segmenter_task

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

    @property
    def cup_head(self) -> Predictor | None:
        """The model that has a say in the cup's size, opened when first needed; None if the student has none."""
        if self._cup_head is None and self.header.input.cup_head:
            self._cup_head = Predictor(self.header.input.cup_head, "cpu", self._threads)
        return self._cup_head

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
        (R, *grid). uncertainty: further looks, too, and a map where they disagree. progress: called with (done, total)
        frames; what it raises stops the prediction. Raises UnsupportedInput for the scan, ValueError for an argument.
        """
        start = time.perf_counter()
        check_scan(scan, self.task)
        roi = checked_roi(roi, scan)
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
            measures=measure(answer.labels, self.task, scan.measured_mm, psa_ng_ml),
            task=self.task.name,
            model_id=self.model.model_id,
            status="ok" if found else "not_found",
            probabilities=answer.probabilities,
            uncertainty_map=answer.uncertainty_map,
            notes=answer.notes,
            findings=answer.findings,
        )
        add_trust(prediction, self.header, answer.frames, scan, threads_of(self.network))
        signs = implausible(answer.labels, self.task, prediction.measures)
        prediction.findings.doubts = signs + prediction.findings.doubts
        prediction.seconds = time.perf_counter() - start
        return prediction

    def answer_photograph(self, scan: Scan, roi: Roi, probabilities: bool, uncertainty: bool) -> DecidedMask:
        """A photograph's mask, through the disc's region where the model works on one and `roi` is 'auto'."""
        scale, student, locator = self.header.input.roi_scale, self.photograph_student(), self.locator
        box = None if roi == "auto" else whole_box(scan.pixels.shape) if isinstance(roi, str) else roi
        if scale is None:
            return student.answer(scan.pixels, box or whole_box(scan.pixels.shape), probabilities, uncertainty)
        return DiscRegionStudent(student, locator, self.cup_offset).answer(scan, box, scale, probabilities, uncertainty)

    def photograph_student(self) -> PhotographStudent:
        """The model as one that looks at boxes of photographs."""
        draws_cups = "cup_disc" in self.task.measures
        if not draws_cups:
            return PhotographStudent(self.network, self.header, self.colour_match)

        def redraw(logits: NDArray[np.float32], grid: NDArray[Any]) -> NDArray[np.float32]:
            return redraw_disc_and_cup(logits, self.cup_offset, grid, self.cup_head)

        return PhotographStudent(self.network, self.header, self.colour_match, redraw)


@lru_cache(maxsize=4)
def kept_predictor(
    model: str,
    device: str,
    threads: int | None = None,
    colour_match: ColourMatch = "none",
    cup_offset: float | None = None,
    on_gpu: OpenOnGpu | None = None,
) -> Predictor:
    """A predictor of a model by name or file, opened once in a process; see `Predictor`."""
    return Predictor(model, device, threads, colour_match=colour_match, cup_offset=cup_offset, on_gpu=on_gpu)


def checked_roi(roi: Any, scan: Scan) -> Roi:
    """'auto', 'full' or a box that meets the photograph. Raises ValueError for anything else."""
    if isinstance(roi, str) and roi in ("auto", "full"):
        return cast(Roi, roi)
    if scan.kind == "volume":
        raise ValueError(f"roi is {roi!r}; expected 'auto' or 'full' for a volume; a box is for photographs.")
    try:
        y0, x0, y1, x1 = (float(v) for v in roi)
    except (TypeError, ValueError):
        raise ValueError(f"roi is {roi!r}; expected 'auto', 'full' or a box (y0, x0, y1, x1) in pixels.") from None
    height, width = scan.pixels.shape[:2]
    if not (max(y0, 0) < min(y1, height) and max(x0, 0) < min(x1, width) and math.isfinite(y0 + x0 + y1 + x1)):
        raise ValueError(
            f"roi is the box {(y0, x0, y1, x1)}; expected y0 < y1 and x0 < x1, and pixels of the photograph of "
            f"{height} x {width} inside; give (y0, x0, y1, x1)."
        )
    return y0, x0, y1, x1


def _opened_on_gpu(model: ModelFile, device: Device, on_gpu: OpenOnGpu | None) -> tuple[Network | None, Device]:
    """The network of a model on a GPU; without a way to open it the CPU, with the reason, unless it was asked for."""
    if on_gpu is not None:
        return on_gpu(model, device.name), device
    if device.reason == "chosen":
        raise ValueError(
            f"device '{device.name}' was asked for, but nothing was handed in that opens a model on it; expected "
            "on_gpu=jobs.accelerate.open_network; hand it in, or use 'cpu' or 'auto'."
        )
    return None, Device("cpu", f"{device.name} is here, but nothing was handed in that opens a model on it")


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
