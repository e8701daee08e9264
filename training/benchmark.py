"""`benchmark`: recipes x source domains x seeds, every case of every other domain scored; survives kill -9."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_tinymig.engine.config import Recipe
from napari_tinymig.engine.errors import OutputRefused, TinyMIGError
from napari_tinymig.engine.measure import extent
from napari_tinymig.engine.metrics import score_case
from napari_tinymig.engine.model_file import ModelFile, read_model_file
from napari_tinymig.engine.predict import Predictor
from napari_tinymig.engine.records import Message, Scan
from napari_tinymig.engine.safe_files import FolderLock, write_atomic
from napari_tinymig.engine.spatial import square_box

from .data import Case, find_cases, region_targets, roi_of
from .export import load_student
from .read import read_image, read_label
from .student import count_macs, count_parameters

log = logging.getLogger(__name__)

KEYS = ("recipe", "variant", "source", "seed", "target", "case", "patient", "empty")
CPU_ROUNDS = 15


@dataclass(frozen=True)
class Cell:
    """One training run of a benchmark: a recipe (with its seed), a source folder, the target folders."""

    recipe: dict[str, Any]
    source: str
    targets: tuple[str, ...]
    out: str
    field: str = "roi"
    device: str = "auto"
    threads: int | None = None

    @property
    def name(self) -> str:
        """Folder of the run: recipe, source, seed."""
        return f"{self.recipe['name']}__{Path(self.source).name}__s{self.recipe['seed']}"

    @property
    def folder(self) -> Path:
        """Where the run and its scores lie."""
        return Path(self.out) / "runs" / self.name

    def fingerprint(self) -> str:
        """16 hex digits over everything that the scores depend on, except the bytes of the images.

        Settings at their default are left out, so that a setting added later does not void finished runs.
        """
        changed = Recipe.model_validate(self.recipe).model_dump(mode="json", exclude_defaults=True)
        told = json.dumps([changed, Path(self.source).name, sorted(self.targets), self.field], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def plan_cells(
    recipes: Sequence[Recipe],
    domains: Sequence[Path],
    out: Path,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    field: str = "roi",
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
        cells.append(Cell(raw, str(source), targets, str(out), field, device, threads))
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
    from .benchmark_report import write_report

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
        yield Message("saved", len(cells), len(cells), text=str(out / "table.md"))
        kind = "stopped" if stop() else "done"
        yield Message(kind, len(cells) - failed, len(cells), {"failed": failed}, str(out))
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
            yield futures[future], future.result()


def _run_on_cluster(cells: Sequence[Cell], address: str) -> Iterator[tuple[Cell, str]]:
    from napari_tinymig.engine.errors import MissingExtra

    try:
        from dask.distributed import Client
        from dask.distributed import as_completed as arriving
    except ImportError as e:
        raise MissingExtra("--cluster (dask.distributed)", "cluster") from e
    with Client(address) as client:
        futures = {client.submit(run_cell, cell, pure=False): cell for cell in cells}
        for future in arriving(list(futures)):
            yield futures[future], future.result()


def is_done(cell: Cell) -> bool:
    """True where the scores of exactly this run are there."""
    try:
        told = json.loads((cell.folder / "cell.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return told.get("fingerprint") == cell.fingerprint() and (cell.folder / "cases.csv").is_file()


def run_cell(cell: Cell, stop: Callable[[], bool] = lambda: False) -> str:
    """Train (or go on training) and score one run; '' or the sentence of what went wrong."""
    from .train import train

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
        rows = [row for target in cell.targets for row in score_domain(model, recipe, Path(target), cell.field)]
        keys = {"recipe": recipe.name, "source": Path(cell.source).name, "seed": recipe.seed}
        write_atomic(folder / "cases.csv", _csv([keys | row for row in rows]))
        facts = asdict(cell) | {"fingerprint": cell.fingerprint()} | cost_of(model)
        write_atomic(folder / "cell.json", json.dumps(facts, indent=1).encode())
    except (TinyMIGError, ValueError, OSError) as e:
        return str(e)
    return ""


def _is_trained(folder: Path, recipe: Recipe) -> bool:
    """True where best.safetensors was written at the end of this recipe, not of an epoch on the way."""
    last = folder / "log.jsonl"
    if not (folder / "best.safetensors").is_file() or not last.is_file():
        return False
    lines = [line for line in last.read_text(encoding="utf-8").splitlines() if line.strip()]
    return bool(lines) and '"kind": "done"' in lines[-1] and read_model_file(folder / "best.safetensors") is not None


def score_domain(model: ModelFile, recipe: Recipe, folder: Path, field: str = "roi") -> list[dict[str, Any]]:
    """Metrics of every case of a domain folder on its own grid; optic tables also get the variant 'constant cup'.

    field: 'roi' = the box around the true disc (the papers' protocol: cropped beforehand); 'full' = the photograph as
    a user has it, through the model's locator. Truth is labels/ as they are; votes and agreement levels belong to the
    source. Distances are in mm where the spacing is known, else in px of the image.
    """
    predictor = Predictor(model, "cpu", torch.get_num_threads())
    spec = recipe.data.model_copy(update={"limit": None})
    rows = []
    for case in find_cases(folder, spec):
        scan, truth = _open_case(case, recipe)
        box = _true_box(truth, recipe) if field == "roi" else None
        answer = predictor.predict(scan, roi=box if box is not None else "auto").labels
        shown, wanted = _cropped(answer, truth, box)
        scores = score_case(shown, wanted, recipe.task, scan.spacing_mm)
        keys = {"target": folder.name, "case": case.name, "patient": case.case, "empty": int(not truth.any())}
        rows.append(keys | {"variant": "student"} | scores)
        ratio = model.header.constants.get("mean_vertical_cup_disc_ratio")
        if ratio and {r.name for r in recipe.task.regions} == {"disc", "cup"}:
            constant = constant_cup(shown, ratio)
            rows.append(keys | {"variant": "constant cup"} | score_case(constant, wanted, recipe.task))
    return rows


def _open_case(case: Case, recipe: Recipe) -> tuple[Scan, NDArray[np.uint8]]:
    pixels, spacing = read_image(case.image)
    truth, _ = read_label(case.label, recipe.data.label_map) if case.label else (None, None)
    if recipe.task.input == "volume" and pixels.ndim == 3 and pixels.shape[-1] == 3 and pixels.dtype == np.uint8:
        pixels = pixels.mean(-1)[None]  # a grey PNG slice
    if recipe.task.input == "volume" and truth is not None and truth.ndim == 2:
        truth = truth[None]
    if truth is None or truth.shape != pixels.shape[: truth.ndim]:
        raise ValueError(f"{case.label}: labels and image of {case.name} differ in shape; expected equal grids")
    return Scan(pixels, spacing, case.name), truth


def _true_box(truth: NDArray[np.uint8], recipe: Recipe) -> tuple[float, float, float, float] | None:
    """Box around the true disc, None for tasks without a region of interest or without a disc."""
    if recipe.input.roi_scale is None or truth.ndim != 2:
        return None
    found = roi_of(region_targets(truth, recipe.task))
    return square_box(found[0], found[1] * recipe.input.roi_scale) if found else None


def _cropped(
    answer: NDArray[np.uint8], truth: NDArray[np.uint8], box: tuple[float, ...] | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both masks inside the box (same metrics, a tenth of the pixels); the diagonal of an empty one is the box's."""
    if box is None:
        return answer, truth
    y0, x0 = max(0, int(box[0])), max(0, int(box[1]))
    y1, x1 = int(np.ceil(box[2])), int(np.ceil(box[3]))
    return answer[y0:y1, x0:x1], truth[y0:y1, x0:x1]


def constant_cup(labels: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """The labels with their cup replaced: the disc itself, shrunk about its middle to `ratio` of its height."""
    disc = labels >= 1
    out = disc.astype(np.uint8)
    if not disc.any():
        return out
    (r0, r1), (c0, c1) = extent(disc)
    cy, cx = (r0 + r1 - 1) / 2, (c0 + c1 - 1) / 2
    rows, columns = np.indices(disc.shape)
    y, x = np.rint(cy + (rows - cy) / ratio).astype(int), np.rint(cx + (columns - cx) / ratio).astype(int)
    inside = (y >= 0) & (y < disc.shape[0]) & (x >= 0) & (x < disc.shape[1])
    cup = np.zeros_like(disc)
    cup[inside] = disc[y[inside], x[inside]]
    out[cup & disc] = 2
    return out


def cost_of(model: ModelFile) -> dict[str, Any]:
    """Parameters, GMAC and milliseconds on one CPU thread at the model's own input size, and training seconds."""
    from napari_tinymig.engine.network import OnnxNetwork

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
