"""The workers of a dask scheduler as an executor that says when the scheduler is gone, instead of waiting for ever."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..base.errors import MissingExtra, TinyMIGError
from .one_input import Job, Outcome

RETRIES = 3
"""How often an input is begun again after its worker has gone (dask's `allowed-failures` has the last word)."""
PATIENCE_S = 10
"""Seconds a scheduler is waited for, at the start and when it no longer answers."""


class SchedulerLost(TinyMIGError):
    """A scheduler that stopped answering while inputs were with its workers; what was finished is kept."""


@contextmanager
def cluster_executor(address: str) -> Iterator[ClusterExecutor]:
    """The workers of the scheduler at `address`, such as tcp://host:8786; they must see the same disk.

    Raises MissingExtra without dask.distributed, ValueError where no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as e:
        raise MissingExtra("--cluster", "cluster") from e
    # What these say of a lost connection is said once, in our sentence; each of their loggers has a level of its own.
    for name in [
        n for n in logging.root.manager.loggerDict if n.split(".")[0] in ("distributed", "tornado", "asyncio")
    ]:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        client = Client(address, timeout=f"{PATIENCE_S}s")
    except (OSError, TimeoutError, ValueError) as e:
        raise ValueError(
            f"no dask scheduler answers at {address} ({e}); expected an address like tcp://host:8786."
        ) from e
    executor = ClusterExecutor(client, address)
    try:
        yield executor
    finally:
        executor.shutdown()
        client.close()


class ClusterExecutor(Executor):
    """Jobs on the workers of a dask client, each begun again where its worker is killed.

    width: how many jobs run at once, over all workers. A job whose workers were killed again and again becomes a row
    'failed'. Where the scheduler is gone, the job that is waited for raises SchedulerLost and the later ones are
    cancelled.
    """

    def __init__(self, client: Any, address: str):
        self._client, self._address = client, address
        self._workers = client.get_executor(pure=False, retries=RETRIES)
        self._waiting: list[Future[Any]] = []
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._watch = threading.Thread(target=self._watched, name="tinymig-cluster", daemon=True)
        self._watch.start()

    @property
    def width(self) -> int:
        """Threads of all workers that are here now, at least one."""
        return max(1, sum(self._client.nthreads().values()))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """One job to a worker."""
        answer: Future[Any] = Future()
        with self._lock:
            self._waiting = [f for f in self._waiting if not f.done()] + [answer]
        if self._lost():
            self._give_up()
            return answer
        there = self._workers.submit(fn, *map(_anywhere, args), **kwargs)
        there.add_done_callback(lambda done: self._hand_over(done, answer, args))
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop watching; jobs that run go on at their workers."""
        self._ended.set()
        if not self._lost():
            self._workers.shutdown(wait=wait)

    def _hand_over(self, done: Future[Any], answer: Future[Any], args: tuple[Any, ...]) -> None:
        from distributed import KilledWorker

        with self._lock:
            if answer.done() or done.cancelled():
                return
            error = done.exception()
            if isinstance(error, KilledWorker) and args and isinstance(args[0], Job):
                answer.set_result(_killed(args[0]))
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(_as_asked(done.result(), args))

    def _lost(self) -> bool:
        return self._client.status in ("closing", "closed")

    def _watched(self) -> None:
        while not self._ended.wait(0.2):
            if self._lost():
                self._give_up()

    def _give_up(self) -> None:
        """The first job that waits says what happened; those after it are taken back."""
        with self._lock:
            waiting = [f for f in self._waiting if not f.done()]
            if waiting and not any(f.done() and not f.cancelled() and f.exception() for f in self._waiting):
                waiting.pop(0).set_exception(
                    SchedulerLost(
                        f"The dask scheduler at {self._address} stopped answering for {PATIENCE_S} s; start it again, "
                        "or leave --cluster out."
                    )
                )
            for later in waiting:
                later.cancel()


def _killed(job: Job) -> Outcome:
    """The row of an input that no worker outlived."""
    text = (
        f"{job.item.name} was begun again and again, and each time its worker was killed; expected one that lives; "
        "look at the workers' logs, most often memory is short: give each more, or fewer threads."
    )
    return Outcome(job, {"file": str(job.item.path), "mask": "", "status": "failed", "error": text})


def _anywhere(argument: Any) -> Any:
    """A job whose paths mean the same in a worker's own folder; anything else as it is."""
    if not isinstance(argument, Job):
        return argument
    item, options = argument.item, argument.options
    item = replace(item, path=item.path.absolute(), files=tuple(f.absolute() for f in item.files))
    if options.model is not None and Path(options.model).is_file():
        options = replace(options, model=str(Path(options.model).absolute()))
    return replace(argument, item=item, mask=argument.mask.absolute(), options=options)


def _as_asked(answer: Any, asked: tuple[Any, ...]) -> Any:
    """A worker's outcome under the job and the name of the file that the user gave, so that runs with and without a
    cluster share one table."""
    if isinstance(answer, Outcome) and asked and isinstance(asked[0], Job):
        answer.job = asked[0]
        for record in (answer.row, answer.details):
            if "file" in record:
                record["file"] = str(asked[0].item.path)
    return answer
