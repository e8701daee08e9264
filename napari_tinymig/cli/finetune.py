"""`tinymig finetune` and `tinymig next`: adapt a model to a few mended masks, and which image to mend next."""

from __future__ import annotations

import csv
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..tasks.table import DEFAULT_TASK
from . import SOME_FAILED, say
from .segment import DeviceName
from .train import follow, stopping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..base.records import Message
    from ..jobs import WorkerRun


BEST = "best.safetensors"


class Folds(StrEnum):
    """How the gain of a fine-tuning run is measured."""

    two = "two"
    each = "each"
    none = "none"


def finetune(
    model: str = typer.Option(..., "--model", help="Name or file of the model to start from."),
    data: Path = typer.Option(..., "--data", help="Annotation set, or a folder with images/ and labels/."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the run."),
    minutes: float = typer.Option(1.0, min=0.05, max=600, help="Time budget, from start to kept model."),
    name: str = typer.Option("", help="Name of the new model; default: the parent's name with '-tuned'."),
    reference: Path | None = typer.Option(None, help="Images of the original domain, for the forgetting check."),
    labels: str = typer.Option("", "--labels", help="Foreign label codes of --data, e.g. 0:2,128:1,255:0."),
    device: DeviceName = typer.Option(DeviceName.auto, help="Where to train."),
    seed: int = typer.Option(0, min=0, help="Seed of everything random."),
    steps: int | None = typer.Option(None, min=1, help="Training steps of each part, instead of the time budget."),
    guard: bool = typer.Option(True, "--guard/--no-guard", help="Keep what the model knows (or plain fine-tuning)."),
    folds: Folds = typer.Option(Folds.two, help="The gain is measured on two halves, on each case (longer), or not."),
    teacher: str = typer.Option("", help="timm name of a frozen teacher; default: the model is its own."),
    teacher_weights: Path | None = typer.Option(None, "--teacher-weights", help="Local weights of that teacher."),
    margin: float = typer.Option(0.10, min=0.0, max=1.0, help="Largest loss of agreement that is accepted."),
    resume: bool = typer.Option(False, "--resume", help="Go on with the run in --out after a crash."),
    keep: bool = typer.Option(False, "--keep", help="Make it the default if the acceptance check agrees."),
    knowingly: bool = typer.Option(False, "--knowingly", help="With --keep: also if the check does not agree."),
) -> None:
    """Fine-tune a model on mended masks; before/after scores; an acceptance check that refuses what got worse.

    Exit code 0: done, accepted or not; 1: stopped early, or refused by the acceptance check and so not kept;
    2: data or model that cannot be used.
    """
    asked = time.time()
    check_inputs(model, data, out, resume, reference, labels)
    settings: dict[str, Any] = {"minutes": minutes, "name": name, "labels": labels, "seed": seed, "steps": steps}
    settings |= {"guard": guard, "folds": folds.value, "margin": margin or 1e-9, "device": device.value}
    settings |= {"teacher": teacher, "teacher_weights": _path(teacher_weights), "reference": _path(reference)}
    status = _run({"model": _absolute(model), "data": _path(data), "resume": resume, "asked": asked}, settings, out)
    typer.echo(f"{out / BEST}")
    if keep:
        _keep(out / BEST, name, knowingly)
    if status != "done":
        raise typer.Exit(SOME_FAILED)


def _path(path: Path | None) -> str:
    """An absolute path as text, because the worker runs in another folder; '' for none."""
    return str(path.resolve()) if path else ""


def _run(job: dict[str, Any], settings: dict[str, Any], out: Path) -> str:
    """Run the job in a process of its own, show its messages; its status. A finished run is only named."""
    from .. import jobs
    from ..annotations.run_folders import is_finished

    if job["resume"] and is_finished(out):
        say(f"The run in {out} is finished already; nothing is trained again. Its model:")
        return "done"
    run = jobs.start("finetune", job | {"spec": settings}, out)
    with stopping() as stop:
        follow(_stoppable(run, stop))
    outcome = run.result()
    typer.echo(outcome.text)
    return outcome.status


def _keep(best: Path, name: str, knowingly: bool) -> None:
    """Make the new model the default of its task; exit code 1 where the acceptance check refused it."""
    from ..models.lineage import NotAccepted
    from ..models.lineage import keep as keep_model

    try:
        kept = keep_model(best, name or None, knowingly)
    except NotAccepted as e:  # its reasons were shown when the run ended
        say("not made the default, because the acceptance check refused; it can be kept with --keep --knowingly")
        raise typer.Exit(SOME_FAILED) from e
    typer.echo(f"'{kept.name}' is now the default for {kept.task}; back with: tinymig models rollback {kept.task}")


def check_inputs(
    model: str, data: Path, out: Path, resume: bool, reference: Path | None = None, labels: str = ""
) -> None:
    """Say what is wrong before a process is started: model, annotated images, label codes, run folder, references."""
    from ..annotations.annotation_set import check_task_of_set, read_cases
    from ..annotations.reference_folder import check_reference
    from ..annotations.run_folders import refuse_used
    from ..annotations.teaching_cases import check_teaching, label_map_for
    from ..formats.foreign_masks.kept_legend import keep_legend
    from ..models.registry import open_model

    task = open_model(model).header.task
    label_map_for(data, labels)
    if task is not None:
        check_task_of_set(data, task)
    included = [c for c in read_cases(data) if c.include]
    if not included:
        raise ValueError(f"{data} holds no annotated image that is included; expected at least one; mend a mask first")
    if len(included) == 1:
        say("One annotated image: the gain cannot be measured on another; annotate a second one if you can.")
    if reference is not None and task is not None:
        check_reference(reference, task)
    if not resume:
        refuse_used(out)
    if task is not None:  # reads images, hence last
        check_teaching(data, task, labels)
    if labels and (told := keep_legend(data / "labels", labels)):
        say(told)


def _absolute(model: str) -> str:
    """A file's absolute path, because the worker runs in another folder; a name as it is."""
    path = Path(model).expanduser()
    return str(path.resolve()) if path.is_file() else model


def _stoppable(run: WorkerRun, stop: Callable[[], bool]) -> Iterator[Message]:
    """The run's messages; asks it to stop once `stop()` says so."""
    asked = False
    for message in run.messages():
        if stop() and not asked:
            asked = True
            run.stop()
        yield message


def next_image(
    folder: list[Path] = typer.Argument(..., help="Images or folders to rank."),
    model: str | None = typer.Option(None, help="A model's name or file; default: the task's own."),
    task: str = typer.Option(DEFAULT_TASK, help="Task whose default model is used where none is given."),
    annotated: Path | None = typer.Option(None, "--set", help="Annotation set whose images are left out."),
    count: int = typer.Option(5, "-n", min=1, help="How many to show."),
    out: Path | None = typer.Option(None, "-o", "--out", help="Also write the whole ranking as CSV."),
) -> None:
    """Rank images by how much their annotation would teach, most first."""
    from rich.console import Console
    from rich.progress import Progress

    from ..formats import find_images, masks_left_out
    from ..models.registry import default_model
    from ..predict.predictor import Predictor
    from ..sets.next_image import look_at, of_another_task, rank

    items = [i for i in find_images(folder) if not _is_annotated(i, annotated)]
    if items and all(i.problem for i in items):
        raise ValueError(" ".join(i.problem for i in items[:3]))
    if not items:
        raise ValueError(f"no image left in {', '.join(map(str, folder))}; expected images that are not in the set yet")
    if masks := masks_left_out(folder):
        say(masks)
    predictor = Predictor(model or default_model(task), "cpu")
    if doubt := of_another_task(items, predictor.task.name):
        say(doubt)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("looking", total=len(items))
        candidates = list(look_at(items, predictor, lambda done, _total: bar.update(shown, completed=done)))
    ranking = rank(candidates)
    for place, entry in enumerate(ranking[:count], start=1):
        if entry.candidate.problem:  # they come last, and nobody should annotate them
            say(entry.reason)
        else:
            typer.echo(f"{place}. {entry.candidate.path}: {entry.reason}")
    if out is not None:
        _write_ranking(out, ranking)
    if any(c.problem for c in candidates):
        raise typer.Exit(SOME_FAILED)


def _is_annotated(item: Any, folder: Path | None) -> bool:
    """True if the set holds a case made from this file, by its path or its stem."""
    if folder is None:
        return False
    from ..annotations.annotation_set import read_cases, safe_stem

    cases = read_cases(folder)
    return any((c.source and Path(c.source).name == item.path.name) or c.stem == safe_stem(item.name) for c in cases)


def _write_ranking(path: Path, ranking: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["rank", "file", "value", "uncertainty", "shift_score", "reason"])
        for place, entry in enumerate(ranking, start=1):
            c = entry.candidate
            writer.writerow([place, c.path, f"{entry.value:.4f}", c.uncertainty, c.shift_score, entry.reason])
