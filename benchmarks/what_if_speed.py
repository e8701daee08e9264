"""CPU milliseconds of one step of the what-if at 512 x 512: corruption, prediction, shift, Dice.

python benchmarks/what_if_speed.py --data ../shared/data --model optic-sdg
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.sets.what_if import WhatIf
from napari_tinymig.shift.corruptions import CORRUPTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="optic-sdg")
    arguments = parser.parse_args()
    first = sorted((arguments.data / "fundus/drishti_gs1/images").iterdir())[0]
    with Image.open(first) as picture:
        scan = Scan(np.asarray(picture.convert("RGB")), None, first.stem)
    what_if = WhatIf.open(Predictor(arguments.model, "cpu", threads=1), scan)
    plain = what_if.try_out({})
    height, width = what_if.pixels.shape[:2]
    print(f"what-if of {width} x {height} pixels, {arguments.model}, one thread, CPU time")
    for name in CORRUPTIONS:
        times = []
        for _ in range(7):
            start = time.process_time()
            tried = what_if.try_out({name: 0.7})
            what_if.dice(tried.labels, plain.labels)
            times.append(1000 * (time.process_time() - start))
        print(f"{name:16s} median {np.median(times):4.0f} ms, least {min(times):4.0f} ms")


if __name__ == "__main__":
    main()
