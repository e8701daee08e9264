"""The labelling school: one offset on the log-odds of the cup-to-disc ratio: drawn, undone, fitted from few eyes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.measures.overlap import vertical_ratio
from napari_tinymig.predict.cup_school import checked_offset, fit_school, redraw_cup
from napari_tinymig.predict.disc_cup_shape import moved_ratio


def eye(ratio, size=240, disc=100, aside=(0, 0)):
    """Labels of a round disc of radius `disc` and a round cup; `aside`: the cup's way from the middle, pixels."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    labels = (np.hypot(y, x) <= disc).astype(np.uint8)
    labels[np.hypot(y - aside[0], x - aside[1]) <= ratio * disc] = 2
    return labels


def test_an_offset_by_hand():
    assert moved_ratio(0.5, math.log(3)) == pytest.approx(0.75)
    assert moved_ratio(0.75, -math.log(3)) == pytest.approx(0.5)
    assert (moved_ratio(0.0, 1.0), moved_ratio(1.0, -1.0)) == (0.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(
    ratio=st.floats(0.25, 0.75),
    offset=st.floats(-1.0, 1.0),
    aside=st.tuples(st.integers(-15, 15), st.integers(-15, 15)),
)
def test_the_ratio_moves_as_promised_the_disc_stays_and_the_negative_undoes_it(ratio, offset, aside):
    before = eye(ratio, aside=aside)
    after = redraw_cup(before, offset)
    assert vertical_ratio(after) == pytest.approx(moved_ratio(vertical_ratio(before), offset), abs=0.02)
    assert ((after > 0) == (before > 0)).all()
    assert vertical_ratio(redraw_cup(after, -offset)) == pytest.approx(ratio, abs=0.03)


def test_a_cup_that_touches_the_rim_stays_inside_as_it_grows():
    before = eye(0.5, aside=(48, 0))
    after = redraw_cup(before, 1.0)
    assert (after[before == 0] == 0).all()
    assert (after == 2).sum() == pytest.approx((0.731 * 100) ** 2 * math.pi, rel=0.03)


def test_masks_without_a_cup_or_without_a_rim_stay_and_foreign_labels_are_not_touched():
    none, whole = eye(0.5), eye(0.5)
    none[none == 2], whole[whole == 1] = 1, 2
    for labels in (none, whole, np.zeros((20, 20), np.uint8)):
        assert (redraw_cup(labels, 0.7) == labels).all()
    odd = eye(0.5)
    odd[0, 0] = 9
    assert redraw_cup(odd, 0.7)[0, 0] == 9


def test_a_generous_school_is_met_half_way_from_two_eyes_and_nearly_from_thirty():
    for count, part in ((2, 2 / 4), (30, 30 / 32)):
        answers = [eye(0.35 + 0.01 * i) for i in range(count)]
        found = fit_school(answers, [redraw_cup(a, 0.8) for a in answers])
        assert found.helps
        assert found.offset == pytest.approx(0.8 * part, abs=0.05)
        assert np.mean(found.dice_after) > np.mean(found.dice_before)
        assert np.mean(found.ratio_error_after) < np.mean(found.ratio_error_before)
        assert "more generous" in found.text


def test_eyes_that_contradict_each_other_change_nothing():
    answers = [eye(0.5), eye(0.5)]
    found = fit_school(answers, [redraw_cup(answers[0], 0.8), redraw_cup(answers[1], -0.8)])
    assert not found.helps
    assert found.offset == 0
    assert found.dice_after == found.dice_before


def test_eyes_that_hold_no_cup_teach_nothing_and_too_few_are_a_sentence():
    with pytest.raises(ValueError, match="1 eyes hold both cup and rim"):
        fit_school([eye(0.5), eye(0.5)], [eye(0.6), np.zeros((240, 240), np.uint8)])


def test_pixels_that_were_not_annotated_count_nowhere():
    answers = [eye(0.4 + 0.02 * i) for i in range(4)]
    truths = [redraw_cup(a, 0.6) for a in answers]
    sparse = [t.copy() for t in truths]
    for t in sparse:
        t[:15] = 255
    assert fit_school(answers, sparse).offset == pytest.approx(fit_school(answers, truths).offset)


@pytest.mark.parametrize("offset", [1.6, -2.0, math.nan])
def test_an_offset_beyond_any_school_is_refused(offset):
    with pytest.raises(ValueError, match="tight"):
        checked_offset(offset)
