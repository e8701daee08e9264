"""The same question about many things, asked on several cores at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")

_busy = threading.local()


@lru_cache(maxsize=8)
def _pool(threads: int) -> ThreadPoolExecutor:
    """One pool of each size for the whole process; its threads sleep until they are asked."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tinymig")


if hasattr(os, "register_at_fork"):  # a forked child has the pool and none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_threads(ask: Callable[[Thing], Answer], things: Sequence[Thing], threads: int) -> list[Answer]:
    """`ask` of every thing, at most `threads` at a time; answers in the order of the things, the first error raised.

    Asked from one of its own threads, it answers there, one after the other: nothing ever waits for its own place.
    """
    if threads < 2 or len(things) < 2 or getattr(_busy, "yes", False):
        return [ask(thing) for thing in things]

    def there(thing: Any) -> Any:
        _busy.yes = True
        return ask(thing)

    return list(_pool(threads).map(there, things))
