"""The Prompt panel on volumes: slices follow in the background, boxes reach through slices."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_panel_parts import answered, dice, opened, prompt_panel
from viewer_parts import (
    canvas_click,
    canvas_drag,
    spin,
    volume,
    wait_until,
)

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, model_folder):
    return prompt_panel(viewer)


def test_a_volume_is_followed_in_the_background_and_taken_back_at_once(viewer, panel):
    pixels, ball = volume()
    image = viewer.add_image(pixels, name="scan", scale=(3, 1, 1), units=("mm",) * 3)
    viewer.dims.set_point(0, 6 * 3)
    mask = opened(viewer, panel, "add", "point")
    canvas_click(viewer, image, (6, 50, 44))
    answered(panel)
    filled = np.flatnonzero(mask.data.any((1, 2)))
    assert 6 in filled
    assert len(filled) >= 5
    assert dice(mask.data > 0, ball) > 0.6
    assert "slices followed" in panel.state.text()
    (prompt,) = panel.prompting.session.prompts
    assert prompt.positions == ((6, 50, 44),)
    spin(0.4)  # a user comes back to it later
    mask.undo()
    assert not mask.data.any()
    wait_until(lambda: not panel.prompting.session.prompts, what="the session to go along")


def test_following_can_be_stopped_and_what_was_reached_stays(viewer, panel):
    pixels, _ = volume()
    image = viewer.add_image(pixels, name="scan", scale=(3, 1, 1), units=("mm",) * 3)
    viewer.dims.set_point(0, 6 * 3)
    mask = opened(viewer, panel, "add", "point")
    seen = []
    progressed = panel.prompting.work.on_progress
    panel.prompting.work.on_progress = lambda p: (progressed(p), seen.append(p), panel.prompting.stop_following())
    canvas_click(viewer, image, (6, 50, 44))
    answered(panel)
    assert mask.data[6].any()
    assert 1 <= mask.data.any((1, 2)).sum() <= 4
    np.testing.assert_array_equal(mask.data, panel.prompting.session.labels)


def test_a_box_reaches_through_as_many_slices_as_are_asked_for_and_is_shown_in_the_middle_one(viewer, panel):
    pixels, ball = volume()
    image = viewer.add_image(pixels, name="scan", scale=(3, 1, 1), units=("mm",) * 3)
    viewer.dims.set_point(0, 6 * 3)
    assert panel.tools.through.isHidden()
    mask = opened(viewer, panel, "add", "box")
    assert not panel.tools.through.isHidden()
    panel.tools.through.setValue(2)
    canvas_drag(viewer, image, [(6, 24, 18), (6, 50, 44), (6, 76, 70)])
    answered(panel)
    (prompt,) = panel.prompting.session.prompts
    assert sorted({p[0] for p in prompt.positions}) == [4, 8]
    assert np.flatnonzero(mask.data.any((1, 2))).tolist() == [4, 5, 6, 7, 8]
    assert dice(mask.data[4:9] > 0, ball[4:9]) > 0.7
    assert "4 slices followed" in panel.state.text()
    (corners,) = panel.prompting.marks.strokes.data
    assert set(corners[:, 0]) == {6}
    (mark,) = panel.prompting.marks.read()
    assert mark.prompt.positions == prompt.positions
    panel.tools.through.setValue(0)
    viewer.layers["scan strokes"].selected_data = {0}
    viewer.layers["scan strokes"].remove_selected()
    answered(panel)
    assert not mask.data.any()
