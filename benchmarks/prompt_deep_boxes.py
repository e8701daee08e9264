"""A gland by one box: through all of its slices, and in its middle slice alone, then followed.

    python benchmarks/prompt_deep_boxes.py DATA [-o benchmarks/prompt_deep_boxes.json]

The true box of the volumes that the prompted student was not taught (development: looked at while building).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from prompt_targets import HELD_BACK

from napari_tinymig.formats import open_input, read_mask
from napari_tinymig.measures.overlap import dice
from napari_tinymig.prompts.begin import begin


def by_boxes(folder: Path, name: str) -> dict[str, object]:
    """Dice of the whole gland by the box through its slices, and by the one in its middle slice."""
    scan = open_input(next((folder / "images").glob(f"{name}.*"))).scan
    truth = read_mask(next((folder / "labels").glob(f"{name}.*"))) > 0
    zs, ys, xs = (np.flatnonzero(truth.any(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    row: dict[str, object] = {"volume": name, "slices": len(zs)}
    middle = (int(zs[0]) + int(zs[-1])) // 2
    for kind, ends in (("through all", (zs[0], zs[-1])), ("middle slice, followed", (middle, middle))):
        session = begin(scan, "any", start=None)
        session.box((ends[0], ys[0], xs[0]), (ends[1], ys[-1], xs[-1]))
        row[kind] = round(dice(session.labels > 0, truth), 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompt_deep_boxes.json"))
    a = parser.parse_args()
    rows = [by_boxes(a.data / "prostate" / folder, name) for folder, name in HELD_BACK]
    a.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
