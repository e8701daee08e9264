"""Images with a class each: from a folder per class, a CSV (file,label) or a MedMNIST .npz; splits by person."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.errors import TinyMIGError, UnreadableInput
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import open_input
from napari_tinymig.formats.declared import image_suffixes

IMAGE_SUFFIXES = (*image_suffixes(), ".npy")


@dataclass(frozen=True)
class Item:
    """One image: its class, the case (person) it belongs to, and where its pixels are."""

    name: str
    label: int
    case: str
    path: Path | None = None
    pixels: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    part: str = ""  # split that the source fixes itself: train, val, test (MedMNIST)


@dataclass(frozen=True)
class ImageSet:
    """Items of one domain. classes: names in label order. notes: sentences for the user."""

    name: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Images per class."""
        found = Counter(item.label for item in self.items)
        return {name: found.get(i, 0) for i, name in enumerate(self.classes)}

    def chosen(self, items: Sequence[Item]) -> ImageSet:
        """The same set with some of its items."""
        return replace(self, items=tuple(items))


@dataclass
class Pixels:
    """Images of a set, ready for a backbone of one size.

    values: uint8 (M, S, S, 3), all slices of all items after each other. owner: (M,), the row's item. labels: (N,).
    hashes: content hash of each item. names: (N,). items: those that could be read. failed: name of the others -> the
    reason (its path where a name was there before). kinds: 'grey', 'colour' or 'volume'.
    """

    values: NDArray[np.uint8]
    owner: NDArray[np.int64]
    labels: NDArray[np.int64]
    hashes: list[str]
    names: list[str]
    cases: list[str]
    kinds: list[str]
    items: list[Item] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def single(self) -> bool:
        """True if every item is one image."""
        return len(self.values) == len(self.labels)

    def rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of `values` that belong to some items, in their order."""
        if self.single:
            return items
        return np.concatenate([np.flatnonzero(self.owner == i) for i in items])


def read_image_set(source: str | Path, classes: tuple[str, ...] = (), case_pattern: str | None = None) -> ImageSet:
    """The items of a folder with one sub-folder per class, of a CSV with columns file,label, or of a MedMNIST .npz.

    classes: the order to use (a target follows its source); empty = sorted names. Raises ValueError saying what was
    found and what was expected.
    """
    path = Path(source).expanduser()
    case_of = _case_reader(case_pattern)
    if path.is_dir():
        pairs = _from_folders(path)
    elif path.suffix == ".csv" and path.is_file():
        pairs = _from_csv(path)
    elif path.suffix == ".npz" and path.is_file():
        return _from_npz(path, classes)
    else:
        raise ValueError(f"{path}: expected a folder with one sub-folder per class, a .csv (file,label) or a .npz")
    names = classes or tuple(sorted({label for _, label in pairs}))
    known = [(p, label) for p, label in pairs if label in names]
    dropped = Counter(label for _, label in pairs if label not in names)
    notes = tuple(
        f"{path.name}: {n} images of class '{c}' left out; the source has no such class" for c, n in dropped.items()
    )
    if not known:
        raise ValueError(
            f"{path}: classes {', '.join(dropped) or 'none'} found; expected {', '.join(names)}; rename the folders"
        )
    items = tuple(Item(p.name, names.index(label), case_of(p), path=p) for p, label in known)
    if case_pattern is None:
        notes += _shared_names(path.name, items)
    return ImageSet(path.name, items, names, notes)


def _case_reader(pattern: str | None) -> Callable[[Path], str]:
    """Case of a file: the pattern's first group (whole match without one); a file it does not fit is its own case."""
    if pattern is None:
        return lambda path: _stem(path)
    try:
        compiled = re.compile(pattern)
    except re.error as e:
        raise ValueError(f"case pattern {pattern!r} is not a regular expression: {e}") from e

    def case(path: Path) -> str:
        found = compiled.search(path.name)
        if found is None:
            return _stem(path)
        return (found.group(1) if compiled.groups else None) or found.group(0)

    return case


def _shared_names(where: str, items: Sequence[Item]) -> tuple[str, ...]:
    """A sentence where several files have one name and so count as one person."""
    counts = Counter(item.case for item in items)
    shared = sorted(case for case, n in counts.items() if n > 1)
    if not shared:
        return ()
    images = sum(counts[case] for case in shared)
    return (
        f"{where}: {images} images share {len(shared)} file name{'' if len(shared) == 1 else 's'} ('{shared[0]}' is "
        f"there {counts[shared[0]]} times) and are taken as {len(shared)} person{'' if len(shared) == 1 else 's'}; "
        "rename them if they are different people, or say who is who with --case-pattern.",
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]


def _from_folders(path: Path) -> list[tuple[Path, str]]:
    pairs = []
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")):
        pairs += [(f, folder.name) for f in sorted(folder.rglob("*")) if f.name.lower().endswith(IMAGE_SUFFIXES)]
    if not pairs:
        loose = sum(f.name.lower().endswith(IMAGE_SUFFIXES) for f in path.iterdir())
        raise ValueError(
            f"{path}: {loose} images beside each other and no sub-folder with images; expected one sub-folder per "
            "class, named after it, e.g. normal/ and pneumonia/"
        )
    return pairs


def _from_csv(path: Path) -> list[tuple[Path, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if not {"file", "label"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} has columns {reader.fieldnames}; expected 'file' and 'label'")
        pairs = [(path.parent / row["file"], (row["label"] or "").strip()) for row in reader if row["file"]]
    empty = [p.name for p, label in pairs if not label]
    if empty:
        raise ValueError(f"{path}: {len(empty)} rows without a label (first: {empty[0]}); fill them in or delete them")
    if not pairs:
        raise ValueError(f"{path} has no rows; expected one per image")
    return pairs


def _from_npz(path: Path, classes: tuple[str, ...]) -> ImageSet:
    """MedMNIST: arrays {train,val,test}_images (N, h, w[, 3]) or (N, d, h, w), and {train,val,test}_labels (N, 1)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {k: archive[k] for k in archive.files}
    except (OSError, ValueError) as e:
        raise ValueError(f"{path} cannot be read as an .npz of arrays ({e})") from e
    parts = [p for p in ("train", "val", "test") if f"{p}_images" in arrays and f"{p}_labels" in arrays]
    if not parts:
        raise ValueError(f"{path} holds {', '.join(arrays)}; expected train_images and train_labels (MedMNIST)")
    labels = np.concatenate([arrays[f"{p}_labels"].reshape(len(arrays[f"{p}_images"]), -1) for p in parts])
    if labels.shape[1] != 1:
        raise ValueError(f"{path} has {labels.shape[1]} labels per image; expected one (multi-label is not supported)")
    values = sorted(set(labels[:, 0].tolist()))
    names = classes or tuple(str(v) for v in values)
    items = []
    for part in parts:
        for i, (image, label) in enumerate(zip(arrays[f"{part}_images"], arrays[f"{part}_labels"].reshape(-1))):
            name = f"{path.stem}_{part}_{i}"
            index = names.index(str(label)) if str(label) in names else values.index(label)
            items.append(Item(name, index, name, pixels=image, part=part))
    return ImageSet(path.stem, tuple(items), names)


def read_slices(item: Item, max_slices: int = 24) -> tuple[list[NDArray[np.uint8]], str]:
    """The item's image as one or more uint8 (H, W, 3), and its kind: 'grey', 'colour' or 'volume'.

    8-bit pixels stay as they are; others are windowed at the volume's 0.5 and 99.5 percentile. Slices of a volume are
    taken evenly. Raises a TinyMIGError for a file that cannot be read.
    """
    if item.pixels is None and item.path is None:
        raise UnreadableInput(f"{item.name} has neither a file nor pixels; expected one of them")
    if item.path is not None and item.path.suffix == ".npy":
        pixels = np.load(item.path, allow_pickle=False)
    elif item.path is not None:
        pixels = open_input(item.path).scan.pixels
    else:
        pixels = np.asarray(item.pixels)
    if pixels.ndim == 3 and pixels.shape[-1] == 3 and pixels.dtype == np.uint8:
        return [pixels], "colour"
    volume = pixels[None] if pixels.ndim == 2 else pixels
    if volume.ndim != 3:
        raise UnreadableInput(f"{item.name} has shape {pixels.shape}; expected a picture or a volume")
    keep = np.unique(np.linspace(0, len(volume) - 1, min(max_slices, len(volume))).round().astype(int))
    grey = to_grey8(volume)[keep]
    kind = "volume" if len(volume) > 1 else "grey"
    return [np.repeat(plane[..., None], 3, axis=2) for plane in grey], kind


def to_grey8(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """A volume as uint8; other types are windowed at their 0.5 and 99.5 percentile. UnreadableInput if constant."""
    if volume.dtype == np.uint8:
        return volume
    finite = volume[np.isfinite(volume)] if np.issubdtype(volume.dtype, np.floating) else volume
    if finite.size == 0:
        raise UnreadableInput("the image holds no finite number; expected grey values")
    low, high = np.percentile(finite, (0.5, 99.5))
    if high <= low:
        low, high = float(finite.min()), float(finite.max())
    if high <= low:
        raise UnreadableInput(f"the image is constant ({low:g} everywhere); expected a picture")
    scaled = (np.nan_to_num(volume.astype(np.float32), nan=low) - low) / (high - low)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def fit_to(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H, W, 3) -> (size, size, 3): stretched with antialiasing, so that no border is cut off [chosen]."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def load_pixels(items: Sequence[Item], size: int, max_slices: int = 24) -> Pixels:
    """Pixels of the items that can be read; the others are named with their reason in `failed`."""
    rows, owner, hashes, kinds = [], [], [], []
    kept: list[Item] = []
    failed: dict[str, str] = {}
    for item in items:
        try:
            slices, kind = read_slices(item, max_slices)
        except (TinyMIGError, ValueError, OSError) as e:
            failed[shown_name(item, failed)] = str(e)
            continue
        fitted = [fit_to(s, size) for s in slices]
        rows += fitted
        owner += [len(kept)] * len(fitted)
        kept.append(item)
        kinds.append(kind)
        hashes.append(content_hash(item))
    values = np.stack(rows) if rows else np.zeros((0, size, size, 3), np.uint8)
    return Pixels(
        values,
        np.array(owner, np.int64),
        np.array([i.label for i in kept], np.int64),
        hashes,
        [i.name for i in kept],
        [i.case for i in kept],
        kinds,
        kept,
        failed,
    )


def shown_name(item: Item, taken: dict[str, str]) -> str:
    """The item's name, or its path where another item of this name is in `taken`."""
    return str(item.path) if item.name in taken and item.path is not None else item.name


def content_hash(item: Item) -> str:
    """SHA-256 of an item's file or pixels."""
    if item.path is not None:
        if item.path.is_dir():
            parts = sorted(p for p in item.path.iterdir() if p.is_file())
            return hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in parts)).hexdigest()
        return hashlib.sha256(item.path.read_bytes()).hexdigest()
    array = np.ascontiguousarray(item.pixels)
    return hashlib.sha256(str((array.shape, array.dtype)).encode() + array.tobytes()).hexdigest()


def scan_item(scan: Scan) -> Item:
    """An item for an image that is already in memory (a layer)."""
    return Item(scan.name, 0, scan.name, pixels=scan.pixels)
