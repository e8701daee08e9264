"""Many inputs to masks, rows and overlays in one folder: the same for the command line, the batch panel, a cluster.

What was done is kept in `details.jsonl`, one JSON object per finished input with every measure and note. It is also how
a later run knows that a mask belongs to the same input, model and options and can be skipped
(`formats/folder_ledger.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..base.errors import OutputRefused
from ..base.safe_files import FolderLock, sweep
from ..formats import find_scans, mask_paths
from ..formats.folder_ledger import Ledger, forget_old_notes, read_ledger
from ..measures.csv_table import Table, table_columns
from ..models.registry import open_model
from ..network.run import resolve_device, usable_threads
from ..tasks.table import TASKS
from .one_input import Job, Options, Outcome, run_job

TABLE = "measurements.csv"


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
    items = find_scans(inputs)
    done = read_ledger(folder)
    masks = mask_paths(folder, items, options.format)
    return [Job(item, mask, options, done.get(mask.name)) for item, mask in zip(items, masks)]


def check_folder(folder: Path) -> None:
    """Raise OutputRefused unless `folder` exists, or can be made, and can be written; what a killed run left half
    written there is swept."""
    probe = folder / ".tinymig-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        sweep(folder)
    except OSError as e:
        raise OutputRefused(f"{folder} cannot be written ({e.strerror or e}); choose another folder with -o.") from e


def run_all(
    jobs: Sequence[Job],
    folder: Path,
    executor: Executor | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Outcome, None, None]:
    """Outcomes as they come; masks, ledger and table are on the disk before an outcome is given. A run that was killed
    is gone on with, as if it had never been: its leftovers are swept, and what it began is finished.

    executor: None = threads of this process, one per core for photographs. Stopping (`cancelled`, an exception, or
    closing the iterator) lets running inputs finish, starts no other, and keeps everything done. Raises OutputRefused
    where another process writes into `folder`, or nobody can.
    """
    lock = FolderLock(folder, what="this folder of results")
    try:
        known = read_ledger(folder)
        forget_old_notes(folder, known)
        yield from _run([replace(j, done=known.get(j.mask.name)) for j in jobs], folder, executor, cancelled)
    finally:
        lock.release()


def _run(
    jobs: Sequence[Job], folder: Path, executor: Executor | None, cancelled: Callable[[], bool]
) -> Generator[Outcome, None, None]:
    table = Table(folder / TABLE, table_columns(psa=any(j.options.psa_ng_ml is not None for j in jobs)))
    futures: list[Future[Outcome]] = []
    workers = ThreadPoolExecutor(workers_for(jobs)) if executor is None else executor
    try:
        with Ledger(folder) as ledger:

            def record(outcome: Outcome) -> Outcome:
                if outcome.details:
                    ledger.add(outcome.details)
                table.put(outcome.row)
                return outcome

            try:
                for outcome in _in_order_of_finish(jobs, workers, futures, cancelled):
                    yield record(outcome)
            finally:
                # Stopped early: what runs now still writes its mask, which must be known to a later run.
                for running in [f for f in futures if not f.cancel()]:
                    record(running.result())
                table.order(str(j.item.path) for j in jobs)
                table.write()
    except OSError as e:
        raise OutputRefused(f"{folder} cannot be written ({e.strerror or e}); make room or choose another.") from e
    finally:
        if executor is None:
            workers.shutdown(wait=True, cancel_futures=True)


def _in_order_of_finish(
    jobs: Sequence[Job], executor: Executor, futures: list[Future[Outcome]], cancelled: Callable[[], bool]
) -> Iterator[Outcome]:
    """Outcomes in order of input, at most a few ahead of the reader, so that memory stays flat."""
    waiting = iter(jobs)
    ahead = max(8, 2 * getattr(executor, "width", 1))
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
