"""What `--adapt` is worth: a folder segmented by a model and by its copy that knows the folder's BatchNorm statistics.

python benchmarks/adapt_worth.py optic-sdg refuge_like=DATA/fundus/refuge_like myopia_dev=DATA/fundus/myopia_dev
python benchmarks/adapt_worth.py polyp-sdg C1=DATA/polyp/polypgen_C1 --every 4
python benchmarks/adapt_worth.py prostate case00=DATA/prostate/manual_case00 silver=DATA/prostate/silver
    (each with -o benchmarks/adapt_worth.csv: rows of this model and domain are replaced)

The copy is made as `tinymig segment --adapt` and the Folder panel make it, of every image of the folder, no label. Mean
Dice of each region over images in which the truth has it, through the product; the change with its 95 % interval
(paired bootstrap over images). A folder of fewer than four images cannot be adapted to, which is a row as well.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.formats import open_input
from napari_tinymig.jobs.adapting import adapt_to
from napari_tinymig.measures.bootstrap import mean_interval
from napari_tinymig.measures.overlap import dice
from napari_tinymig.models.registry import open_model
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.task_guess import scan_for_task

FEWEST = 4


def pairs(folder: Path, every: int) -> list[tuple[Path, Path]]:
    """Images and masks of a domain folder, every so many-th."""
    masks = {p.name.split(".")[0]: p for p in (folder / "labels").iterdir()}
    images = sorted((folder / "images").iterdir())
    return [(p, masks[p.name.split(".")[0]]) for p in images if p.name.split(".")[0] in masks][::every]


def truth_of(path: Path, task: str) -> NDArray[np.uint8]:
    """Labels on the image's own grid, as a scan of the task is laid out."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path))
    return np.asarray(scan_for_task(open_input(path).scan, task).pixels, np.uint8)


def overlaps(predictor: Predictor, found: list[tuple[Path, Path]]) -> NDArray[np.float64]:
    """(n, R) Dice of each region and image; NaN where the truth has none."""
    rows = []
    for image, mask in found:
        scan: Scan = scan_for_task(open_input(image).scan, predictor.task.input)
        labels, truth = predictor.predict(scan).labels, truth_of(mask, predictor.task.input)
        parts = [(np.isin(labels, r.labels), np.isin(truth, r.labels)) for r in predictor.task.regions]
        rows.append([dice(a, t) if t.any() else np.nan for a, t in parts])
    return np.array(rows)


def rows_of(name: str, domain: str, folder: Path, every: int) -> list[dict[str, Any]]:
    """One row a region."""
    found, plain = pairs(folder, every), Predictor(name, "cpu", 1)
    about = {"model": open_model(name).model_id, "domain": domain, "n": len(found)}
    if len(found) < FEWEST:
        return [about | {"region": "all", "note": f"{len(found)} image(s): too few to adapt to"}]
    with tempfile.TemporaryDirectory() as out:
        model = adapt_to(name, [image for image, _ in found], Path(out))
        changed = Predictor(model, "cpu", 1, cup_head=plain.cup_head, locator=plain.locator)
        before, after = overlaps(plain, found), overlaps(changed, found)
    rows = []
    for k, region in enumerate(plain.task.regions):
        there = np.isfinite(before[:, k])
        if not there.any():
            continue
        gain = after[there, k] - before[there, k]
        low, high = mean_interval(gain, 4000)
        numbers = {"before": before[there, k].mean(), "after": after[there, k].mean(), "change": gain.mean()}
        numbers |= {"low": low, "high": high, "images worse by .05": float((gain < -0.05).sum())}
        rows.append(about | {"region": region.name} | {k: round(float(v), 4) for k, v in numbers.items()})
    return rows


def main() -> None:
    """Read the arguments, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("domains", nargs="+", help="NAME=FOLDER with images/ and labels/")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    fields = (
        "model",
        "domain",
        "n",
        "region",
        "before",
        "after",
        "change",
        "low",
        "high",
        "images worse by .05",
        "note",
    )
    for pair in given.domains:
        name, folder = pair.split("=", 1)
        rows: list[dict[str, Any]] = rows_of(given.model, name, Path(folder), given.every)
        print(*rows, sep="\n", flush=True)
        if given.out.exists():
            with given.out.open(encoding="utf-8") as stream:
                old = [r for r in csv.DictReader(stream) if (r["model"], r["domain"]) != (rows[0]["model"], name)]
            rows = old + rows
        with given.out.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, fields, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
