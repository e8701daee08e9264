"""Work that is counted, never timed: what makes a first mask slow is seen here on any machine, however busy.

A budget is what the work took when it was last looked at, with a little air. Whoever needs more says why, here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from napari_tinymig.models.registry import open_model
from napari_tinymig.samples.drawn import fundus_sample

MODELS = {
    # name: (M parameters, GMAC at its own side, ONNX nodes)
    "optic": (1.5, 0.9, 415),
    "optic-sdg": (1.5, 0.9, 415),
    "prostate": (1.5, 0.9, 415),
    "polyp": (1.5, 1.2, 425),
    "polyp-sdg": (1.5, 1.2, 425),
    "locator": (1.5, 0.9, 425),
    "gate": (0.15, 0.1, 200),
    "cup-sdg": (0.15, 0.1, 230),
}
VERSION_MODULES = 210
"""Imported by `tinymig --version`, the interpreter's own included."""
PHOTOGRAPH_MODULES = 380
"""Imported by the first mask of a photograph beyond numpy and ONNX Runtime."""
PHOTOGRAPH_FRAMES = 5
"""Network frames of a photograph whose disc is found at once: locator, region (perhaps twice), two further looks."""
NEVER = ("torch", "timm", "monai", "pandas", "skimage", "matplotlib", "scipy.ndimage", "scipy.special")
"""What no mask needs; each costs 80 ms or more, scipy.ndimage 220 ms."""
NOT_FOR_A_PHOTOGRAPH = (
    *("scipy", "nibabel", "pydicom", "nrrd", "imagecodecs", "tifffile", "rich", "distributed"),
    *(m for m in NEVER if m != "skimage"),  # its exposure is: even local contrast of one look, 16 ms at the first
)


def counted(*arguments: object) -> dict:
    """What `tinymig ARGUMENTS` opened and imported, in a process of its own."""
    script = Path(__file__).with_name("counted_run.py")
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def photograph_work(tmp_path_factory):
    """(counts, the photograph) of one cold `tinymig segment`."""
    folder = tmp_path_factory.mktemp("counted")
    Image.fromarray(fundus_sample(640).scan.pixels).save(folder / "eye.png")
    return counted("segment", folder / "eye.png", "-o", folder / "out", "--task", "optic", "--device", "cpu"), folder


@pytest.mark.parametrize("name", MODELS)
def test_a_students_size_and_work_stay_within_its_budget(name):
    from napari_tinymig.training.networks.saved import load_student
    from napari_tinymig.training.networks.student import count_macs, count_parameters

    model = open_model(name)
    student = load_student(model)
    parameters, gmac, nodes = MODELS[name]
    assert count_parameters(student) <= parameters * 1e6
    assert count_macs(student, model.header.input.size) <= gmac * 1e9
    found = len(onnx.load_from_string(model.onnx).graph.node)
    assert found <= nodes


def test_the_version_is_said_without_numpy():
    code = "import sys; from napari_tinymig.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "print(len(sys.modules), 'numpy' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    modules, numpy, pydantic = done.stdout.splitlines()[-1].split()
    assert int(modules) <= VERSION_MODULES
    assert (numpy, pydantic) == ("False", "False")


def test_a_photographs_mask_imports_only_what_it_needs(photograph_work):
    work, _ = photograph_work
    assert [m for m in NOT_FOR_A_PHOTOGRAPH if m in work["modules"]] == []
    assert len(work["modules"]) <= PHOTOGRAPH_MODULES


def test_a_photograph_and_its_models_are_opened_no_oftener_than_needed(photograph_work):
    work, folder = photograph_work
    opened = {Path(k).name: n for k, n in work["opened"].items()}
    assert opened["eye.png"] == 2  # what it is; its hash and its pixels
    assert {k: n for k, n in opened.items() if k.endswith(".safetensors")} == {
        "optic.safetensors": 1,
        "locator.safetensors": 1,
    }
    assert (folder / "out" / "eye_mask.png").is_file()


def test_a_photograph_is_looked_at_five_times_at_most(photograph_work):
    assert 4 <= photograph_work[0]["frames"] <= PHOTOGRAPH_FRAMES


def test_a_dicom_slice_is_opened_twice_and_looked_at_twice(tmp_path, dicom_series_maker):
    values = np.random.default_rng(0).integers(0, 900, (6, 48, 48)).astype(np.int16)
    files = dicom_series_maker(tmp_path / "series", values, np.eye(3), (0.6, 0.6, 3.0), (0.0, 0.0, 0.0))
    work = counted("segment", tmp_path / "series", "-o", tmp_path / "out", "--task", "prostate", "--device", "cpu")
    names = {Path(f).name for f in files}
    assert {Path(k).name for k in work["opened"]} >= names
    assert {n for k, n in work["opened"].items() if Path(k).name in names} == {2}  # its series; its hash and pixels
    assert work["frames"] == 2 * len(values)
    assert [m for m in NEVER if m in work["modules"]] == []
