"""Agreement of two masks: known numbers, brute force, and the empties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.measures.overlap import (
    dice,
    distances,
    relative_volume_error,
    score_case,
    summarise_scores,
    vertical_ratio,
)
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def square(size: int, y: int, x: int, side: int) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def brute(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    """The same figures by looking at every pair of border pixels, borders found by looking at every neighbour."""

    def rim(mask: np.ndarray) -> list[tuple[int, ...]]:
        out = []
        for p in map(tuple, np.argwhere(mask)):
            for axis in range(mask.ndim):
                for step in (-1, 1):
                    q = list(p)
                    q[axis] += step
                    if not 0 <= q[axis] < mask.shape[axis] or not mask[tuple(q)]:
                        out.append(p)
        return sorted(set(out))

    pa, pb = (np.array(rim(m), float) * spacing for m in (a, b))
    pairs = np.sqrt(((pa[:, None] - pb[None]) ** 2).sum(-1))
    there, back = pairs.min(1), pairs.min(0)
    return {
        "hd95": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd": np.concatenate([there, back]).mean(),
        "asd": there.mean(),
    }


def test_two_squares_that_overlap_by_half_have_dice_one_half():
    assert dice(square(20, 2, 2, 8), square(20, 2, 6, 8)) == 0.5


def test_a_square_moved_by_three_pixels_of_half_a_millimetre_is_at_most_one_and_a_half_millimetres_off():
    found = distances(square(40, 5, 5, 10), square(40, 5, 8, 10), (0.5, 0.5))
    assert found["hd95"] == pytest.approx(1.5)
    assert 0 < found["assd"] < 1.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(7, 9), (4, 5, 6)]), st.floats(0.3, 3), st.floats(0.2, 0.7))
def test_distances_equal_brute_force(seed, shape, step, density):
    rng = np.random.default_rng(seed)
    a, b = rng.random(shape) < density, rng.random(shape) < density
    spacing = tuple(step * (1 + 0.5 * i) for i in range(len(shape)))
    if not a.any() or not b.any():
        return
    expected = brute(a, b, spacing)
    for name, value in distances(a, b, spacing).items():
        assert value == pytest.approx(expected[name])


def test_distances_are_symmetric_where_they_should_be():
    a, b = square(30, 3, 3, 9), square(30, 8, 10, 12)
    there, back = distances(a, b), distances(b, a)
    assert there["hd95"] == back["hd95"]
    assert there["assd"] == pytest.approx(back["assd"])


def test_a_missed_second_structure_is_not_dropped():
    truth = square(60, 2, 2, 6) | square(60, 48, 48, 6)
    assert distances(square(60, 2, 2, 6), truth)["hd95"] > 40


def test_empties_follow_the_protocol():
    nothing, something = np.zeros((30, 40), bool), square(30, 0, 0, 4)[:, :30]
    something = np.pad(something, ((0, 0), (0, 10)))
    assert dice(nothing, nothing) == 1
    assert distances(nothing, nothing) == {"hd95": 0, "assd": 0, "asd": 0}
    for a, b in ((nothing, something), (something, nothing)):
        assert dice(a, b) == 0
        assert distances(a, b, (2.0, 2.0))["hd95"] == pytest.approx(100)  # a 60 x 80 mm frame
    assert relative_volume_error(nothing, something) == 1
    assert relative_volume_error(something, nothing) == 1
    assert relative_volume_error(nothing, nothing) == 0


def test_volume_error_of_a_mask_of_half_the_size_is_one_half():
    truth = np.zeros((4, 10, 10), bool)
    truth[:, :4, :5] = True
    half = truth.copy()
    half[2:] = False
    assert relative_volume_error(half, truth) == 0.5


def test_vertical_ratio_of_drawn_ellipses():
    y, x = np.mgrid[:200, :200]
    labels = ((((y - 100) / 80) ** 2 + ((x - 100) / 60) ** 2) <= 1).astype(np.uint8)
    labels[((y - 100) / 40) ** 2 + ((x - 100) / 50) ** 2 <= 1] = 2
    assert vertical_ratio(labels) == pytest.approx(0.5, abs=0.01)
    assert vertical_ratio(np.zeros((9, 9))) == 0


def test_scores_of_a_case_carry_every_region_and_are_finite_for_an_empty_answer():
    truth = np.zeros((50, 50), np.uint8)
    truth[10:40, 10:40] = 1
    truth[20:30, 20:30] = 2
    row = score_case(np.zeros_like(truth), truth, OPTIC)
    assert row["dice_disc"] == row["dice_cup"] == 0
    assert row["vcdr_error"] == pytest.approx(1 / 3)
    assert all(math.isfinite(v) for v in row.values())
    assert score_case(truth, truth, OPTIC)["dice_disc"] == 1
    volume = np.stack([truth > 0] * 3).astype(np.uint8)
    assert score_case(volume, volume, PROSTATE, (3.0, 0.5, 0.5))["rve_gland"] == 0


def test_a_summary_reports_positive_and_empty_frames_apart():
    frame, nothing = square(20, 5, 5, 8).astype(np.uint8), np.zeros((20, 20), np.uint8)
    pairs = [(frame, frame), (nothing, frame), (nothing, nothing), (frame, nothing)]
    rows = [score_case(a, t, POLYP) for a, t in pairs]
    summary = summarise_scores(rows, POLYP, [not t.any() for _, t in pairs])
    assert summary["dice_positive_polyp"] == 0.5
    assert summary["false_positive_rate"] == 0.5
    assert summary["failures_polyp"] == 0.5
    with pytest.raises(ValueError, match="at least one"):
        summarise_scores([], POLYP, [])


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"expected two equal shapes"):
        dice(np.zeros((3, 3)), np.zeros((3, 4)))


@pytest.mark.parametrize("seed", range(4))
def test_overlap_and_surface_distances_are_monais(seed):
    import torch
    from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDistanceMetric

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    a, b = (np.hypot(y - rng.uniform(25, 38), (x - rng.uniform(25, 38)) / 1.3) < rng.uniform(8, 16) for _ in range(2))
    one, other = (torch.from_numpy(m)[None, None].float() for m in (a, b))
    found = distances(a, b)
    assert dice(a, b) == pytest.approx(float(DiceMetric()(one, other)), abs=1e-6)
    assert found["hd95"] == pytest.approx(float(HausdorffDistanceMetric(percentile=95)(one, other)), abs=1e-4)
    assert found["assd"] == pytest.approx(float(SurfaceDistanceMetric(symmetric=True)(one, other)), abs=1e-4)
