"""A domain folder of drawn polyps, so that a student of real ones also knows the product's own drawings.

    python benchmarks/draw_polyps.py -o LABELLED/drawn_polyps

The demonstration and the check for forgetting use drawings (seeds below 1000); these have others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from napari_tinymig.samples.polyp import polyp_sample

FIRST_SEED = 1000


def main() -> None:
    """Read the arguments, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (arguments.out / name).mkdir(parents=True, exist_ok=True)
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.count):
        drawn = polyp_sample(384, seed, float(rng.uniform(0.08, 0.22)))
        Image.fromarray(drawn.scan.pixels).save(arguments.out / "images" / f"drawn_{seed}.png")
        Image.fromarray(drawn.truth).save(arguments.out / "labels" / f"drawn_{seed}.png")


if __name__ == "__main__":
    main()
