"""Overlays show contours where the mask is, and the number that the table has."""

import numpy as np
import pytest
from PIL import Image

from napari_tinymig.base.records import Prediction, Scan
from napari_tinymig.measures.clinical import measure
from napari_tinymig.reports.overlay import headline, montage_slices, outlines, overlay_of, save_overlay
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def prediction_of(sample, task, **kw):
    labels = kw.pop("labels", sample.truth)
    return Prediction(
        labels,
        task.class_names,
        measure(labels, task, sample.scan.spacing_mm),
        task.name,
        "toy@00000000",
        status="ok" if labels.any() else "not_found",
        **kw,
    )


def coloured(picture, colour, tolerance=40):
    want = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(np.asarray(picture).astype(int) - want).max(axis=2) < tolerance).sum()


def test_a_fundus_overlay_has_both_contours_and_the_enlarged_disc():
    sample = fundus_sample(400)
    picture = overlay_of(sample.scan, prediction_of(sample, OPTIC), OPTIC)
    assert picture.width > 1200
    for region in OPTIC.regions:
        assert coloured(picture, region.colour) > 300


def test_a_volume_overlay_is_a_montage_of_the_slices_that_hold_the_gland():
    sample = prostate_sample(96, 10)
    picture = overlay_of(sample.scan, prediction_of(sample, PROSTATE), PROSTATE)
    assert coloured(picture, PROSTATE.regions[0].colour) > 300


def test_an_empty_mask_is_said_in_words():
    sample = fundus_sample(200)
    empty = prediction_of(sample, OPTIC, labels=np.zeros_like(sample.truth), notes=["No optic disc found: dark."])
    assert headline(empty, OPTIC) == ("no disc found", "")
    assert overlay_of(sample.scan, empty, OPTIC).size[1] > 700
    volume = prostate_sample(64, 6)
    nothing = prediction_of(volume, PROSTATE, labels=np.zeros_like(volume.truth))
    assert overlay_of(volume.scan, nothing, PROSTATE).width > 300


def test_the_headline_is_the_clinical_number():
    sample = fundus_sample(200)
    drawn = np.zeros_like(sample.truth)
    drawn[20:120, 50:150] = 1
    drawn[40:80, 80:120] = 2
    assert headline(prediction_of(sample, OPTIC, labels=drawn), OPTIC)[0] == "vCDR 0.40"
    volume = prostate_sample(96, 10)
    assert headline(prediction_of(volume, PROSTATE), PROSTATE)[0].endswith(" mL")
    labels = np.zeros((50, 50), np.uint8)
    labels[5:10, 5:10] = labels[20:30, 20:30] = 1
    two = Prediction(labels, POLYP.class_names, measure(labels, POLYP), "polyp", "m@0")
    assert headline(two, POLYP)[0] == "2 polyps"


def test_outlines_run_along_the_edge_of_the_mask():
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:60] = True
    (contour,) = outlines(mask)
    assert contour[:, 0].min() == pytest.approx(10, abs=0.5)
    assert contour[:, 0].max() == pytest.approx(40, abs=0.5)
    assert contour[:, 1].min() == pytest.approx(20, abs=0.5)
    assert contour[:, 1].max() == pytest.approx(60, abs=0.5)
    assert outlines(np.zeros((5, 5), bool)) == []


def test_a_montage_shows_at_most_twenty_slices_in_order():
    labels = np.zeros((60, 4, 4), np.uint8)
    labels[5:50] = 1
    picks = montage_slices(labels)
    assert len(picks) == 20
    assert (picks[0], picks[-1]) == (4, 50)
    assert montage_slices(np.zeros((3, 4, 4))).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (17, 17)])
def test_odd_shapes_are_drawn_too(tmp_path, shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (*shape, 3), dtype=np.uint8)
    labels = np.zeros(shape, np.uint8)
    labels[5:12, 5:12] = 1
    prediction = Prediction(labels, OPTIC.class_names, measure(labels, OPTIC), "optic", "m@0")
    save_overlay(overlay_of(Scan(pixels, None, "odd"), prediction, OPTIC), tmp_path / "o.png")
    assert Image.open(tmp_path / "o.png").size[1] > 100
