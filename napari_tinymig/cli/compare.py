"""`tinymig compare`: two readers, or a reader and a tool."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..tasks.table import TASKS, listed
from . import SOME_FAILED
from .measure import kept_codes, say_if

if TYPE_CHECKING:
    from ..measures.agreement import Agreement, Pair
    from ..tasks.task import Task


def compare(
    a: Path = typer.Argument(..., help="Masks of the first reader: a folder or one file."),
    b: Path = typer.Argument(..., help="Masks of the second reader: a folder or one file."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for agreement.csv, summary.md and the plot."),
    task: str = typer.Option("auto", help=f"auto, {listed(TASKS)}."),
    labels: str | None = typer.Option(None, help="Foreign label codes of both, e.g. 0:2,128:1,255:0."),
    labels_a: str | None = typer.Option(None, help="Foreign label codes of the first alone."),
    labels_b: str | None = typer.Option(None, help="Foreign label codes of the second alone."),
) -> None:
    """Dice, HD95, differences of vCDR or volume, Bland-Altman and ICC of two sets of masks."""
    from ..base.errors import TinyMIGError, UnreadableInput
    from ..batch.folder import check_folder
    from ..formats import parse_label_map
    from ..formats.foreign_masks.kept_legend import keep_legend
    from ..formats.mask_sets import pair_masks

    for side in (a, b):
        if not side.exists():
            raise UnreadableInput(f"{side} does not exist; expected a mask or a folder of masks; check the path.")
    given = [(a, labels_a or labels), (b, labels_b or labels)]
    maps = [
        parse_label_map(text) if text else kept_codes(side if side.is_dir() else side.parent) for side, text in given
    ]
    pairs, alone = pair_masks(a, b)
    if not pairs:
        raise UnreadableInput(f"{a} and {b} share no mask name; expected equal stems (with or without _mask).")
    check_folder(out)
    done: list[Pair] = []
    failed: dict[str, str] = dict.fromkeys(alone, "only one of the two readers has it")
    chosen: Task | None = None
    for name, one, two in pairs:
        try:
            pair, chosen = _compare_one(name, one, two, task, maps, chosen)
            done.append(pair)
            typer.echo(_line(pair))
        except TinyMIGError as e:
            failed[name] = str(e)
            typer.echo(f"{name}: failed: {e}")
    for side, text in given if done else []:
        say_if(keep_legend(side, text) if text and side.is_dir() else "")
    if chosen is not None:
        _report(done, failed, chosen, out, (_name(a), _name(b, a)))
    if failed:
        typer.echo(f"{len(failed)} not compared: {'; '.join(f'{k}: {v}' for k, v in list(failed.items())[:3])}")
        raise typer.Exit(SOME_FAILED)


def _name(path: Path, other: Path | None = None) -> str:
    name = path.resolve().name
    return f"{path.resolve().parent.name}/{name}" if other is not None and other.resolve().name == name else name


def _compare_one(
    name: str, one: Path, two: Path, wanted: str, maps: list[dict[int, int] | None], task: Task | None
) -> tuple[Pair, Task]:
    from ..base.errors import UnsupportedInput
    from ..formats import open_mask
    from ..formats.mask_sets import check_codes, task_of_mask
    from ..measures.agreement import compare_masks

    first, second = open_mask(one, maps[0]), open_mask(two, maps[1])
    task = task or task_of_mask(one, first, wanted)
    for path, mask in ((one, first), (two, second)):
        for note in mask.notes:
            typer.echo(f"{path.name}: {note}")
        check_codes(path, mask, task)
    x, y = first.labels, second.labels
    if x.shape != y.shape and x.size == y.size:  # one slice as (H, W) here and (1, H, W) there
        x, y = x.reshape(x.shape[-2:]), y.reshape(y.shape[-2:])
    if first.spacing_mm and second.spacing_mm and len(first.spacing_mm) == len(second.spacing_mm):
        off = max(abs(p - q) / p for p, q in zip(first.spacing_mm, second.spacing_mm))
        if off > 0.01:
            raise UnsupportedInput(
                f"{name}: the spacings are {first.spacing_mm} and {second.spacing_mm} mm; expected the same image."
            )
    return compare_masks(name, x, y, task, first.spacing_mm or second.spacing_mm), task


def _line(pair: Pair) -> str:
    parts = [f"{k} Dice {v:.3f}, HD95 {pair.hd95[k]:.1f} {pair.unit}" for k, v in pair.dice.items()]
    return f"{pair.name}: {'; '.join(parts)}"


def _report(done: list[Pair], failed: dict[str, str], task: Task, out: Path, names: tuple[str, str]) -> None:
    """agreement.csv, summary.md, bland_altman.png."""
    from ..base.safe_files import write_atomic
    from ..measures.agreement import agreement
    from ..measures.csv_table import Table
    from ..measures.declared import GLAND_VOXELS
    from ..measures.headline import headline_measure
    from ..reports.bland_altman import bland_altman
    from ..reports.overlay import save_overlay

    key = headline_measure(task)
    if task.input == "volume" and all(math.isnan(p.a[key]) for p in done):
        key = GLAND_VOXELS
    regions = [r.name for r in task.regions]
    columns = ["file", *(f"{m}_{r}" for m in ("dice", "hd95") for r in regions), "unit"]
    columns += [f"{key}_a", f"{key}_b", "difference", "error"]
    table = Table(out / "agreement.csv", columns, afresh=True)
    for pair in done:
        row: dict[str, Any] = {"file": pair.name, "unit": pair.unit, "difference": pair.a[key] - pair.b[key]}
        row |= {f"dice_{k}": v for k, v in pair.dice.items()} | {f"hd95_{k}": v for k, v in pair.hd95.items()}
        table.put(row | {f"{key}_a": pair.a[key], f"{key}_b": pair.b[key]})
    for name, reason in failed.items():
        table.put({"file": name, "error": reason})
    table.write()
    a, b = [p.a[key] for p in done], [p.b[key] for p in done]
    found = agreement(a, b)
    text = summary_text(done, found, key, names)
    write_atomic(out / "summary.md", text.encode())
    save_overlay(bland_altman(a, b, found, key, names), out / "bland_altman.png")
    typer.echo("\n" + text)


def summary_text(done: list[Pair], found: Agreement, key: str, names: tuple[str, str]) -> str:
    """The summary as Markdown."""
    import numpy as np

    lines = [f"# {names[0]} against {names[1]}", "", f"{len(done)} images.", ""]
    lines += ["| region | mean Dice | median | lowest | mean HD95 | unit |", "|---|---|---|---|---|---|"]
    for region in done[0].dice if done else ():
        dice = np.array([p.dice[region] for p in done])
        far = np.mean([p.hd95[region] for p in done])
        lines.append(
            f"| {region} | {dice.mean():.4f} | {np.median(dice):.4f} | {dice.min():.4f} | {far:.2f} | {done[0].unit} |"
        )
    lines += [
        "",
        f"{key}, {names[0]} - {names[1]}, n = {found.n}: bias {found.bias:.4g} (sd {found.sd:.4g}), 95 % limits of "
        f"agreement {found.lower:.4g} [{found.lower_interval[0]:.4g}, {found.lower_interval[1]:.4g}] to "
        f"{found.upper:.4g} [{found.upper_interval[0]:.4g}, {found.upper_interval[1]:.4g}], mean absolute difference "
        f"{found.mae:.4g}, ICC(2,1) {found.icc:.4f} [{found.icc_interval[0]:.4f}, {found.icc_interval[1]:.4f}].",
        "",
        "Distances of an empty mask against a filled one count as the image's diagonal. Research use only.",
    ]
    return "\n".join(lines) + "\n"
