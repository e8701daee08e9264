"""Public data sets as their owners publish them become domain folders: images/, labels/, experts/ where votes exist.

Nothing is downloaded; the user has the data and its terms (docs/DATASETS.md). Images are copied byte for byte where
their format is read here, labels are written anew as indexed PNG or NIfTI with this project's codes (fundus: 0, 1 rim,
2 cup; prostate: 0, 1 gland).
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.errors import OutputRefused, UnreadableInput
from napari_tinymig.formats import open_input, write_mask, write_volume
from napari_tinymig.formats.declared import FORMATS
from napari_tinymig.formats.kinds import stem_of

PICTURES = (*FORMATS["photograph"].suffixes, ".gif")
VOLUMES = tuple(s for f in FORMATS.values() if f.holds == "volume" for s in f.suffixes)


@dataclass
class Found:
    """One annotated image of a foreign layout.

    image: its file. labels: (H, W) with our codes, None for volumes. volume_label: label file of a volume. crop_width:
    keep the left part of a stereo pair. votes: region -> (H, W) counts of experts on the scale 0..4, all = 4.
    """

    name: str
    image: Path
    labels: NDArray[np.uint8] | None = None
    volume_label: Path | None = None
    crop_width: int | None = None
    votes: dict[str, NDArray[np.uint8]] | None = None


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk: what to point at, and who reads it."""

    title: str
    expects: str
    read: Callable[[Path], Iterator[Found]]


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.name.lower().endswith(endings) and not p.name.startswith("."))


def _grey(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"), np.uint8)


def _disc_and_cup(disc: NDArray, cup: NDArray) -> NDArray[np.uint8]:
    """0, 1 rim, 2 cup; a cup pixel outside the disc stays background."""
    labels = disc.astype(np.uint8)
    labels[disc & cup] = 2
    return labels


def read_drishti(folder: Path) -> Iterator[Found]:
    """Drishti-GS1: .../GT/NAME/SoftMap/NAME_{ODsegSoftmap,cupsegSoftmap}.png are means of four experts, 0..255."""
    images = {p.stem: p for p in _files(folder, PICTURES) if "softmap" not in p.stem.lower() and "GT" not in str(p)}
    for disc_path in (p for p in _files(folder, PICTURES) if p.stem.lower().endswith("odsegsoftmap")):
        name = re.sub(r"_odsegsoftmap$", "", disc_path.stem, flags=re.IGNORECASE)
        cups = [p for p in disc_path.parent.glob(f"{name}_*") if p.stem.lower().endswith("cupsegsoftmap")]
        if name in images and cups:
            votes = {
                k: np.rint(_grey(p) / 255 * 4).astype(np.uint8) for k, p in (("disc", disc_path), ("cup", cups[0]))
            }
            yield Found(name, images[name], _disc_and_cup(votes["disc"] == 4, votes["cup"] == 4), votes=votes)


def read_refuge(folder: Path) -> Iterator[Found]:
    """REFUGE: photographs .jpg anywhere, masks .bmp or .png of the same stem (0 cup, 128 rim, 255 background)."""
    masks = {p.stem: p for p in _files(folder, (".bmp", ".png"))}
    for image in _files(folder, (".jpg", ".jpeg")):
        if image.stem in masks:
            yield Found(image.stem, image, _coded(_grey(masks[image.stem])))


def _coded(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """0 cup, 128 rim, 255 background -> ours; compressed masks are read by the nearest code."""
    return np.where(mask < 64, 2, np.where(mask < 192, 1, 0)).astype(np.uint8)


def read_rimone_r3(folder: Path) -> Iterator[Found]:
    """RIM-ONE r3: 'Stereo Images'/NAME.jpg (left half is annotated), Average_masks/NAME-{Disc,Cup}-Avg.png."""
    for image in sorted(folder.rglob("Stereo Images/*")):
        masks = image.parent.parent / "Average_masks"
        disc, cup = masks / f"{image.stem}-Disc-Avg.png", masks / f"{image.stem}-Cup-Avg.png"
        if not (disc.is_file() and cup.is_file()):
            continue
        with Image.open(image) as picture:
            half = picture.width // 2
        a, b = _grey(disc)[:, :half] > 127, _grey(cup)[:, :half] > 127
        yield Found(image.stem, image, _disc_and_cup(a, b), crop_width=half)


def read_origa(folder: Path) -> Iterator[Found]:
    """ORIGA: photographs .jpg, annotations NAME.mat (variable 'mask': 1 disc, 2 cup) or NAME.png with those codes."""
    from scipy.io import loadmat

    mats = {p.stem: p for p in _files(folder, (".mat",))}
    pngs = {p.stem: p for p in _files(folder, (".png",))}
    for image in _files(folder, (".jpg", ".jpeg")):
        if image.stem in mats:
            values = loadmat(mats[image.stem])
            if "mask" not in values:
                raise UnreadableInput(f"{mats[image.stem]} has no variable 'mask'; expected ORIGA's own annotations")
            yield Found(image.stem, image, np.asarray(values["mask"]).astype(np.uint8))
        elif image.stem in pngs:
            yield Found(image.stem, image, _grey(pngs[image.stem]))


def read_rigaplus(folder: Path) -> Iterator[Found]:
    """One domain of RIGA+: DOMAIN_train.csv and DOMAIN_test.csv (columns image, mask) beside the images.

    folder is ROOT/DOMAIN, which need not exist. Masks MASK-1 ... MASK-6 of six raters (0 cup, 128 rim, 255
    background) give the majority label (4 of 6) and the votes, brought to quarters of the raters: 4 = all, 3 = the
    majority, 1 = one or two. A single MASK is taken as it is.
    """
    lists = [p for part in ("train", "test") if (p := folder.parent / f"{folder.name}_{part}.csv").is_file()]
    for path in lists:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for row in csv.DictReader(stream):
                image, mask = folder.parent / row["image"], folder.parent / row["mask"]
                raters = [mask.with_name(f"{mask.stem}-{i}{mask.suffix}") for i in range(1, 7)]
                present = [p for p in raters if p.is_file()] or ([mask] if mask.is_file() else [])
                if not present:
                    raise UnreadableInput(
                        f"{path.name} lists {row['mask']}, but neither it nor {raters[0].name} exists"
                    )
                coded = np.stack([_coded(_grey(p)) for p in present])
                counts = {"disc": (coded >= 1).sum(0), "cup": (coded == 2).sum(0)}
                need = len(present) // 2 + 1
                labels = _disc_and_cup(counts["disc"] >= need, counts["cup"] >= need)
                votes = {k: in_quarters(v, len(present)) for k, v in counts.items()} if len(present) > 1 else None
                name = re.sub(r"[^\w-]+", "_", str(Path(row["image"]).with_suffix("")))
                yield Found(name, image, labels, votes=votes)


def in_quarters(counts: NDArray[np.int64], raters: int) -> NDArray[np.uint8]:
    """Counts of `raters` on the scale 0..4 of `data.cup_agreement`: 4 only where all agree, 0 only where none does."""
    quarters = np.rint(counts * 4 / raters).clip(1, 3)
    return np.where(counts == raters, 4, np.where(counts == 0, 0, quarters)).astype(np.uint8)


def read_prostate_site(folder: Path) -> Iterator[Found]:
    """One site of the six (BIDMC, BMC, HK, I2CVB, RUNMC, UCL), or PROMISE12: CASE.ext with CASE_segmentation.ext."""
    files = {stem_of(p).lower(): p for p in _files(folder, VOLUMES)}
    for stem, path in sorted(files.items()):
        label = files.get(f"{stem}_segmentation")
        if label is not None:
            yield Found(stem_of(path), path, volume_label=label)


LAYOUTS: dict[str, Layout] = {
    "drishti": Layout("Drishti-GS1", "the folder with Training/ and Test/", read_drishti),
    "refuge": Layout("REFUGE", "one part: photographs and Disc_Cup_Masks", read_refuge),
    "rimone_r3": Layout("RIM-ONE r3", "the folder with Healthy/ and 'Glaucoma and suspects'/", read_rimone_r3),
    "origa": Layout("ORIGA", "the folder with the photographs and the annotations", read_origa),
    "rigaplus": Layout("RIGA+", "ROOT/DOMAIN beside ROOT/DOMAIN_train.csv", read_rigaplus),
    "prostate_site": Layout("six prostate sites", "one site's folder, CASE and CASE_segmentation", read_prostate_site),
}
"""Layouts by name."""


def import_domain(layout: str, source: str | Path, out: str | Path) -> Path:
    """The domain folder `out` made from `source`; an `out` that was finished before is left as it is.

    Raises ValueError for an unknown layout, UnreadableInput where nothing of the layout is found or sizes do not
    agree, OutputRefused where `out` holds something else or cannot be written.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout '{layout}'; expected one of {', '.join(LAYOUTS)}")
    source, out, kind = Path(source), Path(out), LAYOUTS[layout]
    stamp = out / ".imported"
    if stamp.is_file():
        return out
    if out.exists() and any(out.iterdir()) and not (out / ".importing").is_file():
        raise OutputRefused(f"{out} is not empty and was not made by an import; choose another folder")
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
        (out / "labels").mkdir(exist_ok=True)
        (out / ".importing").write_text(layout, encoding="utf-8")
        count = 0
        for found in kind.read(source):
            _write(found, out)
            count += 1
        if not count:
            shutil.rmtree(out)
            raise UnreadableInput(f"nothing of {kind.title} in {source}; expected {kind.expects}; see docs/DATASETS.md")
        (out / ".importing").unlink()
        stamp.write_text(f"{layout} {count}\n", encoding="utf-8")
    except OSError as e:
        raise OutputRefused(f"cannot write {out} ({e.strerror or e}); choose a folder that can be written") from e
    return out


def _write(found: Found, out: Path) -> None:
    """One image, its label and its votes."""
    if found.volume_label is not None:
        _write_volume(found, found.volume_label, out)
        return
    if found.labels is None:
        raise ValueError(f"{found.name}: a photograph without labels cannot be imported")
    with Image.open(found.image) as picture:
        size, width = (picture.height, picture.width), found.crop_width
        if found.labels.shape != ((size[0], width) if width else size):
            raise UnreadableInput(
                f"{found.image} has {size} pixels, its annotation {found.labels.shape}; expected equal"
            )
        if width:
            picture.crop((0, 0, width, size[0])).convert("RGB").save(out / "images" / f"{found.name}.png")
    if not width:
        shutil.copyfile(found.image, out / "images" / f"{found.name}{found.image.suffix.lower()}")
    Image.fromarray(found.labels).save(out / "labels" / f"{found.name}.png")
    for region, counts in (found.votes or {}).items():
        (out / "experts" / region).mkdir(parents=True, exist_ok=True)
        Image.fromarray(counts).save(out / "experts" / region / f"{found.name}.png")


def _write_volume(found: Found, label_path: Path, out: Path) -> None:
    """Image and gland mask (every label above 0: zones are joined) as NIfTI in the image's own grid."""
    image, label = open_input(found.image), open_input(label_path)
    if image.scan.grid_shape != label.scan.grid_shape:
        raise UnreadableInput(
            f"{label_path} has shape {label.scan.grid_shape}, its image {image.scan.grid_shape}; expected equal"
        )
    write_volume(image.scan.pixels, image, out / "images" / f"{found.name}.nii.gz", overwrite=True)
    gland = (label.scan.pixels > 0).astype(np.uint8)
    write_mask(gland, image, out / "labels" / f"{found.name}.nii.gz", overwrite=True)
