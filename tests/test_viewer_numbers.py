"""Every number on the screen belongs to a named image, as it is now: it greys, follows a new name, or goes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from test_viewer_shift import eye, measure, models, shift_panel  # noqa: F401 - fixtures
from viewer_parts import click, dock, spin, wait_until

pytestmark = pytest.mark.viewer


@pytest.fixture
def segment_panel(viewer, models):  # noqa: F811
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    panel = dock(viewer, SegmentPanel)

    def segment():
        panel.task.setCurrentIndex(panel.task.findData("optic"))
        click(panel, "Segment")
        wait_until(lambda: not panel.work.running and not panel.result_card.isHidden(), what="the mask")
        return panel.result

    panel.segmented = segment
    return panel


def test_predicted_numbers_grey_while_the_mask_is_mended_and_return_with_undo(viewer, segment_panel):
    viewer.add_image(eye(1), rgb=True, name="eye")
    mask, card = segment_panel.segmented(), segment_panel.result_card
    assert card.stale.isHidden()
    mask.data_setitem((np.array([3]), np.array([3])), 1)
    segment_panel.book.settle()
    assert not card.stale.isHidden()
    assert not card.rows.isEnabled()
    mask.undo()
    segment_panel.book.settle()
    assert card.stale.isHidden()
    assert card.rows.isEnabled()


def test_the_result_follows_its_images_new_name(viewer, segment_panel):
    image = viewer.add_image(eye(1), rgb=True, name="eye")
    segment_panel.segmented()
    image.name = "left eye"
    assert segment_panel.result_card.heading.text() == "Result: left eye"


def test_undo_of_a_second_prediction_takes_its_numbers_along(viewer, segment_panel, make_model, model_folder):
    from napari_tinymig.recipes.student import InputSpec
    from napari_tinymig.tasks.optic import OPTIC

    make_model("generous", OPTIC, [-0.6, -0.2], folder=model_folder, input=InputSpec(size=96))
    viewer.add_image(eye(1), rgb=True, name="eye")
    segment_panel.segmented()
    card = segment_panel.result_card
    first, said = card.rows.rows(), segment_panel.elapsed.text()
    segment_panel.list_tasks()
    segment_panel.model.setCurrentText("generous")
    mask = segment_panel.segmented()
    assert mask.metadata["tinymig"]["model_id"].startswith("generous@")
    assert card.rows.rows() != first
    mask.undo()
    segment_panel.book.settle()
    assert not card.isHidden()
    assert card.stale.isHidden()
    assert (card.rows.rows(), segment_panel.elapsed.text()) == (first, said)


def test_stepping_to_a_case_that_was_segmented_shows_what_was_said_of_it(viewer, segment_panel):
    for i in (1, 2, 3):
        viewer.add_image(eye(i), rgb=True, name=f"eye {i}")
    segment_panel.task.setCurrentIndex(segment_panel.task.findData("optic"))
    card, book = segment_panel.result_card, segment_panel.book
    for case in (book.cases[0], book.cases[1]):
        book.go(case)
        segment_panel.segmented()
    numbers = card.rows.rows()
    book.go(book.cases[0])
    assert card.heading.text() == "Result: eye 1"
    book.cases[0].mask.data_setitem((np.array([3]), np.array([3])), 1)
    book.settle()
    book.go(book.cases[1])
    assert card.heading.text() == "Result: eye 2"
    assert (card.rows.rows(), card.stale.isHidden()) == (numbers, True)
    book.go(book.cases[0])
    assert not card.stale.isHidden()
    book.go(book.cases[2])  # never segmented
    assert card.isHidden()


def test_a_panel_that_is_opened_later_shows_what_was_said_of_the_case_on_show(viewer, models):  # noqa: F811
    from napari_tinymig.viewer.cases.worklist import hold_worklist
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    viewer.add_image(eye(1), rgb=True, name="eye")
    worklist = hold_worklist(viewer)
    worklist.segment(worklist.book.cases, "optic", None)
    wait_until(lambda: worklist.book.cases[0].state == "segmented", what="the mask")
    panel = dock(viewer, SegmentPanel)
    wait_until(lambda: not panel.result_card.isHidden(), what="the result")
    assert panel.result_card.heading.text() == "Result: eye"


def test_cases_that_are_segmented_together_show_the_result_of_the_one_on_show(viewer, segment_panel):
    for i in (1, 2):
        viewer.add_image(eye(i), rgb=True, name=f"eye {i}")
    book = segment_panel.book
    segment_panel.worklist.segment(book.cases, "optic", None)
    wait_until(lambda: all(c.state == "segmented" for c in book.cases), what="the masks")
    wait_until(lambda: not segment_panel.result_card.isHidden(), what="the result")
    assert segment_panel.result_card.heading.text() == f"Result: {book.current.name}"


def test_closing_everything_leaves_no_number(viewer, segment_panel, shift_panel):  # noqa: F811
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    readout = dock(viewer, ReadoutPanel)
    viewer.add_image(eye(1), rgb=True, name="eye")
    segment_panel.segmented()
    card = measure(shift_panel)
    readout.measure_now()
    assert not any(part.isHidden() for part in (card, readout.numbers, segment_panel.result_card))
    viewer.layers.clear()
    assert all(part.isHidden() for part in (card, readout.numbers, segment_panel.result_card))
    assert segment_panel.elapsed.text() == ""


def test_an_answer_for_an_image_that_is_no_longer_chosen_is_added_but_not_shown_as_the_others(
    viewer, segment_panel, monkeypatch
):
    from napari_tinymig.viewer.segment import panel as module

    go, predict = threading.Event(), module.predict

    def slow(request, report):
        go.wait(10)
        return predict(request, report)

    monkeypatch.setattr(module, "predict", slow)
    viewer.add_image(eye(1), rgb=True, name="first")
    segment_panel.task.setCurrentIndex(segment_panel.task.findData("optic"))
    click(segment_panel, "Segment")
    viewer.add_image(eye(2), rgb=True, name="second")
    segment_panel.images.setCurrentText("second")
    go.set()
    wait_until(lambda: "first mask" in viewer.layers, what="the mask of the first")
    assert segment_panel.result_card.isHidden()
    assert segment_panel.images.currentText() == "second"


def test_the_shift_cards_name_their_image_and_go_when_another_is_chosen_or_a_run_fails(
    viewer,
    shift_panel,  # noqa: F811
    monkeypatch,
):
    from napari_tinymig.viewer.shift import panel as module

    viewer.add_image(eye(1), rgb=True, name="first")
    card = measure(shift_panel)
    assert card.heading.text() == "first, seen by optic"
    viewer.add_image(eye(2), rgb=True, name="second")
    shift_panel.images.setCurrentText("second")
    assert card.isHidden()
    measure(shift_panel)
    assert card.heading.text() == "second, seen by optic"

    def fails(*_args, **_more):
        raise ValueError("no such thing")

    monkeypatch.setattr(module, "judge_image", fails)
    measure(shift_panel)
    assert card.isHidden()
    assert "no such thing" in shift_panel.message.text()


def test_an_image_closed_while_its_shift_is_measured_is_said(viewer, shift_panel, monkeypatch):  # noqa: F811
    from napari_tinymig.viewer.shift import panel as module

    go, judge = threading.Event(), module.judge_image

    def slow(*args, **more):
        go.wait(10)
        return judge(*args, **more)

    monkeypatch.setattr(module, "judge_image", slow)
    image = viewer.add_image(eye(1), rgb=True, name="first")
    viewer.add_image(eye(2), rgb=True, name="second")
    shift_panel.images.setCurrentText("first")
    click(shift_panel, "Measure the shift")
    viewer.layers.remove(image)
    go.set()
    wait_until(lambda: not shift_panel.work.running, what="the shift")
    assert "closed while it was measured" in shift_panel.message.text()
    assert shift_panel.results[0].isHidden()


def test_a_comparison_of_open_images_goes_with_one_of_them(viewer, shift_panel):  # noqa: F811
    image = viewer.add_image(eye(1), rgb=True, name="first")
    viewer.add_image(eye(2), rgb=True, name="second")
    click(shift_panel, "Compare")
    wait_until(lambda: not shift_panel.comparing.running and not shift_panel.sentence.isHidden(), what="the sets")
    viewer.add_labels(np.zeros((140, 140), np.uint8), name="something else")
    viewer.layers.remove("something else")
    assert not shift_panel.sentence.isHidden()
    viewer.layers.remove(image)
    spin(0.05)
    assert shift_panel.sentence.isHidden()
    assert shift_panel.compared is None
    assert "compare again" in shift_panel.message.text()


def test_no_panel_speaks_the_command_lines_language(viewer, model_folder):
    import re
    from pathlib import Path

    import napari_tinymig.viewer

    sources = Path(napari_tinymig.viewer.__file__).parent.rglob("*.py")
    words = re.compile(r"tinymig (models|probe|segment|measure|finetune|train|shift) |command line|TINYMIG_WEIGHTS")
    said = {}
    for path in sources:
        texts = [t for t in re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text(encoding="utf-8")) if words.search(t)]
        if texts:
            said[path.name] = texts
    assert said == {}


def test_the_readout_says_while_painting_why_a_mask_is_in_doubt_and_stops_when_it_is_mended(viewer):
    """A leak into the rectum, painted and erased; a wide range counts only as long as nobody changed the mask."""
    from napari_tinymig.tasks.prostate import PROSTATE
    from napari_tinymig.viewer.napari_io.layers import result_layer
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    image = viewer.add_image(np.zeros((30, 120, 100), np.int16), scale=(3.0, 1.0, 1.0), units=("mm",) * 3, name="T2")
    z, y, x = np.ogrid[:30, :120, :100]
    gland = (((z - 15) / 12) ** 2 + ((y - 40) / 20) ** 2 + ((x - 50) / 25) ** 2 <= 1).astype(np.uint8)
    wide = "The 90 % range of the gland volume is wide: 20 to 60 mL."
    about = {"extra": {"doubts": [wide], "expected_dice": {"gland": [0.55, 0.4, 0.7]}}}
    mask = viewer.add_layer(result_layer(image, gland, PROSTATE, "T2 mask", about))
    panel = dock(viewer, ReadoutPanel)
    assert wide in panel.doubts.reasons.text()
    assert "Dice of only 0.55" in panel.doubts.reasons.text()
    tongue = tuple(np.mgrid[15:16, 61:105, 48:52].reshape(3, -1))
    mask.data_setitem(tongue, 1)
    wait_until(lambda: "disagree" in panel.doubts.reasons.text(), what="the doubt")
    assert not panel.doubts.isHidden()
    assert wide not in panel.doubts.reasons.text()  # of the prediction, which this mask no longer is
    mask.data_setitem(tongue, 0)
    wait_until(lambda: "disagree" not in panel.doubts.reasons.text(), what="the mended mask")
    assert wide in panel.doubts.reasons.text()  # to the pixel what was predicted again
    mask.data_setitem((np.array([15]), np.array([40]), np.array([50])), 0)
    wait_until(lambda: panel.doubts.isHidden(), what="no doubt")
    mask.data_setitem(tuple(np.mgrid[2:4, 100:112, 80:92].reshape(3, -1)), 1)
    wait_until(lambda: not panel.doubts.isHidden(), what="a second piece")


def test_a_disc_is_judged_against_its_whole_photograph_while_painting(viewer):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    labels = np.zeros((400, 420), np.uint8)
    y, x = np.ogrid[:400, :420]
    labels[np.hypot(y - 200, x - 210) <= 40], labels[np.hypot(y - 200, x - 210) <= 18] = 1, 2
    mask = viewer.add_labels(labels, name="eye")
    panel = dock(viewer, ReadoutPanel)
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    assert panel.doubts.isHidden(), panel.doubts.reasons.text()
    mask.data_setitem(np.nonzero(np.hypot(y - 200, x - 210) <= 40), 2)
    wait_until(lambda: "no rim is left" in panel.doubts.reasons.text(), what="the doubt")
