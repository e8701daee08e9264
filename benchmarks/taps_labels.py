"""Labels of TAPS, a 3-D network for the prostate trained elsewhere, for volumes without labels, and beside silver ones.

    python benchmarks/taps_labels.py TAPS/taps/resources/model_v1.onnx --silver DATA/prostate/silver \
        --unlabelled DATA/prostate/unlabelled -o LABELLED

Writes the domain folders LABELLED/silver_taps and LABELLED/unlabelled_taps, which `tinymig train prostate` reads. The
network is `taps/resources/model_v1.onnx` of the package lavlab-taps 1.1.2 (MIT); nothing of the package is imported.
What is asked of it, from its documentation: axial T2 in RAS at 0.8 x 0.8 x 3 mm, z-score over what is not zero, windows
of 128 x 128 x 32, logits smoothed by 2.5 voxels, threshold .55.

Chosen here: without a label, TAPS's own answer, with 255 (not labelled) where its logit is within .6 of the decision.
Beside a silver label, 255 wherever the two differ: the silver labels take seminal vesicles for gland at the base and
run on below the apex, TAPS misses lobes in the bladder; from three slices below TAPS's gland on, background.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from scipy import ndimage

from napari_tinymig.measures.overlap import dice

SHA256 = "1e39be9d19f6f71810cb0931a7fe895441cfd318d6002730c918ee99b9d79b91"
SPACING_MM = (0.8, 0.8, 3.0)
WINDOW = (128, 128, 32)
SMOOTHING = 2.5
DECISION = float(np.log(0.55 / 0.45))
DOUBT = 0.6
"""Distance of a logit from the decision below which a voxel counts as not labelled (chosen)."""


def logits_of(session: onnxruntime.InferenceSession, image: nib.Nifti1Image) -> NDArray[np.float32]:
    """TAPS's smoothed logits (x, y, z) on the image's own voxels, in its own axis order."""
    canonical = nib.as_closest_canonical(image)
    volume = np.asarray(canonical.dataobj, np.float32)
    zooms = np.asarray(canonical.header.get_zooms()[:3])
    shape = np.maximum(1, np.round(np.asarray(volume.shape) * zooms / SPACING_MM)).astype(int)
    small = ndimage.zoom(volume, shape / np.asarray(volume.shape), order=1, grid_mode=True, mode="nearest")
    there = small != 0
    x = np.where(there, (small - small[there].mean()) / small[there].std(), 0).astype(np.float32)
    name = session.get_inputs()[0].name
    with torch.inference_mode():
        raw = sliding_window_inference(
            torch.from_numpy(x)[None, None],
            WINDOW,
            1,
            lambda some: torch.from_numpy(session.run(None, {name: some.numpy()})[0]),
            overlap=0.35,
            mode="gaussian",
        )[0, 0].numpy()
    smooth = ndimage.gaussian_filter(raw, SMOOTHING, mode="nearest")
    logits = ndimage.zoom(smooth, np.asarray(volume.shape) / shape, order=1, grid_mode=True, mode="nearest")
    ours, theirs = (nib.orientations.io_orientation(i.affine) for i in (canonical, image))
    return nib.orientations.apply_orientation(logits, nib.orientations.ornt_transform(ours, theirs))


def body(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest connected body above the decision."""
    areas, count = ndimage.label(logits > DECISION)
    return areas == (int(np.argmax(np.bincount(areas.ravel())[1:])) + 1 if count else 1)


def beside_silver(silver: NDArray[np.bool_], taps: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Labels (x, y, z), z running upwards: 255 where they differ, nothing from three slices below TAPS's gland on."""
    out = np.where(silver != taps, 255, silver).astype(np.uint8)
    lowest = int(np.flatnonzero(taps.any((0, 1)))[0])
    out[:, :, : max(0, lowest - 2)] = 0
    return out


def write(folder: Path, image: Path, labels: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """One case of a domain folder: the image linked, its labels written."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), folder / "labels" / image.name)
    if not (folder / "images" / image.name).exists():
        os.symlink(image.resolve(), folder / "images" / image.name)


def main() -> None:
    """Read the arguments, label every volume, tell how far TAPS and the silver labels agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--silver", type=Path, required=True)
    parser.add_argument("--unlabelled", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    if hashlib.sha256(arguments.network.read_bytes()).hexdigest() != SHA256:
        parser.error(f"{arguments.network} is not model_v1.onnx of lavlab-taps 1.1.2 ({SHA256[:12]}...)")
    session = onnxruntime.InferenceSession(str(arguments.network), providers=["CPUExecutionProvider"])
    for path in sorted((arguments.unlabelled / "images").iterdir()):
        image = nib.load(path)
        logits = logits_of(session, image)
        labels = np.where(abs(logits - DECISION) < DOUBT, 255, body(logits)).astype(np.uint8)
        write(arguments.out / "unlabelled_taps", path, labels, image.affine)
    for path in sorted((arguments.silver / "images").iterdir()):
        image = nib.load(path)
        if nib.aff2axcodes(image.affine)[2] != "S":
            parser.error(f"{path} does not run upwards along its third axis; expected axial volumes, apex first")
        silver = np.asarray(nib.load(arguments.silver / "labels" / path.name).dataobj) > 0
        taps = body(logits_of(session, image))
        print(f"{path.name}: Dice of TAPS and the silver label {dice(silver, taps):.3f}")
        write(arguments.out / "silver_taps", path, beside_silver(silver, taps), image.affine)


if __name__ == "__main__":
    main()
