"""Two sets of images seen by one model: what differs, how far, and whether the numbers suffice to say so.

A set is a folder (or any list of files) or the training images of a model, of which only the shipped statistics
remain. Everything is measured with ONE model's eyes, on its own grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..annotations.plain_folder import masks_by_name, name_key
from ..base.errors import TinyMIGError
from ..base.records import Scan
from ..formats import InputItem, as_photograph, as_volume, open_input, read_mask
from ..shift.descriptors import LEVELS
from ..shift.distance import ShiftResult, score_frames
from ..shift.frame_record import FrameRecord
from ..shift.source_statistics import unpack, unpack_stage, whiten
from .set_distance import SetTest, permutation_test, wasserstein
from .survey import Known, survey_one

if TYPE_CHECKING:
    from ..predict.predictor import Predictor

THUMBNAIL = 72


@dataclass(frozen=True)
class SeenImage:
    """One image through the model's eyes.

    result: its shift, None where nothing could be located or the file failed. records: its frames. thumbnail: the
    typical frame as the network saw it, uint8 (72, 72, 3). error: why there is nothing, '' if there is.
    """

    path: Path
    name: str
    records: tuple[FrameRecord, ...] = ()
    result: ShiftResult | None = None
    thumbnail: NDArray[np.uint8] | None = None
    error: str = ""


@dataclass
class SeenSet:
    """A named set of seen images, or a model's training images (`reference` coordinates and statistics alone)."""

    name: str
    images: list[SeenImage] = field(default_factory=list)
    reference: NDArray[np.float32] | None = None
    statistics: dict[str, Any] | None = None

    @property
    def usable(self) -> list[SeenImage]:
        """Images with a result."""
        return [i for i in self.images if i.result is not None]

    @property
    def n(self) -> int:
        """How many images (or training frames) the set's distances rest on."""
        return len(self.reference) if self.reference is not None else len(self.usable)


def see(predictor: Predictor, statistics: dict[str, Any], items: Iterable[InputItem]) -> Iterator[SeenImage]:
    """Every image of a list, one after the other; a failing file becomes a SeenImage with its sentence."""
    for item in items:
        try:
            scan = open_input(item).scan
            scan = as_photograph(scan) if predictor.task.input == "photograph" else as_volume(scan)
            yield see_scan(predictor, statistics, scan, item.path)
        except (TinyMIGError, ValueError) as e:
            yield SeenImage(item.path, item.name, error=str(e))


def see_scan(predictor: Predictor, statistics: dict[str, Any], scan: Scan, path: Path) -> SeenImage:
    """One scan through the model's eyes; nothing located gives an image without a result."""
    labels = _truth_beside(path, scan)
    records = survey_one(predictor, Known(scan, labels, scan.name))
    if not records:
        what = predictor.task.regions[0].name
        return SeenImage(path, scan.name, error=f"No {what} could be located in {scan.name}; it is left out.")
    result = score_frames(statistics, records)
    return SeenImage(path, scan.name, tuple(records), result, _thumbnail(scan, records))


def _truth_beside(path: Path, scan: Scan) -> NDArray[np.uint8] | None:
    """The mask of a domain folder (../labels/<stem>.*) in the scan's grid, if there is one."""
    folder = path.parent.parent / "labels"
    if path.parent.name != "images" or not folder.is_dir():
        return None
    found = masks_by_name(folder).get(name_key(scan.name))
    try:
        labels = read_mask(found) if found is not None else None
    except TinyMIGError:
        return None
    return labels if labels is not None and labels.shape == scan.grid_shape else None


def _thumbnail(scan: Scan, records: Sequence[FrameRecord]) -> NDArray[np.uint8]:
    """The whole photograph, or the volume's middle slice, small."""
    pixels = scan.pixels if scan.kind == "photograph" else scan.pixels[len(scan.pixels) // 2]
    step = max(1, min(pixels.shape[:2]) // THUMBNAIL)
    small = pixels[::step, ::step]
    h, w = small.shape[:2]
    side = min(h, w)
    small = small[(h - side) // 2 : (h + side) // 2, (w - side) // 2 : (w + side) // 2][:THUMBNAIL, :THUMBNAIL]
    if small.ndim == 3:
        return np.ascontiguousarray(small, np.uint8)
    low, high = np.percentile(small, (1, 99))
    grey = np.clip((small - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def training_images(name: str, statistics: dict[str, Any]) -> SeenSet:
    """The training images of a model as a set: up to 64 of them as coordinates, nothing to look at."""
    reference = unpack(statistics["reference"]) if statistics.get("reference") else None
    return SeenSet(name, reference=reference, statistics=statistics)


def coordinates(statistics: dict[str, Any], seen: SeenSet) -> NDArray[np.float32]:
    """(n, d) whitened coordinates of every usable image in the model's principal directions; a volume is its mean."""
    if seen.reference is not None:
        return seen.reference
    stages = [unpack_stage(s) for s in statistics["stages"]]
    rows = []
    for image in seen.usable:
        parts = [whiten(s, np.stack([r.moments[i] for r in image.records]))[0].mean(0) for i, s in enumerate(stages)]
        rows.append(np.concatenate(parts))
    width = sum(len(s.variance) for s in stages)
    return np.stack(rows) if rows else np.zeros((0, width), np.float32)


def picture(statistics: dict[str, Any], sets: Sequence[SeenSet]) -> list[NDArray[np.float32]]:
    """Two principal axes of all sets together, per set (n, 2); the axes are of the pooled coordinates."""
    rows = [coordinates(statistics, s) for s in sets]
    pooled = np.concatenate(rows)
    if len(pooled) < 2:
        return [np.zeros((len(r), 2), np.float32) for r in rows]
    centre = pooled.mean(0)
    _, _, axes = np.linalg.svd(pooled - centre, full_matrices=False)
    plane = axes[:2] if len(axes) > 1 else np.vstack([axes, np.zeros_like(axes)])
    return [(r - centre) @ plane.T for r in rows]


@dataclass(frozen=True)
class Difference:
    """One number in two sets. median_a, median_b; distance: 1-Wasserstein distance in source spreads (robust standard
    deviations of the training images), NaN where only medians are known; direction: +1 if b is larger."""

    name: str
    median_a: float
    median_b: float
    distance: float

    @property
    def direction(self) -> int:
        """+1 where B is larger than A, -1 where it is smaller."""
        return 1 if self.median_b >= self.median_a else -1


@dataclass(frozen=True)
class Comparison:
    """Everything the report says of two sets. tests: 'features (MMD)', 'features (Fréchet)' -> SetTest; differences:
    largest first; notes: what cannot be said."""

    a: SeenSet
    b: SeenSet
    tests: dict[str, SetTest]
    differences: list[Difference]
    anatomy: list[Difference]
    notes: tuple[str, ...]


def compare_sets(
    statistics: dict[str, Any], a: SeenSet, b: SeenSet, permutations: int = 999, seed: int = 0
) -> Comparison:
    """Distances, tests and the numbers that differ between two sets seen by the same model.

    Raises ValueError where a set holds no usable image.
    """
    for one in (a, b):
        if one.n == 0:
            reasons = sorted({i.error for i in one.images if i.error})
            raise ValueError(f"set '{one.name}' holds no usable image{': ' + reasons[0] if reasons else ''}.")
    x, y = coordinates(statistics, a), coordinates(statistics, b)
    tests = {"features (MMD)": permutation_test(x, y, permutations, seed, "mmd")}
    if min(len(x), len(y)) > 1:
        tests["features (Fréchet)"] = permutation_test(x, y, min(permutations, 199), seed, "frechet")
    differences = _differences(statistics["image"], a, b, "image")
    anatomy = [d for d in _differences(statistics["output"], a, b, "output") if _is_anatomy(d.name)]
    notes = tuple(dict.fromkeys(t.note for t in tests.values() if t.note))
    for one in (a, b):
        failed = [i for i in one.images if i.error]
        if failed:
            notes += (f"{len(failed)} of {len(one.images)} images of {one.name} were left out: {failed[0].error}",)
    return Comparison(a, b, tests, differences, anatomy, notes)


def _is_anatomy(name: str) -> bool:
    return name == "ratio" or name.endswith("_area")


def values_of(seen: SeenSet, name: str, kind: str) -> NDArray[np.float64]:
    """One number per image: the median over its frames; empty for a model's training images."""
    out = []
    for image in seen.usable:
        v = [(r.image.values if kind == "image" else r.output).get(name, math.nan) for r in image.records]
        v = [k for k in v if math.isfinite(k)]
        if v:
            out.append(float(np.median(v)))
    return np.asarray(out)


def _differences(known: dict[str, Any], a: SeenSet, b: SeenSet, kind: str) -> list[Difference]:
    found = []
    for name, source in known.items():
        if source is None or name.endswith(("_low", "_high")):
            continue
        u, v = values_of(a, name, kind), values_of(b, name, kind)
        medians = [float(np.median(w)) if len(w) else _shipped_median(s, kind, name) for w, s in ((u, a), (v, b))]
        if not all(math.isfinite(m) for m in medians):
            continue
        gap = abs(medians[1] - medians[0])
        if len(u) and len(v):
            gap = float(wasserstein(u[:, None], v[:, None])[0])
        found.append(Difference(name, medians[0], medians[1], gap / source["spread"]))
    return sorted(found, key=lambda d: -d.distance)


def _shipped_median(seen: SeenSet, kind: str, name: str) -> float:
    source = (seen.statistics or {}).get(kind, {}).get(name)
    return float(source["median"]) if source else math.nan


def channel_quantiles(seen: SeenSet) -> NDArray[np.float32] | None:
    """(C, 17) mean channel quantiles of a set at `descriptors.LEVELS`; None for an empty one."""
    if seen.statistics is not None:
        return np.asarray(seen.statistics["quantiles"], np.float32)
    rows = [np.mean([r.image.quantiles for r in i.records], axis=0) for i in seen.usable]
    return np.mean(rows, axis=0) if rows else None


def density(quantiles: NDArray[np.float32], bins: int = 32) -> NDArray[np.float64]:
    """Histogram (bins,) over 0-1 that the quantiles of one channel describe, for plots."""
    edges = np.linspace(0, 1, bins + 1)
    increasing = np.maximum.accumulate(quantiles + np.linspace(0, 1e-4, len(quantiles)))
    share = np.interp(edges, increasing, LEVELS, left=0.0, right=1.0)
    return np.diff(share)
