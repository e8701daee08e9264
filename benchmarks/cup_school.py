"""Five eyes of another labelling school: what one offset on the ratio's log-odds is worth on the school's other eyes.

python benchmarks/cup_school.py optic-sdg --data DATA/fundus [--eyes 5] [--draws 200]

Schools: refuge_like as its labels are (never seen by `optic-sdg`); Drishti-GS1 with the cup where at least K of its
four experts agree, K = 1..4 (eyes that `optic-sdg` was trained on, with the cups of K = 4: only the border is new).
Per school all eyes are answered once; then eyes are drawn at random, the offset is fitted on them
(`predict.cup_school.fit_school`) and scored on all others. Means over draws; `kept` = draws in which the fit said that
it helps.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.api import load_model, segment
from napari_tinymig.measures.overlap import dice, vertical_ratio
from napari_tinymig.predict.cup_school import fit_school, redraw_cup

Labels = NDArray[np.uint8]
LARGEST = 1024
"""Longer side at which masks are compared: whole fields are larger than they need to be."""


def smaller(labels: Labels) -> Labels:
    """Every n-th pixel, so that no side is longer than LARGEST."""
    return labels[:: (n := -(-max(labels.shape) // LARGEST)), ::n]


def schools(data: Path) -> Iterator[tuple[str, list[Path], list[Labels]]]:
    """Name, photographs and masks of each school."""
    folder = data / "refuge_like"
    paths = sorted((folder / "images").iterdir())
    yield "refuge_like", paths, [np.asarray(Image.open(folder / "labels" / f"{p.stem}.png")) for p in paths]
    folder = data / "drishti_gs1"
    paths = sorted((folder / "images").iterdir())
    votes = [
        [np.asarray(Image.open(folder / "experts" / part / f"{p.stem}.png")) for part in ("disc", "cup")] for p in paths
    ]
    for least in (1, 2, 3, 4):
        masks = [(d >= 4).astype(np.uint8) + ((d >= 4) & (c >= least)).astype(np.uint8) for d, c in votes]
        yield f"Drishti-GS1, cup of >= {least} experts", paths, masks


def scored(answers: list[Labels], truths: list[Labels], offset: float) -> NDArray[np.float64]:
    """(2,): mean cup Dice and mean ratio error with an offset."""
    drawn = [redraw_cup(a, offset) for a in answers]
    rows = [
        (dice(a == 2, t == 2), abs(vertical_ratio(a) - vertical_ratio(t))) for a, t in zip(drawn, truths, strict=True)
    ]
    return np.mean(rows, 0)


def main() -> None:
    """Read the arguments and print one row a school."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--eyes", type=int, default=5)
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args()
    model = load_model(given.model, threads=1)
    print(f"{model.model_id}, {given.eyes} eyes, {given.draws} draws")
    print("| school | offset | kept | cup Dice | vCDR error |\n|---|---|---|---|---|")
    known: dict[Path, Labels] = {}
    for name, paths, truths in schools(given.data):
        known |= {p: smaller(segment(p, task="optic", model=model).labels) for p in paths if p not in known}
        answers, truths = [known[p] for p in paths], [smaller(t) for t in truths]
        steps = np.linspace(-1.5, 1.5, 61)
        table = np.array([[scored([a], [t], s) for s in steps] for a, t in zip(answers, truths, strict=True)])
        found, before, after, kept = [], [], [], 0
        for draw in range(given.draws):
            picks = np.random.default_rng(draw).choice(len(paths), given.eyes, replace=False)
            school = fit_school([answers[i] for i in picks], [truths[i] for i in picks])
            others = np.setdiff1d(np.arange(len(paths)), picks)
            found.append(school.offset)
            kept += school.helps
            before.append(table[others, 30].mean(0))
            after.append(table[others, int(np.argmin(np.abs(steps - school.offset)))].mean(0))
        (dice0, error0), (dice1, error1) = np.mean(before, 0), np.mean(after, 0)
        print(
            f"| {name} | {np.mean(found):+.2f} (sd {np.std(found):.2f}) | {kept} of {given.draws} | {dice0:.3f} -> "
            f"{dice1:.3f} | {error0:.3f} -> {error1:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
