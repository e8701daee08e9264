"""The table of formats: every file suffix, what it is called, what its mask is written as, and who may write it.

A new format is one entry here and at most two functions: its loader in `read_masks.LOADERS` (a scan and a mask are read
by it) and its bytes in `write_masks.WRITERS`. Folders, the command line, the save panel and dialogs read this table;
the viewer's manifest (napari.yaml) is compared with it by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FileFormat:
    """One format.

    name: for people. suffixes: lower case, of files that are read. writes: suffixes that are written, the usual one
    first; () where masks go elsewhere. holds: a flat 'picture', a 'volume', or a 'series' (a volume that can be written
    for an image of the same format alone). lossy: suffixes that cannot hold label numbers. mask: suffix of the mask of
    such an image, '' = writes[0]. title: of a written mask, '' = name. option: its word after --format, '' = none.
    """

    name: str
    suffixes: tuple[str, ...]
    holds: Literal["picture", "volume", "series"]
    writes: tuple[str, ...] = ()
    lossy: tuple[str, ...] = ()
    mask: str = ""
    title: str = ""
    option: str = ""

    @property
    def mask_suffix(self) -> str:
        """Suffix of the mask of an image of this format."""
        return self.mask or self.writes[0]


VOLUME_FILE = ".nii.gz"
PICTURE_FILE = ".png"
"""What the project itself writes volumes and pictures as, where nothing else is asked for."""
CAMERA_FILE = ".jpg"

FORMATS: dict[str, FileFormat] = {
    "photograph": FileFormat(
        "a photograph (PNG, JPEG, TIFF, BMP, WebP)",
        (PICTURE_FILE, CAMERA_FILE, ".jpeg", ".tif", ".tiff", ".bmp", ".webp"),
        "picture",
        writes=(PICTURE_FILE,),
        lossy=(CAMERA_FILE, ".jpeg", ".webp"),
        title="indexed PNG",
        option="png",
    ),
    "nifti": FileFormat("NIfTI", (".nii", VOLUME_FILE), "volume", writes=(VOLUME_FILE, ".nii"), option="nifti"),
    "nrrd": FileFormat("NRRD", (".nrrd", ".nhdr"), "volume", writes=(".nrrd",)),
    "mha": FileFormat("MHA/MHD", (".mha", ".mhd"), "volume", writes=(".mha",), title="MetaImage"),
    "dicom": FileFormat(
        "DICOM",
        (".dcm", ".ima", ".dicom"),
        "series",
        writes=(".dcm",),
        mask=VOLUME_FILE,
        title="DICOM segmentation",
        option="dicomseg",
    ),
}
"""By the word that `InputItem.format` uses, in the order in which they are offered."""

TIFF_SUFFIXES = (".tif", ".tiff")


def format_by_suffix(suffix: str) -> str:
    """The format of a suffix in lower case; 'unknown' where there is none."""
    return next((key for key, f in FORMATS.items() if suffix in f.suffixes), "unknown")


def written_format(suffix: str) -> str:
    """The format that a suffix in lower case is written as; '' where there is none."""
    return next((key for key, f in FORMATS.items() if suffix in f.writes), "")


def image_suffixes() -> tuple[str, ...]:
    """Every suffix that is read."""
    return tuple(s for f in FORMATS.values() for s in f.suffixes)


def volume_suffixes() -> tuple[str, ...]:
    """Every suffix that holds a volume or a part of one."""
    return tuple(s for f in FORMATS.values() if f.holds != "picture" for s in f.suffixes)


def mask_suffixes() -> tuple[str, ...]:
    """Every suffix that is read and keeps label numbers."""
    return tuple(s for f in FORMATS.values() for s in f.suffixes if s not in f.lossy)


def lossy_suffixes() -> tuple[str, ...]:
    """Every suffix that is read and smears label numbers."""
    return tuple(s for f in FORMATS.values() for s in f.lossy)


def options() -> dict[str, str]:
    """Word after --format -> suffix of the masks."""
    return {f.option: f.writes[0] for f in FORMATS.values() if f.option}


def mask_choices(source: str | None, flat: bool, volume: bool) -> dict[str, str]:
    """Title -> suffix of the formats that can hold a mask, the source's own first.

    source: format of the image, None = not known. flat: the mask is one plane. volume: it has three axes.
    """
    own = FORMATS[source].mask_suffix if source in FORMATS else (PICTURE_FILE if flat else VOLUME_FILE)
    fitting = {"picture": flat, "volume": volume, "series": volume}
    found = {
        f"{f.title or f.name} ({f.writes[0]})": f.writes[0]
        for key, f in FORMATS.items()
        if f.writes and fitting[f.holds] and (f.holds != "series" or key == source)
    }
    return dict(sorted(found.items(), key=lambda choice: choice[1] != own))


def dialog_filter(key: str, title: str) -> str:
    """A file dialog's filter of one format: 'Photographs (*.png *.jpg ...)'."""
    return f"{title} ({' '.join('*' + s for s in FORMATS[key].suffixes)})"
