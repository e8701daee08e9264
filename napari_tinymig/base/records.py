"""Plain records that all parts share: Scan, Placement, Prediction, Message. Arrays and numbers only."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .findings import Findings
from .plain_json import parse_json


@dataclass(frozen=True)
class Scan:
    """An image as the engine sees it.

    pixels: photograph (H, W, 3) RGB, or volume (D, H, W) in any real dtype. A volume's rows run anterior to
    posterior, its columns patient right to left, its slices inferior to superior, wherever orientation is known.
    spacing_mm: (row, column) of a photograph or (slice, row, column) of a volume, positive; None = unknown.
    name: the input's stem, for messages and tables. drawn: made by this package, no patient's image.
    thickness_known: False for a single picture whose slice spacing is a stand-in: it has no volume in mL.
    """

    pixels: NDArray[Any]
    spacing_mm: tuple[float, ...] | None = None
    name: str = ""
    drawn: bool = False
    thickness_known: bool = True

    def __post_init__(self) -> None:
        p = self.pixels
        if p.ndim != 3:
            raise ValueError(f"Scan.pixels has shape {p.shape}; expected (H, W, 3) or (D, H, W).")
        want = len(self.grid_shape)
        s = self.spacing_mm
        if s is not None and (len(s) != want or not all(math.isfinite(v) and v > 0 for v in s)):
            raise ValueError(f"spacing_mm is {s}; expected {want} positive finite numbers in array order, or None.")

    @property
    def kind(self) -> Literal["photograph", "volume"]:
        """'photograph' for a uint8 (H, W, 3) array, 'volume' otherwise (photographs are always uint8 RGB)."""
        return "photograph" if self.pixels.shape[-1] == 3 and self.pixels.dtype == np.uint8 else "volume"

    @property
    def measured_mm(self) -> tuple[float, ...] | None:
        """`spacing_mm` for measuring: an unknown thickness is NaN."""
        if self.spacing_mm is None or self.thickness_known:
            return self.spacing_mm
        return (math.nan, *self.spacing_mm[1:])

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Shape of a label array for this scan: (H, W) or (D, H, W)."""
        return self.pixels.shape[:2] if self.kind == "photograph" else self.pixels.shape


@dataclass(frozen=True)
class Placement:
    """How a 2-D frame was put on the network's square grid; enough to undo it exactly.

    source_shape: (H, W) of the frame. box: (y0, x0, y1, x1), the region of the frame, in pixel-edge coordinates
    (0 = outer edge of the first pixel), that fills the grid; it may reach outside the frame, where the grid is
    padding. grid_shape: (h, w) of the grid.
    """

    source_shape: tuple[int, int]
    box: tuple[float, float, float, float]
    grid_shape: tuple[int, int]


@dataclass
class Prediction:
    """A mask in the scan's own shape, its clinical numbers, and how far to trust them.

    labels: uint8, `Scan.grid_shape`. probabilities: float16 (R, *grid_shape), one channel per region of the task,
    on request. class_names: label -> name. measures: name -> value (NaN = not measurable). status: 'ok' or
    'not_found'. uncertainty: 0 (sure) to 1, None if not asked. shift_score: percentile 0-100 of the source
    validation set (100 = further than every one), None if the model carries no statistics. shift_reason: plain
    language. notes: sentences for the user. model_id: name@content-hash. findings: everything else, typed
    (intervals, shift profile, expected Dice, region of interest, quality).
    """

    labels: NDArray[np.uint8]
    class_names: dict[int, str]
    measures: dict[str, float]
    task: str
    model_id: str
    status: Literal["ok", "not_found"] = "ok"
    probabilities: NDArray[np.float16] | None = None
    uncertainty: float | None = None
    uncertainty_map: NDArray[np.float16] | None = None
    shift_score: float | None = None
    shift_reason: str = ""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def extra(self) -> dict[str, Any]:
        """`findings` as plain values by name, a new dict each time: for files, layers and tables."""
        return self.findings.as_dict()


MessageKind = Literal[
    "started",
    "step",
    "epoch",
    "validation",
    "preview",
    "saved",
    "log",
    "budget",
    "warning",
    "done",
    "stopped",
    "failed",
]


@dataclass(frozen=True)
class Message:
    """One line of a run: the same object for the viewer, the command line and the log.

    kind: what happened. step/total: progress (total 0 = unknown). values: numbers by name (losses, Dice, seconds,
    eta_s). text: one sentence, or a path for 'saved' and 'preview'.
    """

    kind: MessageKind
    step: int = 0
    total: int = 0
    values: dict[str, float] = field(default_factory=dict)
    text: str = ""

    def to_json(self) -> str:
        """One strict JSON object without a newline; non-finite numbers become null."""
        clean = {k: (float(v) if math.isfinite(v) else None) for k, v in self.values.items()}
        return json.dumps(
            {"kind": self.kind, "step": self.step, "total": self.total, "values": clean, "text": self.text},
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, line: str) -> Message:
        """The message of one line; null values come back as NaN. Raises ValueError for anything else."""
        try:
            raw = parse_json(line)
            values = {k: (math.nan if v is None else float(v)) for k, v in raw["values"].items()}
            return cls(raw["kind"], int(raw["step"]), int(raw["total"]), values, str(raw["text"]))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as e:
            raise ValueError(f"not a run message: {line[:200]!r} ({e})") from e
