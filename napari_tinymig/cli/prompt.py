"""`tinymig prompt`: recorded clicks, scribbles and boxes replayed on an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..prompts.records import Prompt
    from ..prompts.session import PromptSession

from ..tasks.table import TASKS, listed


def prompt(
    image: Path = typer.Argument(..., help="An image, or a DICOM series folder."),
    prompts: Path = typer.Option(..., "--prompts", help="JSON file of prompts; see docs/PROMPTS.md."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for the mask, the prompts and measurements.csv."),
    task: str | None = typer.Option(
        None, help=f"{listed([*TASKS, 'your own', 'any'])}; default: the file's, else any."
    ),
    model: str | None = typer.Option(
        None, help="Student of the automatic mask: name or file; default: the task's own."
    ),
    start: str | None = typer.Option(None, help="auto, empty, or a mask file to mend; default: the file's, else auto."),
    engine: str | None = typer.Option(None, help="student, or litemedsam (boxes); default: the file's, else student."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a mask that exists."),
) -> None:
    """Write the mask that prompts make, in the image's own grid, and its numbers."""
    from ..batch.folder import check_folder
    from ..formats import mask_paths, open_input, write_mask
    from ..formats.find import find_scans
    from ..measures.csv_table import row_of
    from ..prompts.records import read_prompts, write_prompts

    listed, settings = read_prompts(prompts)
    task = task or str(settings.get("task", "any"))
    start = start or str(settings.get("start", "auto"))
    engine = engine or str(settings.get("engine", "student"))
    items = find_scans([image])
    scan_file = open_input(items[0] if len(items) == 1 else image)
    check_folder(out)
    target = mask_paths(out, items[:1])[0]
    refuse_existing(target, overwrite)
    session = _begin(scan_file, listed, task, model, start, engine)
    for number, answer in enumerate(session.replay(listed), 1):
        if answer.note:
            typer.echo(f"prompt {number}: {answer.note}")
    prediction = session.prediction
    labels = session.labels.reshape(scan_file.scan.grid_shape)
    record = target.with_name(target.name.split("_mask.")[0] + "_prompts.json")
    write_prompts(record, session.prompts, task=task, start=start, engine=engine)
    _put_row(out, {"file": str(image), "mask": target.name, "status": prediction.status} | row_of(prediction))
    # The mask comes last: while it is absent, the same command may run again.
    write_mask(labels, scan_file, target, task=session.task, overwrite=overwrite)
    typer.echo(f"{len(listed)} prompt{'s' * (len(listed) != 1)}; {target}")


def _begin(
    scan_file: Any, listed: list[Prompt], task: str, model: str | None, start: str, engine: str
) -> PromptSession:
    """A session on a file; a grey picture whose prompts have two numbers is one of rows and columns, as in Python."""
    from ..annotations.structures import task_to_prompt
    from ..jobs.box_engine import open_box_engine
    from ..prompts.begin import begin

    flat = scan_file.scan.pixels.shape[0] == 1 and all(len(at) == 2 for p in listed for at in p.positions)
    begun = start_of(start, scan_file, flat)
    asked = task_to_prompt(task, model)
    return begin(scan_file.scan, asked, model, begun, flat=flat, box_engine=open_box_engine(engine))


def _put_row(out: Path, row: dict[str, Any]) -> None:
    """Put one row into the folder's measurements.csv."""
    from ..batch.folder import TABLE
    from ..measures.csv_table import Table, table_columns

    table = Table(out / TABLE, table_columns())
    table.put(row)
    table.write()


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Raise OutputRefused for a mask that would be replaced."""
    from ..base.errors import OutputRefused

    if target.exists() and not overwrite:
        raise OutputRefused(f"{target} exists and is not overwritten; add --overwrite or choose another folder.")


def start_of(start: str, scan_file: Any, flat: bool) -> Any:
    """What `begin` takes as a start: 'auto', None, or the labels of a mask file, (H, W) of a grey picture."""
    if start in ("auto", "empty"):
        return "auto" if start == "auto" else None
    from ..formats import read_mask

    labels = read_mask(start, like=scan_file)
    return labels[0] if flat and labels.ndim == 3 else labels
