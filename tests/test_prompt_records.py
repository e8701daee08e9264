"""What a session is made of and leaves: views, maps, records, files, and the command that replays them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from prompt_engines import session_on, two_disks

import napari_tinymig
from napari_tinymig.base.errors import UnreadableInput
from napari_tinymig.jobs import box_engine
from napari_tinymig.prompts.maps import prompt_maps
from napari_tinymig.prompts.records import Prompt, read_prompts, write_prompts
from napari_tinymig.prompts.zoom import View, view_around


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
