"""Slices of a volume on the network's grid: each resampled once a box, the same bits as stacked first."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tinymig.base.geometry import place
from napari_tinymig.network.normalise import neighbours
from napari_tinymig.predict import volume
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.samples.drawn import prostate_sample

BOXES = [(0, 0, 90, 77), (-10, -10, 70, 70), (10.5, 3.2, 300, 290)]


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_frame_of_slices_placed_one_by_one_is_the_frame_placed_as_a_whole(dtype, context):
    values = (np.random.default_rng(0).random((5, 90, 77)) * 200).astype(dtype)
    spec = InputSpec(size=128, normalisation="percentile_z", context_slices=context)
    frame = volume.frames_on_grid(values, spec)
    for box in BOXES:
        for z in range(5):
            expected, expected_placement = place(neighbours(values, z, context), box, spec.size)
            grid, placement = frame(z, box)
            np.testing.assert_array_equal(grid, expected)
            assert placement == expected_placement


def test_every_slice_is_resampled_once_for_each_of_its_two_looks(monkeypatch):
    placed = []

    def counted(*arguments, **named):
        placed.append(arguments[1])
        return place(*arguments, **named)

    monkeypatch.setattr(volume, "place", counted)
    sample = prostate_sample(96, 11)
    Predictor("prostate", "cpu", threads=1).predict(sample.scan)
    assert len(placed) == 2 * 11
