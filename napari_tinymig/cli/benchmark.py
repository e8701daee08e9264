"""`tinymig benchmark RECIPE... --domains DIR... -o DIR`: train on one domain, test on the others, table and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .train import EvaluateRoi, parse_settings, stopping

Recipes = Annotated[list[str], typer.Argument(help="Shipped recipes by name, or .toml files; first = baseline.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change every recipe, e.g. optim.epochs=60.")]
Layout = Annotated[str | None, typer.Option(help="--domains are as published by their owners: import this layout.")]
InitWeights = Annotated[Path | None, typer.Option(help="Local ImageNet weights for recipes that start from them.")]


def benchmark(
    recipes: Recipes,
    domains: Annotated[list[Path], typer.Option("--domains", help="Domain folders; give the option once per folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for runs, results.csv, table.md and plots.")],
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Names of the domains to train on; default: each in turn.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0,1,2; fixed beforehand.")] = "0,1,2",
    roi: Annotated[
        EvaluateRoi, typer.Option(help="truth: box around the true disc; auto: as a user has it.")
    ] = EvaluateRoi.truth,
    settings: Settings = None,
    init_weights: InitWeights = None,
    teacher_weights: Annotated[Path | None, typer.Option(help="Local weights for recipes that have a teacher.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Runs at the same time on this machine.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each run.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a dask scheduler to spread runs over.")] = None,
    layout: Layout = None,
) -> None:
    """Train every recipe on every source with every seed and score each case of the other domains.

    Runs that are done are skipped and a killed one goes on where it was, so the same command can simply be repeated.
    """
    from rich.console import Console

    from ..base.errors import TinyMIGError

    console = Console(stderr=True, markup=False)  # names and advice may hold [brackets]
    try:
        wanted = [_recipe(name, settings or [], init_weights, teacher_weights) for name in recipes]
        failed = _run(
            wanted, domains, out, source, _numbers(seeds), roi.value, device, workers, threads, cluster, layout, console
        )
    except (TinyMIGError, ValueError) as e:
        console.print(str(e), style="red", soft_wrap=True)
        raise typer.Exit(2) from e
    raise typer.Exit(1 if failed else 0)


def _numbers(text: str) -> list[int]:
    try:
        return [int(v) for v in text.split(",") if v.strip()]
    except ValueError as e:
        raise ValueError(f"--seeds is '{text}'; expected whole numbers with commas, such as 0,1,2.") from e


def _recipe(name: str, settings: list[str], init_weights: Path | None, teacher_weights: Path | None) -> Any:
    """A recipe with the command's changes; local weights only where the recipe asks for weights of that kind."""
    from ..recipes.student import load_recipe

    overrides = parse_settings(settings)
    recipe = load_recipe(name, overrides)
    if init_weights is not None and recipe.student.init_weights:
        overrides["student.init_weights"] = str(init_weights)
    if teacher_weights is not None and recipe.teacher is not None and recipe.teacher.name != "self":
        overrides["teacher.weights"] = str(teacher_weights)
    return load_recipe(name, overrides)


def _run(
    recipes: list[Any],
    domains: list[Path],
    out: Path,
    sources: list[str] | None,
    seeds: list[int],
    roi: str,
    device: str,
    workers: int,
    threads: int | None,
    cluster: str | None,
    layout: str | None,
    console: Any,
) -> int:
    """Failed runs; progress on the console."""
    from ..base.errors import MissingExtra

    try:
        from napari_tinymig.training.benchmark.run import benchmark as run_benchmark
        from napari_tinymig.training.benchmark.run import plan_cells
    except ImportError as e:
        raise MissingExtra(f"tinymig benchmark ({e.name})", "train") from e
    if layout:
        from napari_tinymig.training.data.importers import import_domain

        domains = [import_domain(layout, d, out / "domains" / d.name) for d in domains]
    cells = plan_cells(recipes, domains, out, sources, seeds, roi, device, threads)
    failed = 0
    with stopping() as stop:
        for message in run_benchmark(cells, out, workers, cluster, stop):
            if message.kind == "warning":
                failed += 1
                console.print(message.text, style="yellow", soft_wrap=True)
            elif message.kind == "failed":
                raise ValueError(message.text)
            elif message.text:
                console.print(f"[{message.step}/{message.total}] {message.text}", soft_wrap=True)
    return failed
