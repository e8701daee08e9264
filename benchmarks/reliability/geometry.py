"""Random grids in every volume format: does the mask lie where SimpleITK puts the image, and come back identical?

    python benchmarks/reliability/geometry.py --grids 1500

A grid has a random shape, spacing, origin and direction (axes permuted and flipped, and for two in three turned by
random angles). SimpleITK writes the image and reads the mask; of NIfTI files also sheared ones, written and judged by
nibabel, because ITK refuses them. For every grid: the largest distance in millimetres between the centre of a labelled
voxel of the mask and that of the same voxel of the image, both as the judge says; and whether the mask read back by
the product is identical.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from napari_tinymig.base.geometry import lps_from_ras, world_mm
from napari_tinymig.formats import open_input, read_mask, write_mask

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", "sheared.nii.gz")


def random_direction(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) columns: axes permuted and flipped, usually turned."""
    base = np.eye(3)[:, rng.permutation(3)] * rng.choice((-1.0, 1.0), 3)
    kind = rng.integers(3)
    if kind == 0:
        return base
    angles = rng.uniform(-40, 40, 3) if kind == 1 else rng.uniform(-3, 3, 3)
    return Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ base


def judge(rng: np.random.Generator, folder: Path, ending: str) -> tuple[float, bool]:
    """(largest distance in mm, identical) of one random grid."""
    shape = rng.integers(8, 20, 3)
    spacing, origin = rng.uniform(0.3, 5.0, 3), rng.uniform(-200, 200, 3)
    values = rng.integers(0, 1000, shape).astype(np.int16)  # (i, j, k)
    path, mask_path = folder / f"a{ending}", folder / f"m{ending.removeprefix('sheared')}"
    direction = random_direction(rng)
    if ending.startswith("sheared"):
        shear = np.eye(3)
        shear[0, 2], shear[1, 2] = rng.uniform(-0.4, 0.4, 2)
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = direction @ shear @ np.diag(spacing), origin
        nib.save(nib.Nifti1Image(values, affine), path)
        place = affine
    else:
        image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(origin.tolist())
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, path)
        place = itk_affine(sitk.ReadImage(path))
    scan_file = open_input(path)
    labels = rng.integers(0, 3, scan_file.scan.pixels.shape).astype(np.uint8)
    write_mask(labels, scan_file, mask_path, overwrite=True)
    identical = bool(np.array_equal(read_mask(mask_path, like=scan_file), labels))
    if ending.startswith("sheared"):
        judged = nib.load(mask_path)
        stored, where = np.asarray(judged.dataobj), judged.affine
    else:
        picture = sitk.ReadImage(mask_path)
        stored, where = sitk.GetArrayFromImage(picture).transpose(2, 1, 0), itk_affine(picture)
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    apart = np.abs(corners @ (where - place).T).max()
    at = np.argwhere(labels == 1)[:50]
    mine = world_mm(at, scan_file.geometry)
    mine = mine if ending.startswith("sheared") else lps_from_ras(mine)
    index = np.round(np.c_[mine - place[:3, 3]] @ np.linalg.inv(place[:3, :3]).T).astype(int)
    back = index @ place[:3, :3].T + place[:3, 3]
    same_voxels = bool((stored[tuple(index.T)] == 1).all())
    return float(max(apart, np.abs(back - mine).max())), identical and same_voxels


def itk_affine(image: sitk.Image) -> np.ndarray:
    """(4, 4): index (i, j, k) -> LPS millimetres, from ITK's own points."""
    affine = np.eye(4)
    affine[:3, 3] = image.TransformIndexToPhysicalPoint((0, 0, 0))
    for axis, step in enumerate(((1, 0, 0), (0, 1, 0), (0, 0, 1))):
        affine[:3, axis] = np.array(image.TransformIndexToPhysicalPoint(step)) - affine[:3, 3]
    return affine


def main() -> None:
    """Judge every grid and print a line for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=1500, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    worst, all_same, start = 0.0, True, time.monotonic()
    for ending in ENDINGS:
        rng = np.random.default_rng([args.seed, ENDINGS.index(ending)])
        with tempfile.TemporaryDirectory() as folder:
            found = [judge(rng, Path(folder), ending) for _ in range(args.grids)]
        apart, same = max(a for a, _ in found), sum(s for _, s in found)
        worst, all_same = max(worst, apart), all_same and same == args.grids
        print(f"{ending}: {args.grids} grids, {same} identical, at most {apart:.6f} mm apart", flush=True)
    print(f"in all at most {worst:.6f} mm, {time.monotonic() - start:.0f} s")
    raise SystemExit(not all_same or worst > 0.05)


if __name__ == "__main__":
    main()
