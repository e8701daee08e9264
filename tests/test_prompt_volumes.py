"""Prompts in volumes: the slice that was marked answers, its neighbours follow, in any plane."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_engines import Bright, ball

from napari_tinymig.base.records import Scan
from napari_tinymig.base.stack import slice_axis
from napari_tinymig.prompts.begin import begin
from napari_tinymig.prompts.records import Prompt
from napari_tinymig.prompts.session import PromptSession


def test_a_click_in_a_volume_is_followed_until_the_object_ends_and_undone_at_once():
    session = begin(Scan(ball(), (3.0, 1.0, 1.0)), "any", start=None, engine=Bright())
    answer = session.click((6, 32, 32))
    filled = session.labels.sum((1, 2)) > 0
    assert filled[3:10].all()
    assert not filled[0]
    assert not filled[12]
    assert set(answer.slices) >= {4, 5, 6, 7, 8}
    assert session.prompts[0].reach is not None
    labels = session.labels
    session.replay(session.prompts)
    np.testing.assert_array_equal(session.labels, labels)
    assert session.undo()
    assert not session.labels.any()


def test_following_can_be_stopped_and_what_was_reached_replays():
    session = begin(Scan(ball(), (3.0, 1.0, 1.0)), "any", start=None, engine=Bright(), follow=False)
    session.click((6, 32, 32))
    assert (session.labels.sum((1, 2)) > 0).sum() == 1
    following = session.follow()
    next(following), next(following)
    following.close()
    assert (session.labels.sum((1, 2)) > 0).sum() == 3
    labels, prompts = session.labels, session.prompts
    assert prompts[0].reach == (6, 8)
    session.replay(prompts)
    np.testing.assert_array_equal(session.labels, labels)
    session.undo()
    assert not session.labels.any()


def test_slices_that_a_human_has_touched_are_not_followed_into():
    session = begin(Scan(ball(), (3.0, 1.0, 1.0)), "any", start=None, engine=Bright())
    session.click((8, 9, 9), 0)
    session.click((8, 32, 32), 0)
    session.click((6, 32, 32))
    assert session.labels[6].any()
    assert session.labels[7].any()
    assert not session.labels[8].any()


def test_following_leaves_slices_alone_that_the_session_began_with():
    start = np.zeros((13, 64, 64), np.uint8)
    start[7:10, 25:35, 25:35] = 1
    session = begin(Scan(ball(), (3.0, 1.0, 1.0)), "any", start=start, engine=Bright())
    session.click((5, 32, 32))
    assert session.labels[5].any()
    np.testing.assert_array_equal(session.labels[7:], start[7:])
    assert session.undo()
    assert not session.labels[:7].any()


def test_slices_lie_across_the_largest_spacing():
    assert slice_axis((3.0, 0.5, 0.5)) == 0
    assert slice_axis((0.5, 0.5, 3.6)) == 2
    assert slice_axis((1.0, 1.0, 1.0)) == 0
    volume = np.moveaxis(ball(), 0, 2)
    session = begin(Scan(volume, (1.0, 1.0, 3.0)), "any", start=None, engine=Bright())
    session.click((32, 32, 6))
    assert session.labels.shape == volume.shape
    assert session.labels[32, 32, 6] == 1
    upright = begin(Scan(ball(), (3.0, 1.0, 1.0)), "any", start=None, engine=Bright())
    upright.click((6, 32, 32))
    np.testing.assert_array_equal(np.moveaxis(session.labels, 2, 0), upright.labels)


def lying(axis: int, engine: object = Bright(), **kwargs: object) -> PromptSession:
    """A session on the ball whose slices lie across an axis: 0 axial, 1 coronal, 2 sagittal."""
    spacing = tuple(3.0 if a == axis else 1.0 for a in range(3))
    return begin(Scan(np.moveaxis(ball(), 0, axis), spacing), "any", start=None, engine=engine, **kwargs)


def at(axis: int, z: int, y: int, x: int) -> tuple[int, ...]:
    """Position (z, y, x) of the upright ball in the one that lies across an axis."""
    return tuple(int(v) for v in np.insert([y, x], axis, z))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["axial", "coronal", "sagittal"])
def test_a_box_through_slices_holds_its_object_in_all_of_them_and_in_no_other(axis):
    session = lying(axis)
    answer = session.box(at(axis, 2, 10, 10), at(axis, 8, 54, 54))
    slices = np.moveaxis(session.labels, axis, 0)
    assert answer.slices == (2, 3, 4, 5, 6, 7, 8)
    bright = ball() > 125
    bright[:, :8] = False  # the bar lies outside the box
    np.testing.assert_array_equal(slices[2:9] > 0, bright[2:9])
    labels, prompts = session.labels, session.prompts
    session.replay([Prompt.from_dict(p.to_dict()) for p in prompts])
    np.testing.assert_array_equal(session.labels, labels)
    session.box(at(axis, 4, 0, 0), at(axis, 12, 63, 63), 0)
    emptied = np.moveaxis(session.labels, axis, 0)
    assert not emptied[4:].any()
    np.testing.assert_array_equal(emptied[:4], slices[:4])
    assert session.undo()
    np.testing.assert_array_equal(session.labels, labels)
    assert session.undo()
    assert not session.labels.any()


def test_a_box_through_slices_goes_on_where_following_alone_would_stop():
    class Unsure(Bright):
        """Sees the object, but is never sure of it: following ends at once."""

        def run(self, batch: np.ndarray) -> np.ndarray:
            return np.where(super().run(batch) > 0, 0.02, -5).astype(np.float32) * (batch[:, 5:6].any() + 0.0)

    middle = lying(0, Unsure())
    middle.box((6, 10, 10), (6, 54, 54))
    through = lying(0, Unsure())
    through.box((4, 10, 10), (8, 54, 54))
    assert np.flatnonzero(middle.labels.any((1, 2))).tolist() == [6]
    assert np.flatnonzero(through.labels.any((1, 2))).tolist() == [4, 5, 6, 7, 8]


def test_a_box_through_slices_leaves_what_a_human_made_and_stops_where_it_is_stopped():
    session = lying(0, follow=False)
    session.click((5, 32, 32))
    session.click((5, 32, 34), 0)
    session.box((3, 10, 10), (9, 54, 54))
    before = session.labels
    assert not before[[3, 4, 7, 8, 9]].any()
    following = session.follow()
    assert next(following) == 7
    following.close()
    assert session.prompts[-1].reach == (6, 7)
    session.replay(session.prompts)
    assert np.flatnonzero(session.labels.any((1, 2))).tolist() == [5, 6, 7]
    np.testing.assert_array_equal(session.labels[5], before[5])


def test_a_scribble_drawn_across_slices_answers_in_each_of_them():
    session = lying(0)
    answer = session.scribble([(5, 30, 26), (7, 30, 38)])
    assert set(answer.slices) >= {3, 4, 5, 6, 7, 8, 9}
    for z, x in ((5, 26), (6, 32), (7, 38)):
        assert session.labels[z, 30, x] == 1
    labels = session.labels
    session.scribble([(5, 30, 26), (7, 30, 38)], 0)
    for z, x in ((5, 26), (6, 32), (7, 38)):
        assert session.labels[z, 30, x] == 0
    assert not (session.labels & ~labels).any()
    assert session.undo()
    np.testing.assert_array_equal(session.labels, labels)


def test_a_box_drawn_across_the_slices_is_refused_with_the_axis_that_counts_them():
    session = lying(0)
    with pytest.raises(ValueError, match="across the slices and flat within them.*axis 0 counts"):
        session.box((3, 32, 10), (9, 32, 40))
    with pytest.raises(ValueError, match="has 1 corners; expected two"):
        session.replay([Prompt("box", ((3, 32, 10),))])
    assert session.prompts == []
