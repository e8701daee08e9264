"""How long the window stands still: while a volume is predicted, when the result is added, while painting.

Run with a display (or xvfb-run -a): python benchmarks/viewer_latency.py [--rounds 5] [--out FILE.json]

gap_predicting_ms: longest time between two turns of the event loop from the click to the answer, 384x384x24 volume.
add_layer_ms: one call of viewer.add_layer with the result, napari's own cost. readout_ms: one measurement.
paint_to_number_ms: from a brush stroke to the changed number on show. idle_gap_ms: the same clock with nothing to do,
the floor of this machine at this moment.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from event_loop import GapClock, run_until, tell


def volume():
    """A drawn prostate, 24 slices of 384 x 384 at 3 x 0.5 x 0.5 mm."""
    from napari_tinymig.samples.drawn import prostate_sample

    return prostate_sample(side=384, slices=24).scan


def one_round(viewer, panel, image, clock):
    """Gaps of one prediction of `image`, with the result's own adding measured apart."""
    added = {}
    answered = panel.work.on_result

    def answer(value):
        added["gap"] = clock.longest
        start = time.perf_counter()
        answered(value)
        added["add"] = time.perf_counter() - start
        added["seconds"] = value[0].seconds

    panel.work.on_result = answer
    clock.reset()
    start = time.perf_counter()
    panel.segment()
    run_until(lambda: "add" in added, 120)
    panel.work.on_result = answered
    wall = time.perf_counter() - start
    return {
        "gap_predicting_ms": added["gap"] * 1e3,
        "add_layer_ms": added["add"] * 1e3,
        "prediction_ms": added["seconds"] * 1e3,
        "click_to_mask_ms": wall * 1e3,
    }


def painting(viewer, readout, labels, rounds):
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--model", help="name or file; default: the bundled prostate student")
    options = parser.parse_args()
    import napari

    from napari_tinymig.viewer.readout.panel import ReadoutPanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    viewer = napari.Viewer()
    panel, readout = SegmentPanel(viewer), ReadoutPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Segment")
    scan = volume()
    image = viewer.add_image(scan.pixels, scale=scan.spacing_mm, units=("mm",) * 3, name="volume")
    run_until(lambda: panel.go.isEnabled(), 20)
    if options.model:
        panel.model.addItem(options.model)
        panel.model.setCurrentText(options.model)
    clock = GapClock()
    clock.reset()
    run_until(lambda: False, 2.0)
    result = {"idle_gap_ms": clock.longest * 1e3}
    rounds = []
    for _ in range(options.rounds):
        rounds.append(one_round(viewer, panel, image, clock))
        labels = panel.result
        if _ < options.rounds - 1:
            viewer.layers.remove(labels.name)
    result["first"] = rounds[0]
    result["later"] = summary(rounds[1:] or rounds)
    viewer.window.add_dock_widget(readout, name="Read-out")
    labels.brush_size, labels.selected_label = 30, 1  # more than a rounded mL
    result |= painting(viewer, readout, labels, 5)
    result["shape"], result["rounds"] = list(scan.pixels.shape), options.rounds
    tell(result, options.out)
    viewer.close()


if __name__ == "__main__":
    main()
