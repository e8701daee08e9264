"""What a folder of cases remembers: states, numbers, masks not saved yet, and where it was left.

All of it lies in FOLDER/tinymig/: cases.json, predicted/ (masks as predicted, until they are saved beside their
images), earlier/ (masks that a saved one replaced).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ...base.errors import UnreadableInput
from ...base.safe_files import write_atomic
from ...tasks.task import Frozen
from ..masks.mask_state import State
from .case import Case

ROOM, FILE, VERSION = "tinymig", "cases.json", 1


class Remembered(Frozen):
    """What is known of one case."""

    state: State = Field("new", description="How far its mask has come.")
    number: str = Field("", description="Headline number, for people.")
    mask: str = Field("", description="Path of its mask, inside the folder where it lies there.")
    about: dict[str, Any] = Field({}, description="Model, task, who mended it and when.")


class FolderOfCases(Frozen):
    """The whole list. current: name of the case on show. panel: title of the panel in front."""

    version: int = VERSION
    current: str = ""
    panel: str = ""
    cases: dict[str, Remembered] = {}


def list_of(folder: Path) -> FolderOfCases:
    """The list of a folder; an empty one where there is none. Raises UnreadableInput for a damaged or newer one."""
    path = folder / ROOM / FILE
    if not path.exists():
        return FolderOfCases()
    try:
        found = FolderOfCases.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        raise UnreadableInput(f"{path} is damaged ({str(e)[:120]}); move it away, and the folder opens as new") from e
    if found.version > VERSION:
        raise UnreadableInput(f"{path} was written by a newer version; update napari-tinymig")
    return found


def restore(folder: Path, cases: Iterable[Case]) -> str:
    """Give the cases of a folder what is remembered of them; the name of the case that was on show."""
    found = list_of(folder)
    for case in cases:
        known = found.cases.get(case.name)
        mask = folder / known.mask if known is not None and known.mask else None
        if known is None or mask is None or not mask.exists():
            continue  # a mask that is gone takes its state along
        case.mask_file, case.about, case.number, case.state = mask, dict(known.about), known.number, known.state
    return found.current


def remember(folder: Path, cases: Iterable[Case], current: str, panel: str) -> None:
    """Write the list of a folder. Raises OutputRefused where it cannot be written."""
    known = {}
    for case in cases:
        if case.item is None or folder not in case.item.path.parents or case.mask_file is None:
            continue
        mask = case.mask_file
        inside = str(mask.relative_to(folder)) if folder in mask.parents else str(mask)
        known[case.name] = Remembered(state=case.state, number=case.number, mask=inside, about=case.about)
    text = FolderOfCases(current=current, panel=panel, cases=known).model_dump_json(indent=1)
    room = folder / ROOM
    room.mkdir(exist_ok=True)
    write_atomic(room / FILE, text.encode())


def predicted_path(folder: Path, target: Path) -> Path:
    """Where a predicted mask waits until it is saved at `target`."""
    return folder / ROOM / "predicted" / target.name
