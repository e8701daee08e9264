"""The example runs as it is written, without torch, and its mask lies where its image lies."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

EXAMPLE = Path(__file__).parent.parent / "examples" / "mask_and_mend.py"
NO_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def test_the_example_writes_a_mask_in_the_place_of_its_image(tmp_path):
    env = os.environ | {"TINYMIG_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-W", "ignore", "-c", NO_TORCH, str(EXAMPLE), "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "volume_ml" in done.stdout
    image = nib.load(tmp_path / "out" / "drawn_prostate.nii.gz")
    mask = nib.load(tmp_path / "out" / "drawn_prostate_mask.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine)
    assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}


def test_mending_keeps_the_largest_piece_and_its_codes():
    import runpy

    mended = runpy.run_path(str(EXAMPLE))["mended"]
    labels = np.zeros((8, 8), np.uint8)
    labels[1:5, 1:5], labels[2, 2], labels[7, 7] = 1, 2, 1
    expected = labels.copy()
    expected[7, 7] = 0
    assert np.array_equal(mended(labels), expected)
    assert np.array_equal(mended(expected), expected)
