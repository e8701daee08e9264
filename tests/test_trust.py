"""Trust of a mask: calibration by hand, conformal intervals, expected Dice, further looks, the what-if bench."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.base.geometry import whole_box
from napari_tinymig.base.records import Scan
from napari_tinymig.network.look_disagreement import DOUBT_LOOKS, further_looks
from napari_tinymig.network.run import NetworkOutput
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.sets.what_if import WhatIf
from napari_tinymig.shift.fit import make_statistics
from napari_tinymig.shift.frame_record import record_frame
from napari_tinymig.shift.trust import (
    best_temperature,
    calibration_error,
    conformal,
    expected_dice,
    interval_factor,
    interval_quantile,
    intervals,
)
from napari_tinymig.shift.truth import TEMPERATURES, compare_with_truth, reliability
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE

SIZE = 64
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
RADIUS = np.hypot(ROWS, COLUMNS)


def test_dice_area_and_ratio_of_two_circles_by_hand():
    truth = np.stack([RADIUS < 20, RADIUS < 10])
    logits = np.stack([10.0 - RADIUS, 10.0 - RADIUS])  # both regions are drawn with radius 10
    found = compare_with_truth(logits, truth, ("disc", "cup"))
    inner, outer = int((RADIUS < 10).sum()), int((RADIUS < 20).sum())
    assert found["disc_dice"] == pytest.approx(2 * inner / (inner + outer), rel=0.02)
    assert found["cup_dice"] == pytest.approx(1, abs=0.02)
    assert found["disc_area"] == pytest.approx(outer / SIZE**2)
    assert found["ratio"] == pytest.approx(0.5)


def test_two_empty_regions_agree():
    truth = np.zeros((1, SIZE, SIZE), bool)
    assert compare_with_truth(np.full((1, SIZE, SIZE), -9.0), truth, ("polyp",))["polyp_dice"] == 1.0


def test_another_shape_is_a_sentence():
    with pytest.raises(ValueError, match="truth has shape"):
        compare_with_truth(np.zeros((1, 8, 8)), np.zeros((2, 8, 8), bool), ("polyp",))


def test_reliability_and_calibration_error_by_hand():
    p = np.array([0.05, 0.05, 0.95, 0.95])
    t = np.array([False, True, True, True])
    counts = reliability(p, t)
    assert counts[0].tolist() == [2, pytest.approx(0.1), 1]
    assert counts[9].tolist() == [2, pytest.approx(1.9), 2]
    # bins: |0.1 - 1| + |1.9 - 2| over 4 pixels
    assert calibration_error(counts) == pytest.approx((0.9 + 0.1) / 4)


def test_temperature_finds_the_factor_that_was_put_in():
    rng = np.random.default_rng(0)
    true_logits = (20 - RADIUS)[None] / 3
    truths = []
    for _ in range(20):
        truth = rng.random(true_logits.shape) < 1 / (1 + np.exp(-true_logits))
        truth |= RADIUS < 5  # keep one body for the border band
        truths.append(compare_with_truth(2.0 * true_logits, truth, ("disc",)))
    assert best_temperature(truths) == pytest.approx(2.0, rel=0.25)
    assert best_temperature(truths) in TEMPERATURES


def test_conformal_is_the_order_statistic_it_promises():
    assert conformal(list(range(1, 20)), 0.9) == 18  # ceil(20 x 0.9) = 18th of 19
    assert conformal(list(range(1, 6)), 0.9) == 5  # too few: the largest


def test_a_dozen_cases_use_students_t_and_thirty_their_own_order():
    scores = [1.0, -1.0] * 6
    assert interval_quantile([abs(v) for v in scores]) == pytest.approx(1.7823, abs=1e-3)  # t(0.95; 12) x rms 1
    many = list(range(1, 40))
    assert interval_quantile(many) == conformal(many)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_intervals_from_a_dozen_cases_cover_what_they_promise(seed):
    rng = np.random.default_rng(seed)
    draws = np.abs(rng.normal(size=(200, 13)))
    assert np.mean([d[12] <= interval_quantile(d[:12]) for d in draws]) > 0.82


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_conformal_intervals_cover_what_they_promise(seed):
    rng = np.random.default_rng(seed)
    inside = []
    for _ in range(300):
        scores = rng.exponential(size=31)
        inside.append(scores[30] <= conformal(scores[:30], 0.9))
    assert np.mean(inside) > 0.83  # 0.9 promised; 300 draws have a standard error of 0.017


def lesson_record(rng, damage, case):
    """A frame whose answer is worse, and looks worse, the larger `damage` is."""
    grid = np.clip(rng.normal(120, 20 + 60 * damage, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
    wobble = 12 * damage * np.sin(3 * np.arctan2(ROWS, COLUMNS) + rng.uniform(0, 6))
    logits = np.stack([(22 + wobble - RADIUS) / (1 + 4 * damage), (11 + wobble - RADIUS) / (1 + 4 * damage)])
    means = tuple(np.zeros((1, 5)) + rng.normal(0, 0.2, (1, 5)) + damage for _ in range(4))
    stds = tuple(np.ones((1, 5)) + rng.random((1, 5)) * 0.05 for _ in range(4))
    output = NetworkOutput(logits[None].astype(np.float32), means, stds)
    truth = np.stack([22 + rng.normal() > RADIUS, 11 + rng.normal() > RADIUS])
    return record_frame(
        grid, output, 0, ("disc", "cup"), case=case, held_out=True, truth=truth, corruption="" if damage < 0.05 else "x"
    )


@pytest.fixture(scope="module")
def statistics():
    rng = np.random.default_rng(0)
    records = [lesson_record(rng, 0.02 * rng.random(), str(i)) for i in range(24)]
    records += [lesson_record(rng, rng.random(), str(i)) for i in range(60)]
    return make_statistics(records)


def test_expected_dice_orders_unseen_frames(statistics):
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    frames = [lesson_record(rng, rng.random(), "new") for _ in range(60)]
    for region in ("disc", "cup"):
        true = [f.truth[f"{region}_dice"] for f in frames]
        told = [expected_dice(statistics, [f])[region] for f in frames]
        assert spearmanr(true, [t[0] for t in told])[0] > 0.6
        assert all(0 <= low <= middle <= high <= 1 for middle, low, high in told)
        assert np.mean([low <= t <= high for t, (_, low, high) in zip(true, told)]) > 0.55


def test_weights_of_expected_dice_are_never_negative(statistics):
    for fit in statistics["trust"]["dice"].values():
        assert min(fit["weights"]) >= 0


def test_intervals_hold_the_truth_of_home_frames(statistics):
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(60):
        f = lesson_record(rng, 0.02 * rng.random(), "new")
        low, high = intervals(statistics, [f])["ratio"]
        assert low <= 1 <= high
        inside.append(low * f.output["ratio"] <= f.truth["ratio"] <= high * f.output["ratio"])
    assert np.mean(inside) >= 0.8
    factor, n = interval_factor(statistics, "ratio")
    assert factor > 0
    assert n >= 24


def test_an_interval_from_a_single_case_is_not_given(statistics):
    import copy

    poor = copy.deepcopy(statistics)
    poor["trust"]["interval"]["ratio"]["n"] = 1
    record = lesson_record(np.random.default_rng(0), 0.0, "x")
    assert "ratio" in intervals(statistics, [record])
    assert "ratio" not in intervals(poor, [record])


def test_without_truth_a_model_promises_nothing():
    rng = np.random.default_rng(3)
    bare = make_statistics([lesson_record(rng, 0.0, str(i)) for i in range(5)])
    assert bare["trust"] == {}
    assert expected_dice(bare, [lesson_record(rng, 0.0, "x")]) == {}
    assert intervals(bare, [lesson_record(rng, 0.0, "x")]) == {}


def photograph(side=200):
    rows, columns = np.mgrid[:side, :side] - side / 2
    r = np.hypot(rows, columns)
    grey = np.full((side, side), 40, np.uint8)
    grey[r <= 60], grey[r <= 30] = 150, 230
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.fixture
def predictor(make_model):
    return Predictor(make_model("optic", OPTIC, [-0.2, 0.4], input=InputSpec(size=128)), "cpu", threads=1)


def test_further_looks_agree_on_a_clear_image(predictor):
    pixels = photograph()
    frame = predictor.photograph_student().look(pixels, whole_box(pixels.shape))
    looks = further_looks(predictor.network, predictor.header, frame)
    assert looks.mean.shape == (2, 128, 128)
    assert looks.agreement["disc"] > 0.97
    assert looks.disagreement < 0.05
    # doubt lies along the borders alone
    assert looks.spread[64, 64] < 0.01
    assert looks.spread[2, 2] < 0.01
    assert looks.spread.max() > 0.05
    assert len(DOUBT_LOOKS) == 4


def test_the_bench_spoils_a_copy_and_measures_dice(predictor):
    pixels = photograph()
    before = pixels.copy()
    bench = WhatIf.open(predictor, Scan(pixels, None, "eye"))
    plain = bench.try_out({})
    assert bench.dice(plain.labels, plain.labels) == {"disc": 1.0, "cup": 1.0}
    spoiled = bench.try_out({"contrast": 1.0})
    assert bench.dice(spoiled.labels, plain.labels)["cup"] < 0.9
    assert np.array_equal(pixels, before)
    truth = bench.reference(plain.labels if plain.labels.shape == (200, 200) else np.zeros((200, 200), np.uint8))
    assert truth.shape == plain.labels.shape


def test_robustness_curves_start_at_one_and_fall(predictor):
    bench = WhatIf.open(predictor, Scan(photograph(), None, "eye"))
    points = list(bench.curve(names=("contrast", "noise"), strengths=(0.0, 0.5, 1.0)))
    assert [(n, s) for n, s, _ in points] == [
        *(("contrast", s) for s in (-1.0, -0.5, 0.0, 0.5, 1.0)),
        *(("noise", s) for s in (0.0, 0.5, 1.0)),
    ]
    by = {(n, s): d for n, s, d in points}
    assert by["contrast", 0.0] == by["noise", 0.0] == 1.0
    assert by["contrast", 1.0] < 1
    assert all(math.isfinite(d) for d in by.values())


def test_the_bench_takes_one_slice_of_a_volume(make_model):
    spec = InputSpec(size=64, normalisation="percentile_z", context_slices=True)
    predictor = Predictor(make_model("prostate", PROSTATE, [0.8], input=spec), "cpu", threads=1)
    z, y, x = np.mgrid[:6, :48, :50]
    volume = ((((y - 24) ** 2 + (x - 25) ** 2) < 150) * 500 + 100 + z).astype(np.int16)
    bench = WhatIf.open(predictor, Scan(volume, (3.0, 0.5, 0.5), "T2"), index=0)
    assert (bench.index, bench.middle, bench.pixels.shape) == (0, 0, (2, 48, 50))
    bench = WhatIf.open(predictor, Scan(volume, (3.0, 0.5, 0.5), "T2"), index=4)
    assert (bench.index, bench.middle, bench.pixels.shape) == (4, 1, (3, 48, 50))
    tried = bench.try_out({"noise": 0.2})
    assert tried.labels.shape == (48, 50)
    truth = (volume > 300).astype(np.uint8)
    assert bench.dice(tried.labels, bench.reference(truth))["gland"] > 0.9
