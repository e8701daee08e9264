"""What simulated users of benchmarks/prompts.py mark: development images, their truths, and where a session starts.

DATA holds fundus/, polyp/ and prostate/ as docs/DATASETS.md says. A half is the first or the second half of a
folder's cases in the order of their names (neighbouring frames of a sequence, and slices of a volume, lie in one half),
so that a way is chosen on one and reported on the other. `coins` (scikit-image) is a kind of object that the student
was never taught; its truth is the watershed of scikit-image's own tutorial.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

import napari_tinymig as tm
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import open_input, read_mask
from napari_tinymig.prompts.begin import begin as session_on
from napari_tinymig.prompts.network import PromptEngine
from napari_tinymig.prompts.session import PromptSession

STUDENTS = {"optic": "optic-sdg", "polyp": "polyp-sdg", "prostate": "prostate"}
"""The automatic masks: `optic` and `polyp` themselves were taught on the targets."""


@dataclass(frozen=True)
class Target:
    """One object: a picture (H, W, 3) or slice (1, H, W), its labels, the region's labels, and where to start."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    region: tuple[int, ...]
    task: str
    start: str | None
    case: str

    @property
    def truth(self) -> np.ndarray:
        return np.isin(self.labels, self.region)


HELD_BACK = (("silver", "ProstateX-0004"), ("silver", "ProstateX-0005"), ("manual_case00", "case00"))
"""Two volumes that the prompted student was not taught, and the one with manual labels."""
Case = tuple[str, np.ndarray, np.ndarray]


def targets(data: Path, images: int, half: int | None = None) -> Iterator[Target]:
    """The development targets, a fixed sample of each. half: 0 or 1 of the cases, None = all."""
    fundus, polyp = data / "fundus/refuge_like", data / "polyp/polypgen_C3"
    for name, region in (("disc", (1, 2)), ("cup", (2,))):
        for case, image, labels in pairs(fundus, images, half=half):
            yield Target(f"optic {name}, automatic", image, labels, region, "optic", "auto", case)
    for case, image, labels in pairs(polyp, images, 300, half):
        yield Target("polyp, automatic", image, labels, (1,), "polyp", "auto", case)
    for case, image, labels in slices(data, images, half):
        yield Target("prostate slice, automatic", image, labels, (1,), "prostate", "auto", case)
    for case, image, labels in coins(images, half):
        yield Target("coin (never taught), nothing", image, labels, (1,), "any", None, case)
    for case, image, labels in pairs(fundus, images, half=half):
        yield Target("disc, nothing", image, (labels > 0).astype(np.uint8), (1,), "any", None, case)
    for case, image, labels in pairs(polyp, images, 300, half):
        yield Target("polyp, nothing", image, labels, (1,), "any", None, case)
    for case, image, labels in slices(data, images, half):
        yield Target("prostate slice, nothing", image, labels, (1,), "any", None, case)


def grouped(data: Path, images: int, half: int | None = None, only: str = "") -> dict[str, list[Target]]:
    """The targets by name; only: a part of the names that are wanted."""
    groups: dict[str, list[Target]] = {}
    for target in targets(data, images, half):
        if only in target.name:
            groups.setdefault(target.name, []).append(target)
    return groups


def pairs(folder: Path, images: int, least: int = 1, half: int | None = None) -> Iterator[Case]:
    """A fixed sample of a domain folder."""
    files = sorted((folder / "labels").iterdir())
    files = files if half is None else (files[: len(files) // 2], files[len(files) // 2 :])[half]
    found = 0
    for i in np.random.default_rng(0).permutation(len(files)):
        labels = read_mask(files[i])
        if (labels > 0).sum() >= least and found < images:
            found += 1
            image = next((folder / "images").glob(files[i].stem.split(".")[0] + ".*"))
            yield files[i].stem, open_input(image).scan.pixels, labels


def slices(data: Path, images: int, half: int | None = None) -> Iterator[Case]:
    """Slices of the volumes in `HELD_BACK`, as many of each."""
    volumes = HELD_BACK if half is None else (HELD_BACK[:1], HELD_BACK[1:])[half]
    for folder, name in volumes:
        volume = open_input(next((data / "prostate" / folder / "images").glob(f"{name}.*"))).scan.pixels
        labels = read_mask(next((data / "prostate" / folder / "labels").glob(f"{name}.*")))
        inside = np.flatnonzero((labels > 0).sum((1, 2)) > 250)
        count = min(max(images // len(volumes), 1), len(inside) - 2)
        for z in inside[np.linspace(1, len(inside) - 2, count).astype(int)]:
            yield f"{name}:{z}", volume[z : z + 1], labels[z]


def coins(images: int, half: int | None = None) -> Iterator[Case]:
    """Coins of scikit-image's picture, cut by the watershed of its tutorial; a half is every second one."""
    from skimage.data import coins as picture
    from skimage.filters import sobel

    grey = picture()
    markers = np.zeros(grey.shape, int)
    markers[grey < 30], markers[grey > 150] = 1, 2
    filled = ndimage.binary_fill_holes(watershed(sobel(grey), markers) - 1)
    numbers, _ = ndimage.label(ndimage.binary_opening(filled, iterations=2))
    sizes = np.bincount(numbers.ravel())
    kept = [n for n in range(1, len(sizes)) if sizes[n] > 600]
    kept = kept if half is None else kept[half::2]
    for n in kept[:images]:
        yield f"coin {n}", np.repeat(grey[..., None], 3, axis=2), (numbers == n).astype(np.uint8)


STARTS: dict[tuple[str, str], np.ndarray] = {}


def begin(target: Target, engine: PromptEngine | None = None) -> PromptSession:
    """A session on a target; the automatic mask is asked for once. engine: None = the bundled student."""
    scan = Scan(target.image)
    key = (target.task, target.case)
    if target.start == "auto" and key not in STARTS:
        STARTS[key] = tm.segment(scan, model=STUDENTS[target.task]).labels
    return session_on(scan, target.task, start=STARTS[key] if target.start == "auto" else None, engine=engine)
