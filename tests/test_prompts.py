"""Prompts: what was told holds, nothing else moves, and every step can be taken back to the bit."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import napari_tinymig
from napari_tinymig.base.errors import UnreadableInput, UnsupportedInput
from napari_tinymig.base.records import Scan
from napari_tinymig.base.stack import slice_axis
from napari_tinymig.jobs import box_engine
from napari_tinymig.prompts.begin import begin
from napari_tinymig.prompts.maps import prompt_maps
from napari_tinymig.prompts.records import Prompt, read_prompts, write_prompts
from napari_tinymig.prompts.session import PromptSession
from napari_tinymig.prompts.zoom import View, view_around
from napari_tinymig.tasks.anything import any_task
from napari_tinymig.tasks.optic import OPTIC


class Bright:
    """An engine that answers: everything brighter than mid grey is the object. No network, no chance."""

    size, model_id = 64, "bright@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, :3].mean(1) * 8


class Stubborn:
    """An engine that never does as it is told: it answers the opposite of the clicks."""

    size, model_id = 64, "stubborn@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return np.where(batch[:, 3] > 0, -5.0, np.where(batch[:, 4] > 0, 5.0, batch[:, 0] * 8)).astype(np.float32)


class Faint(Bright):
    """As `Bright`, but hardly sure of anything: 0.4 logits in the disks."""

    model_id = "faint@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, :3].mean(1) * 0.6


def two_disks() -> np.ndarray:
    """A photograph (120, 160, 3): bright disks of radius 20 at (40, 40) and radius 15 at (80, 120)."""
    y, x = np.ogrid[:120, :160]
    bright = ((y - 40) ** 2 + (x - 40) ** 2 <= 400) | ((y - 80) ** 2 + (x - 120) ** 2 <= 225)
    return np.where(bright[..., None], 220, 30).astype(np.uint8).repeat(3, axis=2)


def session_on(image: np.ndarray, engine: object | None = None, **kwargs: object) -> PromptSession:
    kwargs.setdefault("task", "any")
    kwargs.setdefault("start", None)
    return begin(Scan(image), engine=engine or Bright(), **kwargs)


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


def test_an_unknown_engine_is_refused_and_a_missing_one_says_how_to_get_it(monkeypatch):
    with pytest.raises(ValueError, match="expected one of student, litemedsam"):
        napari_tinymig.prompt(two_disks(), task="any", engine="sam9")
    monkeypatch.setattr(box_engine.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("TINYMIG_WEIGHTS", raising=False)
    assert "napari-tinymig[medsam]" in box_engine.missing()


def test_prompts_travel_through_a_file_and_replay_to_the_same_bits(tmp_path):
    session = session_on(two_disks())
    session.click((40, 40))
    session.scribble([(70, 60), (75, 90)])
    session.box((60, 95), (100, 145))
    painted = session.labels
    painted[:5, :5] = 1
    session.adopt(painted)
    session.next_object()
    session.click((110, 10))
    path = tmp_path / "prompts.json"
    write_prompts(path, session.prompts, task="any")
    prompts, found = read_prompts(path)
    assert prompts == session.prompts
    assert found == {"task": "any"}
    again = session_on(two_disks())
    again.replay(prompts)
    np.testing.assert_array_equal(again.labels, session.labels)
    session.undo(), session.undo(), session.undo()
    assert not session.labels[:5, :5].any()


def test_a_moved_prompt_is_a_replay_and_a_refused_replay_changes_nothing():
    session = session_on(two_disks())
    session.click((40, 40))
    before = session.labels
    session.replay([Prompt("click", ((80, 120),), 1)])
    assert session.labels[80, 120] == 1
    assert session.labels[40, 40] == 0
    with pytest.raises(ValueError, match="outside"):
        session.replay([Prompt("click", ((40, 40),), 1), Prompt("click", ((999, 0),), 1)])
    assert session.labels[80, 120] == 1
    assert not (session.labels & before).any()


def test_a_hand_mended_mask_is_what_later_prompts_start_from():
    session = session_on(two_disks())
    session.click((40, 40))
    mended = session.labels
    mended[:, :40] = 0
    session.adopt(mended)
    np.testing.assert_array_equal(session.labels, mended)
    session.click((80, 120))
    assert not session.labels[:, :30].any()


def ball() -> np.ndarray:
    """A volume (13, 64, 64): a bright ball, 5 slices and 20 pixels around (6, 32, 32); a bright bar in every slice."""
    z, y, x = np.ogrid[:13, :64, :64]
    inside = (((z - 6) / 5) ** 2 + ((y - 32) / 20) ** 2 + ((x - 32) / 20) ** 2 <= 1).copy()
    inside[:, :4] = True
    noise = np.random.default_rng(0).normal(0, 3, (13, 64, 64))
    return np.where(inside, 220, 30) + noise


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


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 90), st.floats(-20, 110), st.floats(30, 300), st.integers(0, 79), st.integers(0, 99))
def test_points_and_masks_agree_on_the_grid_of_a_view(y, x, side, row, column):
    view = View((y, x, y + side, x + side), (80, 100), 128)
    mask = np.zeros((80, 100), bool)
    mask[row, column] = True
    on = np.argwhere(view.mask_on_grid(mask))
    if len(on):
        np.testing.assert_allclose(on.mean(0), view.on_grid([(row, column)])[0], atol=0.75 + view.scale / 2)


def test_a_view_stays_inside_the_slice_where_it_can():
    view = view_around([(0.0, 0.0, 60.0, 60.0)], (400, 300), 256)
    assert view.box[0] >= 0
    assert view.box[1] >= 0
    assert view.box[2] - view.box[0] == pytest.approx(84)
    whole = view_around([(0.0, 0.0, 399.0, 290.0)], (400, 300), 256)
    assert whole.box == (0.0, -50.0, 400.0, 350.0)


def test_prompt_maps_hold_disks_of_radius_five_a_filled_box_and_the_flag():
    maps = prompt_maps(64, [(20, 30)], [(0, 0)], (10, 10, 19, 29), None)
    assert maps.shape == (5, 64, 64)
    assert maps[0].sum() == 81
    assert maps[0, 20, 35] == 1
    assert maps[0, 20, 36] == 0
    assert maps[1].sum() == 26
    assert maps[2].sum() == 200
    assert not maps[3:].any()
    assert prompt_maps(64, previous=np.eye(64, dtype=bool))[4].all()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ('{"a": 1}', "no list of prompts"),
        ('[{"kind": "poke"}]', "prompt 1"),
        ('[{"kind": "click", "positions": "x"}]', "positions"),
        ('[{"kind": "click", "wrong": 1}]', "'wrong'"),
        ('{"format": 9, "prompts": []}', "format 9"),
    ],
)
def test_a_file_of_prompts_that_cannot_be_read_says_what_was_expected(tmp_path, content, words):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(UnreadableInput, match=words):
        read_prompts(path)


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


def test_the_command_replays_prompts_into_a_mask_and_a_table(tmp_path):
    Image.fromarray(two_disks()).save(tmp_path / "eye.png")
    prompts = {"format": 1, "task": "any", "prompts": [{"kind": "click", "positions": [[40, 40]], "label": 1}]}
    (tmp_path / "p.json").write_text(json.dumps(prompts))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "napari_tinymig", "prompt", str(tmp_path / "eye.png"), "--prompts"]
    command += [str(tmp_path / "p.json"), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(out / "eye_mask.png"))
    assert mask.shape == (120, 160)
    assert mask[40, 40] == 1
    assert mask[80, 120] == 0
    replayed, found = read_prompts(out / "eye_prompts.json")
    assert replayed[0].positions == ((40, 40),)
    assert found["task"] == "any"
    assert "eye_mask.png" in (out / "measurements.csv").read_text()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_a_grey_picture_is_prompted_by_row_and_column_as_in_python(tmp_path):
    Image.fromarray(two_disks()[..., 0]).save(tmp_path / "grey.png")
    (tmp_path / "p.json").write_text('[{"kind": "click", "positions": [[40, 40]], "label": 1}]')
    command = [sys.executable, "-m", "napari_tinymig", "prompt", str(tmp_path / "grey.png"), "--prompts"]
    done = subprocess.run([*command, str(tmp_path / "p.json"), "-o", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(tmp_path / "grey_mask.png"))
    assert mask.shape == (120, 160)
    assert (mask[40, 40], mask[80, 120]) == (1, 0)


def test_every_bundled_model_verifies_the_prompted_one_too(capsys):
    from napari_tinymig.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["models", "verify", "prompt"])
    assert ended.value.code == 0
    assert "sound, output (1, 1, 192, 192)" in capsys.readouterr().out


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
