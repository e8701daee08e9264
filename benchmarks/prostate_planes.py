"""One study in three planes: how well the masks of a sagittal and a coronal series agree with the axial one's.

python benchmarks/prostate_planes.py prostate --study DATA/dicom/prostatex_0000

Each series is segmented on its own; every voxel of the other two is then looked up in the axial mask by its place in
the scanner (nearest voxel; voxels outside the axial stack are left out). Dice and volumes; no truth is involved, so
this is the agreement of a model with itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.api import load_model
from napari_tinymig.base.geometry import Geometry
from napari_tinymig.formats import find_inputs, open_input
from napari_tinymig.measures.overlap import dice


def looked_up(mask: NDArray[np.bool_], theirs: Geometry, mine: Geometry) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`mask` on `mine`'s grid by nearest voxel, and which of `mine`'s voxels it covers at all."""
    grid = np.stack([*np.indices(mine.canonical_shape), np.ones(mine.canonical_shape)], -1)
    index = np.rint(grid @ (np.linalg.inv(theirs.canonical_affine) @ mine.canonical_affine).T)[..., :3].astype(int)
    covered = ((index >= 0) & (index < np.array(mask.shape))).all(-1)
    z, y, x = np.clip(index, 0, np.array(mask.shape) - 1).transpose(3, 0, 1, 2)
    return mask[z, y, x] & covered, covered


def main() -> None:
    """Read the arguments and print one row a series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--study", type=Path, required=True, help="folder with the series tra, sag, cor")
    given = parser.parse_args()
    model = load_model(given.model, threads=1)
    print(model.model_id, "| series | slices | volume, mL | Dice with the axial mask | seconds |", sep="\n")
    print("|---|---|---|---|---|")
    axial = None
    for name in ("tra", "sag", "cor"):
        scan_file = open_input(find_inputs([given.study / name])[0])
        if scan_file.geometry is None:
            raise ValueError(f"{name} has no geometry; expected a DICOM series")
        answer = model.predict(scan_file.scan)
        mask = answer.labels > 0
        if axial is None:
            axial = (mask, scan_file.geometry)
        other, covered = looked_up(*axial, scan_file.geometry)
        print(
            f"| {name} | {'x'.join(map(str, mask.shape))} | {answer.measures['volume_ml']:.1f} | "
            f"{dice(mask & covered, other):.3f} | {answer.seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
