"""Views that teach the locator: whole fields, tight crops, windows with the disc at their edge, windows without it.

python benchmarks/locator_views.py DATA/fundus/drishti_gs1 -o VIEWS
python benchmarks/locator_views.py DATA/fundus/myopia_dev -o VIEWS --views field,field,field,tight,edge,edge,empty,empty
python benchmarks/locator_views.py MASKS/origa_a -o VIEWS --views field,tight,edge,empty
python benchmarks/locator_views.py DATA/fundus/refuge_like -o VIEWS

One image and one label (1 = disc) per view, named FOLDER_STEM__VIEW: `case_pattern = "^(.+?)__"` keeps the views of an
eye together. `--part 0/2` takes every second photograph, for a half that is held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

View = tuple[NDArray[np.uint8], NDArray[np.uint8]]
LARGEST = 400
"""Longer side of a stored view, pixels."""
LIT = 30


def extents(mask: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """y0, y1, x0, x1 of a mask that is not empty."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def window(view: View, y: float, x: float, height: float, width: float) -> View:
    """The part of a view that a window shows."""
    shape = view[1].shape
    where = (
        slice(int(max(0, y)), int(min(shape[0], y + height))),
        slice(int(max(0, x)), int(min(shape[1], x + width))),
    )
    return view[0][where], view[1][where]


def field(view: View, _rng: np.random.Generator) -> View:
    """The photograph as it is."""
    return view


def tight(view: View, rng: np.random.Generator) -> View:
    """A crop of which the disc fills .3 to .95, anywhere in it."""
    y0, y1, x0, x1 = extents(view[1])
    side, stretch = max(y1 - y0, x1 - x0) / rng.uniform(0.3, 0.95), np.exp(rng.uniform(-0.15, 0.15))
    height, width = max(side * stretch, 0.95 * (y1 - y0)), max(side / stretch, 0.95 * (x1 - x0))
    y = rng.uniform(min(y0, y1 - height), max(y0, y1 - height))
    x = rng.uniform(min(x0, x1 - width), max(x0, x1 - width))
    return window(view, y, x, height, width)


def edge(view: View, rng: np.random.Generator) -> View | None:
    """A window of .3 to .8 of the field with the disc at its edge, or just cut by it."""
    y0, y1, x0, x1 = extents(view[1])
    for _ in range(20):
        side = rng.uniform(0.3, 0.8) * max(view[1].shape)
        along, across = (
            rng.uniform(-0.5, 0.5),
            rng.choice([-1, 1]) * (0.5 - rng.uniform() * max(y1 - y0, x1 - x0) / side),
        )
        if rng.random() < 0.3:
            along, across = across, along
        seen = window(view, (y0 + y1) / 2 - (along + 0.5) * side, (x0 + x1) / 2 - (across + 0.5) * side, side, side)
        if min(seen[1].shape) > 0.5 * side and seen[1].any() and (seen[0].max(-1) > LIT).mean() > 0.6:
            return seen
    return None


def empty(view: View, rng: np.random.Generator) -> View | None:
    """A lit window of .25 to .7 of the field without the disc."""
    height, width = view[1].shape
    for _ in range(30):
        side = rng.uniform(0.25, 0.7) * max(height, width)
        seen = window(view, rng.uniform(0, max(0, height - side)), rng.uniform(0, max(0, width - side)), side, side)
        if not seen[1].any() and (seen[0].max(-1) > LIT).mean() > 0.7:
            return seen
    return None


MAKE = {"field": field, "tight": tight, "edge": edge, "empty": empty}


def save(view: View, out: Path, name: str) -> None:
    """JPEG and PNG of one view, made smaller where it is large."""
    pixels, label = (np.ascontiguousarray(part) for part in view)
    scale = min(1, LARGEST / max(label.shape))
    size = (round(label.shape[1] * scale), round(label.shape[0] * scale))
    Image.fromarray(pixels).resize(size, Image.Resampling.BOX).save(out / "images" / f"{name}.jpg", quality=95)
    Image.fromarray(label).resize(size, Image.Resampling.NEAREST).save(out / "labels" / f"{name}.png")


def main() -> None:
    """Read the arguments, write images/ and labels/ under the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--views", default="field,tight,tight,edge,empty")
    parser.add_argument("--part", default="0/1", help="K/N: every N-th photograph from the K-th")
    arguments = parser.parse_args()
    for part in ("images", "labels"):
        (arguments.out / part).mkdir(parents=True, exist_ok=True)
    first, step = (int(v) for v in arguments.part.split("/"))
    paths = sorted((arguments.folder / "images").iterdir())
    for number in range(first, len(paths), step):
        path, rng = paths[number], np.random.default_rng([number, len(arguments.folder.name)])
        label = np.asarray(Image.open(arguments.folder / "labels" / f"{path.stem}.png"))
        whole = (np.asarray(Image.open(path).convert("RGB")), (label > 0).astype(np.uint8))
        for index, kind in enumerate(arguments.views.split(",")):
            view = MAKE[kind](whole, rng)
            if view is not None:
                save(view, arguments.out, f"{arguments.folder.name}_{path.stem}__{kind}{index}")


if __name__ == "__main__":
    main()
