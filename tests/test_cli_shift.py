"""`tinymig shift A B -o DIR` in a real process: tables, figures, a page, honest exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cli_parts import rows_of
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.sets.survey import Known, add_statistics
from napari_tinymig.tasks.optic import OPTIC


def eye(seed, blue=0.4):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :120] - 60
    r = np.hypot(y, x)
    grey = 60 + 80 * (r < 30 + rng.normal()) + 70 * (r < 15 + rng.normal()) + rng.normal(0, 4, (120, 120))
    return np.clip(grey[..., None] * np.array([1.0, 0.7, blue]) * rng.uniform(0.95, 1.05), 0, 255).astype(np.uint8)


@pytest.fixture
def world(tmp_path, make_model):
    """Two folders of drawn eyes, the second bluer, and a model that was 'trained' on the first."""
    for name, blue in (("home", 0.4), ("away", 0.8)):
        (tmp_path / name / "images").mkdir(parents=True)
        for i in range(12):
            Image.fromarray(eye(i + (100 if blue > 0.5 else 0), blue)).save(
                tmp_path / name / "images" / f"{name}{i:02d}.png"
            )
    model = make_model("eye", OPTIC, [-0.35, 0.1], input=InputSpec(size=96))
    add_statistics(model.path, [Known(Scan(eye(1000 + i), None, f"k{i}"), None, f"k{i}", i > 19) for i in range(30)])
    return tmp_path


@pytest.fixture
def run(warm):
    """A function that runs `tinymig shift ARGUMENTS` in a process of its own, in the folder cwd."""
    return lambda *arguments, cwd: warm(("shift", *arguments), cwd, os.environ)


def test_two_folders_give_tables_figures_and_a_page(world, run):
    done = run("home", "away", "-o", "out", "--model", world / "eye.safetensors", "--permutations", 199, cwd=world)
    assert done.returncode == 0, done.stderr
    out = world / "out"
    rows = rows_of(out / "shift.csv")
    assert len(rows) == 24
    assert {r["set"] for r in rows} == {"home", "away"}
    assert all(r["shift_level"] == "far away" for r in rows if r["set"] == "away")
    assert sum(r["shift_level"] == "known ground" for r in rows if r["set"] == "home") >= 9
    assert "bluer" in rows[-1]["reason"].lower()
    differences = rows_of(out / "differences.csv")
    assert differences[0]["name"] in ("blue", "saturation")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "home and away differ (permutation test, p = 0.005, n = 12 and 12)" in page
    assert "not a medical device" in page
    assert page.count("data:image/png") >= 22  # two figures and twenty thumbnails
    for name in ("shift.png", "shift.svg", "anatomy.png", "anatomy.svg"):
        assert (out / name).stat().st_size > 2000, name
    assert "differ" in done.stderr


def test_masks_beside_the_images_are_read_and_foreign_sizes_left_alone(world, run):
    (world / "away" / "labels").mkdir()
    Image.fromarray(np.ones((120, 120), np.uint8)).save(world / "away" / "labels" / "away00.png")
    Image.fromarray(np.ones((7, 7), np.uint8)).save(world / "away" / "labels" / "away01.png")
    done = run(world / "eye.safetensors", "away", "-o", "out", "--permutations", 99, "--limit", 3, cwd=world)
    assert done.returncode == 0, done.stderr


def test_a_model_stands_for_its_training_images(world, run):
    model = world / "eye.safetensors"
    done = run(model, "away", "-o", "out", "--permutations", 199, "--limit", 6, "--theme", "dark", cwd=world)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(world / "out" / "shift.csv")) == 6
    assert "training images of eye" in (world / "out" / "report.html").read_text(encoding="utf-8")


def test_one_single_image_says_what_cannot_be_said(world, run):
    one = world / "away" / "images" / "away00.png"
    done = run(world / "eye.safetensors", one, "-o", "out", "--permutations", 99, cwd=world)
    assert done.returncode == 0, done.stderr
    assert "single image" in " ".join(done.stderr.split())


def test_a_second_model_is_reported_beside_the_first(world, run):
    model = world / "eye.safetensors"
    done = run("home", "away", "-o", "out", "--model", model, "--after", model, "--permutations", 99, cwd=world)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(world / "out" / "shift.csv")) == 48
    assert (world / "out" / "shift_after.png").exists()


def test_a_broken_file_is_left_out_said_and_counted(world, run):
    (world / "away" / "images" / "broken.png").write_bytes(b"not a picture")
    done = run("home", "away", "-o", "out", "--model", world / "eye.safetensors", "--permutations", 99, cwd=world)
    assert done.returncode == 1
    assert "1 of 13 images of away were left out" in " ".join(done.stderr.split())
    assert sum(bool(r["error"]) for r in rows_of(world / "out" / "shift.csv")) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "home", "-o", "out", "--model", "eye.safetensors"], "nowhere"),
        (["home", "away", "-o", "out", "--model", "no-such-model"], "no model named 'no-such-model'"),
        (["eye.safetensors", "eye.safetensors", "-o", "out"], "both models"),
        (["home", "away", "-o", "out", "--model", "eye.safetensors", "--theme", "pink"], "expected light or dark"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_2(world, arguments, sentence, run):
    done = run(*arguments, cwd=world)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_report_is_never_overwritten_unasked(world, run):
    (world / "out").mkdir()
    (world / "out" / "report.html").write_text("mine")
    done = run("home", "away", "-o", "out", "--model", "eye.safetensors", cwd=world)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    assert (world / "out" / "report.html").read_text() == "mine"


def test_segment_takes_matching_as_a_switch(world, warm):
    image = world / "away" / "images" / "away00.png"
    distances = {}
    for how in ("none", "colour"):
        words = ("segment", image, "-o", how, "--task", "optic", "--model", world / "eye.safetensors", "--match", how)
        done = warm(words, world, os.environ)
        assert done.returncode == 0, done.stderr
        distances[how] = float(rows_of(world / how / "measurements.csv")[0]["shift_score"])
    assert distances["none"] == 100
    assert distances["colour"] <= distances["none"]


def test_without_figures_the_advice_keeps_its_brackets(world):
    (world / "absent").mkdir()
    (world / "absent" / "matplotlib.py").write_text("raise ImportError('absent')\n")
    command = [sys.executable, "-m", "napari_tinymig", "shift", str(world / "eye.safetensors"), "away", "-o", "out"]
    command += ["--permutations", "19", "--limit", "2"]
    env = os.environ | {"PYTHONPATH": str(world / "absent")}
    done = subprocess.run(command, cwd=world, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert "pip install 'napari-tinymig[viewer]'" in done.stderr
