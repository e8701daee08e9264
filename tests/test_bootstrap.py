"""The one bootstrap: an interval that can be worked out by hand, and the numbers that its users printed before."""

import math

import numpy as np
import pytest
from napari_tinymig.training.benchmark.statistics import cluster_bootstrap
from napari_tinymig.training.finetune.acceptance import paired

from napari_tinymig.measures.agreement import agreement
from napari_tinymig.measures.bootstrap import (
    drawn,
    drawn_counts,
    mean_interval,
    percentile_interval,
    statistic_interval,
)
from napari_tinymig.measures.classification import score_classification


def test_the_mean_of_zeros_and_ones_moves_as_the_binomial_says():
    # 100 throws of a fair coin: 2.5 % and 97.5 % points of Binomial(100, 1/2) are 40 and 60.
    low, high = mean_interval([0, 1] * 50, 10_000)
    assert (low, high) == pytest.approx((0.40, 0.60), abs=0.011)


def test_both_ways_of_drawing_take_n_each_round():
    assert (drawn_counts(7, 50).sum(1) == 7).all()
    assert drawn(7, 50).shape == (50, 7)
    assert drawn(7, 2000).mean() == pytest.approx(3, abs=0.1)
    assert drawn_counts(7, 2000).mean(0) == pytest.approx([1] * 7, abs=0.1)


def test_rounds_without_a_number_are_left_out_and_none_at_all_is_nan():
    assert percentile_interval([1.0, math.nan, 1.0, math.inf]) == (1.0, 1.0)
    assert np.isnan(percentile_interval([math.nan])).all()


def test_paired_columns_are_drawn_together_and_others_each_by_itself():
    x = np.arange(30.0)
    together = statistic_interval(lambda a, b: float((a - b).mean()), x, x, rounds=200)
    apart = statistic_interval(lambda a, b: float((a - b).mean()), x, x, rounds=200, paired=False)
    assert together == (0.0, 0.0)
    assert apart[0] < -2 < 2 < apart[1]


def test_what_agreement_classification_acceptance_and_benchmark_print_is_what_their_own_bootstraps_printed():
    rng = np.random.default_rng(7)
    a = rng.normal(0.5, 0.1, 24)
    b = a + rng.normal(0.02, 0.04, 24)
    probabilities, labels = rng.dirichlet((1, 1, 1), 30), rng.integers(0, 3, 30)
    persons = [f"p{i // 2}" for i in range(30)]
    assert agreement(a, b).icc_interval == pytest.approx((0.7949077399397986, 0.9524250391894976), rel=1e-12)
    intervals = score_classification(probabilities, labels, ("a", "b", "c"), persons).intervals
    assert intervals["accuracy"] == pytest.approx((0.13333333333333333, 0.43333333333333335), rel=1e-12)
    assert intervals["auroc"] == pytest.approx((0.34733464694283406, 0.667042070313269), rel=1e-12)
    gain = paired("disc", a, b)
    assert (gain.low, gain.high) == pytest.approx((-0.005921279358910964, 0.022941448362124695), rel=1e-12)
    _, low, high, p = cluster_bootstrap(b - a, [f"p{i // 3}" for i in range(24)])
    assert (low, high, p) == pytest.approx((-0.0025851057285239186, 0.018877676430864614, 0.1214), rel=1e-12)
