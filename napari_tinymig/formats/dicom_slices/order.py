"""The slices of a DICOM stack in order along its normal: duplicates dropped, gaps left open, both said aloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput

_GAP_TOLERANCE = 0.1
_SHIFT_TOLERANCE_MM = 0.5


@dataclass(frozen=True)
class Frame:
    """One slice as DICOM describes it: position and direction cosines in LPS mm, where they are given."""

    dataset: Any
    index: int
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    rescale: tuple[float, float]
    number: int


def in_order(frames: list[Frame], name: str) -> tuple[list[Frame | None], list[str]]:
    """Slices from low to high along the normal; duplicates dropped and gaps left as None, both with a note."""
    shapes = {(int(f.dataset.Rows), int(f.dataset.Columns)) for f in frames}
    if len(shapes) > 1:
        raise UnsupportedInput(f"{name} mixes slices of {sorted(shapes)} pixels; expected one size; give one series.")
    if any(f.position is None or f.directions is None for f in frames):
        by_number = sorted(frames, key=lambda f: f.number)
        return [*by_number], []
    first = frames[0].directions
    if any(np.abs(f.directions - first).max() > 1e-3 for f in frames):  # type: ignore[operator]
        raise UnsupportedInput(
            f"{name} mixes slices of different directions (a localizer?); expected parallel slices; give one stack."
        )
    normal = np.cross(first[0], first[1])  # type: ignore[index]
    depth = {id(f): float(f.position @ normal) for f in frames}  # type: ignore[operator]
    ordered = sorted(frames, key=lambda f: (depth[id(f)], f.number))
    kept = [f for i, f in enumerate(ordered) if i == 0 or depth[id(f)] - depth[id(ordered[i - 1])] > 1e-3]
    notes = []
    if len(kept) < len(ordered):
        _refuse_acquisitions(ordered, name)
        if len(ordered) % len(kept) == 0 and len(kept) > 1:
            raise UnsupportedInput(
                f"{name} has {len(ordered) // len(kept)} images at each of {len(kept)} positions (a 4-D series); "
                "expected one; export the one you mean (one b-value, echo or time) as its own series."
            )
        notes.append(f"{len(ordered) - len(kept)} slice(s) lie where another does; the first by number was kept.")
    full, notes = _with_gaps(kept, [depth[id(f)] for f in kept], name, notes)
    _refuse_scattered(full, name)
    return full, notes


def _refuse_acquisitions(frames: list[Frame], name: str) -> None:
    """Raise UnsupportedInput where slices that lie in one place are of several acquisitions: which is meant?"""
    numbers = [str(f.dataset.get("AcquisitionNumber", "") or "") for f in frames]
    counts = {n: numbers.count(n) for n in sorted(set(numbers))}
    if len(counts) > 1 and max(counts.values()) > 1:
        each = ", ".join(f"{n or 'none'} ({count} slices)" for n, count in counts.items())
        raise UnsupportedInput(
            f"{name} holds several acquisitions in one place: {each}; expected one; export the one you mean as its own "
            "series, or give its files."
        )


def _refuse_scattered(frames: list[Frame | None], name: str) -> None:
    """Raise UnsupportedInput where slices are shifted against each other unevenly: no straight stack holds them."""
    at = np.array([[k, *f.position] for k, f in enumerate(frames) if f is not None])  # type: ignore[misc]
    if len(at) < 3:
        return
    step = (at[-1, 1:] - at[0, 1:]) / (at[-1, 0] - at[0, 0])
    off = np.linalg.norm(at[:, 1:] - at[0, 1:] - at[:, :1] * step, axis=1)
    tolerance = max(_GAP_TOLERANCE * float(np.linalg.norm(step)), _SHIFT_TOLERANCE_MM)
    if off.max() > tolerance:
        raise UnsupportedInput(
            f"{name} has slices that lie up to {off.max():.1f} mm beside a straight stack; expected all in line; fetch "
            "the whole series again, or resample it."
        )


def _with_gaps(
    kept: list[Frame], depths: list[float], name: str, notes: list[str]
) -> tuple[list[Frame | None], list[str]]:
    if len(kept) < 3:
        return list(kept), notes
    gaps = np.diff(depths)
    step = float(np.median(gaps))
    counts = np.round(gaps / step).astype(int)
    if (counts < 1).any() or (np.abs(gaps - counts * step) > _GAP_TOLERANCE * step).any():
        raise UnsupportedInput(
            f"{name} has slices {gaps.min():.2f} to {gaps.max():.2f} mm apart; expected even steps of {step:.2f} mm; "
            "fetch the whole series again."
        )
    missing = int((counts - 1).sum())
    if missing > len(kept) // 3:
        raise UnsupportedInput(
            f"{name} lacks {missing} of {len(kept) + missing} slices; expected all; fetch the whole series again."
        )
    full: list[Frame | None] = [kept[0]]
    for count, frame in zip(counts, kept[1:]):
        full += [None] * (int(count) - 1) + [frame]
    if missing:
        where = ", ".join(f"{depths[i] + step:.1f} mm" for i in np.flatnonzero(counts > 1))
        notes.append(
            f"{missing} slice(s) missing (at {where} along the stack); filled from the neighbour so that the others "
            "keep their places. Fetch the whole series before measuring a volume."
        )
    return full, notes
