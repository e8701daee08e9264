"""How far to trust a prediction: shift score, expected Dice and intervals, from the pass that made the mask."""

from __future__ import annotations

from dataclasses import replace

from ..base.records import Prediction, Scan
from ..measures.plausible import too_wide
from ..network.seen_frame import SeenFrame
from ..recipes.student import ModelHeader
from .distance import score_frames
from .frame_record import records_of
from .source_statistics import read_statistics
from .trust import expected_dice, measured_intervals, uncertainty_of

DRAWN = "A drawn image: its distance from images of patients says nothing."


def add_trust(
    prediction: Prediction, header: ModelHeader, frames: list[SeenFrame], scan: Scan, threads: int = 1
) -> None:
    """Fill shift_score, shift_reason, uncertainty and the intervals of a prediction, as far as the model can say.

    A model without source statistics leaves them as they are. uncertainty = 1 - expected Dice, the mean over
    regions; further looks, if they were taken, can only raise it. threads: cores that may look at frames at once.
    """
    disagreement = prediction.findings.look_disagreement
    statistics = read_statistics(header.statistics, header.name)
    if not frames or header.task is None:
        return
    if statistics is None:
        prediction.uncertainty = disagreement
        return
    records = records_of(frames, header, scan, threads)
    shift = score_frames(statistics, records)
    prediction.shift_score, prediction.shift_reason = round(shift.score, 1), shift.reason
    prediction.findings.shift = shift.findings()
    if scan.drawn:
        prediction.findings.shift = replace(prediction.findings.shift, level="drawn image")
        prediction.shift_reason = DRAWN
    if prediction.status == "not_found":  # there is no mask to trust or to measure
        return
    prediction.findings.expected_dice = expected_dice(statistics, records, shift.raw)
    prediction.uncertainty = uncertainty_of(prediction.findings.expected_dice, disagreement)
    prediction.findings.intervals = measured_intervals(prediction.measures, statistics, records)
    prediction.findings.doubts += too_wide(prediction.findings.intervals)
