"""Short runs of the reliability benchmarks; what fuzzing found; what must not change a mask, or leave the machine."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from cli_parts import photograph, volume
from PIL import Image

from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.formats import find_inputs, open_input, read_mask

BENCHMARKS = Path(__file__).parents[1] / "benchmarks" / "reliability"
CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals and limits of POSIX")
@pytest.mark.parametrize(
    "options",
    [
        ("fuzz.py", "--inputs", "2000"),
        ("geometry.py", "--grids", "10"),
        ("killed_training.py", "import", "--what", "kill", "ENOSPC", "--most", "2"),
    ],
)
def test_a_short_run_of_a_reliability_benchmark_finds_nothing(options):
    command = [sys.executable, str(BENCHMARKS / options[0]), *options[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


@pytest.mark.parametrize("folder", CORPUS, ids=lambda p: p.name)
def test_what_fuzzing_found_is_refused_in_a_sentence(folder):
    items = find_inputs([folder])
    assert items
    for item in items:
        with pytest.raises(TinyMIGError) as told:
            open_input(item)
        assert "\n" not in str(told.value)


def patient_order(path, like):
    return read_mask(path, like=open_input(like))


def test_the_order_in_which_a_file_stores_its_axes_does_not_move_a_mask(tinymig, tmp_path):
    volume(tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(("S", "L", "A"))
        )
    )
    nib.save(turned, tmp_path / "b.nii.gz")
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nii.gz"), tmp_path / "c.nrrd")
    sitk.WriteImage(sitk.ReadImage(tmp_path / "a.nii.gz"), tmp_path / "d.mha")
    tinymig("segment", "a.nii.gz", "b.nii.gz", "c.nrrd", "d.mha", "-o", "out", "--task", "prostate", code=0)
    first = patient_order(tmp_path / "out" / "a_mask.nii.gz", tmp_path / "a.nii.gz")
    assert first.any()
    for name, mask in (("b.nii.gz", "b_mask.nii.gz"), ("c.nrrd", "c_mask.nrrd"), ("d.mha", "d_mask.mha")):
        assert np.array_equal(patient_order(tmp_path / "out" / mask, tmp_path / name), first)


def test_brighter_or_shifted_intensities_of_an_mri_keep_the_mask(tinymig, tmp_path):
    volume(tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    values = np.asarray(image.dataobj).astype(np.float32)
    nib.save(nib.Nifti1Image(values * 3 + 500, image.affine), tmp_path / "b.nii.gz")
    tinymig("segment", "a.nii.gz", "b.nii.gz", "-o", "out", "--task", "prostate", code=0)
    one, two = (np.asarray(nib.load(tmp_path / "out" / f"{n}_mask.nii.gz").dataobj) for n in "ab")
    assert one.any()
    assert (one != two).mean() < 1e-4


def test_format_order_and_threads_do_not_change_the_mask_of_a_photograph(tinymig, tmp_path):
    for i in range(3):
        photograph(tmp_path / f"{i}.png", seed=i)
        Image.open(tmp_path / f"{i}.png").save(tmp_path / f"{i}.tif")
    names = [f"{i}.{ending}" for i in range(3) for ending in ("png", "tif")]
    tinymig("segment", *names, "-o", "one", "--task", "optic", code=0)
    tinymig("segment", *reversed(names), "-o", "two", "--task", "optic", code=0)
    for i in range(3):
        masks = [
            np.asarray(Image.open(tmp_path / o / f"{i}.{e}_mask.png")) for o in ("one", "two") for e in ("png", "tif")
        ]
        assert masks[0].any()
        assert all(np.array_equal(masks[0], other) for other in masks[1:])


OFFLINE = """
import sys
def hook(event, found):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        raise SystemExit(f"the network was asked: {event} {found}")
sys.addaudithook(hook)
from napari_tinymig.cli import main
main(sys.argv[1:])
"""


def test_nobody_is_named_and_nothing_is_sent_when_a_series_is_segmented(tinymig, tmp_path, dicom_series_maker):
    values = np.random.default_rng(0).normal(100, 5, (9, 80, 90))
    z, y, x = np.mgrid[:9, :80, :90]
    values += 300 * (((x - 45) / 18) ** 2 + ((y - 40) / 15) ** 2 + ((z - 4) / 3) ** 2 <= 1)
    dicom_series_maker(tmp_path / "d", values.astype(np.int16), np.eye(3), (0.6, 0.5, 3.0), (0, 0, 0))
    command = [sys.executable, "-c", OFFLINE, "segment", "d", "-o", "out", "--task", "prostate", "--overlay"]
    done = subprocess.run(command, env=tinymig.env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    told = (done.stdout + done.stderr).encode()
    for path in (tmp_path / "out").iterdir():
        raw = path.read_bytes()
        told += gzip.decompress(raw) if path.suffix == ".gz" else raw
    assert b"d_mask" in told
    for secret in (b"made-up", b"Made^Up", str(tmp_path).encode()):
        assert secret not in told
