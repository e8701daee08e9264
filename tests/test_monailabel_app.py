"""The MONAI Label app of `examples/monailabel`: its masks are the command's bytes, its failures the command's words.

Where monailabel is not installed (it needs pydicom below 3), its two base classes are stood in for, with the
signatures of version 0.8.5; docs/howto/monai-label-and-slicer.md says what was run with the package itself.
"""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from napari_tinymig.samples.drawn import prostate_sample

APP = Path(__file__).parent.parent / "examples" / "monailabel"
TINYMIG = str(Path(sys.executable).with_name("tinymig"))


class App:
    """MONAILabelApp, as far as the app uses it."""

    def __init__(self, app_dir, studies, conf, name="", description="", version="2.0", labels=None):
        self.app_dir, self.studies, self.conf, self.name = app_dir, studies, conf, name
        self.infers = self.init_infers()


class InferTask:
    """InferTask of infer_v2."""

    def __init__(self, type, labels, dimension, description, config=None):
        self.type, self.labels, self.dimension, self.description = type, labels, dimension, description


@pytest.fixture
def app(monkeypatch):
    """The namespace of the app's main.py."""
    if importlib.util.find_spec("monailabel") is None:
        kinds = type("InferType", (), {"SEGMENTATION": "segmentation"})
        stand_ins = {
            "app": {"MONAILabelApp": App},
            "tasks.infer_v2": {"InferTask": InferTask, "InferType": kinds},
        }
        for name in ("monailabel", "monailabel.interfaces", "monailabel.interfaces.tasks"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for name, content in stand_ins.items():
            module = ModuleType(f"monailabel.interfaces.{name}")
            module.__dict__.update(content)
            monkeypatch.setitem(sys.modules, module.__name__, module)
    return runpy.run_path(str(APP / "main.py"))


@pytest.fixture
def volume(tmp_path):
    """A small drawn prostate as NIfTI."""
    scan = prostate_sample(96, 7).scan
    z, y, x = scan.spacing_mm
    nib.save(nib.Nifti1Image(np.ascontiguousarray(scan.pixels.T), np.diag([-x, -y, z, 1.0])), tmp_path / "case.nii.gz")
    return tmp_path / "case.nii.gz"


def test_an_answer_is_the_commands_mask_with_its_measures(app, volume, tmp_path):
    task = app["StudentInfer"]("prostate", TINYMIG, tmp_path / "none")
    file, told = task({"image": str(volume)})
    command = [TINYMIG, "segment", str(volume), "-o", str(tmp_path / "out"), "--task", "prostate"]
    subprocess.run(command, check=True, capture_output=True)
    assert Path(file).read_bytes() == (tmp_path / "out" / "case_mask.nii.gz").read_bytes()
    assert told["label_names"] == {"gland": 1}
    assert float(told["measures"]["volume_ml"]) > 0


def test_a_damaged_image_is_the_commands_sentence(app, tmp_path):
    (tmp_path / "case.nii.gz").write_bytes(b"no image")
    task = app["StudentInfer"]("prostate", TINYMIG, tmp_path / "none")
    with pytest.raises(RuntimeError, match="case"):
        task({"image": str(tmp_path / "case.nii.gz")})


def test_the_app_offers_the_tasks_of_its_configuration_and_no_others(app, tmp_path):
    made = app["TinyMIGApp"](str(tmp_path), str(tmp_path), {"tasks": "optic, polyp"})
    offered = getattr(made, "infers", None) or made._infers
    assert list(offered) == ["optic", "polyp"]
    assert all(infer.is_valid() for infer in offered.values())
    with pytest.raises(ValueError, match="tasks names liver"):
        app["TinyMIGApp"](str(tmp_path), str(tmp_path), {"tasks": "liver"})
