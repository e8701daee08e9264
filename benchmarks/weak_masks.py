"""Masks for eyes that are annotated in part, or by another school: what `optic` is taught beside its first source.

python benchmarks/weak_masks.py DATA/fundus/origa_a -o MASKS/origa_a --model optic-sdg --table vcdr.csv
python benchmarks/weak_masks.py DATA/fundus/myopia_dev -o MASKS/myopia_dev --model optic-sdg
python benchmarks/weak_masks.py DATA/fundus/refuge_like -o MASKS/refuge_like --model optic-sdg --size 0.958

With a table (file, vcdr_expert) the disc is the model's and its cup is scaled to the expert's ratio; eyes whose own
answer is further than `--agree` from it are left out. With labels/ without a cup, the disc is the annotator's and the
cup is the model's. `--size` scales annotated discs, and their cups alike, to the first source's way of drawing the
border: the ratio stays. For teaching a student of several centres; never for scoring one.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from napari_tinymig.api import load_model, segment

Labels = NDArray[np.uint8]
ROI_SCALE = 2.2


def extents(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """y0, y1, x0, x1 of a mask that is not empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def scaled_to(labels: Labels, wanted: float) -> Labels:
    """The labels with a cup of the vertical ratio `wanted`, same shape; a growing cup moves to the disc's middle."""
    y0, y1, _, _ = extents(labels > 0)
    c0, c1, _, _ = extents(labels == 2)
    factor = (c1 - c0) / (y1 - y0) / wanted
    rows, cols = np.nonzero(labels)
    cy, cx = ndimage.center_of_mass(labels == 2)
    drawn = float(np.clip(1 / factor - 1, 0, 1))
    my, mx = cy + ((y0 + y1 - 1) / 2 - cy) * drawn, cx + (cols.mean() - cx) * drawn
    source = [cy + (rows - my) * factor, cx + (cols - mx) * factor]
    cup = ndimage.map_coordinates((labels == 2).astype(np.float32), source, order=1) > 0.5
    out = (labels > 0).astype(np.uint8)
    out[rows[cup], cols[cup]] = 2
    return out


def resized(labels: Labels, size: float) -> Labels:
    """The labels scaled by `size` around the middle of the disc."""
    y0, y1, x0, x1 = extents(labels > 0)
    middle = np.array([(y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2])
    return ndimage.affine_transform(labels, np.eye(2) / size, middle * (1 - 1 / size), order=0)


def with_cup(path: Path, labels: Labels, model: object) -> Labels:
    """Annotated labels; where they hold no cup, with the model's cup, seen in the box around their disc."""
    if (labels == 2).any():
        return labels
    disc = labels > 0
    y0, y1, x0, x1 = extents(disc)
    cy, cx, half = (y0 + y1) / 2, (x0 + x1) / 2, ROI_SCALE * max(y1 - y0, x1 - x0) / 2
    box = (cy - half, cx - half, cy + half, cx + half)
    answer = segment(path, task="optic", model=model, roi=box).labels  # type: ignore[arg-type]
    return np.where(disc & (answer == 2), 2, disc.astype(np.uint8)).astype(np.uint8)


def from_ratio(path: Path, wanted: float, model: object, agree: float) -> Labels | None:
    """The model's disc with a cup of the expert's ratio; None where the two are too far apart to trust the disc."""
    labels = segment(path, task="optic", model=model).labels  # type: ignore[arg-type]
    if not (labels == 2).any():
        return None
    (y0, y1, *_), (c0, c1, *_) = extents(labels > 0), extents(labels == 2)
    return scaled_to(labels, wanted) if abs((c1 - c0) / (y1 - y0) - wanted) <= agree else None


def main() -> None:
    """Read the arguments, write images/ and labels/ under the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--model", default="optic")
    parser.add_argument("--table", help="CSV in the folder: file, vcdr_expert")
    parser.add_argument("--size", type=float, default=1.0, help="annotated discs and cups are scaled by this")
    parser.add_argument("--agree", type=float, default=0.3)
    arguments = parser.parse_args()
    model, folder = load_model(arguments.model, threads=1), arguments.folder
    wanted = {}
    if arguments.table:
        with (folder / arguments.table).open(encoding="utf-8") as stream:
            wanted = {Path(r["file"]).stem: float(r["vcdr_expert"]) for r in csv.DictReader(stream)}
    for part in ("images", "labels"):
        (arguments.out / part).mkdir(parents=True, exist_ok=True)
    kept, paths = 0, sorted((folder / "images").iterdir())
    for path in paths:
        if wanted:
            labels = from_ratio(path, wanted[path.stem], model, arguments.agree)
        else:
            drawn = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
            labels = with_cup(path, drawn if arguments.size == 1 else resized(drawn, arguments.size), model)
        if labels is not None:
            shutil.copy(path, arguments.out / "images")
            Image.fromarray(labels).save(arguments.out / "labels" / f"{path.stem}.png")
            kept += 1
    print(f"{kept} of {len(paths)} kept in {arguments.out}")


if __name__ == "__main__":
    main()
