"""The examples run as they are written, the light ones without torch, and show what they say."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLE = EXAMPLES / "mask_and_mend.py"
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


def run_example(folder, name, code):
    """Runs an example in a folder of its own; what it printed. `code` 'light': torch cannot be imported."""
    env = os.environ | {"TINYMIG_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    script = ["-c", NO_TORCH, str(EXAMPLES / name)] if code == "light" else [str(EXAMPLES / name)]
    command = [sys.executable, "-W", "ignore", *script]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_folder_becomes_masks_and_a_table(tmp_path):
    run_example(tmp_path, "segment_folder.py", "light")
    lines = (tmp_path / "example_output" / "measurements.csv").read_text().splitlines()
    assert len(lines) == 1 + 3
    assert all((tmp_path / "example_output" / f"eye_{k}_mask.png").is_file() for k in range(3))


def test_a_click_outlines_one_coin(tmp_path):
    pixels = int(run_example(tmp_path, "prompt_a_coin.py", "light").split()[0])
    assert 200 < pixels < 2500  # one coin of 303 x 384 pixels, not the picture


def test_a_measure_of_ones_own_is_in_the_row(tmp_path):
    words = run_example(tmp_path, "own_measure.py", "light").split()
    assert 0 < float(words[2]) < float(words[8])  # the rim is a part of the disc


def test_a_task_of_ones_own_is_learned_and_segmented(tmp_path):
    assert float(run_example(tmp_path, "own_task.py", "full").split()[-1]) > 0.85


def test_a_student_follows_a_teacher_from_a_local_file(tmp_path):
    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("mobilenetv2_100", pretrained=False).state_dict(), weights)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / "own_teacher.py"), str(weights), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "RANDOM TEACHER" not in done.stdout
    assert (tmp_path / "out" / "run" / "best.safetensors").is_file()


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda f: f.name)
def test_an_example_is_short(file):
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) < 60
