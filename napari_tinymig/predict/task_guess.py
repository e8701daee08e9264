"""Which task does this image belong to? Metadata first, then a tiny shipped network with a class 'none'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.errors import ModelFileError, TaskRefused, UnsupportedInput
from ..base.geometry import place, whole_box
from ..base.records import Scan
from ..models.file import ModelFile
from ..models.registry import open_model
from ..network.normalise import normalise
from ..network.run import Network, OnnxNetwork
from ..tasks.table import KNOWN, listed
from .round_field import ROUND, roundness

GATE = "gate"
NONE = "none"
SURE = 0.5
"""Least probability of the likeliest class (chosen)."""
SURE_OF_GREY = 0.9
"""Least probability at which a grey picture of unknown pixel size is called a slice of a volume: grey copies of colour
photographs reach that far too easily, slices of a prostate MRI exceed it (benchmarks/task_gate.md)."""
SMALLEST_SIDE = 64
"""Least side in pixels of a picture that is recognised; smaller crops look like anything (chosen)."""
COLOURED = 6.0
"""Mean distance of the channels from their mean, in grey levels of 255, from which a picture is in colour (chosen)."""
COLOURED_PART = 0.98
"""Where so many of the pixels are nearly grey, the others still make a dark picture one in colour (chosen): nebulae."""
ROUND_AND_GREY = (
    "is a grey picture with a round lit field, perhaps one channel of a fundus photograph, which is read in colour"
)
UNTOLD = ("OT", "SC", "XC", "GM")
"""DICOM modalities that say nothing about the image: others, screens, cameras."""


class TaskGate:
    """Decides the task of a scan; keep it for many. model: the gate's file; None = the bundled one, opened late."""

    def __init__(self, model: ModelFile | None = None, network: Network | None = None):
        self._model = model
        self._network = network

    def task_of(self, scan: Scan, metadata: Mapping[str, Any] | None = None) -> str:
        """Name of the task. Raises TaskRefused, with the reason and what to do, for anything else.

        metadata: 'modality' and 'body_part' of a DICOM file, as `ScanFile.metadata` holds them.
        """
        known = task_by_metadata(scan, metadata or {})
        if known is not None:
            return known
        what = why_unrecognisable(scan)
        if not what:
            name, probability = self.look(scan)
            sure = SURE if name not in KNOWN or KNOWN[name].task.input == "photograph" else SURE_OF_GREY
            if name != NONE and probability >= sure:
                return name
            what = "looks like none of them" if name == NONE else f"is unclear ({name} at {probability:.0%})"
            what = ROUND_AND_GREY if is_round_and_grey(scan) else what
        raise TaskRefused(
            f"{scan.name or 'the image'} {what}; expected {listed(k.expected for k in KNOWN.values())}; {ask()}."
        )

    def look(self, scan: Scan) -> tuple[str, float]:
        """The gate's likeliest class of a photograph or of a volume's middle slice, and its probability; a colour or a
        round picture is no slice of a volume, whatever the network says."""
        try:
            model, network = self._opened()
        except ModelFileError as e:
            raise TaskRefused(f"the task of {scan.name or 'the image'} cannot be recognised ({e}); {ask()}.") from e
        scan = _as_seen(scan)
        grid, _ = place(scan.pixels, whole_box(scan.pixels.shape), model.header.input.size)
        once = normalise(grid, model.header.input)  # (3, s, s)
        logits = network.run(np.stack([once, once[..., ::-1]])).logits.reshape(2, -1)  # (2, K): as it is, mirrored
        p = np.exp((logits - logits.max(axis=1, keepdims=True)) / model.header.temperature)
        p = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
        p = dict(zip(model.header.classes, map(float, p), strict=True))
        is_round = roundness(scan.pixels) > ROUND
        if is_round or is_coloured(scan):
            p = as_no_volume(p)
        if is_round:
            p = as_in_a_round_field(p)
        best = max(p, key=p.__getitem__)
        return best, p[best]

    def _opened(self) -> tuple[ModelFile, Network]:
        if self._model is None:
            self._model = open_model(GATE)
        if self._network is None:
            self._network = OnnxNetwork(self._model, threads=1)
        return self._model, self._network


def as_in_a_round_field(p: Mapping[str, float]) -> dict[str, float]:
    """Probabilities by class once the lit field is known to be round: what the tasks of photographs hold together is
    shared anew among them by their `round_odds`; other classes keep theirs."""
    weighed = {name: p[name] * k.round_odds for name, k in KNOWN.items() if name in p and k.task.input == "photograph"}
    held, total = sum(p[name] for name in weighed), max(sum(weighed.values()), 1e-9)
    return dict(p) | {name: held * w / total for name, w in weighed.items()}


def as_no_volume(p: Mapping[str, float]) -> dict[str, float]:
    """Probabilities by class of a picture that can be no slice of a volume: theirs go to 'none'."""
    volumes = {name for name in p if name in KNOWN and KNOWN[name].task.input == "volume"}
    return {n: 0.0 if n in volumes else q for n, q in p.items()} | {NONE: sum(p[n] for n in {*volumes, NONE} & set(p))}


def is_coloured(scan: Scan) -> bool:
    """Whether a photograph has colours, more than a grey picture saved as RGB has by compression."""
    if scan.kind != "photograph":
        return False
    rgb = scan.pixels[:: max(1, scan.pixels.shape[0] // 256), :: max(1, scan.pixels.shape[1] // 256)].astype(np.int16)
    away = np.abs(rgb - rgb.mean(axis=2, keepdims=True)).mean(axis=2)
    return bool(away.mean() > COLOURED or np.quantile(away, COLOURED_PART) > 2 * COLOURED)


def is_round_and_grey(scan: Scan) -> bool:
    """Whether a single picture is grey with a round lit field: what one channel of a fundus photograph looks like."""
    if is_coloured(scan) or (scan.kind == "volume" and len(scan.pixels) > 1):
        return False
    return roundness(_as_seen(scan).pixels) > ROUND


def _as_seen(scan: Scan) -> Scan:
    """A photograph as it is, of a volume its middle slice as one."""
    from ..formats import as_photograph

    if scan.kind == "photograph":
        return scan
    middle = scan.pixels.shape[0] // 2
    return as_photograph(Scan(scan.pixels[middle : middle + 1], None, scan.name))


def why_unrecognisable(scan: Scan) -> str:
    """What makes any guess void: nothing to see in it, or too few pixels; '' if the gate may look."""
    height, width = scan.pixels.shape[:2] if scan.kind == "photograph" else scan.pixels.shape[1:]
    if min(height, width) < SMALLEST_SIDE:
        return f"is {width} x {height} pixels, too small to recognise"
    middle = scan.pixels if scan.kind == "photograph" else scan.pixels[scan.pixels.shape[0] // 2]
    values = middle[np.isfinite(middle)] if np.issubdtype(middle.dtype, np.floating) else middle
    if not values.size:
        return "holds no finite number (NaN everywhere)"
    return "shows nothing (every pixel is the same)" if values.min() == values.max() else ""


def task_by_metadata(scan: Scan, metadata: Mapping[str, Any]) -> str | None:
    """The task that metadata and shape settle, None if only the pixels can tell. Raises TaskRefused."""
    modality = str(metadata.get("modality") or "").upper()
    body = str(metadata.get("body_part") or "").upper()
    readable = [k for k in KNOWN.values() if k.task.input in ("volume", scan.kind)]  # a volume is no photograph
    reading = [k for k in readable if modality in k.modalities]
    fitting = [k for k in reading if not k.body_parts or body in k.body_parts]
    if reading and not fitting:
        wanted = listed(k.modalities[modality] for k in reading)
        raise TaskRefused(
            f"{scan.name or 'the image'} has DICOM modality {modality} and shows {body}; expected {wanted}; {ask()}."
        )
    if modality and not reading and modality not in UNTOLD:
        words = listed(f"{m} ({word})" for k in KNOWN.values() for m, word in k.modalities.items())
        raise TaskRefused(f"{scan.name or 'the image'} has DICOM modality {modality}; expected {words}; {ask()}.")
    if not reading:
        stack = scan.kind == "volume" and scan.pixels.shape[0] > 1 and scan.spacing_mm is not None
        fitting = [k for k in KNOWN.values() if stack and k.task.input == "volume"]
    return fitting[0].task.name if len(fitting) == 1 else None


def ask() -> str:
    """What to do where a task is not recognised."""
    return f"name the task with --task {listed(KNOWN)} if you know it"


def scan_for_task(scan: Scan, kind: str) -> Scan:
    """The scan in the kind that a task reads: a grey picture becomes RGB for photographs, a photograph one grey slice.

    Raises UnsupportedInput for a volume of several slices where a photograph is needed.
    """
    from ..formats import as_photograph, as_volume

    if kind == scan.kind:
        return scan
    if kind == "volume" and scan.kind == "photograph":
        if is_coloured(scan):
            raise UnsupportedInput(
                f"{scan.name or 'the image'} is a colour photograph; expected a grey slice or volume; choose another "
                "--task."
            )
        return as_volume(scan)
    return as_photograph(scan)
