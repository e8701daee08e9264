"""`tinymig train`, `evaluate` and `export`: runs with a progress bar, an ETA, and Ctrl-C that keeps the best."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..models.exports import export_help
from . import SOME_FAILED, say
from .segment import DeviceName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..base.records import Message


class EvaluateRoi(StrEnum):
    """Where the region of interest comes from in an evaluation."""

    auto = "auto"
    truth = "truth"


def train(
    recipe: str = typer.Argument(..., help="Name of a shipped recipe, or a .toml file."),
    source: list[Path] = typer.Option(..., "--source", help="Annotated source folder; more than one is pooled."),
    target: list[Path] = typer.Option([], "--target", help="Folders scored once, after the end."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder of the run."),
    device: DeviceName = typer.Option(DeviceName.auto, help="Where to train."),
    seed: int | None = typer.Option(None, min=0, help="Seed of everything random, instead of the recipe's."),
    resume: bool = typer.Option(False, "--resume", help="Go on from last.safetensors in the run's folder."),
    init_weights: str | None = typer.Option(
        None, "--init-weights", help="ImageNet weights of the encoder or a model to go on from; 'none': random start."
    ),
    set_: list[str] = typer.Option([], "--set", help="Change one setting: optim.epochs=50."),
    threads: int | None = typer.Option(None, min=1, help="CPU threads; default: all."),
) -> None:
    """Train a student on one source domain; writes best.safetensors, a curve and metrics."""
    training = _training()
    from ..recipes.prompted import is_prompt_recipe, load_prompt_recipe
    from ..recipes.student import load_recipe

    overrides = parse_settings(set_)
    if seed is not None:
        overrides["seed"] = seed
    if init_weights is not None:
        overrides["student.init_weights"] = None if init_weights == "none" else init_weights
    if is_prompt_recipe(recipe):
        train_prompted(load_prompt_recipe(recipe, overrides), source, out, threads)
        return
    loaded = load_recipe(recipe, overrides)
    if threads:
        import torch

        torch.set_num_threads(threads)
    with stopping() as stop:
        last = follow(training.train(loaded, source, target, out, device.value, resume, stop))
    if last is None or last.kind != "done":
        say(f"Stopped; the best student so far is {last.text if last else 'not there yet'}.")
        raise typer.Exit(SOME_FAILED)


def train_prompted(recipe: Any, source: list[Path], out: Path, threads: int | None) -> None:
    """Train the prompted student; writes best.safetensors and log.jsonl."""
    import torch

    from napari_tinymig.training.prompting.train import train as run

    torch.set_num_threads(threads or torch.get_num_threads())
    with stopping() as stop:
        last = follow(run(recipe, source, out, stop))
    if last is None or last.kind != "done":
        say("Stopped; the student so far is kept." if last else "Stopped before the first step.")
        raise typer.Exit(SOME_FAILED)


def evaluate(
    model: str = typer.Option(..., "--model", help="A model's name or file."),
    domains: list[Path] = typer.Option(..., "--domains", help="Annotated folders (repeat the option)."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for results.csv, summary.csv and table.md."),
    roi: EvaluateRoi = typer.Option(EvaluateRoi.auto, help="auto: through the locator; truth: around the true disc."),
    labels: str | None = typer.Option(None, "--labels", help="Foreign label codes, e.g. 0:2,128:1,255:0."),
) -> None:
    """Score a model on annotated folders, on each image's own grid."""
    _training()
    from napari_tinymig.training.run.evaluate import evaluate as run

    from ..formats import parse_label_map
    from ..recipes.train import DataSpec

    data = DataSpec(label_map=parse_label_map(labels) if labels else {})
    with stopping() as stop:
        last = follow(run(model, domains, out, roi.value, data, stop))
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    if last is None or last.kind != "done" or last.values.get("failed"):
        raise typer.Exit(SOME_FAILED)


def export(
    model: str = typer.Argument(..., help="A model's name or file."),
    to: str = typer.Option(..., "--to", help=export_help()),
    out: Path = typer.Option(..., "-o", "--out", help="File or folder to write."),
) -> None:
    """Write a model for other programs; what is compared with the product before it says done, it says."""
    _training()
    from napari_tinymig.training.exports.written import export_model
    from napari_tinymig.training.prompting.save import export_prompted

    from ..models.registry import open_model

    opened = open_model(model)
    if opened.header.kind == "prompted":
        written = export_prompted(opened, to, out)
    else:
        written = export_model(opened, to, out)
    typer.echo(written.text)


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """`key=value` words as dotted overrides; values are JSON, or plain text. Raises ValueError for other words."""
    out: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise ValueError(f"--set {word}: expected key=value, e.g. optim.epochs=50")
        try:
            out[key] = json.loads(value)
        except ValueError:
            out[key] = value
    return out


def _training() -> Any:
    """The training module, or MissingExtra naming the install command."""
    from ..base.errors import MissingExtra

    try:
        from napari_tinymig.training.run import train
    except ImportError as e:
        raise MissingExtra(f"training ({e.name or e})", "train") from e
    return train


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A `stop` that turns True on the first Ctrl-C; the second one interrupts at once."""
    asked = False

    def on_interrupt(_number: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("Stopping; the best so far is kept. Press Ctrl-C again to stop at once.")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def follow(messages: Iterable[Message]) -> Message | None:
    """Show a run: a bar with the time left, the scores of the latest epoch, sentences; the last message back."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    last: Message | None = None
    told = ""
    console = Console(stderr=True, markup=False)  # names and advice may hold [brackets]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        for message in messages:
            last = message
            if message.kind in ("step", "epoch") and message.total:
                if message.kind == "step":
                    bar.update(task, completed=message.step, total=message.total)
                else:
                    bar.update(task, description=f"epoch {message.step}/{message.total} {scores(message.values)}")
            elif message.kind == "log" and message.text == told:  # the same again: the bar tells how far it is
                bar.update(task, completed=message.step, total=message.total or None)
            elif message.kind in ("validation", "saved", "warning", "log", "started", "done", "stopped"):
                console.print(f"{message.kind}: {message.text} {scores(message.values)}".strip(), highlight=False)
                told = message.text
    return last


def scores(values: dict[str, float]) -> str:
    """Dice values of a message in a few words; of a fine-tuning run, before and after on held-out cases."""
    if {"before", "after"} <= values.keys():
        return f"Dice {100 * values['before']:.1f} -> {100 * values['after']:.1f}"
    shown = {k: v for k, v in values.items() if k.startswith("dice_") or k in ("false_positive_rate", "vcdr_error")}
    return " ".join(f"{k.removeprefix('dice_')} {v:.3f}" for k, v in shown.items())
