"""Source statistics: what is kept of the training images, and what a frame looks like in numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.network.run import NetworkOutput
from napari_tinymig.shift.descriptors import describe_image, describe_output
from napari_tinymig.shift.fit import make_statistics
from napari_tinymig.shift.frame_record import record_frame, stage_moments
from napari_tinymig.shift.source_statistics import pack, read_statistics, unpack, unpack_stage, whiten

WIDTHS = (6, 8, 10, 12)


def blob(radius, size=64):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(y, x) < radius


def frame(rng, shift=0.0, bright=120.0, case="", held_out=False, corruption=""):
    """A record of a noisy frame with a disc and a cup; `shift` moves the network's moments."""
    grid = np.clip(rng.normal(bright, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:64, :64] - 31.5
    r = np.hypot(y, x)
    disc = 20 + rng.normal()
    logits = np.stack([disc - r, disc / 2 - r])[None].astype(np.float32)
    means = tuple(np.arange(w)[None] + rng.normal(0, 0.3, (1, w)) + shift for w in WIDTHS)
    stds = tuple(1 + rng.random((1, w)) * 0.1 for w in WIDTHS)
    truth = np.stack([r < 20, r < 10])
    return record_frame(
        grid, NetworkOutput(logits, means, stds), 0, ("disc", "cup"), case=case, held_out=held_out, truth=truth,
        corruption=corruption,
    )  # fmt: skip


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(0)
    return [frame(rng, case=str(i), held_out=i >= 30) for i in range(45)]


def test_statistics_survive_json_and_stay_small(records):
    text = json.dumps(make_statistics(records, "photograph", "here"), allow_nan=False)
    back = json.loads(text)
    assert len(text) < 20_000
    assert back["version"] == 1
    assert back["n"] == {"frames": 30, "cases": 30, "held_out_frames": 15, "held_out_cases": 15}
    assert read_statistics(back) == back


def test_a_real_students_statistics_stay_below_20_kb():
    rng = np.random.default_rng(1)
    widths = (24, 32, 96, 160)
    some = []
    for i in range(30):
        out = NetworkOutput(
            np.zeros((1, 2, 32, 32), np.float32),
            tuple(rng.normal(size=(1, w)) for w in widths),
            tuple(rng.random((1, w)) for w in widths),
        )
        some.append(record_frame(rng.integers(0, 255, (32, 32, 3), np.uint8), out, 0, ("disc", "cup"), case=str(i)))
    assert len(json.dumps(make_statistics(some))) < 20_000


def test_held_out_frames_never_enter_the_moments(records):
    rng = np.random.default_rng(2)
    strange = [frame(rng, shift=50.0, case=f"x{i}", held_out=True) for i in range(10)]
    with_strange, without = make_statistics([*records, *strange]), make_statistics(records)
    assert with_strange["stages"] == without["stages"]
    assert with_strange["image"] == without["image"]
    assert with_strange["calibration"] != without["calibration"]


def test_few_held_out_cases_are_replaced_by_cross_fitting(records):
    rng = np.random.default_rng(3)
    few = [frame(rng, case=str(i % 7), held_out=i % 7 == 0) for i in range(21)]
    calibration = make_statistics(few)["calibration"]
    assert calibration["source"] == "cross-fitted"
    assert calibration["frames"] == 21
    assert calibration["cases"] == 7
    assert make_statistics(records)["calibration"]["source"] == "held-out"


def test_corrupted_frames_teach_only_trust(records):
    rng = np.random.default_rng(4)
    lessons = [frame(rng, bright=30, case="40", held_out=True, corruption="gamma 1.0") for _ in range(10)]
    a, b = make_statistics(records), make_statistics([*records, *lessons])
    assert {k: v for k, v in a.items() if k != "trust"} == {k: v for k, v in b.items() if k != "trust"}
    assert b["trust"]["n"] == a["trust"]["n"] + 10
    assert b["trust"]["clean"] == a["trust"]["clean"]


def test_too_few_frames_are_refused(records):
    with pytest.raises(ValueError, match="at least 4"):
        make_statistics(records[:3])


def test_statistics_of_another_version_are_refused_with_a_sentence():
    assert read_statistics({}) is None
    with pytest.raises(ModelFileError, match="version 9; this version reads 1; update"):
        read_statistics({"version": 9})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 9), st.sampled_from([np.int8, np.float16]))
def test_unpack_undoes_pack_to_its_precision(seed, n, m, dtype):
    array = np.random.default_rng(seed).normal(0, 3, (n, m)).astype(np.float32)
    step = np.abs(array).max() / 127 / 2 if dtype is np.int8 else np.abs(array).max() / 1024
    assert np.abs(unpack(json.loads(json.dumps(pack(array, dtype)))) - array).max() <= step * 1.01


def test_moments_are_means_then_logs_of_deviations():
    out = NetworkOutput(
        np.zeros((2, 1, 2, 2)), (np.array([[1.0, 2.0], [3.0, 4.0]]),), (np.array([[1.0, 1.0], [0.0, 9.999]]),)
    )
    (moments,) = stage_moments(out, 1)
    assert moments == pytest.approx([3.0, 4.0, math.log(0.001), math.log(10.0)], abs=1e-4)


def test_whitened_training_frames_have_unit_variance(records):
    train = [r for r in records if not r.held_out]
    statistics = make_statistics(records)
    for i, raw in enumerate(statistics["stages"]):
        inside, rest = whiten(unpack_stage(raw), np.stack([r.moments[i] for r in train]))
        assert inside.std(0) == pytest.approx(np.ones(inside.shape[1]), rel=0.05)
        assert float(np.mean(rest**2)) == pytest.approx(raw["residual"], rel=0.05)


def test_brightness_contrast_and_colour_by_hand():
    pixels = np.empty((64, 64, 3), np.uint8)
    pixels[:, :32] = (51, 51, 51)  # 0.2
    pixels[:, 32:] = (204, 204, 204)  # 0.8
    values = describe_image(pixels).values
    assert values["contrast"] == pytest.approx(0.6, abs=0.01)
    assert values["red"] == pytest.approx(0, abs=1e-6)
    assert values["saturation"] == pytest.approx(0, abs=1e-6)
    pixels[:] = (204, 102, 51)
    values = describe_image(pixels).values
    assert values["red"] == pytest.approx(math.log(0.82 / 0.42), abs=1e-3)
    assert values["blue"] == pytest.approx(math.log(0.22 / 0.42), abs=1e-3)
    assert values["saturation"] == pytest.approx(0.6, abs=0.01)
    assert values["brightness"] == pytest.approx(0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2, abs=0.005)


def test_noise_is_the_standard_deviation_that_was_put_in():
    rng = np.random.default_rng(5)
    grey = 120 + rng.normal(0, 10, (128, 128))
    pixels = np.repeat(np.clip(grey, 0, 255)[..., None], 3, 2)
    assert math.exp(describe_image(pixels).values["noise"]) - 0.012 == pytest.approx(10 / 255, rel=0.1)


def test_grey_frames_are_described_whatever_their_unit():
    rng = np.random.default_rng(6)
    grey = rng.gamma(3, 100, (64, 64))
    a, b = describe_image(grey).values, describe_image(grey * 7 - 300).values
    assert a["contrast"] == pytest.approx(b["contrast"], abs=0.01)
    assert math.isnan(a["red"])


def test_padding_takes_no_part():
    rng = np.random.default_rng(7)
    picture = rng.integers(90, 160, (64, 64, 3)).astype(np.uint8)
    padded = np.zeros((128, 128, 3), np.uint8)
    padded[32:96, 32:96] = picture
    field = np.zeros((128, 128), bool)
    field[32:96, 32:96] = True
    a, b = describe_image(picture).values, describe_image(padded, field=field).values
    for name in ("brightness", "contrast", "noise", "saturation"):
        assert a[name] == pytest.approx(b[name], abs=0.03), name
    assert b["field"] == 0.25


def test_a_field_of_another_shape_is_a_sentence():
    with pytest.raises(ValueError, match="field has shape"):
        describe_image(np.zeros((32, 32, 3)), field=np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="frame has shape"):
        describe_image(np.zeros(5))


def test_spacing_and_field_of_view_are_of_the_grid():
    values = describe_image(np.random.default_rng(0).random((64, 64)), spacing_mm=(0.5, 0.5)).values
    assert values["spacing_mm"] == 0.5
    assert values["fov_mm"] == 32.0


def test_output_numbers_by_hand():
    disc, cup = blob(20), blob(10)
    values = describe_output(np.stack([disc, cup]).astype(float), ("disc", "cup"))
    assert values["disc_area"] == pytest.approx(disc.mean())
    assert values["ratio"] == pytest.approx(20 / 40)
    assert values["disc_solid"] == 1.0
    assert values["disc_soft_dice"] == pytest.approx(1.0, abs=1e-3)
    assert values["disc_band"] < 1e-2
    two = np.zeros((1, 64, 64))
    two[0, :8, :8], two[0, 40:44, 40:44] = 1, 1
    assert describe_output(two, ("polyp",))["polyp_solid"] == pytest.approx(64 / 80)


def test_an_empty_answer_has_no_ratio():
    values = describe_output(np.zeros((2, 32, 32)), ("disc", "cup"))
    assert values["disc_area"] == 0
    assert values["disc_soft_dice"] == 0
    assert math.isnan(values["ratio"])


def test_wrong_probabilities_are_a_sentence():
    with pytest.raises(ValueError, match="expected \\(2, h, w\\)"):
        describe_output(np.zeros((1, 8, 8)), ("disc", "cup"))
