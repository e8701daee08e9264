"""`tinymig probe` and `tinymig classify`: a frozen backbone learns a new classification, and uses it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from . import SOME_FAILED, say
from .measure import say_if
from .segment import DeviceName, progress_bar
from .train import follow, parse_settings, stopping

if TYPE_CHECKING:
    from ..base.records import Message


class StrategyName(StrEnum):
    """Order in which prompt and probe learn."""

    joint = "joint"
    lp_then_vp = "lp_then_vp"
    lp_then_both = "lp_then_both"


class MethodName(StrEnum):
    """MoVL or one of its baselines."""

    movl = "movl"
    lp = "lp"
    vp = "vp"
    ff = "ff"
    zero_shot = "zero_shot"


def probe(
    source: Path = typer.Option(..., "--source", help="A folder per class, a CSV (file,label) or a MedMNIST .npz."),
    target: list[Path] = typer.Option([], "--target", help="Other centres, scored once, after the end."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the run."),
    backbone: str | None = typer.Option(None, "--backbone", help="timm model, or tinymig:NAME for a model of ours."),
    weights: Path | None = typer.Option(None, "--weights", help="Local weights of the backbone; default: timm's hub."),
    strategy: StrategyName | None = typer.Option(None, help="joint = MoVL; or the probe first."),
    method: MethodName | None = typer.Option(None, help="movl, or a baseline: lp, vp, ff, zero_shot."),
    recipe: str = typer.Option("probe", help="Name of a shipped probe recipe, or a .toml file."),
    case_pattern: str | None = typer.Option(
        None, "--case-pattern", help="Regular expression whose first group is the person in a file name."
    ),
    device: DeviceName = typer.Option(DeviceName.auto, help="Where to train."),
    seed: int | None = typer.Option(None, min=0, help="Seed, instead of the recipe's."),
    set_: list[str] = typer.Option([], "--set", help="Change one setting: optim.epochs=10."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the classifier in the run's folder."),
) -> None:
    """Teach a frozen backbone a new classification; writes classifier.safetensors and honest scores."""
    from ..recipes.classify import load_probe_recipe

    overrides = parse_settings(set_)
    said: dict[str, Any] = {
        "backbone.name": backbone,
        "backbone.weights": str(weights) if weights else None,
        "strategy": strategy.value if strategy else None,
        "method": method.value if method else None,
        "data.case_pattern": case_pattern,
        "seed": seed,
    }
    loaded = load_probe_recipe(recipe, overrides | {k: v for k, v in said.items() if v is not None})
    run = _training("classifier.probe").probe
    with stopping() as stop:
        messages = run(loaded, source, target, out, device.value, stop, overwrite=overwrite)
        last = follow(_worded(messages))
    if (out / "scores.md").is_file():
        typer.echo((out / "scores.md").read_text(encoding="utf-8"))
    if last is None or last.kind != "done":
        say(f"Stopped; the best classifier so far is in {out}.")
        raise typer.Exit(SOME_FAILED)
    unread = int(last.values.get("failed", 0))
    if unread:
        say(f"{unread} image{'' if unread == 1 else 's'} could not be read; see {out / 'failed.csv'}")
        raise typer.Exit(SOME_FAILED)


def _training(module: str) -> Any:
    """A module of the training part, or MissingExtra naming the install command."""
    import importlib

    from ..base.errors import MissingExtra

    try:
        return importlib.import_module(f"napari_tinymig.training.{module}")
    except ModuleNotFoundError as e:
        raise MissingExtra(f"Probing and classifying ({e.name})", "train") from e


def _worded(messages: Iterator[Message]) -> Iterator[Message]:
    """Messages whose numbers of interest are said in their text."""
    for message in messages:
        if message.kind == "epoch":
            yield replace(message, kind="step")
        yield replace(message, text=f"{message.text} {_numbers(message.values)}".strip(), kind=_shown(message))


def _shown(message: Message) -> Any:
    return "log" if message.kind == "epoch" else message.kind


def _numbers(values: dict[str, float]) -> str:
    names = {
        "loss": "loss",
        "val_loss": "validation loss",
        "val_balanced_accuracy": "validation balanced accuracy",
        "balanced_accuracy": "balanced accuracy",
        "auroc": "AUROC",
        "kilobytes": "KB",
    }
    found = [f"{label} {values[k]:.3g}" for k, label in names.items() if math.isfinite(values.get(k, math.nan))]
    return f"({', '.join(found)})" if found else ""


def classify(
    inputs: list[Path] = typer.Argument(..., help="Images, folders, or DICOM series folders."),
    model: Path = typer.Option(..., "--model", help="RUN/classifier.safetensors of tinymig probe."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for classes.csv."),
    weights: Path | None = typer.Option(None, "--weights", help="Local weights of the backbone; default: timm's hub."),
    device: DeviceName = typer.Option(DeviceName.auto, help="Where the network runs."),
) -> None:
    """Write classes.csv: the class of every image, its probabilities and its distance from the training images."""
    from ..formats import find_scans, masks_left_out
    from ..models.classifier_file import read_classifier_card

    read_classifier_card(model)  # a wrong file is refused before torch is loaded
    found = find_scans(inputs)
    say_if(masks_left_out(inputs))
    training, data = _training("classifier.classify"), _training("classifier.images")
    classifier = training.Classifier.open(model, str(weights) if weights else None, device.value)
    items = [data.Item(str(i.path), 0, i.name, path=i.path) for i in found]
    begun, failed = time.perf_counter(), 0
    table = _table(out, classifier.classes)
    with progress_bar(len(items)) as advance:
        for answer in classifier.classify(items):
            failed += bool(answer.error)
            table.put(class_row(answer, classifier.classes))
            advance(_line(answer, classifier.classes) if len(items) <= 20 or answer.error else "")
    table.order(str(i.path) for i in found)
    table.write()
    seconds = time.perf_counter() - begun
    typer.echo(f"{len(items) - failed} done, {failed} failed in {seconds:.1f} s; see {out / 'classes.csv'}")
    if failed:
        raise typer.Exit(SOME_FAILED)


def _table(out: Path, classes: tuple[str, ...]) -> Any:
    """classes.csv with its columns; one of a classifier with other classes is not mixed with this one."""
    from ..base.errors import OutputRefused
    from ..measures.csv_table import Table

    columns = ("file", "class", *(f"probability_{c}" for c in classes), "shift_score", "seconds", "error")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputRefused(f"cannot make the folder {out} ({e.strerror}); choose a folder of yours.") from e
    table = Table(out / "classes.csv", columns)
    if table.columns != columns:
        raise OutputRefused(f"{table.path} is of a classifier with other classes; choose another folder.")
    return table


def class_row(answer: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    """A row of classes.csv."""
    row: dict[str, Any] = {"file": str(answer.path or answer.name), "error": answer.error}
    if answer.error:
        return row
    row["class"] = classes[int(answer.probabilities.argmax())]
    row |= {f"probability_{c}": f"{p:.4f}" for c, p in zip(classes, answer.probabilities)}
    row["shift_score"] = "" if answer.shift_score is None else f"{answer.shift_score:.1f}"
    row["seconds"] = f"{answer.seconds:.4f}"
    return row


def _line(answer: Any, classes: tuple[str, ...]) -> str:
    if answer.error:
        return f"{answer.name}: failed: {answer.error}"
    best = int(answer.probabilities.argmax())
    return f"{answer.name}: {classes[best]} ({answer.probabilities[best]:.2f})"
