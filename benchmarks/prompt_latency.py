"""How long a prompt takes: network, answer, and the mask layer, for a photograph of 2048 px; and a volume of 24 slices.

    xvfb-run -a python benchmarks/prompt_latency.py [--prompts 60] [--threads 2] [-o benchmarks/prompt_latency.json]

Drawn images; the views of one prompt share `--threads` cores, as they do in the product. Every figure twice: on the
clock, and as processor time of this process, all its threads together; the machine's load when it was measured is
written beside them. network: the views of one prompt through ONNX Runtime. answer: session.click with crop, network,
rules and undo. layer: labels copied, compared with the layer and written into a napari Labels layer.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from prompt_users import User
from scipy import ndimage

from napari_tinymig.base.records import Scan
from napari_tinymig.prompts.begin import begin
from napari_tinymig.prompts.network import PromptedStudent
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample

Times = dict[str, list[tuple[float, float]]]


@contextmanager
def timed(times: Times, name: str) -> Iterator[None]:
    """Clock and processor milliseconds of a block, appended under a name."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    both = 1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - processor)
    times.setdefault(name, []).append(both)


class Watched:
    """The student on some threads, its runs timed."""

    def __init__(self, times: Times, threads: int):
        self.student = PromptedStudent(threads=threads)
        self.size, self.model_id, self.times = self.student.size, self.student.model_id, times

    def run(self, batch: np.ndarray) -> np.ndarray:
        """As the student's, with its time kept."""
        with timed(self.times, "run"):
            return self.student.run(batch)


def photograph(prompts: int, threads: int) -> Times:
    """The sloppy user of benchmarks/prompts.py on drawn discs in 2048 px, from nothing and from a mask too small."""
    import napari

    times: Times = {}
    viewer = napari.Viewer(show=False)
    for seed in range(2):
        sample = fundus_sample(side=2048, seed=seed)
        truth = sample.truth > 0
        viewer.add_image(sample.scan.pixels, rgb=True)
        small = ndimage.binary_erosion(truth, iterations=20).astype(np.uint8)
        for start in (None, small):
            layer = viewer.add_labels(np.zeros(truth.shape, np.uint8) if start is None else start.copy())
            one_session(sample.scan.pixels, truth, layer, prompts // 4, threads, times)
    viewer.close()
    times["whole"] = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(times["answer"], times["layer"])]
    return times


def one_session(pixels: np.ndarray, truth: np.ndarray, layer: Any, prompts: int, threads: int, times: Times) -> None:
    """Prompts of one user on one photograph, from the layer's mask if it holds one, each timed."""
    from napari_tinymig.viewer.prompts.mask_session import painted_by_hand, put_change

    runs: Times = {}
    start = layer.data.copy() if layer.data.any() else None
    session, user = begin(Scan(pixels), "any", start=start, engine=Watched(runs, threads)), User("sloppy", prompts)
    for _ in range(prompts):
        before, count = session.labels, len(runs.get("run", []))
        asked = user.next_prompt(before > 0, truth)
        if asked is None:
            return
        with timed(times, "answer"):
            session.click(asked[0], int(asked[1]))
        network = np.array(runs.get("run", [])[count:]).reshape(-1, 2).sum(0)
        times.setdefault("network", []).append((float(network[0]), float(network[1])))
        with timed(times, "layer"):
            painted_by_hand(layer, before)
            put_change(layer, before, session.labels)


def volume(threads: int) -> Times:
    """A gland of 24 slices followed from one click in its middle slice, three times."""
    sample, times = prostate_sample(side=384, slices=24), {}
    gland = sample.truth > 0
    middle = int(np.median(np.flatnonzero(gland.any((1, 2)))))
    at = np.argwhere(gland[middle]).mean(0)
    for _ in range(3):
        session = begin(sample.scan, "any", start=None, engine=Watched({}, threads), follow=False)
        with timed(times, "first slice"):
            session.click((middle, *at))
        with timed(times, "following"):
            count = sum(1 for _ in session.follow())
    times["slices followed"] = [(count, count)]
    return times


def told(times: Times) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of every figure, clock and processor."""
    out = {}
    for name, values in times.items():
        both = np.array(values)
        out[name] = {
            f"{what}_{q}": round(float(np.percentile(both[:, i], p)), 1)
            for i, what in enumerate(("clock_ms", "processor_ms"))
            for q, p in (("p50", 50), ("p95", 95))
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompt_latency.json"))
    a = parser.parse_args()
    table: dict[str, Any] = {"cores": os.cpu_count(), "threads": a.threads, "load_before": round(os.getloadavg()[0], 1)}
    table["photograph of 2048 px"] = told(photograph(a.prompts, a.threads))
    table["volume of 24 slices"] = told(volume(a.threads))
    table["load_after"] = round(os.getloadavg()[0], 1)
    print(json.dumps(table, indent=1))
    a.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
