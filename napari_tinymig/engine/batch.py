"""Many inputs to masks, rows and overlays in one folder: the same for the command line, the batch panel, a cluster.

What was done is kept in `details.jsonl`, one JSON object per finished input with every measure and note. It is also how
a later run knows that a mask belongs to the same input, model and options and can be skipped.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import OutputRefused, TinyMIGError
from .io import InputItem, find_inputs, mask_paths, open_input, write_mask
from .match import Help
from .network import resolve_device, usable_threads
from .predict import Predictor
from .records import Prediction
from .registry import default_model, find_model, open_model
from .table import COLUMNS, Table, row_of
from .task_gate import TaskGate, scan_for_task
from .tasks import TASKS

LEDGER = "details.jsonl"
TABLE = "measurements.csv"
OVERLAY = "_overlay.png"


@dataclass(frozen=True)
class Options:
    """What a mask depends on besides its input.

    task: 'auto' or a task's name. model: name or file, None = the task's default. roi: 'auto' or 'full'. format:
    same, png, nifti or dicomseg. overlay: also write a picture. psa_ng_ml: for PSA density. overwrite: replace masks
    that exist. threads: of the network in each worker. match: test-time help, see `match.match_to_source`.
    """

    task: str = "auto"
    model: str | None = None
    roi: str = "auto"
    device: str = "auto"
    format: str = "same"
    overlay: bool = False
    overwrite: bool = False
    psa_ng_ml: float | None = None
    uncertainty: bool = False
    threads: int | None = None
    match: Help = "none"

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a mask to count as done."""
        return {k: getattr(self, k) for k in ("roi", "format", "psa_ng_ml", "uncertainty", "match")}


@dataclass(frozen=True)
class Job:
    """One input and where its results go."""

    item: InputItem
    mask: Path
    options: Options
    done: dict[str, Any] | None = None


@dataclass
class Outcome:
    """What became of one input: its row, everything measured, and the sentences for the user."""

    job: Job
    row: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def plan(inputs: Sequence[str | Path], folder: Path, options: Options) -> list[Job]:
    """One job per input, with what an earlier run in `folder` left. Raises ModelFileError or ValueError at once for a
    model, task or device that cannot be used, and OutputRefused for a folder that cannot be written."""
    if options.task != "auto" and options.task not in TASKS and options.model is None:
        raise ValueError(
            f"no task '{options.task}'; expected auto, {', '.join(TASKS)}; or name a model of your own task."
        )
    if options.model is not None:
        task = open_model(options.model).header.task
        if task is not None and options.task not in ("auto", task.name):
            raise ValueError(
                f"model '{options.model}' does '{task.name}', not '{options.task}'; leave one of them out."
            )
    resolve_device(options.device)
    check_folder(folder)
    items = find_inputs(inputs)
    done = read_ledger(folder)
    masks = mask_paths(folder, items, options.format)
    return [Job(item, mask, options, done.get(mask.name)) for item, mask in zip(items, masks)]


def check_folder(folder: Path) -> None:
    """Raise OutputRefused unless `folder` exists, or can be made, and can be written."""
    probe = folder / ".tinymig-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as e:
        raise OutputRefused(f"{folder} cannot be written ({e.strerror or e}); choose another folder with -o.") from e


def read_ledger(folder: Path) -> dict[str, dict[str, Any]]:
    """Finished inputs by the name of their mask; a torn last line is ignored."""
    try:
        lines = (folder / LEDGER).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    out: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            out[entry["mask"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return out


def input_hash(item: InputItem) -> str:
    """First 16 hex digits of the SHA-256 over the files of an input, '' if they cannot be read."""
    digest = hashlib.sha256()
    try:
        for path in item.files or (item.path,):
            digest.update(path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()[:16]


@lru_cache(maxsize=4)
def ready(model: str, device: str, threads: int | None, match: Help = "none") -> Predictor:
    """A predictor that is opened once per process."""
    return Predictor(model, device, threads, help=match)


@lru_cache(maxsize=1)
def gate() -> TaskGate:
    """The task gate, opened once per process."""
    return TaskGate()


def run_job(job: Job) -> Outcome:
    """Read, predict, write one input. Never raises for what the input or the disk did: that is a row 'failed'."""
    start = time.perf_counter()
    row: dict[str, Any] = {"file": str(job.item.path), "mask": "", "status": "failed"}
    try:
        outcome = _finish(job, row)
    except (TinyMIGError, ValueError, OSError, MemoryError) as e:
        text = str(e) or type(e).__name__
        if isinstance(e, MemoryError):
            text = f"{job.item.name} does not fit into memory; crop or shrink it first."
        outcome = Outcome(job, row | {"error": text})
    outcome.row.setdefault("seconds", round(time.perf_counter() - start, 4))
    return outcome


def _finish(job: Job, row: dict[str, Any]) -> Outcome:
    """The part of `run_job` that may fail."""
    options, digest = job.options, input_hash(job.item)
    skipped = _skipped(job, digest)
    if skipped is not None:
        return Outcome(job, skipped)
    scan_file = open_input(job.item)
    task = options.task
    if task == "auto" and options.model is None:
        task = gate().task_of(scan_file.scan, scan_file.metadata)
    row["task"] = task if task != "auto" else ""
    predictor = ready(str(options.model or default_model(task)), options.device, options.threads, options.match)
    row |= {"task": predictor.task.name, "model": predictor.model_id}
    _refuse_existing(job, digest, predictor.model_id)
    scan = scan_for_task(scan_file.scan, predictor.task.input)
    prediction = predictor.predict(
        scan,
        roi="full" if options.roi == "full" else "auto",
        uncertainty=options.uncertainty,
        psa_ng_ml=options.psa_ng_ml,
    )
    write_mask(prediction.labels, scan_file, job.mask, task=predictor.task, overwrite=options.overwrite)
    if options.overlay:
        _write_overlay(job, scan, prediction, predictor)
    row |= row_of(prediction) | {"mask": job.mask.name}
    notes = [*scan_file.notes, *prediction.notes]
    details = _details(row, prediction, notes) | {"input": digest, "options": options.fingerprint()}
    return Outcome(job, row, details, notes)


def _write_overlay(job: Job, scan: Any, prediction: Prediction, predictor: Predictor) -> None:
    from .overlay import overlay_of, save_overlay

    name = job.mask.name.split("_mask.")[0] if "_mask." in job.mask.name else job.mask.stem
    save_overlay(overlay_of(scan, prediction, predictor.task), job.mask.with_name(name + OVERLAY))


def _skipped(job: Job, digest: str) -> dict[str, Any] | None:
    """The row of an input whose mask is there already, from the same input, model and options; else None."""
    done, options = job.done, job.options
    if options.overwrite or done is None or not job.mask.exists() or not digest:
        return None
    if done.get("input") != digest or done.get("options") != options.fingerprint():
        return None
    if options.task not in ("auto", done.get("task")):
        return None
    wanted = options.model or default_model(str(done.get("task")))
    if model_id_of(str(wanted)) != done.get("model"):
        return None
    return {k: done.get(k) for k in (*COLUMNS, "psa_density")} | {"file": str(job.item.path), "status": "skipped"}


@lru_cache(maxsize=16)
def model_id_of(name: str) -> str:
    """name@hash of a model by name or file, read once."""
    from .model_file import read_header

    return read_header(find_model(name))[1]


def _refuse_existing(job: Job, digest: str, model_id: str) -> None:
    """Say why an existing mask is not replaced, before any work is done."""
    if job.options.overwrite or not job.mask.exists():
        return
    done = job.done or {}
    if not done:
        why = "it was not made by an earlier run recorded here"
    elif done.get("input") != digest:
        why = "it belongs to another input of that name"
    elif done.get("model") != model_id:
        why = f"it was made by {done.get('model')}"
    else:
        why = "it was made with other options"
    raise OutputRefused(f"{job.mask} exists ({why}) and is not overwritten; add --overwrite or choose another folder.")


def _details(row: dict[str, Any], prediction: Prediction, notes: list[str]) -> dict[str, Any]:
    """One line of the ledger: strict JSON, NaN as null."""
    measures = {k: (round(v, 5) if math.isfinite(v) else None) for k, v in prediction.measures.items()}
    clean = {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in row.items()}
    return clean | {
        "measures": measures,
        "notes": notes,
        "shift_reason": prediction.shift_reason,
        "extra": prediction.extra,
    }


def run_all(
    jobs: Sequence[Job],
    folder: Path,
    executor: Executor | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Outcome, None, None]:
    """Outcomes as they come; masks, ledger and table are on the disk before an outcome is given.

    executor: None = threads of this process, one per core for photographs. Stopping (`cancelled`, an exception, or
    closing the iterator) lets running inputs finish, starts no other, and keeps everything done.
    """
    columns = (*COLUMNS, "psa_density") if any(j.options.psa_ng_ml is not None for j in jobs) else COLUMNS
    table = Table(folder / TABLE, columns)
    own = executor is None
    executor = executor or ThreadPoolExecutor(workers_for(jobs))
    futures: list[Future[Outcome]] = []
    try:
        with (folder / LEDGER).open("a", encoding="utf-8") as ledger:

            def record(outcome: Outcome) -> Outcome:
                if outcome.details:
                    ledger.write(json.dumps(outcome.details, allow_nan=False, default=str) + "\n")
                    ledger.flush()
                table.put(outcome.row)
                return outcome

            try:
                for outcome in _in_order_of_finish(jobs, executor, futures, cancelled):
                    yield record(outcome)
            finally:
                # Stopped early: what runs now still writes its mask, which must be known to a later run.
                for running in [f for f in futures if not f.cancel()]:
                    record(running.result())
    except OSError as e:
        raise OutputRefused(f"{folder} cannot be written ({e.strerror or e}); make room or choose another.") from e
    finally:
        table.order(str(j.item.path) for j in jobs)
        table.write()
        if own:
            executor.shutdown(wait=True, cancel_futures=True)


def _in_order_of_finish(
    jobs: Sequence[Job], executor: Executor, futures: list[Future[Outcome]], cancelled: Callable[[], bool]
) -> Iterator[Outcome]:
    """Outcomes in order of input, at most a few ahead of the reader, so that memory stays flat."""
    waiting = iter(jobs)
    ahead = 8
    for job in waiting:
        futures.append(executor.submit(run_job, job))
        if len(futures) < ahead:
            continue
        yield futures.pop(0).result()
        if cancelled():
            return
    while futures:
        yield futures.pop(0).result()
        if cancelled():
            return


def workers_for(jobs: Sequence[Job]) -> int:
    """One worker per core for several photographs; one for volumes, whose network uses all cores itself."""
    photographs = sum(j.item.format == "photograph" for j in jobs)
    return max(1, min(usable_threads(), 8, photographs)) if photographs == len(jobs) else 1


def with_threads(jobs: list[Job]) -> list[Job]:
    """The jobs with the network's threads set so that workers x threads = cores."""
    threads = max(1, usable_threads() // workers_for(jobs))
    return [replace(j, options=replace(j.options, threads=j.options.threads or threads)) for j in jobs]
