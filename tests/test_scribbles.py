"""Sparse masks on a canvas and back: nothing unlabelled becomes background, and background can be painted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_tinymig.annotations.scribbles import background_value, canvas_classes, from_canvas, to_canvas
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE
from napari_tinymig.tasks.task import Region

PIXEL = st.sampled_from([0, 1, 2, 255])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=PIXEL))
def test_every_mask_comes_back_from_its_canvas(labels):
    canvas, labelled = to_canvas(labels, OPTIC)
    assert 255 not in canvas
    assert np.array_equal(from_canvas(canvas, OPTIC, labelled), labels)


def test_background_is_the_class_after_the_last_one():
    assert [background_value(t) for t in (OPTIC, PROSTATE, POLYP)] == [3, 2, 2]
    crowded = PROSTATE.model_copy(
        update={"regions": (Region(name="x", labels=(254,), label=254, class_name="x", colour="#000000"),)}
    )
    assert background_value(crowded) == 1, "255 stays 'not labelled'"
    assert canvas_classes(OPTIC) == {0: "not labelled", 1: "disc rim", 2: "cup", 3: "background (painted)"}


def test_strokes_teach_what_they_say_and_the_rest_says_nothing():
    canvas = np.array([[0, 1, 2, 3]], np.int32)
    assert from_canvas(canvas, OPTIC, "painted").tolist() == [[255, 1, 2, 0]]
    assert from_canvas(canvas, OPTIC, "all").tolist() == [[0, 1, 2, 0]]


def test_whole_slices_keep_their_background_and_an_empty_one_stays_labelled():
    labels = np.full((4, 2, 2), 255, np.uint8)
    labels[1] = [[0, 1], [0, 0]]
    labels[2] = 0
    canvas, labelled = to_canvas(labels, PROSTATE)
    assert labelled == "slices"
    assert canvas[1].tolist() == [[0, 1], [0, 0]]
    assert (canvas[2] == 2).all(), "a labelled slice without a gland"
    assert np.array_equal(from_canvas(canvas, PROSTATE, labelled), labels)


@pytest.mark.parametrize("value", [300, -1])
def test_wrong_values_are_not_folded_into_right_ones(value):
    assert value in from_canvas(np.array([[0, value]], np.int32), OPTIC, "painted")
