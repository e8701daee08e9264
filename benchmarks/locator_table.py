"""What the locator costs: the product on whole fields and tight crops, beside the same student in the true disc's box.

python benchmarks/locator_table.py optic-sdg --data DATA/fundus [--locator FILE] [--part 1/2]

Rows: refuge_like whole, and one random crop of each (disc .3 to .95 of the frame, enlarged to 400 pixels);
myopia_dev by kind of eye; windows without a disc, where every answer is a false one. `lost` = Dice below .05.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.api import load_model, segment
from napari_tinymig.measures.overlap import dice
from napari_tinymig.predict.predictor import Predictor

Eye = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
ROI_SCALE = 2.2


def eyes(folder: Path, part: tuple[int, int] = (0, 1)) -> Iterator[Eye]:
    """Stem, pixels and labels of every N-th photograph."""
    for path in sorted((folder / "images").iterdir())[part[0] :: part[1]]:
        label = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
        yield path.stem, np.asarray(Image.open(path).convert("RGB")), label


def extents(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """y0, y1, x0, x1 of a mask that is not empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def cropped(eye: Eye, rng: np.random.Generator) -> Eye:
    """A crop of which the disc fills .3 to .95, anywhere in it, at least 400 pixels long."""
    name, pixels, label = eye
    y0, y1, x0, x1 = extents(label > 0)
    side, stretch = max(y1 - y0, x1 - x0) / rng.uniform(0.3, 0.95), np.exp(rng.uniform(-0.15, 0.15))
    height, width = max(side * stretch, y1 - y0 + 2), max(side / stretch, x1 - x0 + 2)
    y, x = rng.uniform(y1 - height + 1, y0 - 1), rng.uniform(x1 - width + 1, x0 - 1)
    where = (slice(int(max(0, y)), int(y + height)), slice(int(max(0, x)), int(x + width)))
    pixels, label = np.ascontiguousarray(pixels[where]), np.ascontiguousarray(label[where])
    larger = max(1, 400 / max(label.shape))
    size = (round(label.shape[1] * larger), round(label.shape[0] * larger))
    pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    return f"{name}_crop", pixels, np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))


def beside(eye: Eye) -> NDArray[np.uint8] | None:
    """The part of the photograph beside the disc, where it is wide enough."""
    _, pixels, label = eye
    _, _, x0, x1 = extents(label > 0)
    part = pixels[:, : max(0, x0 - 8)] if x0 > pixels.shape[1] - x1 else pixels[:, x1 + 8 :]
    return np.ascontiguousarray(part) if part.shape[1] > 0.35 * pixels.shape[1] else None


def row(title: str, some: Iterable[Eye], model: Predictor) -> None:
    """Print Dice of disc and cup through the locator and in the true box."""
    scores = []
    for _, pixels, label in some:
        y0, y1, x0, x1 = extents(label > 0)
        half = ROI_SCALE * max(y1 - y0, x1 - x0) / 2
        box = ((y0 + y1) / 2 - half, (x0 + x1) / 2 - half, (y0 + y1) / 2 + half, (x0 + x1) / 2 + half)
        found = [segment(pixels, task="optic", model=model, roi=roi).labels for roi in ("auto", box)]
        scores.append([dice(x > 0, label > 0) for x in found] + [dice(x == 2, label == 2) for x in found])
    disc, disc_box, cup, cup_box = np.array(scores).T
    cups = f", cup {cup.mean():.4f} (true box {cup_box.mean():.4f})" if cup_box.any() else ""
    print(
        f"{title}: n {len(disc)}, disc {disc.mean():.4f} (true box {disc_box.mean():.4f}){cups}, "
        f"lost {np.count_nonzero(disc < 0.05)}, below .5 {np.count_nonzero(disc < 0.5)}",
        flush=True,
    )


def main() -> None:
    """Read the arguments and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True, help="folder of refuge_like and myopia_dev")
    parser.add_argument("--locator", type=Path, help="another locator than the bundled one")
    parser.add_argument("--part", default="0/1", help="myopia_dev: every N-th photograph from the K-th, as K/N")
    arguments = parser.parse_args()
    locator = load_model(arguments.locator, threads=1) if arguments.locator else None
    model = Predictor(arguments.model, threads=1, locator=locator)
    first, step = (int(v) for v in arguments.part.split("/"))
    refuge = list(eyes(arguments.data / "refuge_like"))
    myopia = list(eyes(arguments.data / "myopia_dev", (first, step)))
    row("refuge_like, whole", refuge, model)
    rng = np.random.default_rng(5)
    row("refuge_like, crops", [cropped(e, rng) for e in refuge], model)
    for kind in ("normal", "high", "patho"):
        row(f"myopia_dev, {kind}", [e for e in myopia if e[0].startswith(kind)], model)
    windows = [w for w in map(beside, refuge + myopia) if w is not None]
    wrong = sum(bool(segment(w, task="optic", model=model).labels.any()) for w in windows)
    print(f"windows without a disc: a disc claimed in {wrong} of {len(windows)}")


if __name__ == "__main__":
    main()
