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
        name, probability = self.look(scan)
        if name == NONE or probability < SURE:
            what = "looks like none of them" if name == NONE else f"is unclear ({name} at {probability:.0%})"
            raise TaskRefused(
                f"{scan.name or 'the image'} {what}; expected {listed(k.expected for k in KNOWN.values())}; {ask()}."
            )
        return name

    def look(self, scan: Scan) -> tuple[str, float]:
        """The gate's likeliest class of a photograph or of a volume's middle slice, and its probability."""
        from ..formats import as_photograph

        try:
            model, network = self._opened()
        except ModelFileError as e:
            raise TaskRefused(f"the task of {scan.name or 'the image'} cannot be recognised ({e}); {ask()}.") from e
        if scan.kind == "volume":
            middle = scan.pixels.shape[0] // 2
            scan = as_photograph(Scan(scan.pixels[middle : middle + 1], None, scan.name))
        grid, _ = place(scan.pixels, whole_box(scan.pixels.shape), model.header.input.size)
        once = normalise(grid, model.header.input)  # (3, s, s)
        logits = network.run(np.stack([once, once[..., ::-1]])).logits.reshape(2, -1)  # (2, K): as it is, mirrored
        p = np.exp((logits - logits.max(axis=1, keepdims=True)) / model.header.temperature)
        p = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
        p = dict(zip(model.header.classes, map(float, p), strict=True))
        if scan.pixels.ndim == 3 and roundness(scan.pixels) > ROUND:
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
        stack = scan.kind == "volume" and scan.pixels.shape[0] > 1
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
        rgb = scan.pixels[:: max(1, scan.pixels.shape[0] // 256), :: max(1, scan.pixels.shape[1] // 256)].astype(
            np.int16
        )
        if np.abs(rgb - rgb.mean(axis=2, keepdims=True)).mean() > 6:
            raise UnsupportedInput(
                f"{scan.name or 'the image'} is a colour photograph; expected a grey slice or volume; choose another "
                "--task."
            )
        return as_volume(scan)
    return as_photograph(scan)
