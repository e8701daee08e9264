"""The minute of fine-tuning as its user sees it: time to the first picture and to a kept model; a window that lives.

    xvfb-run -a python benchmarks/finetune_window.py --data DATA [-k 5] [--runs 3] [-o FILE.json]

k images of DATA/fundus/refuge_like (a development target) with their masks are the annotation set; the panel 'Fine-tune
a model' runs with its usual minute while an image is shown and a brush stroke is painted twice a second. Gaps are the
times between two turns of the event loop, from a timer that wants to fire every millisecond; adding layers is outside.
Another run is cancelled after five seconds: cancel_ack_ms is how long the click holds the window, cancelled_s when the
worker is gone; the same for 'Stop and keep best'. Run it on a quiet machine; the load is written beside the figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from event_loop import GapClock, run_until, tell


def annotation_set(data: Path, k: int, seed: int, folder: Path) -> Path:
    """k random cases of refuge_like as a set."""
    images = sorted((data / "fundus" / "refuge_like" / "images").iterdir())
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in np.random.default_rng(seed).choice(len(images), k, replace=False):
        shutil.copy(images[i], folder / "images")
        label = next((data / "fundus" / "refuge_like" / "labels").glob(f"{images[i].stem}.*"))
        shutil.copy(label, folder / "labels")
    return folder


def one_run(panel: Any, labels: Any, gaps: GapClock, data: Path) -> dict[str, float]:
    """A whole run, kept at the end."""
    panel.folder.setText(str(data))
    panel.refresh()
    first: list[float] = []
    strokes = [time.perf_counter()]
    start = time.perf_counter()

    def each() -> None:
        now = time.perf_counter()
        if not first and panel.picture.isVisibleTo(panel):
            first.append(now - start)
        if now - strokes[-1] > 0.5:
            strokes.append(now)
            labels.paint(tuple(np.random.default_rng(len(strokes)).integers(50, 400, 2)), 1)

    gaps.reset()
    panel.start()
    if not run_until(lambda: not panel.running, 600, each):
        raise SystemExit("the run did not end within ten minutes")
    if panel.card.best is None:
        raise SystemExit(f"no model: {panel.message.text()}")
    panel.card.keep_knowingly()
    told = np.array(gaps.times) * 1e3
    return {
        "first_preview_s": first[0] if first else float("nan"),
        "kept_s": time.perf_counter() - start,
        "gap_p99_ms": float(np.percentile(told, 99)),
        "gap_max_ms": float(told.max()),
        "gaps_over_50_ms": float((told > 50).sum()),
        "turns": float(told.size),
    }


def ended_early(panel: Any, data: Path, button: str) -> tuple[float, float]:
    """(milliseconds the click takes, seconds until the worker is gone) of a run ended after five seconds."""
    panel.folder.setText(str(data))
    panel.refresh()
    panel.start()
    began = time.perf_counter()
    run_until(lambda: time.perf_counter() - began > 8, 60)
    click = time.perf_counter()
    getattr(panel.run, button)()
    held = (time.perf_counter() - click) * 1e3
    run_until(lambda: not panel.running, 60)
    return held, time.perf_counter() - click


def main() -> None:
    """Run, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TINYMIG_HOME": f"{folder}/home", "TINYMIG_STATE": f"{folder}/state"}
        import napari

        from napari_tinymig.viewer.annotate.panel import AnnotatePanel
        from napari_tinymig.viewer.finetune.panel import FineTunePanel

        viewer = napari.Viewer()
        panel = FineTunePanel(viewer)
        viewer.window.add_dock_widget(AnnotatePanel(viewer), name="Annotate")
        viewer.window.add_dock_widget(panel, name="Fine-tune")
        viewer.add_image(np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8), rgb=True)
        labels = viewer.add_labels(np.zeros((512, 512), np.uint8), name="mask")
        gaps = GapClock()
        run_until(lambda: False, 3)
        gaps.reset()
        run_until(lambda: False, 3)
        result: dict[str, Any] = {"idle_gap_max_ms": gaps.longest * 1e3, "k": args.k, "runs": []}
        for seed in range(args.runs):
            data = annotation_set(args.data, args.k, seed, Path(folder) / f"set{seed}")
            result["runs"].append(one_run(panel, labels, gaps, data))
            print(result["runs"][-1], flush=True)
        data = annotation_set(args.data, args.k, 99, Path(folder) / "set99")
        result["stop_ack_ms"], result["stopped_s"] = ended_early(panel, data, "stop")
        result["cancel_ack_ms"], result["cancelled_s"] = ended_early(panel, data, "discard")
        tell(result, args.out)
        viewer.close()


if __name__ == "__main__":
    main()
