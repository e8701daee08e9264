"""A task is known once, in tasks/: its colours, its choice everywhere, its DICOM codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_tinymig.base.records import Prediction, Scan
from napari_tinymig.models.registry import open_model
from napari_tinymig.reports.overlay import overlay_of
from napari_tinymig.tasks.colours import label_colours, palette, rgb
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.table import KNOWN


@pytest.fixture
def green_cup(monkeypatch):
    """The optic task with a cup of pure green, as an edit of tasks/optic.py would make it."""
    disc, cup = OPTIC.regions
    task = OPTIC.model_copy(update={"regions": (disc, cup.model_copy(update={"colour": "#00ff00"}))})
    monkeypatch.setitem(KNOWN, "optic", replace(KNOWN["optic"], task=task))


def eye() -> tuple[Scan, Prediction]:
    labels = np.zeros((200, 200), np.uint8)
    labels[40:160, 40:160], labels[70:130, 70:130] = 1, 2
    measures = {"vcdr": 0.5, "disc_height_px": 120.0, "cup_height_px": 60.0}
    scan = Scan(np.full((200, 200, 3), 90, np.uint8), None, "eye")
    return scan, Prediction(labels, OPTIC.class_names, measures, task="optic", model_id="m@1", status="ok")


def test_a_bundled_model_is_drawn_in_the_colours_of_the_table_not_of_its_header(green_cup):
    of_header = open_model("optic").header.task
    assert of_header.regions[1].colour == "#ffb000"  # what the bundled file says
    assert label_colours(of_header) == {1: "#35c2f0", 2: "#00ff00"}
    assert palette(of_header)[3 * 2 : 3 * 3] == [0, 255, 0]
    green = (np.asarray(overlay_of(*eye(), of_header)) == (0, 255, 0)).all(-1)
    assert green.sum() > 200  # the cup's outline and its ruler


def test_layers_of_a_bundled_model_have_the_colours_of_the_table(green_cup):
    from napari_tinymig.viewer.napari_io.layers import class_colours

    assert class_colours(open_model("optic").header.task).color_dict[2].tolist() == [0, 1, 0, 1]


def test_a_task_of_ones_own_keeps_the_colours_of_its_record(green_cup):
    mine = OPTIC.model_copy(update={"name": "mine"})
    assert label_colours(mine) == {1: "#35c2f0", 2: "#ffb000"}
    assert rgb("#ffb000") == (255, 176, 0)
