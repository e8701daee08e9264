"""How long the window stands still: while a volume is predicted, when the result is added, while painting.

Run with a display (or xvfb-run -a): python benchmarks/viewer_latency.py [--rounds 5] [--seconds 20] [--out FILE.json]
Under three minutes on two quiet cores. 384x384x24 volume; Segment, Read-out, Cases and Planes are open.

add_layer_ms: showing the result, of the first mask of the window and of later ones. predicting, painting: 99th
percentile and longest of the times between two turns of the event loop, from the click to the answer, and while the
mouse paints strokes with a brush of 30 pixels for `--seconds`, at 60 positions a second. paint_to_number_ms: from a
stroke to the changed number on show. idle: the same clock with nothing to do, the floor of this machine at this
moment. bare: painting with every panel closed, napari's own cost. Every time is given by the clock on the wall, and
(busy) as the processor time of the window's own thread, which other programs on the machine do not change.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from event_loop import GapClock, run_until, tell

PANELS = ("Segment", "Cases", "Planes and scanner position", "Live read-out")


def volume():
    """A drawn prostate, 24 slices of 384 x 384 at 3 x 0.5 x 0.5 mm."""
    from napari_tinymig.samples.drawn import prostate_sample

    return prostate_sample(side=384, slices=24).scan


def one_round(panel, clock):
    """Gaps of one prediction, with the result's own adding measured apart."""
    added = {}
    answered = panel.work.on_result

    def answer(value):
        added["gaps"] = clock.gaps_ms()
        start, busy = time.perf_counter(), time.thread_time()
        answered(value)
        added["add"], added["add_busy"] = time.perf_counter() - start, time.thread_time() - busy
        added["seconds"] = value[0].seconds

    panel.work.on_result = answer
    clock.reset()
    start = time.perf_counter()
    panel.segment()
    run_until(lambda: "add" in added, 120)
    wall = time.perf_counter() - start
    panel.work.on_result = answered
    run_until(lambda: False, 0.5)  # the canvas draws it
    return {
        **{f"predicting_{name}": value for name, value in added["gaps"].items()},
        "add_layer_ms": added["add"] * 1e3,
        "add_layer_busy_ms": added["add_busy"] * 1e3,
        "prediction_ms": added["seconds"] * 1e3,
        "click_to_mask_ms": wall * 1e3,
    }


def strokes(viewer, labels, clock, seconds):
    """Gaps while a mouse paints circles in the window."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    canvas = viewer.window._qt_viewer.canvas.native
    middle, radius = np.array([canvas.width() / 2, canvas.height() / 2]), min(canvas.width(), canvas.height()) / 5
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton

    def mouse(kind, button, buttons):
        angle = 2 * time.perf_counter()
        at = QPointF(*(middle + radius * np.array([np.cos(angle), np.sin(angle)])))
        where = QPointF(canvas.mapToGlobal(at.toPoint()))
        event = QMouseEvent(kind, at, where, button, buttons, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(canvas, event)

    labels.mode, labels.brush_size, labels.selected_label = "paint", 30, 1
    mouse(QEvent.Type.MouseMove, none, none)
    mouse(QEvent.Type.MouseButtonPress, left, left)
    clock.reset()
    end, following = time.perf_counter() + seconds, [0.0]

    def move():
        if time.perf_counter() >= following[0]:
            following[0] = time.perf_counter() + 1 / 60
            mouse(QEvent.Type.MouseMove, none, left)

    run_until(lambda: time.perf_counter() > end, seconds + 60, each=move)
    gaps = clock.gaps_ms()
    mouse(QEvent.Type.MouseButtonRelease, left, none)
    labels.mode = "pan_zoom"
    return gaps


def painting(readout, labels, rounds):
    """Milliseconds from a brush stroke to the changed number, and of one measurement alone."""
    waits = []
    for i in range(rounds):
        before = readout.big.text(), tuple(readout.rows.rows().items())
        start = time.perf_counter()
        place = (12, 60 + 40 * i, 100)
        labels.paint(place, int(labels.data[place] == 0))
        run_until(lambda: (readout.big.text(), tuple(readout.rows.rows().items())) != before, 2)  # noqa: B023
        waits.append((time.perf_counter() - start) * 1e3)
    return {"paint_to_number_ms": float(np.median(waits)), "readout_ms": readout.last_ms}


def summary(rounds):
    """Least, median and largest of every number."""
    columns = {k: [r[k] for r in rounds] for k in rounds[0]}
    return {k: {"min": min(v), "median": float(np.median(v)), "max": max(v)} for k, v in columns.items()}


def opened(model):
    """A window of 1280x800 with the volume and the panels; viewer, panels by title."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    panels = {title: viewer.window.add_plugin_dock_widget("napari-tinymig", title)[1] for title in PANELS}
    scan = volume()
    viewer.add_image(scan.pixels, scale=scan.spacing_mm, units=("mm",) * 3, name="volume")
    run_until(lambda: panels["Segment"].go.isEnabled(), 60)
    if model:
        panels["Segment"].model.addItem(model)
        panels["Segment"].model.setCurrentText(model)
    return viewer, panels


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", help="name or file; default: the bundled prostate student")
    options = parser.parse_args()
    viewer, panels = opened(options.model)
    clock = GapClock()
    clock.reset()
    run_until(lambda: False, 2.0)
    result = {f"idle_{name}": value for name, value in clock.gaps_ms().items()}
    rounds = []
    for i in range(options.rounds):
        rounds.append(one_round(panels["Segment"], clock))
        labels = panels["Segment"].result
        if i < options.rounds - 1:
            viewer.layers.remove(labels.name)
    result["first"] = rounds[0]
    result["later"] = summary(rounds[1:] or rounds)
    run_until(lambda: False, 1.0)
    result["painting"] = strokes(viewer, labels, clock, options.seconds)
    labels.brush_size = 30  # more than a rounded mL
    result |= painting(panels["Live read-out"], labels, 5)
    viewer.window.remove_dock_widget("all")
    run_until(lambda: False, 1.0)
    result["painting_bare"] = strokes(viewer, labels, clock, options.seconds)
    result["shape"], result["rounds"] = list(volume().pixels.shape), options.rounds
    tell(result, options.out)
    viewer.close()


if __name__ == "__main__":
    main()
