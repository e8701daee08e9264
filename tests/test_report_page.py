"""The one-page report: what a reader may put into a file, and nothing that may not be there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_tinymig.base.records import Scan
from napari_tinymig.reports.one_page import NOTICE, number_rows, report_bytes, report_figure
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE

EXTRA = {
    "intervals": {"vcdr": [0.43, 0.68], "disc_area_px": [4000, 6000]},
    "expected_dice": {"disc": [0.98, 0.96, 0.99]},
    "shift_level": "known ground",
}
ABOUT = {"model_id": "optic@1", "source": "/data/anna.smith/ward/eye.png", "extra": EXTRA, "shift_score": 56.0}


def eye(height=40):
    y, x = np.ogrid[:400, :420]
    labels = (((y - 200) / height) ** 2 + ((x - 210) / 36) ** 2 <= 1).astype(np.uint8)
    labels[np.hypot(y - 200, x - 210) <= 18] = 2
    return Scan((labels[..., None] * np.array([90, 60, 30]) + 20).astype(np.uint8), None, "eye"), labels


def words(scan, labels, task=OPTIC, **about):
    figure = report_figure(scan, labels, task, ABOUT | about)
    figure.canvas.draw()
    return "\n".join(t.get_text() for t in figure.texts), figure


def test_the_page_says_numbers_ranges_trust_model_date_and_research_use_and_no_path():
    text, figure = words(*eye())
    for said in (
        "vertical cup-to-disc ratio",
        "(0.43 to 0.68)",
        "In brackets: the model's 90 % range.",
        "Expected overlap with a reader's disc (Dice): 0.98, likely 0.96 to 0.99.",
        "Domain shift: known ground; 56 of 100 home images are nearer",
        "optic@1",
        "UTC",
        "file: eye.png",
        NOTICE,
    ):
        assert said in text
    assert "anna" not in text
    assert "ward" not in text
    assert [a.name for a in figure.axes] == ["rectilinear", "polar"]  # the picture, and the rim by clock hour
    assert [t.get_text() for t in figure.axes[1].get_xticklabels()] == [str(h) for h in range(1, 13)]


def test_where_the_pixel_size_is_known_areas_and_their_ranges_are_in_mm2():
    scan, labels = eye()
    rows = dict(number_rows(labels, OPTIC, (0.02, 0.02)))
    assert rows["disc area"].endswith("mm²")
    assert rows["cup area"].endswith("mm²")
    assert not [v for v in rows.values() if v.endswith(("px", "px²"))]
    assert dict(number_rows(labels, OPTIC, None))["disc area"].endswith(" px²")
    text, _ = words(replace(scan, spacing_mm=(0.02, 0.02)), labels)
    assert "(1.60 to 2.40)" in text  # 4000 and 6000 px of 0.0004 mm²


def test_an_edited_mask_is_told_apart_from_the_models_and_a_doubt_is_told():
    text, _ = words(*eye(height=62), edited_px=120)
    assert "then edited by hand (120 px changed)" in text
    assert "before it was edited" in text
    assert "Look again: The disc is 1.7 times as high as wide" in text


def test_a_volume_is_shown_in_three_planes():
    z, y, x = np.ogrid[:12, :60, :64]
    gland = (((z - 6) / 4) ** 2 + ((y - 30) / 12) ** 2 + ((x - 30) / 14) ** 2 <= 1).astype(np.uint8)
    scan = Scan(gland.astype(np.int16) * 300 + 100, (3.0, 1.0, 1.0), "t2")
    _, figure = words(scan, gland, PROSTATE, extra={}, shift_score=None)
    assert [a.get_title() for a in figure.axes[1:]] == ["axial", "coronal", "sagittal"]
    assert all(a.collections for a in figure.axes[1:])  # the outline in each


@pytest.mark.parametrize(("suffix", "start"), [(".pdf", b"%PDF"), (".png", b"\x89PNG")])
def test_it_is_written_as_pdf_and_as_png(suffix, start):
    scan, labels = eye()
    assert report_bytes(scan, labels, OPTIC, ABOUT, suffix).startswith(start)
