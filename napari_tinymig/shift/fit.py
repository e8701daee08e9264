"""Source statistics made: from records of training and held-out frames to what a model's header keeps.

`make_statistics(records, kind, domain)` turns one `FrameRecord` per frame (training and held-out frames,
unaugmented, seen by the finished network) into a JSON-able dict for `ModelHeader.statistics`. Records are best made
by `sets.survey.survey(predictor, known_scans)`, which goes the way of a prediction; `sets.survey.add_statistics` does
all of it for a finished model file.

Held-out frames calibrate the score and never enter the moments. Frames recorded with `corruption="blur 0.67"` (any
text) teach only the expected Dice (`trust`), so a source-only run can show the model failures it has not met.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptors import NOTICEABLE
from .distance import calibrate
from .frame_record import FrameRecord
from .source_statistics import VERSION, pack, unpack, unpack_stage, whiten
from .trust import fit_trust

RANK = 6
"""Principal directions kept per stage (chosen: 8 bits each, so that the whole stays below 20 KB)."""
REFERENCES = 64
"""Most frames kept as neighbours (chosen)."""
CROSS_FOLDS = 5
FEWEST_HELD_OUT = 8
"""Held-out cases below which the score is calibrated by cross-fitting over all cases instead (chosen)."""


def make_statistics(records: Sequence[FrameRecord], kind: str = "photograph", domain: str = "") -> dict[str, Any]:
    """Source statistics of a model: versioned, JSON-able, below 20 KB.

    records: at least 4 untouched frames, from `record_frame`. kind: 'photograph' or 'volume' (Task.input). domain:
    name of the source for reports. Keys: version, kind, domain, n; image and output (per name: median, spread and
    five quantiles); quantiles (mean channel quantiles at 17 levels); stages (standardisation, principal directions,
    variances, residual variance of the moments); reference (coordinates of up to 64 frames for nearest neighbours);
    calibration (distances of source cases that did not make the statistics); trust (expected Dice). Raises ValueError
    for fewer than 4 frames.
    """
    clean = [r for r in records if not r.corruption]
    train = [r for r in clean if not r.held_out] or clean
    if len(clean) < 4:
        raise ValueError(f"{len(clean)} untouched frames were recorded; source statistics need at least 4.")
    statistics = summarise(train) | {
        "version": VERSION,
        "kind": kind,
        "domain": domain,
        "n": {
            "frames": len(train),
            "cases": len({r.case for r in train}),
            "held_out_frames": sum(r.held_out for r in clean),
            "held_out_cases": len({r.case for r in clean if r.held_out}),
        },
    }
    statistics["calibration"] = calibrate(statistics, unseen_pairs(clean, statistics))
    statistics["trust"] = fit_trust(statistics, [r for r in records if r.held_out and r.truth])
    return statistics


def summarise(train: Sequence[FrameRecord]) -> dict[str, Any]:
    """The part of the statistics that describes the training frames alone."""
    names = sorted({k for r in train for k in r.output})
    stages = [_stage(np.stack([r.moments[i] for r in train])) for i in range(len(train[0].moments))]
    whitened = [
        whiten(stage, np.stack([r.moments[i] for r in train]))[0] for i, stage in enumerate(map(unpack_stage, stages))
    ]
    keep = np.linspace(0, len(train) - 1, min(len(train), REFERENCES)).round().astype(int)
    return {
        "image": {
            k: _spread([r.image.values[k] for r in train], NOTICEABLE.get(k, 1e-4)) for k in train[0].image.values
        },
        "output": {k: _spread([r.output.get(k, math.nan) for r in train]) for k in names},
        "quantiles": _rounded(np.mean([r.image.quantiles for r in train], axis=0), 3),
        "stages": stages,
        "reference": pack(np.concatenate(whitened, 1)[keep], np.int8) if stages else None,
    }


def unseen_pairs(
    clean: Sequence[FrameRecord], statistics: dict[str, Any]
) -> tuple[str, list[tuple[dict[str, Any], list[FrameRecord]]]]:
    """Which frames calibrate the score, each with statistics it had no part in.

    With at least 8 held-out cases: those, against the shipped statistics ('held-out'). Otherwise every case, against
    statistics of the other cases, in five folds ('cross-fitted').
    """
    held = [r for r in clean if r.held_out]
    if len({r.case for r in held}) >= FEWEST_HELD_OUT:
        return "held-out", [(statistics, held)]
    cases = sorted({r.case for r in clean})
    folds = min(CROSS_FOLDS, len(cases))
    if folds < 2:
        return "resubstituted", [(statistics, list(clean))]
    pairs = []
    for fold in range(folds):
        out = set(cases[fold::folds])
        inside, outside = [r for r in clean if r.case not in out], [r for r in clean if r.case in out]
        pairs.append((summarise(inside), outside))
    return "cross-fitted", pairs


def _stage(moments: NDArray[np.float32]) -> dict[str, Any]:
    """Standardisation and low-rank covariance of one stage's moments (n, 2 C)."""
    mean, sd = moments.mean(0), moments.std(0)
    # A channel that is silent in training must not become infinitely far away for a whisper.
    scale = np.maximum(sd, 0.1 * float(np.median(sd)) + 1e-6)
    z = (moments - mean) / scale  # (n, 2 C)
    _, _, directions = np.linalg.svd(z, full_matrices=False)
    rank = max(1, min(RANK, len(moments) - 2, len(directions)))
    basis = unpack(pack(directions[:rank], np.int8))  # what will be read back, so that nothing is lost twice
    coordinates = z @ basis.T
    residual = float(np.mean((z - coordinates @ basis) ** 2))
    return {
        "mean": pack(mean, np.float16),
        "scale": pack(scale, np.float16),
        "basis": pack(directions[:rank], np.int8),
        "variance": _rounded(np.maximum(coordinates.var(0), 1e-3), 3),
        "residual": round(max(residual, 1e-3), 4),
    }


def _spread(values: Sequence[float], least: float = 1e-4) -> dict[str, Any] | None:
    """Median, robust spread (1.4826 MAD, floored by half the standard deviation) and five quantiles; None if NaN."""
    known = np.asarray([v for v in values if math.isfinite(v)], float)
    if not known.size:
        return None
    median = float(np.median(known))
    spread = max(1.4826 * float(np.median(np.abs(known - median))), 0.5 * float(known.std()), least)
    return {
        "median": round(median, 4),
        "spread": round(spread, 4),
        "q": _rounded(np.quantile(known, (0, 0.05, 0.5, 0.95, 1)), 4),
    }


def _rounded(array: NDArray[Any], digits: int) -> list[Any]:
    return np.round(np.asarray(array, float), digits).tolist()
