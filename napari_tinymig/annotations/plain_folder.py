"""A folder of images and masks that somebody else laid out: which mask belongs to which image, and what has none."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

from ..base.errors import UnreadableInput
from ..base.plain_json import parse_json
from ..formats import find_inputs
from ..formats.foreign_masks.class_files import class_files
from ..formats.kinds import stem_of, suffix_of

_NO_MASKS = (".db", ".ini", ".txt", ".csv", ".json", ".xml", ".md", ".xlsx")
MASK_ENDING = "_mask"
"""`tinymig segment` writes NAME_mask.png, so such a mask belongs to NAME."""


def plain_pairs(folder: Path) -> list[tuple[str, str, str]]:
    """(stem, image, label) of every image with a mask; paths inside `folder`, sorted by stem.

    images/ and labels/ with equal names (A and a are equal, so are both spellings of an umlaut; NAME_mask belongs to
    NAME; a folder of DICOM files is one image), or an nnU-Net raw or Decathlon folder. Of two images of one name the
    first counts. Raises UnreadableInput for another layout, and where there are images and masks and none belong
    together.
    """
    pairs: dict[str, tuple[str, str, str]] = {}
    images = list(_images(folder))
    for stem, image, label in images:
        if label is not None:
            pairs.setdefault(name_key(stem), (stem, _inside(folder, image), _inside(folder, label)))
    masks = masks_by_name(folder / "labels")
    if images and masks and not pairs:
        raise UnreadableInput(
            f"{folder}: none of {_some([s for s, _, _ in images])} in images/ has a mask of the same name in labels/, "
            f"which holds {_some([p.name for p in masks.values()])}; give a mask the name of its image"
        )
    return sorted(pairs.values())


def without_mask(folder: Path) -> str:
    """A sentence about images of a plain folder that have no mask of their name; '' where every image has one."""
    alone = [stem for stem, _, label in _images(folder) if label is None]
    return f"No mask of the same name in labels/ for {_some(alone)}." if alone else ""


def listed_pairs(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """nnU-Net raw (imagesTr/NAME_0000.ext, labelsTr/NAME.ext) or Decathlon (dataset.json 'training' list)."""
    listed = parse_json((folder / "dataset.json").read_text()) if (folder / "dataset.json").is_file() else {}
    if isinstance(listed.get("training"), list):
        for row in listed["training"]:
            if isinstance(row, dict) and "image" in row:
                image = folder / row["image"]
                yield stem_of(image), image, folder / row["label"] if "label" in row else None
        return
    by_stem = {stem_of(p): p for p in (folder / "labelsTr").iterdir()} if (folder / "labelsTr").is_dir() else {}
    for path in (folder / "imagesTr").iterdir():
        stem = stem_of(path)
        if stem.endswith("_0000"):  # other channels of a multi-channel case are not read
            yield stem[:-5], path, by_stem.get(stem[:-5])


def _images(folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """(stem, image, its mask or None) of every image."""
    if (folder / "imagesTr").is_dir():
        yield from sorted(listed_pairs(folder))
        return
    images, labels = folder / "images", folder / "labels"
    if not images.is_dir() or not labels.is_dir():
        raise UnreadableInput(_what_is_there(folder))
    masks = masks_by_name(labels)
    for item in find_inputs([images]):
        if item.path == images and item.problem:
            return
        name = item.name if len(item.files) > 1 else stem_of(item.path)
        yield name, item.path, masks.get(name_key(name))


def masks_by_name(labels: Path) -> dict[str, Path]:
    """Files of labels/ by the name of the image they belong to, see `name_key`; of several files, one for each class
    (`NAME_disc`, or in disc/ and cup/), the one that stands for all."""
    if not labels.is_dir():
        return {}
    there = [p for p in sorted(labels.iterdir()) if not p.name.startswith(".")]
    files = [p for p in there if p.is_file() and suffix_of(p) not in _NO_MASKS]
    below = [p for folder in there if folder.is_dir() for p in sorted(folder.iterdir()) if p.is_file()]
    by_class = {name_key(g.name): g.first for p in (*below, *files) if (g := class_files(p)) is not None}
    ours = {name_key(stem_of(p)[: -len(MASK_ENDING)]): p for p in files if stem_of(p).endswith(MASK_ENDING)}
    return by_class | ours | {name_key(stem_of(p)): p for p in files}


def name_key(stem: str) -> str:
    """Names that people take for equal."""
    return unicodedata.normalize("NFC", stem).casefold()


def _inside(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} image(s) or file(s) ({shown})" if len(names) != 1 else names[0]


def _what_is_there(folder: Path) -> str:
    """Why a folder is no set, with what it holds instead."""
    if not folder.is_dir():
        return f"{folder} does not exist; expected an annotation set, or a folder with images/ and labels/"
    expected = f"{folder} holds no annotation set; expected the folders images/ and labels/ with equal names"
    if folder.name in ("images", "labels") and (folder.parent / "images").is_dir():
        return f"{expected}; choose the folder above it, {folder.parent}"
    try:
        there = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as e:
        return f"{folder} cannot be listed ({e.strerror}); change its permissions"
    if not there:
        return f"{expected}; it is empty; put images into images/ and masks of the same names into labels/"
    if inside := sorted(p.name for p in there if p.is_dir()):
        return f"{expected}; found the folders {', '.join(inside[:5])}; rename them, or choose one of them"
    return f"{expected}; found files alone; put images into images/ and masks of the same names into labels/"
