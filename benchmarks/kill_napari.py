"""kill -9 of napari at random moments while a mask is painted: what is lost, and is the journal ever damaged?

    xvfb-run -a python benchmarks/kill_napari.py --kills 100 -o benchmarks

Every round is a napari process of its own with the panel 'Annotate cases' docked; brush strokes of deterministic place,
size and class are painted every 20 ms with `Labels.paint`; after a random time the process is killed. Then the journal
is read as the next start would read it. Restored labels must equal, pixel by pixel, the state after some number of
strokes; lost seconds = age of the first stroke that is missing at the moment of the last one that was painted.
Linux and macOS (the processes are forked after the imports, which only saves time).
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHAPE = (512, 512)
STROKE_MS = 20
FIELDS = ["kill", "after_s", "painted", "restored", "lost_s", "damaged", "rests"]


def stroke(number: int) -> tuple[tuple[int, int], int, int]:
    """Place (row, column), brush size in pixels and label of a stroke."""
    rng = np.random.default_rng(number)
    row, column = rng.integers(20, SHAPE[0] - 20, 2).tolist()
    return (row, column), int(rng.integers(1, 30)), int(rng.integers(0, 3))


def paint(labels: object, number: int) -> None:
    """One stroke on a Labels layer."""
    place, size, label = stroke(number)
    labels.brush_size = size  # type: ignore[attr-defined]
    labels.paint(place, label)  # type: ignore[attr-defined]


def paint_until_killed(state: Path, pipe: int) -> None:
    """The child: a window, the panel, strokes; tells the time of each stroke. Never returns."""
    os.environ["TINYMIG_STATE"] = str(state)
    import napari
    from qtpy.QtCore import QTimer

    from napari_tinymig.viewer.annotate.panel import AnnotatePanel

    viewer = napari.Viewer(show=False)
    labels = viewer.add_labels(np.zeros(SHAPE, np.uint8), name="mask")
    viewer.window.add_dock_widget(AnnotatePanel(viewer))
    count = 0

    def one() -> None:
        nonlocal count
        count += 1
        paint(labels, count)
        os.write(pipe, f"{count} {time.monotonic()}\n".encode())

    timer = QTimer()
    timer.timeout.connect(one)
    timer.start(STROKE_MS)
    napari.run()
    os._exit(1)


def watch(pipe: int, child: int, after_s: float) -> dict[int, float]:
    """Read stroke times; kill the child `after_s` after its first stroke. Returns number -> time."""
    told: dict[int, float] = {}
    first = 0.0
    with os.fdopen(pipe, "rb", buffering=0) as stream:
        os.set_blocking(stream.fileno(), False)
        rest, end = b"", time.monotonic() + 120
        while not first or time.monotonic() < first + after_s:
            if time.monotonic() > end:
                raise SystemExit("napari painted nothing within two minutes; is there a display?")
            time.sleep(0.002)
            lines = (rest + (stream.read() or b"")).split(b"\n")
            rest = lines.pop()
            told |= {int(w[0]): float(w[1]) for w in (line.split() for line in lines)}
            first = first or (time.monotonic() if told else 0.0)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = (rest + (stream.read() or b"")).split(b"\n")[:-1]
        return told | {int(w[0]): float(w[1]) for w in (line.split() for line in lines)}


def judge(state: Path, told: dict[int, float]) -> dict[str, object]:
    """What the next start finds."""
    from napari.layers import Labels

    from napari_tinymig.annotations.journal import recoverable

    found = recoverable(state / "journal")
    restored = found[0].labels if found else np.zeros(SHAPE, np.uint8)
    layer, kept = Labels(np.zeros(SHAPE, np.uint8)), -1
    for number in range(max(told) + 2):  # one more: the last stroke may not have been told any more
        if number:
            paint(layer, number)
        if np.array_equal(layer.data, restored):
            kept = number
    missing = [at for number, at in told.items() if number > kept]
    lost = max(told.values()) - min(missing) if missing and kept >= 0 else 0.0
    rests = sum(p.suffix == ".tmp" for p in (state / "journal").glob("*"))
    return {"painted": max(told), "restored": kept, "lost_s": round(lost, 3), "damaged": kept < 0, "rests": rests}


def main() -> None:
    """Kill and judge; write kill_napari.csv and a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--longest", type=float, default=8.0, help="latest kill, seconds after the first stroke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks"))
    args = parser.parse_args()
    import napari_tinymig.viewer.annotate.panel  # noqa: F401  # imported once, before the forks

    rows = []
    moments = np.random.default_rng(args.seed).uniform(0.05, args.longest, args.kills)
    for number, after_s in enumerate(moments.tolist()):
        with tempfile.TemporaryDirectory() as folder:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reading)
                sys.stderr = open(os.devnull, "w")  # noqa: SIM115
                paint_until_killed(Path(folder), writing)
            os.close(writing)
            told = watch(reading, child, after_s)
            rows.append({"kill": number, "after_s": round(after_s, 3)} | judge(Path(folder), told))
            print(rows[-1], flush=True)
    with (args.out / "kill_napari.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lost = np.array([float(r["lost_s"]) for r in rows])
    strokes, damaged = sum(int(r["painted"]) for r in rows), sum(bool(r["damaged"]) for r in rows)
    print(f"{len(rows)} kills, {strokes} strokes; damaged {damaged}; lost seconds:", end=" ")
    print(f"median {np.median(lost):.2f}, 95th percentile {np.percentile(lost, 95):.2f}, most {lost.max():.2f}")


if __name__ == "__main__":
    main()
