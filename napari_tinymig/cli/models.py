"""`tinymig models`: what there is, what is known of it, and adding, checking or removing one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from ..tasks.table import TASKS, listed

app = typer.Typer(
    help="Bundled models and your own: list, info, add, remove, verify, tree, keep, rollback, rename, send, teachers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("list")
def list_() -> None:
    """Every model by name, with its task and whether it is the default of it."""
    from ..base.errors import ModelFileError
    from ..models.registry import default_model, list_models

    entries = list_models()
    if not entries:
        typer.echo("no models; add one with: tinymig models add FILE")
    for entry in entries:
        if entry.header is None:
            typer.echo(f"  {entry.name:20} {entry.problem}")
            continue
        try:
            default = entry.header.kind == "segmenter" and default_model(entry.task) == entry.name
        except ModelFileError:
            default = False
        origin = "bundled" if entry.bundled else "yours"
        size = entry.path.stat().st_size / 1e6
        domains = ", ".join(entry.header.lineage.domains)
        typer.echo(
            f"{'*' if default else ' '} {entry.name:20} {entry.task:10} {origin:8} {size:5.1f} MB  {entry.model_id}"
            f"{'  trained on ' + domains if domains else ''}"
        )
    typer.echo("* = used when no --model is given")


@app.command()
def info(model: str = typer.Argument(..., help="Name or file.")) -> None:
    """The header of a model: task, input, lineage, scores, licence."""
    from ..models.file import read_header
    from ..models.registry import find_model

    path = find_model(model)
    header, model_id = read_header(path)
    raw = header.model_dump(mode="json", exclude={"statistics"})
    raw["statistics"] = f"{len(json.dumps(header.statistics)) / 1024:.1f} KB" if header.statistics else "none"
    typer.echo(f"{model_id}  {path}")
    typer.echo(json.dumps(raw, indent=2, ensure_ascii=False))
    card = path.with_suffix(".md")
    if card.is_file():
        typer.echo("\n" + card.read_text(encoding="utf-8"))


@app.command()
def add(
    file: Path = typer.Argument(..., help="A .safetensors written by tinymig."),
    name: str | None = typer.Option(None, help="Name to keep it under; default: its own."),
) -> None:
    """Check a model file and copy it into your models."""
    from ..models.registry import add_model

    entry = add_model(file, name)
    typer.echo(f"added {entry.model_id} as '{entry.name}': {entry.path}")


@app.command()
def remove(name: str = typer.Argument(..., help="Name of one of your models.")) -> None:
    """Delete one of your models."""
    from ..models.registry import remove_model

    typer.echo(f"removed {remove_model(name)}")


@app.command()
def verify(models: list[str] = typer.Argument(None, help="Names or files; default: every known model.")) -> None:
    """Check every hash and run the graph once."""
    import numpy as np

    from ..base.errors import ModelFileError
    from ..models.registry import model_paths, open_model
    from ..network.run import OnnxNetwork
    from ..prompts.maps import MAPS

    failed = False
    for name in models or list(model_paths()):
        try:
            model = open_model(name)
            side = model.header.input.size
            channels = 3 + (len(MAPS) if model.header.kind == "prompted" else 0)
            logits = OnnxNetwork(model, 1).run(np.zeros((1, channels, side, side), np.float32)).logits
            typer.echo(f"{model.model_id}: sound, output {logits.shape}")
        except ModelFileError as e:
            failed = True
            typer.echo(f"{name}: {e}")
    if failed:
        sys.exit(1)


@app.command()
def tree() -> None:
    """Which model came from which, with what the acceptance check said."""
    from ..models.lineage import tree as lineage_tree

    for depth, entry in lineage_tree():
        header = entry.header
        if header is None:
            typer.echo(f"{entry.name}: {entry.problem}")
            continue
        acceptance = header.scores.get("finetune")
        words = "accepted" if isinstance(acceptance, dict) and acceptance.get("keep") else "not accepted"
        check = f"  {words}" if isinstance(acceptance, dict) else ""
        gone = f"  from {header.lineage.parent}, which is not here" if header.lineage.parent and not depth else ""
        typer.echo(f"{'  ' * depth}{entry.model_id}  {entry.task}  {header.lineage.created[:10]}{check}{gone}")


@app.command()
def teachers() -> None:
    """The recommended teachers for training: licence, weights, memory, input side; fetched by timm when asked for."""
    from ..recipes.teachers import RECOMMENDED

    for name, card in RECOMMENDED.items():
        typer.echo(
            f"{name:26} {card.title:16} {card.licence.split(' (')[0]:15} weights {card.weights_mb:3} MB, "
            f"peak {card.peak_mb} MB at {card.size} px; {card.note}"
        )
    typer.echo("peak: one image on a CPU, fp32, above the program itself; choose with teacher.name and teacher.size")


@app.command()
def keep(
    file: Path = typer.Argument(..., help="best.safetensors of a fine-tuning run."),
    name: str | None = typer.Option(None, help="Name to keep it under; default: its own."),
    knowingly: bool = typer.Option(False, "--knowingly", help="Also if the acceptance check refused it."),
) -> None:
    """Make a fine-tuned model yours and the default of its task."""
    from ..models.lineage import keep as keep_model

    entry = keep_model(file, name, knowingly)
    typer.echo(f"'{entry.name}' is now the default for {entry.task}; back with: tinymig models rollback {entry.task}")


@app.command()
def rollback(task: str = typer.Argument(..., help=f"Task: {listed([*TASKS, 'your own'])}.")) -> None:
    """Return to the default model before the present one; nothing is deleted."""
    from ..models.lineage import rollback as roll_back

    typer.echo(f"'{roll_back(task)}' is the default for {task} again")


@app.command()
def rename(name: str = typer.Argument(...), new: str = typer.Argument(...)) -> None:
    """Give one of your models another name."""
    from ..models.lineage import rename as rename_model

    typer.echo(f"now called '{rename_model(name, new).name}'")


@app.command()
def send(
    name: str = typer.Argument(..., help="Name of a model."), to: Path = typer.Argument(..., help="File.")
) -> None:
    """Copy a model to a file for someone else, who adds it with: tinymig models add FILE."""
    from ..models.lineage import export_file

    typer.echo(f"{export_file(name, to)}: written, every hash checked")
