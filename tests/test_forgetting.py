"""The acceptance check, with numbers by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari_tinymig.training.finetune.acceptance import decide_acceptance, paired, region_dice

from napari_tinymig.tasks.optic import OPTIC


def test_dice_of_two_drawn_squares():
    a, b = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    a[:4, :4], b[2:6, :4] = 1, 1  # 16 and 16 pixels, 8 in common
    dice = region_dice(a, b, OPTIC)
    assert dice == {"disc": 0.5, "cup": 1.0}


def test_unlabelled_pixels_do_not_count():
    prediction, labels = np.ones((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)
    labels[0] = 1
    assert region_dice(prediction, labels, OPTIC, labels != 255)["disc"] == 1.0
    assert region_dice(prediction, labels, OPTIC)["disc"] < 1.0


def test_a_gain_without_forgetting_is_kept():
    acceptance = decide_acceptance([paired("cup", [0.7] * 5, [0.8] * 5)], list("abcde"), {"drawings": [0.97, 0.99]})
    assert acceptance.keep
    assert "cup Dice 70.0 -> 80.0 (+10.0 [+10.0, +10.0])" in acceptance.text
    assert acceptance.proxy == {"drawings": pytest.approx(0.98)}


def test_a_gain_that_may_be_chance_says_so():
    acceptance = decide_acceptance(
        [paired("cup", [0.7, 0.7, 0.7, 0.7], [0.8, 0.65, 0.75, 0.68])], list("abcd"), {"drawings": [0.99]}
    )
    assert acceptance.keep
    assert "may be chance" in acceptance.text


def test_no_gain_is_refused_with_the_numbers():
    acceptance = decide_acceptance([paired("cup", [0.8, 0.8], [0.79, 0.8])], ["a", "b"], {"drawings": [0.99]})
    assert not acceptance.keep
    assert acceptance.text.startswith("Refused: no gain on the 2 cases held out (cup Dice 80.0 -> 79.5 (-0.5))")
    assert "an impression, not a measurement" in acceptance.text


def test_forgetting_is_refused_even_with_a_gain():
    gains = [paired("cup", [0.7] * 4, [0.9] * 4)]
    acceptance = decide_acceptance(
        gains, list("abcd"), {"drawings": [0.99], "your reference folder": [0.7, 0.8]}, margin=0.1
    )
    assert not acceptance.keep
    assert "on your reference folder the new mask agrees only 75.0 %" in acceptance.text


def test_references_that_could_not_be_read_are_no_agreement():
    gains = [paired("cup", [0.7] * 4, [0.9] * 4)]
    acceptance = decide_acceptance(
        gains, list("abcd"), {"drawings": [0.99]}, unread="reference folder: /nope does not exist"
    )
    assert not acceptance.keep
    assert acceptance.text.startswith(
        "Not made the default: reference folder: /nope does not exist; name another folder"
    )


def test_held_out_slices_of_the_same_case_are_called_that():
    names = ["scan slices 1-3", "scan slices 4-6"]
    acceptance = decide_acceptance(
        [paired("gland", [0.7, 0.7], [0.9, 0.9])], names, {"drawings": [0.99]}, same_case=True
    )
    assert "Better on 2 blocks of slices it did not train on" in acceptance.text
    assert "They are of the same case as the slices trained on, which flatters the gain" in acceptance.text


def test_without_any_reference_the_gate_stays_shut_and_says_why():
    acceptance = decide_acceptance([paired("polyp", [0.7] * 4, [0.9] * 4)], list("abcd"), {})
    assert not acceptance.keep
    assert acceptance.text.startswith("Not made the default: there was no picture on which forgetting could be checked")
    assert "as reference, or keep this model knowingly" in acceptance.text


def test_one_case_is_never_made_the_default_by_itself():
    acceptance = decide_acceptance([], [], {"drawings": [1.0]})
    assert not acceptance.keep
    assert not acceptance.measured
    assert "annotate a second one" in acceptance.text


def test_a_case_that_got_worse_is_named():
    acceptance = decide_acceptance(
        [paired("cup", [0.7, 0.9, 0.6, 0.6], [0.9, 0.8, 0.8, 0.8])], ["a", "b", "c", "d"], {"drawings": [1.0]}
    )
    assert acceptance.keep
    assert "worse by more than 5 points on b" in acceptance.text


def test_the_record_is_strict_json_and_carries_the_gain():
    acceptance = decide_acceptance([paired("cup", [0.7, 0.8], [0.8, 0.8])], ["a", "b"], {})
    record = json.loads(json.dumps(acceptance.as_record(), allow_nan=False))
    assert record["gains"][0]["gain"] == pytest.approx(0.05)
    assert record["gains"][0]["low"] is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=12))
def test_the_interval_holds_the_mean_difference(pairs):
    before, after = zip(*pairs)
    result = paired("x", before, after)
    assert result.low - 1e-9 <= result.gain <= result.high + 1e-9
