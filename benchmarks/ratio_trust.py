"""The cup-to-disc ratio's 90 % intervals, expected Dice, and a calibration of the ratio, on eyes with a known ratio.

python benchmarks/ratio_trust.py optic-sdg optic --data DATA/fundus

origa_a: the experts' vertical ratio. refuge_like: masks. Coverage = how often the truth lies in the interval. The
calibration is a straight line between log-odds of answer and truth, fitted on every second eye of origa_a and asked on
its other eyes and on refuge_like; `stretch` spreads the answers around their mean instead.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.api import load_model, segment
from napari_tinymig.measures.overlap import dice, vertical_ratio
from napari_tinymig.predict.predictor import Predictor

EDGES = (0.0, 0.4, 0.5, 0.6, 0.7, 1.01)
Values = NDArray[np.float64]


class Eye(NamedTuple):
    """Answer and truth of the ratio, the interval's ends, and of the cup expected and true Dice (NaN: no mask)."""

    answer: float
    truth: float
    low: float
    high: float
    expected: float = np.nan
    dice: float = np.nan


def eyes(model: Predictor, folder: Path) -> Iterator[Eye]:
    """Every photograph of a folder with vcdr.csv or labels/ in which a disc was found."""
    table = folder / "vcdr.csv"
    known = {}
    if table.exists():
        with table.open(encoding="utf-8") as stream:
            known = {Path(r["file"]).stem: float(r["vcdr_expert"]) for r in csv.DictReader(stream)}
    for path in sorted((folder / "images").iterdir()):
        found = segment(path, task="optic", model=model)
        ends = found.extra.get("intervals", {}).get("vcdr")
        if ends is None:
            continue
        if known:
            yield Eye(found.measures["vcdr"], known[path.stem], *ends)
        else:
            truth = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
            expected = found.extra["expected_dice"]["cup"][0]
            cup = dice(found.labels == 2, truth == 2)
            yield Eye(found.measures["vcdr"], vertical_ratio(truth), *ends, expected, cup)


def log_odds(ratio: Values) -> Values:
    """Of ratios, kept within .05 and .95."""
    r = np.clip(ratio, 0.05, 0.95)
    return np.log(r / (1 - r))


def told(name: str, answer: Values, truth: Values) -> None:
    """Print error, bias and bias by true ratio."""
    off = answer - truth
    strata = [off[(truth >= a) & (truth < b)] for a, b in pairwise(EDGES)]
    by = " / ".join(f"{s.mean():+.3f}" if len(s) else "-" for s in strata)
    print(f"  {name}: error {np.abs(off).mean():.4f}, bias {off.mean():+.4f}, by true ratio {by}", flush=True)


def main() -> None:
    """Read the arguments and print a block a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of origa_a and refuge_like")
    given = parser.parse_args()
    for name in given.models:
        model = load_model(name, threads=1)
        print(model.model_id)
        columns = {}
        for folder in ("origa_a", "refuge_like"):
            answer, truth, low, high, expected, cup = np.array(list(eyes(model, given.data / folder))).T
            columns[folder] = answer, truth
            inside = ((truth >= low) & (truth <= high)).mean()
            print(f"  {folder}: n {len(truth)}, coverage {inside:.3f}, mean width {(high - low).mean():.3f}")
            if np.isfinite(cup).all():
                print(f"  {folder}: expected and true cup Dice correlate {np.corrcoef(expected, cup)[0, 1]:.2f}")
        (answer, truth), other = columns["origa_a"], columns["refuge_like"]
        slope, offset = np.polyfit(log_odds(answer[::2]), log_odds(truth[::2]), 1)
        middle = float(log_odds(answer[::2]).mean())
        changes: dict[str, Callable[[Values], Values]] = {
            "as it is": lambda x: x,
            f"line {offset:+.2f} + {slope:.2f} x": lambda x, a=offset, b=slope: a + b * x,
            "stretch 1.2": lambda x, m=middle: m + 1.2 * (x - m),
            "stretch 1.4": lambda x, m=middle: m + 1.4 * (x - m),
        }
        for words, change in changes.items():
            for where, (a, t) in (("origa_a, other half", (answer[1::2], truth[1::2])), ("refuge_like", other)):
                told(f"{words}, {where}", 1 / (1 + np.exp(-change(log_odds(a)))), t)


if __name__ == "__main__":
    main()
