"""The commands around the main job, as a user runs them: models, doctor, help, view, and how words are read."""

import importlib.metadata
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from cli_parts import photograph
from PIL import Image

from napari_tinymig.models.registry import list_models
from napari_tinymig.network.run import usable_threads
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("benchmark erm --domains a b -o out", "benchmark erm --domains a --domains b -o out"),
        ("train r --source a --target b c --set x=1", "train r --source a --target b --target c --set x=1"),
        ("evaluate --domains a --domains b c", "evaluate --domains a --domains b --domains c"),
        ("segment a b -o out", "segment a b -o out"),
    ],
)
def test_a_list_of_folders_may_follow_its_option(typed, meant):
    from napari_tinymig.cli import spread

    assert spread(typed.split()) == meant.split()


def test_models_are_listed_described_verified_added_and_removed(tinymig, tmp_path, make_model):
    listed = tinymig("models", "list", code=0).stdout
    assert "* toy-optic" in listed
    assert '"name": "toy-optic"' in tinymig("models", "info", "toy-optic", code=0).stdout
    assert "sound" in tinymig("models", "verify", "toy-optic", "toy-prostate", code=0).stdout
    make_model("newcomer", OPTIC, (0.0, 0.5), input=InputSpec(size=64))
    assert "added newcomer@" in tinymig("models", "add", "newcomer.safetensors", code=0).stdout
    assert "exists already" in tinymig("models", "add", "newcomer.safetensors", code=2).stderr
    tinymig("models", "remove", "newcomer", code=0)
    assert "no model named 'newcomer'" in tinymig("models", "info", "newcomer", code=2).stderr


def test_version_doctor_and_help(tinymig):
    assert tinymig("--version", code=0).stdout.startswith("napari-tinymig ")
    doctor = tinymig("doctor", code=0).stdout
    versions = {n: importlib.metadata.version(n) for n in ("numpy", "onnxruntime", "pydicom")}
    assert all(f" {name} {version}" in doctor for name, version in versions.items())
    assert f"Python {platform.python_version()} at {sys.executable}" in doctor
    assert f"{usable_threads()} usable cores" in doctor
    assert re.search(r"^device (CPU|CUDA|MPS)\b", doctor, re.MULTILINE)
    models = {e.name: e.model_id for e in list_models()}
    assert {"optic", "prostate", "polyp"} <= set(models)
    assert all(f"  {name}: {model_id}, " in doctor for name, model_id in models.items())
    listed = tinymig("--help", code=0).stdout
    assert all(c in listed for c in ("demo", "segment", "measure", "compare", "view", "models", "doctor"))
    assert "--overwrite" in tinymig("segment", "--help", code=0).stdout


def test_view_says_what_is_missing_without_a_display(tinymig, tmp_path):
    env = {k: v for k, v in tinymig.env.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    done = subprocess.run(
        [sys.executable, "-m", "napari_tinymig", "view"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "display" in done.stderr or "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.viewer
def test_view_opens_napari_with_the_panel_docked(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    Image.fromarray(np.tri(64, dtype=np.uint8)).save(tmp_path / "eye_mask.png")
    code = (
        "import napari\nfrom napari_tinymig.cli import main\n"
        "def look():\n    viewer = napari.current_viewer()\n"
        "    print([(type(x).__name__, x.name) for x in viewer.layers])\n"
        "    print(list(viewer.window.dock_widgets))\n    viewer.close()\n"
        "napari.run = look\ntry:\n    main(['view', 'eye.png', 'eye_mask.png'])\n"
        "except SystemExit as e:\n    assert not e.code, e.code\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=tinymig.env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "[('Image', 'eye'), ('Labels', 'eye_mask')]" in done.stdout
    assert "Segment" in done.stdout
