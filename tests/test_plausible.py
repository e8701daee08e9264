"""A mask that leaks is amber and says why; masks as readers draw them are green."""

from __future__ import annotations

import numpy as np
import pytest

from napari_tinymig.base.findings import Findings, ShiftFindings
from napari_tinymig.base.records import Prediction
from napari_tinymig.measures.clinical import measure
from napari_tinymig.measures.csv_table import row_of, table_columns
from napari_tinymig.measures.plausible import implausible, too_wide
from napari_tinymig.reports.words import NEARER, doubts_of, result_rows, trust_badge
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE

SPACING = (3.0, 1.0, 1.0)


def gland(leak=0):
    """An ellipsoid of 24 slices, 20 x 25 px radii; `leak`: rows of a thin tongue out of it."""
    z, y, x = np.ogrid[:30, :120, :100]
    out = (((z - 15) / 12) ** 2 + ((y - 40) / 20) ** 2 + ((x - 50) / 25) ** 2 <= 1).astype(np.uint8)
    out[15, 40 : 60 + leak, 48:52] = 1
    return out


def eye(height=40, width=36, cup=18, shift=0, shape=(400, 420)):
    y, x = np.ogrid[: shape[0], : shape[1]]
    out = (((y - 200) / height) ** 2 + ((x - 210) / width) ** 2 <= 1).astype(np.uint8)
    out[(np.hypot(y - 200 - shift, x - 210) <= cup) & (out > 0)] = 2
    return out


def two_discs():
    """The second one beside the first, with a third of its area."""
    out = eye()
    out[180:220, 255:275] = 1
    return out


def of(labels, task, spacing=None):
    return implausible(labels, task, measure(labels, task, spacing))


def test_a_gland_is_fine_and_one_that_leaks_is_told_with_both_volumes():
    assert of(gland(), PROSTATE, SPACING) == ()
    (said,) = of(gland(leak=45), PROSTATE, SPACING)
    values = measure(gland(leak=45), PROSTATE, SPACING)
    assert f"({values['volume_ml']:.0f} mL)" in said
    assert f"({values['ellipsoid_volume_ml']:.0f} mL)" in said
    assert "look at every slice" in said


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (eye(height=60), "1.7 times as high as wide"),
        (eye(height=25, cup=10), "0.7 times as high as wide"),
        (eye(height=180, width=190, cup=90), "large for this photograph (6"),
        (eye(height=9, width=8, cup=3), "small for this photograph (0.1 %"),
        (eye(shift=25), "no rim is left"),
        (two_discs(), "2 pieces"),
    ],
)
def test_discs_and_cups_unlike_anatomy_are_told(labels, why):
    said = of(labels, OPTIC)
    assert len(said) == 1
    assert why in said[0]


def test_an_ordinary_eye_and_an_empty_mask_raise_no_doubt():
    assert of(eye(), OPTIC) == ()
    assert of(np.zeros((100, 100), np.uint8), OPTIC) == ()


def prediction(**found):
    labels = eye()
    return Prediction(labels, OPTIC.class_names, measure(labels, OPTIC), "optic", "m@1", findings=Findings(**found))


def test_every_doubt_makes_the_badge_amber_and_is_told():
    assert trust_badge(prediction()) == ("found", "good")
    for found, why in (
        ({"doubts": ("The disc is in 2 pieces; one is expected.",)}, "2 pieces"),
        ({"doubts": too_wide({"vcdr": (0.3, 0.75)})}, "0.30 to 0.75"),
        ({"expected_dice": {"cup": (0.6, 0.4, 0.8)}}, "Dice of only 0.60"),
        ({"gradable": False}, "hardly good enough"),
    ):
        assert trust_badge(prediction(**found))[1] == "warn"
        assert why in doubts_of(prediction(**found))[0]
    assert too_wide({"vcdr": (0.4, 0.65)}) == ()  # as wide as of most eyes


def test_the_table_says_shift_and_doubts_in_the_words_of_the_panels():
    shift = ShiftFindings(0.2, "known ground", {})
    home = prediction(shift=shift, doubts=("The disc is in 2 pieces; one is expected.",))
    home.shift_score = 56.0
    assert table_columns()[-4:] == ("shift_level", "doubts", "range_low", "range_high")
    row = row_of(home)
    assert (row["shift_level"], row["doubts"]) == ("known ground", "The disc is in 2 pieces; one is expected.")
    assert "range_low" not in row  # a model without ranges leaves the cells empty
    ranged = row_of(prediction(intervals={"volume_ml": (30.0, 50.0)}))
    assert (ranged["range_low"], ranged["range_high"]) == (30.0, 50.0)
    rows = result_rows(home)
    assert rows["domain shift"] == "known ground"
    assert rows[NEARER] == "56 of 100"


def test_a_drawn_sample_says_that_it_is_drawn_and_no_number():
    from dataclasses import replace

    import napari_tinymig
    from napari_tinymig.samples.drawn import fundus_sample

    sample = fundus_sample()
    assert sample.scan.drawn
    found = napari_tinymig.segment(sample.scan, task="optic")
    rows = result_rows(found)
    assert rows["domain shift"] == "drawn image"
    assert NEARER not in rows
    assert trust_badge(found)[0] != "found; unlike the training images"
    assert "says nothing" in found.shift_reason
    other = napari_tinymig.segment(replace(sample.scan, drawn=False), task="optic")
    assert other.findings.shift.level != "drawn image"
    assert other.shift_score == found.shift_score
