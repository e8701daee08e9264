"""`benchmark`: recipes x source domains x seeds, every case of every other domain scored; survives kill -9."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tinymig.base.errors import OutputRefused, TinyMIGError
from napari_tinymig.base.records import Message
from napari_tinymig.base.safe_files import FolderLock, write_atomic
from napari_tinymig.models.file import ModelFile, read_model_file
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import Recipe

from ..data.cases import find_cases
from ..networks.saved import load_student
from ..networks.student import count_macs, count_parameters
from ..run.evaluate import METRICS, score_one
from .cells import Cell
from .report import write_report

log = logging.getLogger(__name__)

KEYS = ("recipe", "variant", "source", "seed", "target", "case", "patient", "empty")
CPU_ROUNDS = 15


def plan_cells(
    recipes: Sequence[Recipe],
    domains: Sequence[Path],
    out: Path,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    roi: str = "truth",
    device: str = "auto",
    threads: int | None = None,
) -> list[Cell]:
    """Every run, seed by seed, so that an unfinished benchmark already compares all recipes on the first seeds.

    sources: names of the domain folders to train on, None = each in turn. seeds: None = the recipes' own. Raises
    ValueError for equal names, an unknown source, fewer than two domains.
    """
    names = [d.name for d in domains]
    if len(set(names)) != len(names) or len({r.name for r in recipes}) != len(recipes):
        raise ValueError(f"domains {names} or recipes {[r.name for r in recipes]} repeat a name; expected each once")
    if len(domains) < 2:
        raise ValueError("one domain was given; expected a source and at least one target (--domains A --domains B)")
    unknown = set(sources or ()) - set(names)
    if unknown:
        raise ValueError(f"unknown source {sorted(unknown)}; expected names of the given domains: {names}")
    chosen = [d for d in domains if not sources or d.name in sources]
    rounds = seeds if seeds is not None else sorted({r.seed for r in recipes})
    cells = []
    for seed, source, recipe in itertools.product(rounds, chosen, recipes):
        raw = recipe.model_copy(update={"seed": seed}).model_dump(mode="json")
        targets = tuple(str(d) for d in domains if d != source)
        cells.append(Cell(raw, str(source), targets, str(out), roi, device, threads))
    return cells


def benchmark(
    cells: Sequence[Cell],
    out: Path,
    workers: int = 1,
    cluster: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """Run what is not done yet, then write results.csv, table.md and plots; messages as it goes.

    A run that was killed goes on from its last checkpoint; a run whose scores are there is not touched. workers:
    processes on this machine; cluster: address of a dask scheduler whose workers see the same folders. A run that
    fails is told as a 'warning' and left out of the table, which says so.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out, what="this benchmark")
    try:
        left = [c for c in cells if not is_done(c)]
        yield Message("started", len(cells) - len(left), len(cells), text=f"{len(left)} of {len(cells)} runs to do")
        failed = 0
        for number, (cell, error) in enumerate(_run_all(left, workers, cluster, stop), len(cells) - len(left) + 1):
            if error:
                failed += 1
                yield Message("warning", number, len(cells), text=f"{cell.name}: {error}")
            else:
                yield Message("epoch", number, len(cells), text=cell.name)
            merge_results(cells, out / "results.csv")
        merge_results(cells, out / "results.csv")
        if not any(is_done(c) for c in cells):
            yield Message("failed", 0, len(cells), text="no run was finished; see the warnings above")
            return
        write_report(cells, out)
        for sentence in dict.fromkeys(s for c in cells if is_done(c) for s in unscored_of(c)):
            yield Message("warning", len(cells), len(cells), text=f"Not scored: {sentence}")
        yield Message("saved", len(cells), len(cells), text=str(out / "table.md"))
        yield Message("stopped" if stop() else "done", len(cells) - failed, len(cells), {"failed": failed}, str(out))
    finally:
        lock.release()


def _run_all(
    cells: Sequence[Cell], workers: int, cluster: str | None, stop: Callable[[], bool]
) -> Iterator[tuple[Cell, str]]:
    """Each cell with '' or the sentence of its failure, as they end."""
    if cluster:
        yield from _run_on_cluster(cells, cluster)
        return
    if workers == 1:
        for cell in cells:
            if stop():
                return
            yield cell, run_cell(cell, stop)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: dict[Future[str], Cell] = {pool.submit(run_cell, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], _outcome(future)


def _outcome(future: Any) -> str:
    """A future's sentence, also where its process was killed."""
    try:
        return str(future.result())
    except Exception as e:
        log.exception("a run's process failed")
        return f"its process ended ({type(e).__name__}: {e}); repeat the command to go on"


def _run_on_cluster(cells: Sequence[Cell], address: str) -> Iterator[tuple[Cell, str]]:
    from napari_tinymig.base.errors import MissingExtra

    try:
        from dask.distributed import Client
        from dask.distributed import as_completed as arriving
    except ImportError as e:
        raise MissingExtra("--cluster (dask.distributed)", "cluster") from e
    try:
        client = Client(address)
    except (OSError, ValueError) as e:
        raise ValueError(f"no dask scheduler answers at {address} ({e}); start one with 'dask scheduler'") from e
    with client:
        futures = {client.submit(run_cell, cell, pure=False): cell for cell in cells}
        for future in arriving(list(futures)):
            yield futures[future], _outcome(future)


def is_done(cell: Cell) -> bool:
    """True where the scores of exactly this run are there."""
    try:
        told = json.loads((cell.folder / "cell.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return told.get("fingerprint") == cell.fingerprint() and (cell.folder / "cases.csv").is_file()


def unscored_of(cell: Cell) -> list[str]:
    """Sentences on the cases of a finished run that could not be scored."""
    return list(json.loads((cell.folder / "cell.json").read_text(encoding="utf-8")).get("unscored", ()))


def run_cell(cell: Cell, stop: Callable[[], bool] = lambda: False) -> str:
    """Train (or go on training) and score one run; '' or the sentence of what went wrong."""
    from ..run.train import train

    if cell.threads:
        torch.set_num_threads(cell.threads)
    recipe, folder = Recipe.model_validate(cell.recipe), cell.folder
    try:
        resume = (folder / "last.safetensors").is_file()
        if not _is_trained(folder, recipe):
            if not resume and (folder / "best.safetensors").is_file():
                raise OutputRefused(f"{folder} holds another run; choose another -o folder")
            for message in train(recipe, Path(cell.source), (), folder, cell.device, resume, stop):
                if message.kind in ("failed", "stopped"):
                    return message.text or message.kind
        model = read_model_file(folder / "best.safetensors")
        unscored: list[str] = []
        rows = [r for target in cell.targets for r in score_domain(model, recipe, Path(target), cell.roi, unscored)]
        keys = {"recipe": recipe.name, "source": Path(cell.source).name, "seed": recipe.seed}
        write_atomic(folder / "cases.csv", _csv([keys | row for row in rows]))
        facts = asdict(cell) | {"fingerprint": cell.fingerprint(), "unscored": unscored} | cost_of(model)
        write_atomic(folder / "cell.json", json.dumps(facts, indent=1).encode())
    except (TinyMIGError, ValueError, OSError) as e:
        return str(e)
    except Exception as e:  # whatever ends one run (memory, a driver) must not end the others
        log.exception("%s failed", cell.name)
        return f"{type(e).__name__}: {e}"
    return ""


def _is_trained(folder: Path, recipe: Recipe) -> bool:
    """True where best.safetensors was written at the end of a run of exactly this recipe, not on the way."""
    best, told = folder / "best.safetensors", folder / "log.jsonl"
    if not best.is_file() or not told.is_file():
        return False
    lines = [line for line in told.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines or '"kind": "done"' not in lines[-1]:
        return False
    made_by = Recipe.model_validate(read_model_file(best).header.lineage.recipe)
    return made_by == recipe.without_paths()


def score_domain(
    model: ModelFile, recipe: Recipe, folder: Path, roi: str = "truth", unscored: list[str] | None = None
) -> list[dict[str, Any]]:
    """Metrics of every case of a domain folder on its own grid; optic tables also get the variant 'constant cup'.

    unscored: takes a sentence for every case that cannot be read; such a case has no row.

    roi: 'truth' = the box around the true disc (the papers' protocol: cropped beforehand); 'auto' = the photograph as
    a user has it, through the model's locator. Truth is labels/ as they are; votes and agreement levels belong to the
    source. Distances are in mm where the spacing is known, else in px of the image.
    """
    predictor = Predictor(model, "cpu", torch.get_num_threads())
    spec = recipe.data.model_copy(update={"limit": None})
    rows, unscored = [], [] if unscored is None else unscored
    for case in find_cases(folder, spec):
        try:
            found = score_one(predictor, case, roi, spec)
        except TinyMIGError as e:
            log.warning("%s: %s was not scored: %s", folder.name, case.name, e)
            unscored.append(f"{folder.name}, {case.name}: {e}")
            continue
        for scored in found:
            keys = {"target": folder.name, "case": scored["case"], "patient": scored["patient"]}
            variant = "student" if scored["predictor"] == "model" else scored["predictor"]
            numbers = {k: v for k, v in scored.items() if k.startswith(METRICS) and not k.endswith("_truth")}
            rows.append(keys | {"variant": variant, "empty": scored["empty"]} | numbers)
    return rows


def cost_of(model: ModelFile) -> dict[str, Any]:
    """Parameters, GMAC and milliseconds on one CPU thread at the model's own input size, and training seconds."""
    from napari_tinymig.network.run import OnnxNetwork

    student, size = load_student(model), model.header.input.size
    network, x = OnnxNetwork(model, 1), np.zeros((1, 3, size, size), np.float32)
    times = []
    for _ in range(CPU_ROUNDS):
        start = time.perf_counter()
        network.run(x)
        times.append(time.perf_counter() - start)
    return {
        "parameters": count_parameters(student),
        "gmac": count_macs(student, size) / 1e9,
        "cpu_ms": 1e3 * min(times),
        "train_seconds": float(model.header.extra.get("train_seconds", float("nan"))),
        "start": str(model.header.extra.get("encoder_start", "")),
    }


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    names = [*KEYS, *sorted({k for r in rows for k in r} - set(KEYS))]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, names, restval="")
    writer.writeheader()
    writer.writerows({k: round(v, 6) if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    return stream.getvalue().encode()


def merge_results(cells: Sequence[Cell], path: Path) -> list[dict[str, Any]]:
    """results.csv: every case of every finished run, in the order of the plan."""
    rows: list[dict[str, Any]] = []
    for cell in cells:
        if is_done(cell):
            with (cell.folder / "cases.csv").open(newline="", encoding="utf-8") as stream:
                rows.extend(csv.DictReader(stream))
    if rows:
        write_atomic(path, _csv(rows))
    return rows
