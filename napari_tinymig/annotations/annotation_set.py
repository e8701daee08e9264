"""The annotation set: a project folder of images, mended masks, and who made which mask from what.

Layout (the domain folder that the command line trains on): `images/<stem>.png|.nii.gz`, `labels/<stem>.png|.nii.gz`,
`annotations.json`; earlier masks move to `history/`. Labels are uint8 in the scan's shape; 255 = not labelled.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationError

from ..base.errors import OutputRefused, UnreadableInput
from ..base.plain_json import parse_json
from ..base.records import Scan
from ..base.safe_files import FolderLock, inside, write_atomic
from ..formats.declared import PICTURE_FILE, VOLUME_FILE
from ..formats.lossless import read_pair, write_labels, write_pixels
from ..tasks.table import TASKS
from ..tasks.task import Frozen, Task
from .label_checks import IGNORE, Finding, check_labels, share_mended
from .plain_folder import plain_pairs
from .trail import Mended, login_name, trail_with

FILE = "annotations.json"
VERSION = 1
Role = Literal["auto", "train", "val"]


class AnnotationConflict(OutputRefused):
    """The image already has another mask; adding again needs `replace=True`, and the old mask goes to history/."""


class Case(Frozen):
    """One annotated image of a set."""

    stem: str = Field(description="File stem of image and label.")
    image: Annotated[str, AfterValidator(inside)] = Field(description="Path of the image inside the set.")
    label: Annotated[str, AfterValidator(inside)] = Field(description="Path of the mask inside the set.")
    role: Role = Field("auto", description="train, val, or auto: decided by the run (2-fold).")
    include: bool = Field(True, description="False: kept, but not used.")
    who: str = Field("", description="Name of the annotator.")
    when: str = Field("", description="UTC date and time of the annotation, ISO 8601; for people, never compared.")
    source: str = Field("", description="File that the image came from.")
    model_id: str = Field("", description="Model whose prediction was mended; empty = drawn from nothing.")
    image_sha256: str = Field("", description="Hash of the pixels (16 hex digits).")
    label_sha256: str = Field("", description="Hash of the labels (16 hex digits).")
    prediction_sha256: str = Field("", description="Hash of the prediction's labels that was mended.")
    labelled_fraction: float = Field(1.0, ge=0, le=1, description="Part of the pixels that is not 255.")
    changed_fraction: float | None = Field(None, description="Part of the pixels labelled otherwise than predicted.")
    mended_share: float | None = Field(None, description="The same as a part of what either mask labels.")
    spacing_mm: tuple[float, ...] | None = Field(None, description="Spacing in array order; None = unknown.")
    earlier: tuple[Mended, ...] = Field((), description="Who made the masks before this one, oldest first.")


def sha16(array: NDArray[Any]) -> str:
    """First 16 hex digits of the SHA-256 over dtype, shape and bytes."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def safe_stem(name: str) -> str:
    """A file stem that every system accepts, from any name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:80] or "image"


def read_cases(folder: str | Path) -> list[Case]:
    """The cases of a set without locking it, as a training run reads them; a plain domain folder gives its pairs.

    Raises UnreadableInput for a folder that is no set and no domain folder, or for a damaged annotations.json.
    """
    folder = Path(folder)
    path = folder / FILE
    if not path.exists():
        return [Case(stem=stem, image=image, label=label) for stem, image, label in plain_pairs(folder)]
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
        if int(raw["version"]) > VERSION:
            raise UnreadableInput(f"{path} was written by a newer version; update napari-tinymig")
        return [Case.model_validate(c) for c in raw["cases"]]
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableInput(
            f"{path} is damaged ({where}: {first['msg']}); move it away, and the set is read from images/ and labels/"
        ) from e
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UnreadableInput(
            f"{path} is damaged ({' '.join(str(e).split())[:120]}); move it away, and the set is read from images/ and "
            "labels/"
        ) from e


def is_set(folder: str | Path) -> bool:
    """True for an annotation set, False for a plain folder of images/ and labels/."""
    return (Path(folder) / FILE).exists()


def task_of_set(folder: str | Path) -> str:
    """The task that an annotation set names; '' for a plain folder, a new one, or a list that cannot be read."""
    try:
        return str(parse_json((Path(folder) / FILE).read_text(encoding="utf-8"))["task"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_task_of_set(folder: str | Path, task: Task) -> None:
    """Raise ValueError where a set's masks are of another task: its codes would be learned as other classes."""
    held = task_of_set(folder)
    if held not in ("", task.name):
        raise ValueError(
            f"{folder} holds masks of the task '{held}', the model is for '{task.name}'; expected one task; choose a "
            f"model for '{held}'"
        )


def load_case(
    folder: str | Path, case: Case, label_map: Mapping[int, int] | None = None
) -> tuple[Scan, NDArray[np.uint8]]:
    """The scan of a case and its labels, uint8 in the scan's shape, 255 = not labelled. label_map: foreign -> ours.

    Raises UnreadableInput if a file is missing, UnsupportedInput for two that do not fit and for codes not in the map.
    """
    folder = Path(folder)
    scan, labels = read_pair(folder / case.image, folder / case.label, label_map)
    if case.image_sha256:  # made by `add`: the list knows what the file cannot say
        scan = Scan(scan.pixels, case.spacing_mm, case.stem)
    return scan, labels


class AnnotationSet:
    """An open set; holds the folder's lock until `close` (or use it in a `with` block).

    folder: made if absent. task: whose classes the masks carry. who: the annotator, default the login name.
    Raises OutputRefused if another process has the set open or the folder cannot be written.
    """

    def __init__(self, folder: str | Path, task: Task, who: str | None = None):
        self.folder, self.task = Path(folder), task
        self.who = who if who is not None else login_name()
        try:
            for name in ("images", "labels"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputRefused(f"cannot make {self.folder} ({e.strerror or e}); choose a writable folder") from e
        self._lock = FolderLock(self.folder, what="this annotation set")
        try:
            self._cases = {c.stem: c for c in read_cases(self.folder)}
            self._check_task()
        except Exception:
            self._lock.release()
            raise

    def __enter__(self) -> AnnotationSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the folder for other viewers."""
        self._lock.release()

    def _check_task(self) -> None:
        path = self.folder / FILE
        if path.exists():
            found = parse_json(path.read_text(encoding="utf-8")).get("task")
            if found != self.task.name:
                raise OutputRefused(
                    f"{self.folder} holds masks of the task '{found}', not '{self.task.name}'; choose another folder"
                )

    @property
    def cases(self) -> list[Case]:
        """Every case, oldest first."""
        return list(self._cases.values())

    def add(
        self,
        scan: Scan,
        labels: NDArray[Any],
        *,
        source: str = "",
        model_id: str = "",
        prediction: NDArray[np.uint8] | None = None,
        role: Role = "auto",
        replace: bool = False,
    ) -> tuple[Case, list[Finding]]:
        """Add an image with its mask; what comes back are the case and warnings worth showing.

        labels: integer array of `scan.grid_shape`, the task's values, 0 background, 255 not labelled. prediction: the
        labels that the model gave, for the record of what was mended. replace: the image may be in the set already;
        its old mask moves to history/.

        Raises ValueError for masks that cannot teach (shape, classes, empty) and AnnotationConflict.
        """
        findings = check_labels(labels, scan, self.task, prediction)
        if errors := [f.text for f in findings if f.severity == "error"]:
            raise ValueError(" ".join(errors))
        mask = labels.astype(np.uint8)
        image_sha, label_sha = sha16(scan.pixels), sha16(mask)
        known = next((c for c in self._cases.values() if c.image_sha256 == image_sha), None)
        if known is not None:
            self._refuse_conflict(known, label_sha, prediction, replace)
        stem = known.stem if known else self._free_stem(scan.name or Path(source).stem or "image")
        role = known.role if known and role == "auto" else role
        earlier = trail_with(known) if known and known.label_sha256 != label_sha else known.earlier if known else ()
        origin = {"role": role, "source": source, "model_id": model_id, "earlier": earlier}
        case = self._new_case(stem, scan, mask, prediction, **origin)
        if known:
            self._keep_history(known)
        else:
            write_pixels(self.folder / case.image, scan)
        write_labels(self.folder / case.label, mask, scan)
        self._cases[stem] = case
        self.save()
        return case, [f for f in findings if f.severity == "warning"]

    def _new_case(
        self, stem: str, scan: Scan, mask: NDArray[np.uint8], prediction: NDArray[Any] | None, **origin: Any
    ) -> Case:
        """The record of a case: files, hashes, who and when, and how much was labelled and changed."""
        labelled = mask != IGNORE
        return Case(
            stem=stem,
            image=f"images/{stem}{_suffix(scan)}",
            label=f"labels/{stem}{_suffix(scan)}",
            who=self.who,
            when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            image_sha256=sha16(scan.pixels),
            label_sha256=sha16(mask),
            prediction_sha256="" if prediction is None else sha16(prediction.astype(np.uint8)),
            labelled_fraction=float(np.mean(labelled)),
            changed_fraction=None if prediction is None else float(np.mean((mask != prediction) & labelled)),
            mended_share=None if prediction is None else share_mended(mask, prediction),
            spacing_mm=scan.spacing_mm,
            **origin,
        )

    def _refuse_conflict(self, known: Case, label_sha: str, prediction: Any, replace: bool) -> None:
        if known.label_sha256 == label_sha or replace:
            return
        own = "an untouched prediction" if prediction is not None and label_sha == sha16(prediction) else "another mask"
        raise AnnotationConflict(
            f"this image is in the set already as '{known.stem}', mended by {known.who or 'someone'}; you are adding "
            f"{own}; choose Replace to use it (the earlier mask is kept in history/)"
        )

    def update(self, stem: str, *, role: Role | None = None, include: bool | None = None) -> Case:
        """Change role or inclusion of a case."""
        change = {k: v for k, v in {"role": role, "include": include}.items() if v is not None}
        self._cases[stem] = Case.model_validate(self._cases[stem].model_dump() | change)
        self.save()
        return self._cases[stem]

    def remove(self, stem: str) -> None:
        """Take a case out of the set; its files move to history/."""
        case = self._cases.pop(stem)
        self._keep_history(case)
        self._move_to_history(self.folder / case.image)
        self.save()

    def _keep_history(self, case: Case) -> None:
        self._move_to_history(self.folder / case.label, f"label-{case.label_sha256}-")

    def _move_to_history(self, path: Path, prefix: str = "image-") -> None:
        if not path.exists():
            return
        history = self.folder / "history"
        try:
            history.mkdir(exist_ok=True)
            shutil.copy2(path, history / f"{prefix}{path.name}")
            if prefix == "image-":
                path.unlink()
        except OSError as e:
            raise OutputRefused(f"cannot keep the earlier {path.name} in {history} ({e.strerror or e})") from e

    def _free_stem(self, name: str) -> str:
        stem = safe_stem(name)
        taken: Iterable[str] = [s.lower() for s in self._cases]  # some systems do not tell A from a
        candidate, n = stem, 2
        while candidate.lower() in taken:
            candidate, n = f"{stem}_{n}", n + 1
        return candidate

    def save(self) -> None:
        """Write the list; a task that the package does not know travels with it as a whole record."""
        own = {} if self.task.name in TASKS else {"task_record": self.task.model_dump()}
        listed = {"version": VERSION, "task": self.task.name, **own, "cases": [c.model_dump() for c in self.cases]}
        write_atomic(self.folder / FILE, json.dumps(listed, indent=1).encode())


def _suffix(scan: Scan) -> str:
    flat_png = scan.kind == "photograph" or (scan.pixels.shape[0] == 1 and scan.pixels.dtype == np.uint8)
    return PICTURE_FILE if flat_png and (scan.kind == "photograph" or scan.spacing_mm is None) else VOLUME_FILE
