"""How far to trust a prediction: shift score, expected Dice and intervals, from the pass that made the mask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .config import ModelHeader
from .frames import Frame
from .records import Prediction, Scan

if TYPE_CHECKING:
    from .statistics import FrameRecord

MEASURE_OF = {"ratio": "vcdr", "gland_area": "volume_ml", "disc_area": "disc_area_px", "cup_area": "cup_area_px"}
"""Which measure an interval of the model's statistics speaks of."""


def judge(prediction: Prediction, header: ModelHeader, frames: list[Frame], scan: Scan) -> None:
    """Fill shift_score, shift_reason, uncertainty and the intervals of a prediction, as far as the model can say.

    A model without source statistics leaves them as they are. uncertainty = 1 - expected Dice, the mean over
    regions; a mirrored second look, if one was taken, can only raise it.
    """
    from .statistics import read_statistics

    mirrored = prediction.extra.get("mirror_disagreement")
    statistics = read_statistics(header.statistics, header.name)
    if not frames or header.task is None:
        return
    if statistics is None:
        prediction.uncertainty = mirrored
        return
    from .shift import score_frames
    from .trust import expected_dice, intervals

    records = [_record(frame, header, scan) for frame in frames]
    shift = score_frames(statistics, records)
    prediction.shift_score, prediction.shift_reason = round(shift.score, 1), shift.reason
    prediction.extra |= shift.numbers()
    prediction.notes += list(shift.notes)
    expected = expected_dice(statistics, records)
    doubts = [1 - middle for middle, _, _ in expected.values()]
    if expected:
        prediction.extra["expected_dice"] = {k: list(v) for k, v in expected.items()}
    if mirrored is not None:
        doubts = [max(mirrored, sum(doubts) / len(doubts) if doubts else 0.0)]
    prediction.uncertainty = round(sum(doubts) / len(doubts), 4) if doubts else None
    prediction.extra |= _intervals(prediction, intervals(statistics, records))


def _record(frame: Frame, header: ModelHeader, scan: Scan) -> FrameRecord:
    """What the shift score reads of one frame."""
    from .statistics import record_frame

    names = tuple(r.name for r in header.task.regions) if header.task else ()
    volume = scan.kind == "volume"
    (y0, x0, y1, x1), (height, width) = frame.placement.box, frame.placement.source_shape
    spacing = None
    if volume and scan.spacing_mm is not None:
        steps = ((y1 - y0) / frame.placement.grid_shape[0], (x1 - x0) / frame.placement.grid_shape[1])
        spacing = (scan.spacing_mm[1] * steps[0], scan.spacing_mm[2] * steps[1])
    return record_frame(
        frame.grid[..., 1] if volume else frame.grid,
        frame.output,
        frame.index,
        names,
        field=frame.inside,
        spacing_mm=spacing,
        view=(y1 - y0) / min(height, width),
        temperature=header.temperature,
    )


def _intervals(prediction: Prediction, factors: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """'intervals': measure -> [low, high], 90 % nominal."""
    out = {}
    for name, (low, high) in factors.items():
        value = prediction.measures.get(MEASURE_OF.get(name, ""), math.nan)
        if math.isfinite(value):
            out[MEASURE_OF[name]] = [round(value * low, 4), round(value * high, 4)]
    return {"intervals": out} if out else {}
