"""How long a window stands still, and waiting without blocking it: shared by the benchmarks that open a real window."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class GapClock:
    """Times between two turns of the event loop, seconds, by a timer that wants to fire every millisecond.

    times: by the clock on the wall. busy: of them, what this thread itself computed, which other programs on the
    machine do not change.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.reset()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(1)
        self.timer.timeout.connect(self.tick)
        self.timer.start()

    @property
    def longest(self) -> float:
        """The longest gap since the last reset, seconds."""
        return max(self.times, default=0.0)

    def tick(self) -> None:
        now = time.perf_counter()
        busy = time.thread_time()
        self.times.append(now - self.last)
        self.busy.append(busy - self.last_busy)
        self.last, self.last_busy = now, busy

    def reset(self) -> None:
        """Forget what was."""
        self.times: list[float] = []
        self.busy: list[float] = []
        self.last, self.last_busy = time.perf_counter(), time.thread_time()

    def gaps_ms(self) -> dict[str, float]:
        """The 99th percentile and the longest of the gaps, ms: on the wall, and of this thread's own computing."""
        out = {}
        for name, values in (("wall", self.times), ("busy", self.busy)):
            ordered = sorted(values) or [0.0]
            out[f"p99_{name}_ms"] = 1e3 * ordered[int(0.99 * (len(ordered) - 1))]
            out[f"longest_{name}_ms"] = 1e3 * ordered[-1]
        return out


def run_until(condition: Callable[[], bool], seconds: float, each: Callable[[], None] | None = None) -> bool:
    """Turn the event loop until the condition holds, False after `seconds`; `each` is called after every turn."""
    from qtpy.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        QApplication.processEvents()
        if each:
            each()
        time.sleep(0.0005)
    return True


def tell(result: dict[str, Any], out: Path | None) -> None:
    """Print the figures with the machine they were taken on, and write them as JSON."""
    result["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
    text = json.dumps(result, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
