"""Images as people have them in the window: pyramids, movies, colours first, deep colour."""

from __future__ import annotations

import numpy as np
import pytest
from viewer_parts import canvas_click, click, dock, photograph, spin, wait_until

pytestmark = pytest.mark.viewer


@pytest.fixture
def panel(viewer, models):
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    return dock(viewer, SegmentPanel)


def segment(panel):
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    before = panel.result
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running and panel.result is not before, what="the mask")
    return panel.result


def vertical_ratio(panel):
    return float(panel.result_card.rows.rows()["vertical CDR"])


def test_of_a_pyramid_the_finest_level_is_segmented(viewer, panel):
    eye = photograph()
    image = viewer.add_image([eye, eye[::2, ::2]], rgb=True, multiscale=True, name="eye", scale=(2, 2))
    labels = segment(panel)
    assert labels.data.shape == (300, 320)
    np.testing.assert_array_equal(labels.scale, image.scale)
    assert vertical_ratio(panel) == pytest.approx(0.5, abs=0.02)
    assert "finest of 2 levels, 320 x 300 pixels" in panel.read_as.text()


def test_colours_on_the_first_axis_become_a_photograph_in_place(viewer, panel):
    image = viewer.add_image(
        np.moveaxis(photograph(), -1, 0), name="eye", scale=(5, 2, 3), translate=(7, 8, 9), rotate=np.diag((1, 1, 1))
    )
    labels = segment(panel)
    assert labels.data.shape == (300, 320)
    assert labels.data[140, 170] == 2
    np.testing.assert_allclose(labels.data_to_world((140, 170)), image.data_to_world((0, 140, 170))[1:])
    assert "3 colours on the first axis" in panel.read_as.text()


def test_twelve_bits_in_sixteen_are_seen_as_eight(viewer, panel):
    from napari_tinymig.viewer.napari_io.layers import scan_of

    eye = photograph()
    deep = viewer.add_image((eye.astype(np.uint16) << 4) + 15, rgb=True, name="deep")
    assert np.abs(scan_of(deep).pixels.astype(int) - eye).max() <= 1
    segment(panel)
    assert vertical_ratio(panel) == pytest.approx(0.5, abs=0.02)


def test_of_a_movie_in_colour_the_frame_on_show_is_segmented(viewer, panel, tmp_path):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel
    from napari_tinymig.viewer.save import SavePanel

    frames = np.stack([photograph(cup=c) for c in (15, 30, 45)])
    movie = viewer.add_image(frames, rgb=True, name="movie", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    viewer.dims.set_current_step(0, 2)
    labels = segment(panel)
    assert labels.data.shape == (1, 300, 320)
    np.testing.assert_allclose(labels.data_to_world((0, 140, 170)), movie.data_to_world((2, 140, 170)))
    assert vertical_ratio(panel) == pytest.approx(0.75, abs=0.02)
    readout = dock(viewer, ReadoutPanel)
    readout.layers.choose(labels)
    assert "0.76" in readout.big.text()  # 91 px over 121, and one pixel of the resampled grid
    save = dock(viewer, SavePanel)
    save.layers.choose(labels)
    assert save.image_of(labels) == movie
    assert save.name.text() == "movie_frame2_mask.png"
    save.folder.setText(str(tmp_path))
    click(save, "Save mask")
    wait_until(lambda: (tmp_path / "movie_frame2_mask.png").exists(), what="the file")
    viewer.dims.set_current_step(0, 1)  # numbers go with the frame that they speak of
    assert not panel.result_card.isVisible()
    assert segment(panel).data_to_world((0, 0, 0))[0] == 2
    assert vertical_ratio(panel) == pytest.approx(0.5, abs=0.02)


def test_all_cases_takes_every_frame_of_a_movie_and_the_readout_measures_the_one_on_show(viewer, panel):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    frames = np.stack([photograph(cup=c) for c in (15, 30, 45)] + [np.full((300, 320, 3), 20, np.uint8)])
    viewer.add_image(frames, rgb=True, name="movie", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    viewer.add_image(photograph(cup=30), rgb=True, name="eye")
    panel.worklist.segment(panel.book.cases, "optic")
    wait_until(lambda: not panel.worklist.work.running, 60, "both cases")
    movie, eye = panel.book.cases
    assert movie.mask.data.shape == (4, 300, 320)
    assert movie.number == "3 of 4 frames"
    assert eye.number.startswith("vCDR") or "0.5" in eye.number
    readout = dock(viewer, ReadoutPanel)
    readout.layers.choose(movie.mask)
    for frame, said in ((0, "0.26"), (1, "0.51"), (2, "0.76")):
        viewer.dims.set_point(0, 2.0 * frame)
        wait_until(lambda said=said: said in readout.big.text(), what=f"{said} of {frame}: {readout.big.text()}")


def test_a_grey_stack_of_unknown_size_can_be_read_as_frames_of_photographs(viewer, panel):
    stack = np.stack([photograph(cup=c)[..., 1] for c in (15, 30, 45, 20, 30)])
    viewer.add_image(stack, name="movie")
    viewer.dims.set_current_step(0, 2)
    labels = segment(panel)
    assert labels.data.shape == (1, 300, 320)
    assert vertical_ratio(panel) == pytest.approx(0.75, abs=0.02)
    panel.task.setCurrentIndex(panel.task.findData("prostate"))
    assert panel.frame == ()


def test_a_volume_of_known_voxel_size_is_never_taken_for_photographs(viewer, panel):
    viewer.add_image(np.zeros((5, 64, 64), np.int16), name="T2", scale=(3, 0.5, 0.5), units=("mm",) * 3)
    assert panel.task.findData("optic") == -1


def test_an_image_that_nobody_can_look_at_is_told(viewer, panel):
    viewer.add_image(np.zeros((300, 200, 3), np.uint8), rgb=False, name="eye")
    assert panel.images.layer is None
    assert not panel.go.isEnabled()
    for said in (panel.empty.text(), panel.go.toolTip()):
        assert "'eye'" in said
        assert "300 x 200 x 3" in said
        assert "open it again as RGB" in said


@pytest.mark.parametrize("kind", ["in colour", "grey"])
def test_the_frame_on_show_of_a_movie_is_prompted_and_each_frame_has_its_own_mask(viewer, model_folder, kind):
    from napari_tinymig.viewer.prompts.panel import PromptPanel

    viewer.window.resize(1100, 800)
    frames = np.stack([photograph(cup=c) for c in (15, 30, 45)])
    frames = frames if kind == "in colour" else frames[..., 1]
    movie = viewer.add_image(frames, rgb=kind == "in colour", name="movie", axis_labels=("t", "y", "x"))
    panel = dock(viewer, PromptPanel)
    viewer.dims.set_current_step(0, 2)
    panel.tools.buttons["add"].click()
    panel.tools.buttons["point"].click()
    wait_until(lambda: panel.prompting.session is not None and not panel.prompting.opening.running, what="the session")
    mask = panel.prompting.mask
    assert (mask.data.shape, mask.name.startswith("movie, frame 2")) == ((1, 300, 320), True)
    np.testing.assert_allclose(mask.data_to_world((0, 140, 170)), movie.data_to_world((2, 140, 170)))
    viewer.reset_view()
    spin(0.2)
    canvas_click(viewer, movie, (2, 140, 170))
    spin(0.05)
    wait_until(lambda: panel.prompting.session.prompts and not panel.prompting.work.running, what="the answer")
    (prompt,) = panel.prompting.session.prompts
    assert np.abs(np.subtract(prompt.positions[0], (140, 170))).max() <= 1
    assert mask.data[(0, *prompt.positions[0])] == 1
    assert np.array_equal(mask.data[0], panel.prompting.session.labels)
    assert panel.prompting.marks.points.data[0][0] == 0, "the mark lies in its frame"
    panel.prompting.undo()
    assert not mask.data.any()
    viewer.dims.set_current_step(0, 0)  # another frame: the session ends, its mask stays
    assert panel.prompting.session is None
    assert mask in viewer.layers
    assert panel.subject.chosen_mask is None
    viewer.dims.set_current_step(0, 2)
    assert panel.subject.chosen_mask is mask
