"""Masks of cases written in the background, one after another; an earlier file is kept, never lost."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ...annotations.annotation_set import safe_stem
from ...annotations.trail import login_name
from ...base.errors import OutputRefused, TinyMIGError
from ...formats import find_inputs, mask_paths, open_mask
from ...formats.declared import PICTURE_FILE, VOLUME_FILE
from ...formats.dicom_seg import can_write_seg
from ...formats.foreign_masks.kept_legend import kept_codes
from ...formats.read_masks import mask_scan_file
from ..masks.journal_keeper import mark_saved
from ..masks.mask_state import State
from ..napari_io.layer_geometry import KEY, scan_file_of
from ..napari_io.layers import geometry_of
from ..napari_io.writers import write_in_folder, write_labels
from ..parts.background import Work
from .belonging import path_of
from .case import Case
from .mask_files import as_volume_file, is_seg, target_beside
from .remembered import ROOM

KEPT = ("model_id", "uncertainty", "shift_score", "seconds", "status", "task")
"""What is remembered of a prediction beside its labels: plain values."""


@dataclass(frozen=True)
class ToWrite:
    """A mask to be written: a copy of its labels, so that painting may go on."""

    case: Case
    layer: Labels
    path: Path
    labels: NDArray[np.uint8]
    meta: dict[str, Any]
    state: State


def target_of(case: Case, folder: Path | None = None) -> Path:
    """Where the mask of a case goes: beside its image, or into a folder. Raises OutputRefused for an image
    without a file where no folder is given."""
    source = case.item.path if case.item is not None else path_of(case.image) if case.image is not None else None
    if case.target is not None:
        target = case.target
    elif source is not None and source.exists():
        item = find_inputs([source])[0]
        target = target_beside(item, mask_paths(source.parent, [item])[0])
    else:
        suffix = PICTURE_FILE if case.mask is None or case.mask.ndim == 2 else VOLUME_FILE
        target = Path(f"{safe_stem(case.name)}_mask{suffix}")
        if folder is None:
            raise OutputRefused(f"'{case.name}' was not read from a file; choose the folder that masks go to.")
    if is_seg(target) and case.image is not None and not can_write_seg(scan_file_of(case.image)):
        target = as_volume_file(target)
    return target if folder is None else folder / target.name


def put_in_place(file: Path, target: Path) -> Path:
    """Move a predicted mask from where it waits to where it belongs, in the codes of that folder; where it lies now.
    Raises OutputRefused where a file is there already."""
    target = target if is_seg(target) == is_seg(file) else as_volume_file(target)
    if target.exists():
        raise OutputRefused(f"{target} exists already; open the case and save it there.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if kept_codes(target.parent) is None or is_seg(target):
        shutil.move(file, target)
        return target
    mask = open_mask(file)
    write_in_folder(mask.labels, mask_scan_file(mask), target, None)
    file.unlink()
    return target


def to_write(case: Case, path: Path, state: State) -> ToWrite:
    """What is needed to write the mask of a case."""
    mask = case.mask
    if mask is None:
        raise OutputRefused(f"'{case.name}' has no mask yet; segment it first.")
    meta = {"metadata": dict(mask.metadata), "features": mask.features, **geometry_of(mask)}
    meta["units"] = tuple(str(u) for u in mask.units)
    return ToWrite(case, mask, path, np.array(mask.data, np.uint8), meta, state)


def write(job: ToWrite, keep_earlier: bool, report: Callable[[Any], None]) -> ToWrite:
    """Write a mask; what was at its place goes to tinymig/earlier/ beside it."""
    report(None)
    if keep_earlier and job.path.exists():
        earlier = job.path.parent / ROOM / "earlier"
        earlier.mkdir(parents=True, exist_ok=True)
        count = sum(1 for _ in earlier.glob(f"*-{job.path.name}"))
        shutil.copy2(job.path, earlier / f"{count + 1}-{job.path.name}")
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(str(job.path), job.labels, job.meta)
    return job


def remembered_of(mask: Labels) -> dict[str, Any]:
    """What is told later of a mask: its model and task as plain values, who mended it, and when (UTC)."""
    own = mask.metadata.get(KEY, {})
    about = {key: own[key] for key in KEPT if own.get(key) is not None}
    about |= {k: float(v) for k, v in about.items() if isinstance(v, np.floating)}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return about | {"who": login_name(), "when": now}


class Saver(QObject):
    """Writes masks one after another. written: (case, path, state) when one lies on the disk; failed: a sentence."""

    written = Signal(object, object)
    failed = Signal(str)

    def __init__(self, viewer: Any, parent: QObject):
        super().__init__(parent)
        self._viewer = viewer
        self._queue: list[ToWrite] = []
        self._ours: set[Path] = set()
        self._now: ToWrite | None = None
        self._work = Work(self, self._done, self._not_done)

    @property
    def busy(self) -> bool:
        """True while something is still to be written."""
        return self._now is not None or bool(self._queue)

    def put(self, case: Case, path: Path, state: State = "saved") -> None:
        """Write the mask of a case soon. state: what the case then is. Raises OutputRefused."""
        self._queue.append(to_write(case, path, state))
        self._next()

    def _next(self) -> None:
        if self._now is None and self._queue:
            self._now = self._queue.pop(0)
            self._work.start_call(write, self._now, self._replaces(self._now))

    def _replaces(self, job: ToWrite) -> bool:
        """Whether a file at that place would be someone's mask, to be kept."""
        return job.state == "saved" and job.path not in self._ours

    def _done(self, job: ToWrite) -> None:
        self._now = None
        self._take(job)
        self._next()

    def _take(self, job: ToWrite) -> None:
        self._ours.add(job.path)
        job.case.mask_file, job.case.about = job.path, remembered_of(job.layer)
        if job.state == "saved":
            mark_saved(self._viewer, job.layer, job.labels)
        self.written.emit(job.case, job.path)

    def _not_done(self, error: BaseException) -> None:
        self._now = None
        self.failed.emit(str(error))
        self._next()

    def finish(self) -> None:
        """Write what is left, now, before the window goes. A file that cannot be written is told by `failed`."""
        left = [self._now, *self._queue] if self._now is not None else self._queue
        self._work.cancel()
        self._now, self._queue = None, []
        for job in left:
            try:
                self._take(write(job, self._replaces(job), lambda _value: None))
            except (TinyMIGError, OSError, ValueError) as e:
                self.failed.emit(str(e))
