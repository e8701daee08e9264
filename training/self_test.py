"""A run that trains nothing: shows that the worker, its messages and its stopping work on this machine.

`tinymig doctor` and the tests use it; it needs no torch.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from napari_tinymig.base.records import Message


def self_test(
    stop: Callable[[], bool],
    steps: int = 3,
    step_s: float = 0.0,
    noise: str = "",
    ending: str = "done",
    listens: bool = True,
    farewell_s: float = 0.0,
) -> Iterator[Message]:
    """Yield `steps` messages, one each `step_s` seconds, then end as asked.

    noise: text printed on standard output at each step, as careless libraries do. ending: done, crash (the process
    vanishes), disk_full, memory, hang (an hour in one step). listens: whether a stop is looked at. farewell_s: time the
    run needs to save after a stop; then it says so.
    """
    yield Message("started", 0, steps, {"pid": float(os.getpid())})
    for i in range(1, steps + 1):
        time.sleep(step_s)
        if noise:
            sys.stdout.write(noise + "\n")
            os.write(1, noise.encode() + b"\n")
        if listens and stop():
            time.sleep(farewell_s)
            if farewell_s:
                yield Message("saved", i, steps, text="job.json")
            yield Message("stopped", i, steps, text=f"Stopped at step {i}.")
            return
        yield Message("step", i, steps, {"loss": 1 / i})
    if ending == "crash":
        os._exit(11)
    if ending == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if ending == "memory":
        raise MemoryError("tried to allocate 64.00 GiB")
    if ending == "hang":
        time.sleep(3600)
    yield Message("done", text="The worker starts, reports and ends as it should.")


def run_job(settings: dict[str, Any], stop: Callable[[], bool]) -> Iterator[Message]:
    """The self-test as a job of the worker."""
    return self_test(stop, **settings)
