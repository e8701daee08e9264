"""One annotated volume for a prostate student: the volume as it is, and its slices one by one, 8 bit, without spacing.

python benchmarks/prostate_case.py MODEL [MODEL ...] --domain DATA/prostate/manual_case00
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from napari_tinymig.training.data.cases import find_cases, labels_of
from napari_tinymig.training.data.read_files import read_scan
from numpy.typing import NDArray

from napari_tinymig.base.records import Scan
from napari_tinymig.measures.overlap import dice
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.train import DataSpec


def alone(pixels: NDArray[np.floating], name: str) -> Scan:
    """One slice (H, W) as a grey picture of 256 levels would bring it: nothing known of its size or neighbours."""
    low, high = float(pixels.min()), float(pixels.max())
    return Scan(np.round((pixels - low) / max(high - low, 1e-6) * 255).astype(np.uint8)[None], None, name)


def main() -> None:
    """Read the arguments, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--domain", type=Path, required=True)
    arguments = parser.parse_args()
    print("| model | case | 3-D Dice | volume / true | slices alone | lowest, middle, highest third |\n|" + "---|" * 6)
    for name in arguments.models:
        predictor = Predictor(name, "cpu", threads=1)
        for case in find_cases(arguments.domain):
            scan = read_scan(case.image, "volume")
            truth = labels_of(case, predictor.task, DataSpec()) > 0
            answer = predictor.predict(scan).labels > 0
            with_gland = np.flatnonzero(truth.any((1, 2)))
            single = [
                dice(predictor.predict(alone(scan.pixels[z], case.name)).labels[0] > 0, truth[z]) for z in with_gland
            ]
            thirds = " / ".join(f"{np.mean(part):.2f}" for part in np.array_split(np.asarray(single), 3))
            cells = (predictor.model_id, case.name, f"{dice(answer, truth):.3f}", f"{answer.sum() / truth.sum():.2f}")
            print(f"| {' | '.join(cells)} | {np.mean(single):.3f} | {thirds} |")


if __name__ == "__main__":
    main()
