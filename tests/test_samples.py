"""Drawn samples are the same every time and hold the anatomy their truth says."""

import numpy as np
import pytest
from scipy import ndimage

from napari_tinymig.measures.clinical import measure
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample
from napari_tinymig.samples.polyp import polyp_sample
from napari_tinymig.tasks.polyp import POLYP


def test_the_same_seed_draws_the_same_pixels_and_another_seed_others():
    a, b, c = fundus_sample(256, seed=1), fundus_sample(256, seed=1), fundus_sample(256, seed=2)
    np.testing.assert_array_equal(a.scan.pixels, b.scan.pixels)
    assert (a.scan.pixels != c.scan.pixels).any()
    p, q = prostate_sample(64, 8), prostate_sample(64, 8)
    np.testing.assert_array_equal(p.scan.pixels, q.scan.pixels)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.7])
def test_the_drawn_cup_to_disc_ratio_is_the_one_asked_for(ratio):
    sample = fundus_sample(512, cup_ratio=ratio)
    assert measure(sample.truth, "optic")["vcdr"] == pytest.approx(ratio, abs=0.03)


@pytest.mark.parametrize("eye, right", [("right", True), ("left", False)])
def test_the_disc_lies_nasal(eye, right):
    sample = fundus_sample(256, eye=eye)
    _, xs = np.nonzero(sample.truth)
    assert (xs.mean() > sample.truth.shape[1] / 2) == right


def test_a_fundus_is_a_photograph_with_a_black_border_a_bright_disc_and_dark_vessels():
    sample = fundus_sample(512)
    pixels, truth = sample.scan.pixels, sample.truth
    assert sample.scan.kind == "photograph"
    assert pixels[0, 0].max() == 0
    field = pixels.max(axis=2) > 20
    assert pixels[truth == 2].mean() > pixels[truth == 1].mean() > pixels[field & (truth == 0)].mean()
    green = pixels[..., 1].astype(float)
    assert np.percentile(green[field], 2) < 0.62 * np.median(green[field])  # vessels


def test_a_prostate_is_a_volume_of_ordinary_size_with_known_spacing():
    sample = prostate_sample()
    assert sample.scan.pixels.dtype == np.int16
    assert sample.scan.spacing_mm == pytest.approx((3.0, 0.703, 0.703), abs=0.001)
    assert 25 < measure(sample.truth, "prostate", sample.scan.spacing_mm)["volume_ml"] < 60


def test_a_drawn_frame_holds_one_polyp_redder_than_the_mucosa_inside_dark_corners():
    a, b = polyp_sample(200, seed=1), polyp_sample(200, seed=1)
    np.testing.assert_array_equal(a.scan.pixels, b.scan.pixels)
    pixels, truth = a.scan.pixels.astype(float), a.truth
    assert pixels[0, 0].max() == 0
    assert 0.02 < truth.mean() < 0.15
    assert ndimage.label(truth)[1] == 1
    redness = pixels[..., 0] / np.maximum(pixels.sum(axis=2), 1)
    lit = pixels.max(axis=2) > 30
    assert redness[truth == 1].mean() > redness[lit & (truth == 0)].mean()


def test_the_bundled_polyp_model_finds_the_polyp_in_every_drawing_the_gate_compares_on():
    from napari_tinymig.training.finetune.data import drawings

    predictor = Predictor("polyp", "cpu", threads=1)
    scenes = drawings("polyp", None)
    assert len(scenes) == 6
    for scan, box in scenes:
        prediction = predictor.predict(scan, box)
        assert 0.01 < (prediction.labels == POLYP.regions[0].label).mean() < 0.15
