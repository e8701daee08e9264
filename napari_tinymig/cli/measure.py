"""`tinymig measure`: the numbers of mended or foreign masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..tasks.table import TASKS, listed
from . import SOME_FAILED


def measure(
    masks: list[Path] = typer.Argument(..., help="Mask files or folders of them."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for measurements.csv."),
    task: str = typer.Option("auto", help=f"auto (recorded beside the mask, else by its shape), {listed(TASKS)}."),
    labels: str | None = typer.Option(
        None, help="Foreign label codes, e.g. 0:2,128:1,255:0, or colours, e.g. '#ff0000:1'."
    ),
    psa: float | None = typer.Option(None, min=0, help="PSA in ng/mL, for PSA density (adds a column)."),
) -> None:
    """Write measurements.csv for masks that were made or mended elsewhere."""
    from ..batch.folder import TABLE, check_folder
    from ..formats import parse_label_map
    from ..formats.foreign_masks.kept_legend import keep_legend
    from ..formats.mask_sets import find_masks
    from ..measures.csv_table import Table, table_columns

    given = parse_label_map(labels) if labels else None
    check_folder(out)
    paths = find_masks(masks)
    kept: dict[Path, dict[int, int] | None] = {}
    table = Table(out / TABLE, table_columns(psa=psa is not None))
    failed = 0
    for path in paths:
        if given is None and path.parent not in kept:
            kept[path.parent] = kept_codes(path.parent)
        row, notes = measure_row(path, task, given or kept.get(path.parent), psa)
        table.put(row)
        failed += row["status"] == "failed"
        typer.echo(_line(path, row))
        for note in notes:
            typer.echo(f"{path.name}: {note}")
    table.order(map(str, paths))
    table.write()
    if labels and failed < len(paths):
        for folder in [p for p in masks if p.is_dir()]:
            say_if(keep_legend(folder, labels))
    typer.echo(f"{len(paths) - failed} measured, {failed} failed; see {out / TABLE}")
    if failed:
        raise typer.Exit(SOME_FAILED)


def kept_codes(path: Path) -> dict[int, int] | None:
    """What was kept of the codes of the masks in a folder, or beside a file, said once; None = nothing."""
    from ..formats import parse_label_map
    from ..formats.foreign_masks.kept_legend import kept_legend, told_legend

    folder = path if path.is_dir() else path.parent
    text = kept_legend(folder)
    if text:
        typer.echo(told_legend(folder, text))
    return parse_label_map(text) if text else None


def say_if(sentence: str) -> None:
    """A line on the terminal; nothing for an empty one."""
    if sentence:
        typer.echo(sentence)


def measure_row(
    path: Path, task: str, codes: dict[int, int] | None, psa: float | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The table row of one mask, with its number in 'words', and notes on how it was read; one that cannot be read is
    a row 'failed'."""
    import time

    from ..base.errors import TinyMIGError
    from ..formats import open_mask
    from ..formats.mask_sets import check_codes, task_of_mask
    from ..measures import clinical as numbers
    from ..measures.csv_table import diameters
    from ..measures.declared import cells
    from ..measures.headline import headline_words

    start = time.perf_counter()
    row: dict[str, Any] = {"file": str(path), "mask": path.name, "status": "failed"}
    try:
        mask = open_mask(path, codes)
        chosen = task_of_mask(path, mask, task)
        check_codes(path, mask, chosen)
        found = numbers.measure(mask.labels, chosen, mask.spacing_mm, psa)
    except TinyMIGError as e:
        return row | {"error": str(e)}, ()
    row |= cells(found) | {"words": headline_words(found, chosen.measures, chosen.regions[0].name)[0]}
    row |= {"diameters_mm": diameters(found), "task": chosen.name, "model": "as given"}
    row |= {"status": "ok" if mask.labels.any() else "not_found", "seconds": round(time.perf_counter() - start, 4)}
    return row, mask.notes


def _line(path: Path, row: dict[str, Any]) -> str:
    from ..measures.headline import pixels_of_values

    if row["status"] == "failed":
        return f"{path.name}: failed: {row['error']}"
    if row["status"] == "not_found":
        return f"{path.name}: empty mask"
    diameters = [f"{row['diameters_mm']} mm"] if row["diameters_mm"] else []
    return f"{path.name}: {', '.join(filter(None, [row['words'], *pixels_of_values(row), *diameters])) or 'measured'}"
