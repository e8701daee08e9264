"""What --task auto makes of pictures of no kind it was taught: one colour channel, everyday pictures, noise.

    python benchmarks/task_gate_odd.py --data DATA -o benchmarks/task_gate_odd.md [--every 3]

Part 1: the green channel of fundus photographs and every slice of prostate volumes, as grey pictures of unknown pixel
size. Part 2: pictures that scikit-image carries, and noise, with the shift that the guessed task's model then gives.
Part 3: that shift on centres which a model never saw, to tell whether a limit on it could refuse part 2.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import skimage.data

from napari_tinymig.base.errors import TaskRefused
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import as_photograph, find_inputs, open_input
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.task_guess import TaskGate, scan_for_task

EYES = ("drishti_gs1", "refuge_like", "myopia_dev", "origa_a")
GLANDS = ("silver", "unlabelled", "manual_case00")
EVERYDAY = ("cat", "coffee", "astronaut", "rocket", "hubble_deep_field", "immunohistochemistry", "colorwheel", "retina")
UNSEEN = (
    ("polyp-sdg", "polyp/polypgen_C1/images"),
    ("polyp-sdg", "polyp/polypgen_C2/images"),
    ("polyp-sdg", "polyp/polypgen_C3/images"),
    ("optic-sdg", "fundus/refuge_like/images"),
    ("optic-sdg", "fundus/origa_a/images"),
    ("optic-sdg", "fundus/myopia_dev/images"),
)


def guess(gate: TaskGate, scan: Scan) -> str:
    """The task, or 'refused (a grey fundus?)' or 'refused'."""
    try:
        return gate.task_of(scan)
    except TaskRefused as e:
        return "refused (a grey fundus?)" if "round lit field" in str(e) else "refused"


def grey_rows(gate: TaskGate, data: Path, every: int) -> Iterator[str]:
    """Part 1, one table row a folder."""
    for name in EYES:
        scans = [open_input(item).scan for item in find_inputs([data / "fundus" / name / "images"])[::every]]
        said = Counter(guess(gate, Scan(s.pixels[None, ..., 1], None, s.name)) for s in scans)
        yield row(f"green channel of fundus/{name}", said)
    for name in GLANDS:
        said = Counter()
        for item in find_inputs([data / "prostate" / name / "images"]):
            scan = open_input(item).scan
            for z in range(0, len(scan.pixels), every):
                grey = as_photograph(Scan(scan.pixels[z : z + 1], None, scan.name)).pixels
                said[guess(gate, Scan(grey, None, scan.name))] += 1
        yield row(f"slices of prostate/{name}", said)


def row(name: str, said: Counter[str]) -> str:
    """A table row: how many, and what was said of them."""
    return f"| {name} | {said.total()} | {', '.join(f'{k} {n}' for k, n in said.most_common())} |"


@cache
def predictor(model: str) -> Predictor:
    """A model, kept."""
    return Predictor(model, "cpu", threads=1)


def odd_rows(gate: TaskGate) -> Iterator[str]:
    """Part 2, one table row a picture."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    pictures = [Scan(np.ascontiguousarray(getattr(skimage.data, n)()[..., :3]), None, n) for n in EVERYDAY]
    for scan in (*pictures, Scan(noise, None, "noise")):
        said = guess(gate, scan)
        if said.startswith("refused"):
            yield f"| {scan.name} | {said} | | |"
            continue
        found = predictor(said)
        prediction = found.predict(scan_for_task(scan, found.task.input))
        distance = prediction.findings.shift.distance if prediction.findings.shift else float("nan")
        yield f"| {scan.name} | {said} | {prediction.status} | {distance:.2f} |"


def unseen_rows(data: Path, every: int) -> Iterator[str]:
    """Part 3, one table row a centre: distances in the unit of part 2."""
    for model, name in UNSEEN:
        scans = (open_input(item).scan for item in find_inputs([data / name])[:: 5 * every])
        shifts = [p.findings.shift for p in map(predictor(model).predict, scans)]
        values = np.array([s.distance for s in shifts if s is not None])
        yield f"| {name} | {model} | {len(values)} | {np.median(values):.2f} | {values.max():.2f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all parts and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=3, help="every n-th image or slice; part 3: every 5n-th")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    gate = TaskGate()
    lines = [
        "# What `--task auto` makes of pictures it was not taught",
        "",
        f"`python benchmarks/task_gate_odd.py --data DATA --every {given.every} -o FILE`, the shipped models, CPU.",
        "",
        "## Grey pictures of unknown pixel size",
        "",
        "| pictures | n | answers |",
        "|---|---|---|",
        *grey_rows(gate, given.data, given.every),
        "",
        "## Everyday pictures of scikit-image, and noise",
        "",
        "| picture | task | status | distance |",
        "|---|---|---|---|",
        *odd_rows(gate),
        "",
        "## Centres that a model never saw, in the same unit of distance",
        "",
        "| folder | model | images | median | largest |",
        "|---|---|---|---|---|",
        *unseen_rows(given.data, given.every),
    ]
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
