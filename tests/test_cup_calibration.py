"""The cup threshold of a new centre: found from few cases, drawn to the default, kept only where it helps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.predict.cup_calibration import apply_cup_threshold, calibrate_cup


def eye(cup_radius, seed=0, blur=3.0, size=96):
    """Probabilities whose cup edge is at `cup_radius` where p = .5, and the disc at radius 40."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    away = np.hypot(y - size / 2 + rng.uniform(-2, 2), x - size / 2 + rng.uniform(-2, 2))
    disc, cup = (1 / (1 + np.exp((away - r) / blur)) for r in (40, cup_radius))
    return np.stack([disc, cup]), away


def centre(n, drawn_at, seed=0):
    """n cases of a school that draws the cup where the student's log-odds are `drawn_at`."""
    cases = [eye(15 + 2 * i % 9, seed + i) for i in range(n)]
    threshold = 1 / (1 + math.exp(-drawn_at))
    return [p for p, _ in cases], [apply_cup_threshold(p[0], p[1], threshold) for p, _ in cases]


def test_labels_by_hand():
    disc, cup = np.array([[0.4, 0.6, 0.9]]), np.array([[0.9, 0.3, 0.7]])
    assert apply_cup_threshold(disc, cup, 0.5).tolist() == [[0, 1, 2]]
    assert apply_cup_threshold(disc, cup, 0.2).tolist() == [[0, 2, 2]]


def test_a_school_that_draws_larger_cups_is_met_half_way_with_few_cases_and_fully_with_many():
    few, many = (calibrate_cup(*centre(n, drawn_at=-2.0)) for n in (2, 30))
    assert few.kept
    assert many.kept
    assert few.threshold == pytest.approx(1 / (1 + math.exp(2 * 2 / 4)), abs=0.03)  # 2 cases, prior counts for 2
    assert many.threshold == pytest.approx(1 / (1 + math.exp(2 * 30 / 32)), abs=0.03)
    for found in (few, many):
        assert found.dice_after > found.dice_before
        assert found.vcdr_error_after < found.vcdr_error_before
    assert many.dice_after > 0.97


def test_a_school_like_the_sources_keeps_the_default():
    found = calibrate_cup(*centre(6, drawn_at=0.0))
    assert found.threshold == pytest.approx(0.5)
    assert found.dice_after == found.dice_before
    assert "stays at 0.50" in found.text


def test_cases_that_contradict_each_other_do_not_move_it():
    (p, small), (q, large) = centre(1, drawn_at=2.5), centre(1, drawn_at=-2.5, seed=1)
    found = calibrate_cup(p + q, small + large)
    assert not found.kept
    assert found.threshold == 0.5
    assert found.thresholds == {"cup": 0.5}


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 5), drawn_at=st.floats(-3, 3), default=st.floats(0.2, 0.8))
def test_the_threshold_lies_between_the_default_and_the_best_and_never_makes_it_worse(n, drawn_at, default):
    found = calibrate_cup(*centre(n, drawn_at), default=default)
    best = 1 / (1 + math.exp(-drawn_at))
    assert min(best, default) - 0.06 <= found.threshold <= max(best, default) + 0.06
    assert found.cases == n
    cost = (1 - found.dice_after) + found.vcdr_error_after
    assert cost <= (1 - found.dice_before) + found.vcdr_error_before + 1e-9


def test_pixels_that_were_not_annotated_count_nowhere():
    probabilities, truths = centre(3, drawn_at=-2.0)
    whole = calibrate_cup(probabilities, truths)
    sparse = [t.copy() for t in truths]
    for t in sparse:
        t[:8] = 255
    assert calibrate_cup(probabilities, sparse).threshold == pytest.approx(whole.threshold, abs=0.05)


def test_what_cannot_be_used_is_a_sentence():
    probabilities, truths = centre(1, 0.0)
    with pytest.raises(ValueError, match="at least 1"):
        calibrate_cup([], [])
    with pytest.raises(ValueError, match="no cup"):
        calibrate_cup(probabilities, [np.minimum(truths[0], 1)])
    with pytest.raises(ValueError, match="expected \\(2, H, W\\)"):
        calibrate_cup([probabilities[0][:, :5]], truths)
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate_cup(probabilities, truths, default=1.0)
