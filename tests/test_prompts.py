"""Prompts: what was told holds, nothing else moves, and every step can be taken back to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_engines import Bright, Faint, Stubborn, session_on, two_disks

import napari_tinymig
from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.tasks.anything import any_task
from napari_tinymig.tasks.optic import OPTIC


def test_a_click_from_nothing_takes_the_object_under_it_and_not_the_other():
    session = session_on(two_disks())
    answer = session.click((40, 40))
    labels = session.labels
    assert labels.dtype == np.uint8
    assert labels.shape == (120, 160)
    assert labels[40, 40] == 1
    assert labels[80, 120] == 0
    assert labels.sum() == pytest.approx(np.pi * 400, rel=0.1)
    assert answer.changed == labels.sum()
    assert session.seconds > 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 119), st.integers(0, 159), st.integers(0, 1), st.booleans()), min_size=1, max_size=6
    ),
    st.sampled_from([Bright(), Stubborn()]),
)
def test_every_prompt_is_obeyed_a_negative_one_adds_nothing_and_undo_is_exact(told, engine):
    session = session_on(two_disks(), engine)
    history = [session.labels]
    for y, x, label, scribble in told:
        before = session.labels
        if scribble:
            session.scribble([(y, x), (min(y + 9, 119), min(x + 5, 159))], label)
        else:
            session.click((y, x), label)
        after = session.labels
        assert after[y, x] == label
        if label == 0:
            assert not (after & ~before).any()
        history.append(after)
    assert len(session.prompts) == len(told)
    for wanted in history[-2::-1]:
        assert session.undo()
        np.testing.assert_array_equal(session.labels, wanted)
    assert not session.undo()
    for wanted in history[1:]:
        assert session.redo()
        np.testing.assert_array_equal(session.labels, wanted)
    assert not session.redo()


def test_a_positive_click_on_one_object_leaves_the_other_object_alone():
    session = session_on(two_disks())
    session.click((40, 40))
    first = session.labels
    session.click((80, 120))
    assert session.labels[80, 120] == 1
    assert (session.labels[first == 1] == 1).all()


def test_earlier_prompts_hold_when_later_ones_answer():
    session = session_on(two_disks(), Stubborn())
    session.click((10, 10))
    session.click((11, 14), 0)
    session.click((40, 40))
    assert session.labels[10, 10] == 1
    assert session.labels[11, 14] == 0
    assert session.labels[40, 40] == 1


def test_a_click_that_changes_nothing_says_so_and_is_kept():
    session = session_on(two_disks())
    answer = session.click((5, 5), 0)
    assert answer.changed == 0
    assert "Nothing changed" in answer.note
    assert len(session.prompts) == 1


def test_the_cup_stays_inside_the_disc_and_every_told_pixel_has_its_label():
    session = session_on(two_disks(), task="optic")
    for position, label in (((40, 40), 1), ((40, 44), 2), ((100, 20), 2), ((40, 30), 1), ((38, 40), 0)):
        session.click(position, label)
        assert session.labels[position] == label
        disc, cup = session.labels >= 1, session.labels == 2
        assert not (cup & ~disc).any()


def test_taking_away_from_the_cup_gives_its_pixels_back_to_the_rim():
    start = np.zeros((120, 160), np.uint8)
    start[20:60, 20:60], start[30:50, 30:50] = 1, 2
    session = session_on(two_disks(), task="optic", start=start)
    session.click((40, 32), 1)
    assert session.labels[40, 32] == 1
    assert ((session.labels >= 1) == (start >= 1)).all()


def test_locked_labels_and_finished_objects_are_refused_and_never_touched():
    session = session_on(two_disks())
    session.click((40, 40))
    session.next_object()
    first = session.labels
    with pytest.raises(ValueError, match="finished object"):
        session.click((40, 41), 0)
    np.testing.assert_array_equal(session.labels, first)
    session.box((60, 95), (100, 145))
    assert session.labels[80, 120] == 1
    assert (session.labels[first == 1] == 1).all()
    before = session.labels
    session.lock(1)
    with pytest.raises(ValueError, match=r"label 1 .* is locked"):
        session.click((100, 20))
    np.testing.assert_array_equal(session.labels, before)
    session.lock()
    session.undo(), session.undo()
    session.click((40, 41), 0)
    assert session.labels[40, 41] == 0


def test_a_label_that_is_locked_keeps_its_pixels_when_another_grows_or_shrinks():
    start = np.zeros((120, 160), np.uint8)
    start[20:60, 20:60], start[30:50, 30:50] = 1, 2
    session = session_on(two_disks(), task="optic", start=start)
    session.lock(2)
    session.click((22, 22), 0)
    session.click((70, 40), 1)
    np.testing.assert_array_equal(session.labels == 2, start == 2)


def test_a_box_takes_its_object_and_label_0_empties_it():
    session = session_on(two_disks())
    session.box((60, 95), (100, 145))
    assert session.labels[80, 120] == 1
    assert not session.labels[:59].any()
    session.box((0, 0), (119, 159), 0)
    assert not session.labels.any()
    assert session.undo()
    assert session.labels[80, 120] == 1


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda s: s.click((500, 3)), "outside the image"),
        (lambda s: s.click((-1, 3)), "outside the image"),
        (lambda s: s.click((float("nan"), 3)), "finite numbers"),
        (lambda s: s.click((3, 3, 3)), r"expected 2 finite numbers \(y, x\)"),
        (lambda s: s.click((3, 3), 2), "label 2 is not one of task 'any'"),
        (lambda s: s.click((3, 3), 1.5), "label 1.5"),
        (lambda s: s.box((5, 5), (5, 40)), "is empty"),
        (lambda s: s.box((5, 5), (5, 400)), "outside the image"),
        (lambda s: s.scribble([]), "holds no position"),
        (lambda s: s.adopt(np.zeros((3, 3))), "has shape"),
        (lambda s: s.adopt(np.full((120, 160), 9)), r"labels \[9\]"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_changes_nothing(act, words):
    session = session_on(two_disks())
    session.click((40, 40))
    before = session.labels
    with pytest.raises(ValueError, match=words) as caught:
        act(session)
    assert "expected" in str(caught.value) or "click inside" in str(caught.value)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(session.labels, before)
    assert len(session.prompts) == 1


def test_images_and_starts_that_cannot_be_used_are_refused():
    with pytest.raises(UnsupportedInput, match="no finite number"):
        napari_tinymig.prompt(np.full((4, 40, 40), np.nan), task="prostate")
    with pytest.raises(UnsupportedInput, match="no finite number"):
        napari_tinymig.prompt(np.full((40, 40), np.nan), task="any")
    with pytest.raises(ValueError, match="start has shape"):
        session_on(two_disks(), start=np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"labels \[2\]"):
        session_on(two_disks(), start=np.full((120, 160), 2))
    with pytest.raises(ValueError, match="start is 'full'"):
        session_on(two_disks(), start="full")


class Everything:
    """A box engine that takes the whole picture for the object."""

    model_id = "everything@0"

    def mask(self, rgb: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        self.asked = box
        return np.ones(rgb.shape[:2], bool)


def test_another_engine_answers_boxes_under_the_same_rules():
    boxes = Everything()
    session = session_on(two_disks(), box_engine=boxes)
    session.box((10, 20), (29, 39))
    assert boxes.asked == (10.0, 20.0, 30.0, 40.0)
    assert session.labels[10:30, 20:40].all()
    assert session.labels.sum() == 22 * 22
    session.click((40, 40))
    assert session.labels[40, 40] == 1
    assert session.labels[80, 120] == 0
    assert session.undo()
    assert session.undo()
    assert not session.labels.any()


def test_the_bundled_student_answers_through_the_python_contract():
    image = two_disks()
    session = napari_tinymig.prompt(image, task="any")
    session.click((40, 40))
    truth = np.zeros((120, 160), bool)
    y, x = np.ogrid[:120, :160]
    truth[(y - 40) ** 2 + (x - 40) ** 2 <= 400] = True
    both = (truth & (session.labels == 1)).sum()
    assert 2 * both / (truth.sum() + session.labels.sum()) > 0.85
    prediction = session.prediction
    assert prediction.measures["area_px"] == session.labels.sum()
    assert prediction.model_id.startswith("prompt@")
    assert prediction.task == "any"
    assert prediction.status == "ok"


def test_a_grey_picture_and_a_given_start_keep_their_shape():
    grey = two_disks()[..., 0]
    start = np.zeros((120, 160), np.uint8)
    start[25:50, 25:50] = 1
    session = napari_tinymig.prompt(grey, task="any", start=start)
    np.testing.assert_array_equal(session.labels, start)
    session.click((56, 40))
    assert session.labels.shape == (120, 160)
    assert session.labels[56, 40] == 1


def test_tasks_of_a_session_have_their_classes():
    assert any_task("volume").measures == ("volume",)
    assert any_task("photograph").measures == ("area",)
    assert session_on(two_disks(), task="optic").task == OPTIC


@pytest.mark.parametrize(("engine", "earlier", "much"), [(Bright(), 4, True), (Faint(), 0, True), (Faint(), 4, False)])
def test_a_mask_that_is_nearly_right_changes_only_where_the_network_is_sure(engine, earlier, much):
    y, x = np.ogrid[:120, :160]
    start = (np.hypot(y - 40, x - 40) <= 17).astype(np.uint8)
    session = session_on(two_disks(), engine, start=start)
    for k in range(earlier):
        session.click((110, 10 + 5 * k), 0)
    changed = session.click((40, 58)).changed
    assert session.labels[40, 58] == 1
    assert (changed > 25) == much, changed


class Watching(Bright):
    """Keeps how much of its view the mask so far filled."""

    share = 0.0

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.share = float(batch[0, 6].mean())
        return super().run(batch)


@pytest.mark.parametrize(("at", "least", "most"), [((160, 196), 0.3, 0.5), ((160, 216), 0.05, 0.13)])
def test_a_deep_fault_is_looked_at_from_further_away_than_a_shallow_one(at, least, most):
    picture = two_disks().repeat(4, axis=0).repeat(4, axis=1)
    y, x = np.ogrid[:480, :640]
    start = (np.hypot(y - 160, x - 160) <= 34).astype(np.uint8)
    engine = Watching()
    session = session_on(picture, engine, start=start)
    session.click(at)
    assert session.labels[at] == 1
    assert least < engine.share < most
