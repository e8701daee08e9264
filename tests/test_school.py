"""Fine-tuning where only the cups' size differs: one offset, the weights untouched."""

from __future__ import annotations

import numpy as np
import pytest
import tune_drawn as drawn
from napari_tinymig.training.finetune.acceptance import paired
from napari_tinymig.training.finetune.school import beats_training
from PIL import Image

from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.cup_school import fit_school, redraw_cup
from napari_tinymig.predict.predictor import Predictor


@pytest.fixture(scope="module")
def generous(parent, tmp_path_factory):
    """Five eyes of the first camera as the model itself finds them, their cups drawn 0.7 more generous."""
    folder = tmp_path_factory.mktemp("generous")
    predictor = Predictor(parent, "cpu", threads=1)
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for seed in range(100, 105):
        scan, _ = drawn.eye(seed)
        Image.fromarray(scan.pixels).save(folder / "images" / f"{scan.name}.png")
        labels = redraw_cup(predictor.predict(scan).labels, 0.7)
        Image.fromarray(labels).save(folder / "labels" / f"{scan.name}.png")
    return folder


def tuned(parent, data, out, **settings):
    from napari_tinymig.training.finetune.run import finetune

    messages = list(finetune(parent.path, data, out, steps=5, lr=1e-5, **settings))
    return messages, read_model_file(out / "best.safetensors")


def test_a_school_that_only_draws_larger_cups_gets_an_offset_and_the_old_weights(parent, generous, tmp_path):
    messages, child = tuned(parent, generous, tmp_path / "run")
    assert child.header.constants["cup_offset"] == pytest.approx(0.7 * 5 / 7, abs=0.1)  # two eyes' worth of prior
    ours, theirs = child.weights(), read_model_file(parent.path).weights()
    assert all(np.array_equal(ours[k], theirs[k]) for k in theirs)
    assert messages[-1].values["keep"] == 1
    assert "more generous" in messages[-1].text
    scan, _ = drawn.eye(200)
    before, after = (Predictor(m, "cpu", threads=1).predict(scan).measures["vcdr"] for m in (parent, child))
    assert after > before + 0.05


def test_without_it_the_training_stands(parent, generous, tmp_path):
    _, child = tuned(parent, generous, tmp_path / "run", school=False)
    assert "cup_offset" not in child.header.constants


def test_a_training_that_gains_more_wins():
    y, x = np.mgrid[:100, :100] - 49.5
    answers = [np.uint8(np.hypot(y, x) < 45) + np.uint8(np.hypot(y, x) < r) for r in (18, 20, 22, 24)]
    school = fit_school(answers, [redraw_cup(a, 0.5) for a in answers])
    gained = float(np.mean(np.subtract(school.dice_after, school.dice_before)))
    less, more = (
        [paired("disc", [0.5] * 4, [0.5] * 4), paired("cup", [0.5] * 4, [0.5 + gain] * 4)]
        for gain in (gained - 0.01, gained + 0.01)
    )
    assert beats_training(school, less)
    assert not beats_training(school, more)
