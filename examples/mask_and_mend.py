"""From an image file to a mended mask in the very same place, in Python: segment, mend, measure again, write.

    python examples/mask_and_mend.py                     a drawn prostate MRI
    python examples/mask_and_mend.py SCAN.nii.gz -o OUT  one of yours (NIfTI, NRRD, a DICOM series, a photograph)

Needs the light install alone (no torch, no Qt). Research use only; not a medical device.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

import napari_tinymig as tm
from napari_tinymig.formats import mask_path, open_input, write_mask
from napari_tinymig.formats.find import find_inputs
from napari_tinymig.formats.lossless import write_pixels
from napari_tinymig.measures.clinical import measure
from napari_tinymig.samples.drawn import prostate_sample


def mended(labels: np.ndarray) -> np.ndarray:
    """The labels with everything but their largest connected piece removed: a correction made by rule, not by hand."""
    pieces, count = ndimage.label(labels > 0)
    if count < 2:
        return labels
    sizes = np.bincount(pieces.ravel())[1:]
    return np.where(pieces == 1 + sizes.argmax(), labels, 0).astype(labels.dtype)


def main(arguments: list[str] | None = None) -> Path:
    """Segment, mend and write; returns the mask's file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, help="a file or a DICOM series folder; default: a drawn MRI")
    parser.add_argument("-o", "--out", type=Path, default=Path("example_output"), help="folder of the mask")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    image = given.image
    if image is None:
        image = given.out / "drawn_prostate.nii.gz"
        write_pixels(image, prostate_sample().scan)

    item = find_inputs([image])[0]
    scan_file = open_input(item)  # pixels in patient order, and what is needed to write a mask in the same place
    prediction = tm.segment(scan_file.scan, task="auto" if given.image else "prostate")
    labels = mended(prediction.labels)
    after = measure(labels, prediction.task, scan_file.scan.spacing_mm)
    for name, value in after.items():
        sys.stdout.write(f"{name}: {prediction.measures[name]:.3f} predicted, {value:.3f} mended\n")

    path = write_mask(labels, scan_file, mask_path(given.out, item, [item]), overwrite=True)
    sys.stdout.write(f"{prediction.model_id} in {prediction.seconds:.2f} s; {path}\n")
    return path


if __name__ == "__main__":
    main()
