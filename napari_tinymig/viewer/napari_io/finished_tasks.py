"""Workers that have ended are taken off napari's list of tasks, which keeps them as long as the program runs."""

from __future__ import annotations

from typing import Any

from napari import current_viewer


def forget_when_finished(worker: Any) -> None:
    """Take `worker`, a worker of napari that has not been started, off the window's list of tasks once it ends.

    napari 0.9.2 asks that list whether a window that closes is still busy, and never clears it: each entry holds its
    worker, and what that was told to call. Without a window, or with a napari that keeps no such list, nothing is done.
    """
    manager = getattr(getattr(current_viewer(), "window", None), "_task_status_manager", None)
    tasks = getattr(manager, "_tasks", None)
    if not isinstance(tasks, dict):
        return
    own = [k for k, item in tasks.items() if getattr(item._cancel_callback, "__self__", None) is worker]

    def forget() -> None:
        for key in own:
            tasks.pop(key, None)

    worker.finished.connect(forget)
