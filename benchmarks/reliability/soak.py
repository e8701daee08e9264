"""A long day in one window: predictions, prompts, painting and fine-tunings; does memory, do handles stay flat?

    xvfb-run -a python benchmarks/reliability/soak.py -o benchmarks/reliability
    xvfb-run -a python benchmarks/reliability/soak.py --predictions 100 --prompts 25 --paintings 10 --tunings 1

The whole day is 2,000 predictions, 500 prompts, 200 paintings (three strokes, one undone, autosaved) and 30
fine-tunings of the smallest budget, mixed evenly. After every step (of a whole day: every second one) soak.csv gets
resident memory, open handles, threads, child processes and zombies of the window's process. Printed: the slope of
memory, handles and threads over the second half of the day, a thousand steps, with the 95 % interval of a straight
line's slope; what is left at the end. Photographs are drawn; every fiftieth prediction opens a new one in the place of
the old. A prompt session is one of the Python interface in the window's process; a fine-tuning is the panel's, a fifth
of a minute in its worker.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FIELDS = ["step", "seconds", "what", "rss_mb", "handles", "threads", "children", "zombies"]


def run_until(done: Callable[[], bool], seconds: float) -> bool:
    """Turn the event loop until `done`, or the time is up."""
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        # Outside a running event loop Qt keeps deleteLater() waiting; a running napari would delete now.
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        time.sleep(0.001)
    return done()


class Day:
    """One window and what is done in it."""

    def __init__(self, folder: Path):
        import napari

        from napari_tinymig.viewer.finetune.panel import FineTunePanel
        from napari_tinymig.viewer.segment.panel import SegmentPanel

        self.folder, self.count = folder, 0
        self.pixels, _ = drawn_eye()
        self.viewer = napari.Viewer(show=True)
        self.panels: dict[str, Any] = {}
        for name, panel in (("segment", SegmentPanel), ("tune", FineTunePanel)):
            self.panels[name] = panel(self.viewer)
            self.viewer.window.add_dock_widget(self.panels[name], name=name, tabify=True)
        self.open_picture()

    def open_picture(self) -> None:
        """A new photograph in the place of the old."""
        self.viewer.layers.clear()
        self.viewer.add_image(np.roll(self.pixels, self.count, 1), rgb=True, name=f"eye {self.count}")
        self.count += 1
        run_until(lambda: self.panels["segment"].go.isEnabled(), 60)

    def predict(self) -> None:
        """One prediction, shown."""
        from napari.layers import Labels

        panel, shown = self.panels["segment"], []
        answered = panel.work.on_result
        panel.work.on_result = lambda value: (answered(value), shown.append(1))
        try:
            panel.segment()
            if not run_until(lambda: bool(shown), 300):
                raise SystemExit(f"no prediction within five minutes: {panel.message.text()}")
        finally:
            panel.work.on_result = answered
        extra = [layer for layer in self.viewer.layers if isinstance(layer, Labels)][1:]
        for layer in extra:
            self.viewer.layers.remove(layer)

    def labels(self) -> Any:
        """The mask on show."""
        from napari.layers import Labels

        found = [layer for layer in self.viewer.layers if isinstance(layer, Labels)]
        return found[0] if found else self.viewer.add_labels(np.zeros(self.pixels.shape[:2], np.uint8))

    def paint(self) -> None:
        """Three strokes, one undone; the autosave is given its second."""
        labels, rng = self.labels(), np.random.default_rng(self.count)
        for _ in range(3):
            row, column = (int(v) for v in rng.integers(40, 200, 2))
            for k in range(10):
                labels.paint((row, column + k), 1)
        labels.undo()
        run_until(lambda: False, 0.2)

    def prompt(self) -> None:
        """A session with two clicks and an undo."""
        from napari_tinymig import prompt

        session = prompt(self.pixels, task="optic")
        session.click((150, 200), label=1)
        session.click((10, 10), label=0)
        session.undo()
        run_until(lambda: False, 0.01)

    def tune(self) -> None:
        """A fine-tuning of the smallest budget in its worker; its model is not kept."""
        panel = self.panels["tune"]
        panel.folder.setText(str(self.folder / "set"))
        panel.refresh()
        panel.minutes.setValue(0.2)
        panel.start()
        if not run_until(lambda: panel.running, 300):
            raise SystemExit(f"no fine-tuning began: {panel.message.text()}")
        if not run_until(lambda: not panel.running, 1800):
            raise SystemExit("a fine-tuning did not end")


def schedule(amounts: dict[str, int]) -> Iterator[str]:
    """Names of what is done, each evenly spread over the day."""
    at = sorted((k / n, name) for name, n in amounts.items() for k in range(n))
    yield from (name for _, name in at)


def measured(step: int, begun: float, what: str) -> dict[str, Any]:
    """A row about this process as it stands."""
    process = psutil.Process()
    children = process.children(recursive=True)
    zombies = sum(child.status() == psutil.STATUS_ZOMBIE for child in children)
    row: dict[str, Any] = {"step": step, "seconds": round(time.monotonic() - begun, 1), "what": what}
    row |= {"rss_mb": round(process.memory_info().rss / 1e6, 1), "handles": process.num_fds()}
    return row | {"threads": process.num_threads(), "children": len(children), "zombies": zombies}


def slope(rows: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """(slope a thousand steps, half of its 95 % interval) of the second half of the rows."""
    half = rows[len(rows) // 2 :]
    x, y = (np.array([float(r[k]) for r in half]) for k in ("step", name))
    if len(half) < 4 or np.ptp(x) == 0:
        return float("nan"), float("nan")
    line, covariance = np.polyfit(x, y, 1, cov=True)
    return 1000 * float(line[0]), 1000 * 1.96 * float(np.sqrt(max(covariance[0, 0], 0)))


def main() -> None:
    """Live the day; write soak.csv; print slopes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=2000)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--paintings", type=int, default=200)
    parser.add_argument("--tunings", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=10**9, help="begin nothing after this time")
    parser.add_argument("-o", "--out", type=Path, default=Path("."), help="folder of soak.csv")
    args = parser.parse_args()
    amounts = {"predict": args.predictions, "prompt": args.prompts, "paint": args.paintings, "tune": args.tunings}
    every = max(sum(amounts.values()) // 1000, 1)
    rows: list[dict[str, Any]] = []
    done = dict.fromkeys(amounts, 0)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TINYMIG_HOME"] = str(Path(scratch) / "home")
        write_set(Path(scratch) / "set")
        day, begun = Day(Path(scratch)), time.monotonic()
        for step, what in enumerate(schedule(amounts)):
            if time.monotonic() - begun > args.seconds:
                break
            getattr(day, what)()
            done[what] += 1
            if what == "predict" and done[what] % 50 == 0:
                day.open_picture()
            if step % every == 0 or what == "tune":
                rows.append(measured(step, begun, what))
                write(args.out / "soak.csv", rows)
        run_until(lambda: False, 2)
        rows.append(measured(sum(done.values()), begun, "end"))
        day.viewer.close()
    write(args.out / "soak.csv", rows)
    print(", ".join(f"{n} x {what}" for what, n in done.items()), f"in {rows[-1]['seconds']:.0f} s")
    for name in ("rss_mb", "handles", "threads"):
        value, half = slope(rows, name)
        interval = f"[{value - half:+.2f}, {value + half:+.2f}]"
        print(f"{name}: {value:+.2f} {interval} a thousand steps, ends at {rows[-1][name]}")
    print(f"at the end {rows[-1]['children']} children, {rows[-1]['zombies']} zombies")


def drawn_eye() -> tuple[np.ndarray, np.ndarray]:
    """(photograph, labels) of a drawn eye."""
    from napari_tinymig.samples.drawn import fundus_sample

    sample = fundus_sample(side=400)
    return np.asarray(sample.scan.pixels), np.asarray(sample.truth, np.uint8)


def write_set(folder: Path) -> None:
    """Two annotated drawn photographs."""
    from PIL import Image

    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for kind, values in zip(("images", "labels"), drawn_eye()):
        for k in range(2):
            Image.fromarray(np.roll(values, 5 * k, 1)).save(folder / kind / f"{k}.png")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The table so far."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
