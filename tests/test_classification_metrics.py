"""Scores of a classifier, with numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.measures.classification import (
    auroc,
    confusion_counts,
    expected_calibration_error,
    score_classification,
)


def two_class(positive):
    p = np.asarray(positive, float)
    return np.stack([1 - p, p], 1)


def test_auroc_counts_the_pairs_in_the_right_order():
    # positives .9 and .4, negatives .5 and .1: three of four pairs are in order
    assert auroc(two_class([0.9, 0.4, 0.5, 0.1]), np.array([1, 1, 0, 0])) == pytest.approx(0.75)


def test_ties_count_half():
    assert auroc(two_class([0.5, 0.5]), np.array([1, 0])) == pytest.approx(0.5)


def test_auroc_of_three_classes_is_the_mean_of_each_against_the_rest():
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    assert auroc(p, np.array([0, 1, 2])) == pytest.approx(1.0)
    assert auroc(p, np.array([1, 0, 2])) == pytest.approx((0.5 + 0.0 + 1.0) / 3)


def test_auroc_of_one_class_is_not_a_number():
    assert math.isnan(auroc(two_class([0.2, 0.9]), np.array([1, 1])))


def test_confusion_has_the_truth_in_rows():
    found = confusion_counts(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), 2)
    assert found.tolist() == [[1, 1], [1, 1]]
    assert confusion_counts(np.array([1, 1, 1]), np.array([0, 0, 1]), 2).tolist() == [[0, 2], [0, 1]]


def test_calibration_error_of_a_confident_and_half_right_classifier_is_one_half():
    assert expected_calibration_error(two_class([1.0, 1.0]), np.array([1, 0])) == pytest.approx(0.5)
    assert expected_calibration_error(two_class([1.0, 0.0]), np.array([1, 0])) == pytest.approx(0.0)


def test_balanced_accuracy_is_the_mean_recall():
    scores = score_classification(two_class([0.1] * 9 + [0.2]), np.array([0] * 9 + [1]), ("healthy", "ill"))
    assert scores.accuracy == pytest.approx(0.9)
    assert scores.balanced_accuracy == pytest.approx(0.5)
    assert scores.confusion.tolist() == [[9, 0], [1, 0]]


def test_a_class_that_is_missing_in_the_test_set_is_left_out_and_named():
    scores = score_classification(two_class([0.1, 0.2, 0.9]), np.array([0, 0, 0]), ("healthy", "ill"))
    assert scores.absent == ("ill",)
    assert scores.balanced_accuracy == pytest.approx(2 / 3)
    assert math.isnan(scores.auroc)
    assert scores.as_dict()["auroc"] is None


def test_no_image_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="no image to score"):
        score_classification(np.zeros((0, 2)), np.zeros(0, int), ("a", "b"))


def test_intervals_resample_persons_not_images():
    rng = np.random.default_rng(0)
    right = rng.random(20) < 0.7
    labels = rng.integers(0, 2, 20)
    p = two_class(np.where(right, labels, 1 - labels) * 0.8 + 0.1)
    one_each = score_classification(p, labels, ("a", "b"), [str(i) for i in range(20)])
    p5, labels5 = np.repeat(p, 5, 0), np.repeat(labels, 5)
    in_fives = score_classification(p5, labels5, ("a", "b"), [str(i) for i in np.repeat(range(20), 5)])
    as_images = score_classification(p5, labels5, ("a", "b"))
    width = [np.subtract(*s.intervals["accuracy"][::-1]) for s in (one_each, in_fives, as_images)]
    assert in_fives.accuracy == one_each.accuracy
    assert width[1] == pytest.approx(width[0], abs=0.02)
    assert width[2] < 0.6 * width[1]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 10)), min_size=4, max_size=40))
def test_every_score_lies_in_its_interval_and_between_zero_and_one(pairs):
    labels = np.array([y for y, _ in pairs])
    scores = score_classification(two_class([s / 10 for _, s in pairs]), labels, ("a", "b"), resamples=300)
    for name in ("accuracy", "balanced_accuracy", "auroc"):
        value = getattr(scores, name)
        if math.isfinite(value):
            low, high = scores.intervals[name]
            assert 0 <= low <= high <= 1
            assert 0 <= value <= 1
    assert scores.confusion.sum() == len(labels)


def test_weighted_auroc_of_the_bootstrap_equals_repeating_the_images():
    from napari_tinymig.measures.classification import _weighted_aurocs

    rng = np.random.default_rng(1)
    p, labels = two_class(rng.integers(0, 6, 30) / 5), rng.integers(0, 2, 30)
    weights = rng.integers(0, 4, (1, 30)).astype(float)
    repeated = np.repeat(np.arange(30), weights[0].astype(int))
    assert _weighted_aurocs(p, labels, weights)[0] == pytest.approx(auroc(p[repeated], labels[repeated]))


@pytest.mark.parametrize("seed", range(4))
def test_the_area_under_the_curve_is_scikit_learns_also_with_ties(seed):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60)
    scores = np.round(np.clip(0.3 * labels + rng.uniform(0, 0.7, 60), 0, 1), 1)
    assert auroc(np.stack([1 - scores, scores], 1), labels) == pytest.approx(roc_auc_score(labels, scores))


def test_a_perfect_answer_to_few_persons_has_an_honest_lower_limit():
    labels = np.repeat([0, 1], 12)
    scores = np.linspace(0, 1, 24)
    found = score_classification(np.stack([1 - scores, scores], 1), labels, ("a", "b"))
    assert found.auroc == 1
    low, high = found.intervals["auroc"]
    assert low == pytest.approx(0.7354, abs=1e-4)  # 0.025 ** (1 / 12): Clopper and Pearson for 12 of 12
    assert high == 1
