"""Shift scores: percentile, badge, reasons; not a detector of files; volumes, grey images, one image."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from napari_tinymig.base.records import Scan
from napari_tinymig.predict.colour_match import match_to_source
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.sets.compare import SeenSet, compare_sets, coordinates, density, picture, see_scan, training_images
from napari_tinymig.sets.survey import Known, add_statistics, corrupted_version, survey_one
from napari_tinymig.shift.causes import explain, sentence
from napari_tinymig.shift.distance import badge, percentile, ranges, score_frames
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE


def eye(seed, gain=(1.0, 0.6, 0.3), disc=40, size=160):
    """A drawn photograph: bright disc, brighter cup, coloured ground with texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2 + rng.normal(0, 2, (2, 1, 1))
    r = np.hypot(y, x)
    disc = disc + rng.normal()
    light = (
        70 + 70 * (r < disc) + 60 * (r < disc / 2) + 12 * ndimage.gaussian_filter(rng.normal(size=(size, size)), 3) * 8
    )
    grey = light * rng.uniform(0.92, 1.08) + rng.normal(0, 2, (size, size))
    colour = np.asarray(gain) * rng.uniform(0.95, 1.05, 3)
    return np.clip(grey[..., None] * colour, 0, 255).astype(np.uint8)


def truth(size=160, disc=40):
    y, x = np.mgrid[:size, :size] - size / 2
    r = np.hypot(y, x)
    return ((r < disc).astype(np.uint8) + (r < disc / 2)).astype(np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory, request):
    """A thresholding model of photographs with source statistics from 40 drawn eyes, 14 of them held out."""
    from threshold_model import threshold_graph

    from napari_tinymig.models.file import write_model_file
    from napari_tinymig.recipes.student import ModelHeader

    path = tmp_path_factory.mktemp("model") / "eye.safetensors"
    levels = [-0.35, 0.0]
    header = ModelHeader(name="eye", task=OPTIC, input=InputSpec(size=128))
    write_model_file(path, header, {"levels": np.float32(levels)}, threshold_graph(levels))
    known = [Known(Scan(eye(i), None, f"e{i}"), truth(), f"e{i}", i >= 26) for i in range(40)]
    return add_statistics(path, known, "drawn eyes")


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(model, "cpu", threads=1)


def score(predictor, pixels):
    return score_frames(predictor.header.statistics, survey_one(predictor, Known(Scan(pixels, None, "x"))))


def test_home_images_are_known_ground(predictor):
    levels = [score(predictor, eye(100 + i)).level for i in range(20)]
    assert levels.count("known ground") >= 17


def test_another_camera_is_far_away_and_says_why(predictor):
    blue = score(predictor, eye(200, gain=(0.5, 0.6, 0.9)))
    assert blue.level == "far away"
    assert blue.score == 100
    assert "bluer" in blue.reason.lower()
    dark = score(predictor, (eye(201) * 0.4).astype(np.uint8))
    assert "darker" in dark.reason.lower()
    assert dark.level != "known ground"


def test_a_larger_disc_is_named_in_per_cent(predictor):
    found = score(predictor, eye(202, disc=56))
    assert any(c.name == "disc_area" and "larger" in c.text and "%" in c.text for c in found.causes)


def test_blur_is_named(predictor):
    blurred = ndimage.gaussian_filter(eye(203).astype(float), (2.5, 2.5, 0)).astype(np.uint8)
    assert any(c.text == "more blurred" for c in score(predictor, blurred).causes)


def test_it_is_no_file_size_or_jpeg_detector(predictor):
    home, again = [], []
    for i in range(30):  # photographs are several times finer than the network's grid, here 4.5 times
        pixels = np.asarray(Image.fromarray(eye(300 + i)).resize((576, 576), Image.Resampling.BICUBIC))
        pixels = np.clip(pixels + np.random.default_rng(i).normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=75)
        home.append(score(predictor, pixels).distance)
        again.append(score(predictor, np.asarray(Image.open(stream))).distance)
    a, b = np.array(home), np.array(again)
    assert np.mean(b[None] > a[:, None]) <= 0.65


def test_a_photograph_twice_as_large_is_no_shift(predictor):
    home = [score(predictor, eye(400 + i)).distance for i in range(12)]
    large = [
        score(
            predictor, np.asarray(Image.fromarray(eye(400 + i)).resize((480, 480), Image.Resampling.BICUBIC))
        ).distance
        for i in range(12)
    ]
    assert abs(np.median(large) - np.median(home)) < 0.6


def test_every_prediction_carries_score_reason_profile_and_intervals(model, predictor):
    found = predictor.predict(Scan(eye(500), None, "one"))
    assert 0 <= found.shift_score <= 100
    assert found.shift_reason.startswith("Like the training images")
    assert set(found.extra["shift_profile"]) == {
        "stage 1",
        "stage 2",
        "stage 3",
        "stage 4",
        "neighbours",
        "image",
        "output",
    }
    low, high = found.extra["intervals"]["vcdr"]
    assert low <= found.measures["vcdr"] <= high <= 1
    assert 0 < found.extra["expected_dice"]["disc"][0] <= 1
    assert 0 <= found.uncertainty <= 1
    json.dumps(found.extra, allow_nan=False)


def test_further_looks_make_a_map_in_the_image_grid(predictor):
    found = predictor.predict(Scan(eye(501), None, "one"), uncertainty=True)
    assert found.uncertainty_map.shape == (160, 160)
    assert 0 <= float(found.uncertainty_map.min()) <= float(found.uncertainty_map.max()) <= 1
    edge = np.abs(ndimage.sobel((found.labels > 0).astype(float))) > 0
    assert found.uncertainty_map[edge].mean() > found.uncertainty_map[~edge].mean()


def test_a_model_without_statistics_says_nothing_about_shift(make_model):
    plain = Predictor(make_model("plain", OPTIC, [-0.35, 0.0], input=InputSpec(size=128)), "cpu")
    found = plain.predict(Scan(eye(1), None, "one"))
    assert found.shift_score is None
    assert found.shift_reason == ""


def test_percentile_and_ranges_by_hand():
    quantiles = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert percentile(2.0, quantiles) == 50
    assert percentile(3.5, quantiles) == 87.5
    assert percentile(99, quantiles) == 100
    assert percentile(-1, quantiles) == 0
    assert ranges(2.0, quantiles) == 0
    assert ranges(3.8, quantiles) == pytest.approx(1.0)
    assert ranges(5.6, quantiles) == pytest.approx(2.0)


def test_badges_by_hand():
    assert badge(50, 0.0) == "known ground"
    assert badge(100, 1.1) == "known ground"
    assert badge(100, 1.53) == "known ground"  # as far as training images reach
    assert badge(100, 1.7) == "some shift"
    assert badge(100, 3.0) == "far away"


def test_no_reason_is_invented_when_only_deep_layers_differ():
    said = sentence("some shift", (), {"stage 1": 40.0, "stage 3": 99.0, "image": 20.0})
    assert "stage 3" in said
    assert "light and colour are ordinary" in said


def test_explain_leaves_out_what_does_not_apply(predictor):
    (record,) = survey_one(predictor, Known(Scan(eye(1), None, "x")))
    assert not any(c.name in ("spacing_mm", "fov_mm") for c in explain(predictor.header.statistics, [record], 0))


def test_no_frame_is_a_sentence(predictor):
    with pytest.raises(ValueError, match="at least one"):
        score_frames(predictor.header.statistics, [])


@pytest.fixture(scope="module")
def volume_predictor(tmp_path_factory):
    """A thresholding prostate model with statistics of 12 drawn volumes, and the drawing."""
    from threshold_model import threshold_graph

    from napari_tinymig.models.file import write_model_file
    from napari_tinymig.recipes.student import ModelHeader

    path = tmp_path_factory.mktemp("model") / "gland.safetensors"
    header = ModelHeader(name="gland", task=PROSTATE, input=InputSpec(size=64, normalisation="percentile_z"))
    write_model_file(path, header, {"levels": np.float32([0.8])}, threshold_graph([0.8]))
    known = [Known(Scan(gland(i)[0], (3.0, 0.5, 0.5), f"v{i}"), gland(i)[1], f"v{i}", False) for i in range(12)]
    return Predictor(add_statistics(path, known, "drawn glands"), "cpu", threads=1)


def gland(seed, noise=30.0):
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:8, :64, :64]
    ball = ((z - 3.5) / 3) ** 2 + ((y - 32) / (15 + rng.normal())) ** 2 + ((x - 32) / 15) ** 2 < 1
    return (ball * 600 + rng.normal(200, noise, ball.shape)).astype(np.float32), ball.astype(np.uint8)


def test_volumes_are_scored_as_a_whole_and_per_slice(volume_predictor):
    assert volume_predictor.header.statistics["calibration"]["source"] == "cross-fitted"
    home = volume_predictor.predict(Scan(gland(50)[0], (3.0, 0.5, 0.5), "home"))
    assert len(home.extra["shift_slices"]) == 8
    noisy = gland(51, noise=160.0)[0]
    far = volume_predictor.predict(Scan(noisy, (3.0, 0.5, 0.5), "far"))
    assert far.extra["shift_distance"] > home.extra["shift_distance"]
    assert far.extra["shift_level"] != "known ground"
    assert "noisier" in far.shift_reason.lower()


def test_a_single_grey_slice_without_spacing_is_scored(volume_predictor):
    found = volume_predictor.predict(Scan(gland(52)[0][3:4], None, "slice"))
    assert found.shift_score is not None
    assert any("among only 12 source volumes" in n for n in found.extra["shift_notes"])


def test_sets_are_compared_and_the_smaller_difference_comes_last(predictor):
    statistics = predictor.header.statistics

    def seen(name, seeds, **drawn):
        images = [see_scan(predictor, statistics, Scan(eye(s, **drawn), None, f"{name}{s}"), _path(s)) for s in seeds]
        return SeenSet(name, images)

    a, b = seen("a", range(600, 612)), seen("b", range(620, 632), gain=(0.5, 0.6, 0.9))
    found = compare_sets(statistics, a, b, permutations=199)
    assert found.tests["features (MMD)"].p < 0.01
    gaps = [d.distance for d in found.differences]
    assert gaps == sorted(gaps, reverse=True)
    assert found.differences[0].name in ("blue", "red", "saturation")
    home = compare_sets(statistics, a, seen("c", range(640, 652)), permutations=199)
    assert home.tests["features (MMD)"].p > 0.01
    one = compare_sets(statistics, a, seen("one", [700]), permutations=99)
    assert any("single image" in n for n in one.notes)
    source = training_images("source", statistics)
    assert compare_sets(statistics, source, b, permutations=199).tests["features (MMD)"].p < 0.01
    assert [len(p) for p in picture(statistics, [source, a])] == [26, 12]
    assert coordinates(statistics, a).shape == (12, coordinates(statistics, source).shape[1])


def _path(seed):
    from pathlib import Path

    return Path(f"{seed}.png")


def test_an_empty_set_is_a_sentence(predictor):
    statistics = predictor.header.statistics
    with pytest.raises(ValueError, match="set 'none' holds no usable image"):
        compare_sets(statistics, training_images("s", statistics), SeenSet("none"))


def test_density_of_uniform_quantiles_is_flat():
    share = density(np.linspace(0, 1, 17, dtype=np.float32), bins=10)
    assert share == pytest.approx(np.full(10, 0.1), abs=0.01)
    assert share.sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("how", ["colour", "histogram"])
def test_matching_brings_the_colours_home(predictor, how):
    statistics = predictor.header.statistics
    inside = np.ones((160, 160), bool)
    blue = eye(800, gain=(0.5, 0.6, 0.9))
    blue[:10] = 0
    inside[:10] = False
    matched = match_to_source(blue, blue, inside, statistics, how)
    target = np.asarray(statistics["quantiles"]).mean(1) * 255
    before, after = (np.abs(x[inside].mean(0) - target).mean() for x in (blue, matched))
    assert after < 0.25 * before
    assert not matched[:10].any()
    assert match_to_source(blue, blue, inside, statistics, "none") is blue


def test_colour_match_is_off_by_default_and_refused_where_it_cannot_be(model, volume_predictor):
    assert Predictor(model, "cpu").colour_match == "none"
    helped = Predictor(model, "cpu", colour_match="colour").predict(Scan(eye(801, gain=(0.6, 0.6, 0.6)), None, "x"))
    plain = Predictor(model, "cpu").predict(Scan(eye(801, gain=(0.6, 0.6, 0.6)), None, "x"))
    assert helped.extra["shift_distance"] < plain.extra["shift_distance"]
    with pytest.raises(ValueError, match="expected one of none, colour, histogram"):
        Predictor(model, "cpu", colour_match="magic")
    with pytest.raises(ValueError, match="needs a model of photographs"):
        Predictor(volume_predictor.model, "cpu", colour_match="colour")


def test_corrupted_versions_keep_shape_and_dtype_and_are_seeded():
    a = corrupted_version(eye(1), np.random.default_rng(3))
    b = corrupted_version(eye(1), np.random.default_rng(3))
    assert a[1] == b[1]
    assert np.array_equal(a[0], b[0])
    assert a[0].shape == (160, 160, 3)
    assert a[0].dtype == np.uint8
