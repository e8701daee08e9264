"""`tinymig shift A B -o DIR`: how far are two sets of images apart, seen by one model, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tasks.table import DEFAULT_TASK
from .measure import say_if

if TYPE_CHECKING:
    from ..predict.predictor import Predictor
    from ..sets.compare import Comparison, SeenSet


def shift(
    a: Annotated[str, typer.Argument(help="A folder, a file, or a model by name: its training images.")],
    b: Annotated[str, typer.Argument(help="The other folder, file or model.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the report.")],
    model: Annotated[
        str | None, typer.Option(help="Model whose eyes are used; default: the model given, or the task's.")
    ] = None,
    task: Annotated[str, typer.Option(help="Task whose default model is used when no model is given.")] = DEFAULT_TASK,
    after: Annotated[
        str | None, typer.Option(help="A second model, e.g. the fine-tuned one: the same report once more.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Use at most this many images of each set, evenly spaced.")] = 1000,
    permutations: Annotated[int, typer.Option(min=19, max=99_999, help="Permutations behind every p value.")] = 999,
    theme: Annotated[str, typer.Option(help="light or dark: colours of the figures.")] = "light",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing report.")] = False,
) -> None:
    """Report of the distance between two sets: tables, figures, and one page to read.

    Writes DIR/report.html, shift.csv (a row per image), differences.csv, and shift.png and shift.svg where matplotlib
    is installed. A set is a folder of images, one image, or a model's training images (its shipped statistics).
    """
    from rich.console import Console

    from ..base.errors import TinyMIGError

    console = Console(stderr=True, markup=False)  # names and advice may hold [brackets]
    if theme not in ("light", "dark"):
        raise typer.BadParameter(f"theme is '{theme}'; expected light or dark.")
    if (out / "report.html").exists() and not overwrite:
        console.print(f"{out / 'report.html'} exists; give another -o, or --overwrite.", style="red", soft_wrap=True)
        raise typer.Exit(2)
    try:
        failed = _run(a, b, out, model, task, after, limit, permutations, theme, console)
    except (TinyMIGError, ValueError) as e:
        console.print(str(e), style="red", soft_wrap=True)
        raise typer.Exit(2) from e
    raise typer.Exit(1 if failed else 0)


def _run(
    a: str,
    b: str,
    out: Path,
    model: str | None,
    task: str,
    after: str | None,
    limit: int,
    permutations: int,
    theme: str,
    console: Any,
) -> int:
    """The whole command; returns how many images failed."""
    from ..models.registry import default_model
    from ..predict.predictor import Predictor
    from ..reports.shift_page import write_page
    from ..reports.shift_tables import write_tables
    from ..sets.compare import compare_sets

    given = [name for name in (a, b) if _is_model(name)]
    if len(given) == 2:
        raise ValueError(
            f"'{a}' and '{b}' are both models; expected at least one folder of images; give a folder, and --after."
        )
    names = [model or (given[0] if given else default_model(task))] + ([after] if after else [])
    out.mkdir(parents=True, exist_ok=True)
    pages: list[tuple[str, dict[str, Any], Comparison]] = []
    for name in names:
        predictor = Predictor(name, "cpu")
        statistics = _statistics(predictor)
        sets = [_seen(one, predictor, statistics, limit, console) for one in (a, b)]
        pages.append((predictor.model_id, statistics, compare_sets(statistics, sets[0], sets[1], permutations)))
    write_tables(out, pages)
    write_page(out, pages, theme, f"tinymig shift {a} {b}", lambda text: console.print(text, soft_wrap=True))
    _tell(console, pages, out)
    _, _, first = pages[0]
    return sum(bool(i.error) for s in (first.a, first.b) for i in s.images)


def _is_model(name: str) -> bool:
    """Whether an argument names a model: a known name or a .safetensors file, and no existing folder or image."""
    from ..models.registry import SUFFIX, model_paths

    if Path(name).exists():
        return Path(name).suffix == SUFFIX
    return name.split("@")[0] in model_paths()


def _statistics(predictor: Predictor) -> dict[str, Any]:
    from ..shift.source_statistics import read_statistics

    statistics = read_statistics(predictor.header.statistics, predictor.header.name)
    if statistics is None:
        raise ValueError(
            f"model '{predictor.header.name}' carries no source statistics; expected a model made by train or "
            "finetune of this version; choose another --model."
        )
    return statistics


def _seen(name: str, predictor: Predictor, statistics: dict[str, Any], limit: int, console: Any) -> SeenSet:
    """A set from an argument: a model's training images, or every image of a folder, with a progress bar."""
    from rich.markup import escape
    from rich.progress import track

    from ..formats import find_scans, masks_left_out
    from ..sets.compare import SeenSet, see, training_images

    if _is_model(name):
        return training_images(f"training images of {predictor.header.name}", statistics)
    inner = Path(name) / "images"
    given = [inner if inner.is_dir() else Path(name)]
    items = find_scans(given)
    say_if(masks_left_out(given))
    if len(items) > limit:
        items = [items[round(i * (len(items) - 1) / max(limit - 1, 1))] for i in range(limit)]
    title = Path(name).resolve().name
    seen, shown = SeenSet(title), escape(title)
    for image in track(see(predictor, statistics, items), shown, total=len(items), console=console, transient=True):
        seen.images.append(image)
    return seen


def _tell(console: Any, pages: list[tuple[str, dict[str, Any], Comparison]], out: Path) -> None:
    """The outcome in a few lines."""
    from ..reports.shift_page import comparison_sentence

    for model_id, _, comparison in pages:
        console.print(f"{model_id}  {comparison_sentence(comparison)}", soft_wrap=True)
        for note in comparison.notes:
            console.print(f"  {note}", soft_wrap=True)
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True)
