"""The ablation of TinyMIG on one pair of domains: all recipes of a seed in lock-step, sharing what they share.

    python benchmarks/ablation.py --source DRISHTI --target REFUGE_LIKE --teacher-weights FILE --seeds 0,1,2 -o DIR

Every recipe sees the same augmented batches in the same order (they are drawn from the seed and the epoch alone) and
asks the same frozen teacher the same question, so one process draws and asks once and steps every student: the same
training as `tinymig benchmark RECIPE...` run by run, in half the time. Resumable by seed. Results have the layout of
`tinymig benchmark`, whose tables and tests are used; exported students carry no source statistics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from napari_tinymig.training.augmentation.apply import Batch
from napari_tinymig.training.benchmark.report import write_report
from napari_tinymig.training.benchmark.run import Cell, _csv, cost_of, is_done, merge_results, plan_cells, score_domain
from napari_tinymig.training.data.batches import Batches
from napari_tinymig.training.data.cases import find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.objectives.build import build_objective
from napari_tinymig.training.objectives.tinymig import TinyMIGObjective
from napari_tinymig.training.run.loop import Run, freeze_statistics, learning_rate
from napari_tinymig.training.run.train import build_student, make_header
from napari_tinymig.training.run.validation import GridValidation
from torch import Generator, Tensor

from napari_tinymig.base.safe_files import write_atomic
from napari_tinymig.recipes.student import Recipe, load_recipe

HERE = Path(__file__).parent / "ablation"
ROWS = ("seg_only", "plus_gdc", "plus_lra_sem", "plus_lra_gen", "all_joint", "all_distil_first")


def asks_once(objectives: Sequence[TinyMIGObjective]) -> None:
    """Let every objective use the first one's teacher maps of a batch."""
    if not objectives:
        return
    ask = objectives[0].teacher_maps
    last: list[tuple[Batch, list[Tensor]]] = []

    def shared(batch: Batch) -> list[Tensor]:
        if not last or last[0][0] is not batch:
            last[:] = [(batch, ask(batch))]
        return last[0][1]

    for objective in objectives:
        objective.teacher_maps = shared


def run_seed(cells: Sequence[Cell]) -> None:
    """Train and score every recipe of one seed."""
    recipes = [Recipe.model_validate(c.recipe) for c in cells]
    source, device = Path(cells[0].source), torch.device("cpu")
    train_cases, held = split_cases(find_cases(source, recipes[0].data), recipes[0].data, recipes[0].seed)
    data, held_data = load_set(train_cases, recipes[0]), load_set(held, recipes[0])
    runs = []
    for cell, recipe in zip(cells, recipes, strict=True):
        torch.manual_seed(recipe.seed)
        student = build_student(recipe)
        objective = build_objective(recipe, student, device)
        cell.folder.mkdir(parents=True, exist_ok=True)
        batches = Batches(data, recipe, device)
        run = Run(student, objective, batches, GridValidation(held_data, recipe, device), recipe, cell.folder, device)
        if (cell.folder / "last.safetensors").is_file():
            run.load_last()
        runs.append(run)
    asks_once([r.objective for r in runs if isinstance(r.objective, TinyMIGObjective)])
    for epoch in range(min(r.progress.epoch for r in runs), recipes[0].optim.epochs):
        train_epoch([r for r in runs if r.progress.epoch == epoch], epoch)
    for cell, recipe, run in zip(cells, recipes, runs, strict=True):
        student = build_student(recipe)
        student.load_state_dict(run.best_state)
        model = save_model(cell.folder / "best.safetensors", make_header(recipe, train_cases, run, data), student)
        rows = [row for target in cell.targets for row in score_domain(model, recipe, Path(target), cell.roi)]
        keys = {"recipe": recipe.name, "source": source.name, "seed": recipe.seed}
        write_atomic(cell.folder / "cases.csv", _csv([keys | row for row in rows]))
        facts = asdict(cell) | {"fingerprint": cell.fingerprint()} | cost_of(model)
        write_atomic(cell.folder / "cell.json", json.dumps(facts, indent=1).encode())


def train_epoch(runs: Sequence[Run], epoch: int) -> None:
    """One epoch of every run on the same batches; each run's seconds count its own steps and the shared drawing."""
    recipe, batches = runs[0].recipe, runs[0].batches
    generator = Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    for run in runs:
        for group in run.optimiser.param_groups:
            group["lr"] = learning_rate(epoch, recipe.optim) * group["scale"]
        run.student.train()
        freeze_statistics(run.student)
    told: dict[str, dict[str, float]] = {}
    for step, batch in enumerate(batches.epoch(generator, want_clean=True)):
        progress = (epoch + step / batches.steps) / recipe.optim.epochs
        for run in runs:
            start = time.process_time()
            told[run.recipe.name] = {k: float(v.detach()) for k, v in run._step(batch, progress).items()}
            run.progress.seconds += time.process_time() - start
    for run in runs:
        values = told[run.recipe.name] | run.finish_epoch().values
        with (run.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"epoch": epoch + 1} | values) + "\n")
    print(f"epoch {epoch + 1}", {r.recipe.name: round(r.progress.best, 4) for r in runs}, flush=True)


def main() -> None:
    """Read the command, run what is left of every seed, write the tables after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--teacher-weights", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--recipes", type=Path, default=HERE)
    parser.add_argument("--epochs", type=int, help="for every row, instead of the recipes' 60")
    parser.add_argument("--report", action="store_true", help="train nothing, write the tables of what is done")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    recipes = []
    for name in arguments.rows.split(","):
        taught = load_recipe(arguments.recipes / f"{name}.toml").teacher is not None
        changes: dict[str, str | int] = {"teacher.weights": str(arguments.teacher_weights)} if taught else {}
        changes |= {"optim.epochs": arguments.epochs} if arguments.epochs else {}
        recipes.append(load_recipe(arguments.recipes / f"{name}.toml", changes))
    seeds = [int(s) for s in arguments.seeds.split(",")]
    domains = [arguments.source, arguments.target]
    cells = plan_cells(recipes, domains, arguments.out, [arguments.source.name], seeds, "truth", "cpu", 1)
    if arguments.report:
        merge_results(cells, arguments.out / "results.csv")
        write_report(cells, arguments.out)
        return
    for seed in seeds:
        left = [c for c in cells if c.recipe["seed"] == seed and not is_done(c)]
        if left:
            run_seed(left)
        merge_results(cells, arguments.out / "results.csv")
        write_report(cells, arguments.out)


if __name__ == "__main__":
    main()
