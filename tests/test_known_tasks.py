"""A task is known once, in tasks/: its colours, its choice everywhere, its DICOM codes."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from napari_tinymig.base.records import Prediction, Scan
from napari_tinymig.measures import clinical, declared, headline
from napari_tinymig.models.registry import open_model
from napari_tinymig.reports.overlay import overlay_of
from napari_tinymig.tasks.colours import label_colours, palette, rgb
from napari_tinymig.tasks.known_task import KnownTask
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.table import DEFAULT_TASK, FILES, KNOWN, TASKS, usual_task
from napari_tinymig.tasks.task import Region, Task


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


@pytest.fixture
def shell(monkeypatch):
    """A made-up task of photographs of shells: one entry of the table, its measure, and the words of its number."""
    region = Region(name="shell", labels=(1,), label=1, class_name="shell", colour="#00ff00", inside=None)
    task = Task(name="shell", title="Snail shells", input="photograph", regions=(region,), measures=("turns",))
    known = KnownTask(task, expected="a photograph of a snail", modalities={"XS": "snail"})
    monkeypatch.setitem(KNOWN, "shell", known)
    measured = declared.Measure("turns", "turns of the shell", "", 0, column=True, main=True)
    monkeypatch.setitem(declared.DECLARED, "turns", measured)
    monkeypatch.setitem(clinical.GROUPS, "turns", lambda region, *_: {"turns": float(region("shell").sum()) / 100})
    words = lambda values, noun: (f"{values['turns']:.0f} turns", f"of the {noun}")  # noqa: E731
    monkeypatch.setitem(headline.HEADLINES, "turns", headline.Headline("turns", words))
    return task


def shell_mask() -> np.ndarray:
    labels = np.zeros((60, 60), np.uint8)
    labels[10:30, 10:30] = 1
    return labels


def test_a_made_up_task_is_measured_by_the_command_line_into_its_own_column(shell, tmp_path):
    from PIL import Image
    from typer.testing import CliRunner

    from napari_tinymig.cli import app

    Image.fromarray(shell_mask()).save(tmp_path / "a_mask.png")
    call = ["measure", str(tmp_path / "a_mask.png"), "-o", str(tmp_path / "out"), "--task", "shell"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    assert "a_mask.png: 4 turns" in done.output
    with (tmp_path / "out" / "measurements.csv").open() as stream:
        row = next(csv.DictReader(stream))
    assert (row["task"], row["turns"]) == ("shell", "4")
    wrong = CliRunner().invoke(app, [*call[:-1], "snail"])
    assert f"expected auto, {', '.join(FILES)}, shell" in str(wrong.exception)


def test_a_made_up_task_is_drawn_reported_and_recognised(shell):
    from napari_tinymig.predict.task_guess import ask, task_by_metadata
    from napari_tinymig.reports.one_page import number_rows

    values = clinical.measure(shell_mask(), shell, None)
    prediction = Prediction(shell_mask(), shell.class_names, values, task="shell", model_id="m@1", status="ok")
    scan = Scan(np.full((60, 60, 3), 90, np.uint8), None, "snail")
    assert (np.asarray(overlay_of(scan, prediction, shell)) == (0, 255, 0)).all(-1).sum() > 100
    assert number_rows(shell_mask(), shell, None) == [("turns of the shell", "4")]
    assert task_by_metadata(scan, {"modality": "XS"}) == "shell"
    assert ask() == f"name the task with --task {', '.join(FILES)} or shell if you know it"


def test_a_made_up_task_is_offered_and_read_out_in_the_viewer(shell, make_napari_viewer):
    from napari_tinymig.viewer.annotate.panel import AnnotatePanel
    from napari_tinymig.viewer.batch import BatchPanel
    from napari_tinymig.viewer.parts.settings import setting
    from napari_tinymig.viewer.readout.panel import ReadoutPanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    viewer = make_napari_viewer()
    viewer.add_labels(shell_mask(), name="shell")
    for panel in (SegmentPanel(viewer), AnnotatePanel(viewer), BatchPanel(viewer)):
        offered = [panel.task.itemText(i) for i in range(panel.task.count())]
        assert shell.title in offered, type(panel).__name__
    readout = ReadoutPanel(viewer)
    readout.task.setCurrentIndex(readout.task.findData("shell"))
    readout.measure_now()
    assert readout.rows.rows() == {"turns of the shell": "4"}
    assert setting("models", "shell") == "shell"


def test_a_further_measure_of_disc_and_cup_is_a_row_of_the_read_out_too(monkeypatch, make_napari_viewer):
    from napari_tinymig.viewer.readout.panel import ReadoutPanel

    known = clinical.GROUPS["cup_disc"]
    rim = lambda *given: known(*given) | {"rim_area_px": 10_800.0}  # noqa: E731
    monkeypatch.setitem(clinical.GROUPS, "cup_disc", rim)
    monkeypatch.setitem(declared.DECLARED, "rim_area_px", declared.Measure("rim_area_px", "rim area", "px", 0))
    labels = np.zeros((200, 200), np.uint8)
    labels[40:160, 40:160], labels[70:130, 70:130] = 1, 2
    viewer = make_napari_viewer()
    viewer.add_labels(labels, name="disc and cup")
    readout = ReadoutPanel(viewer)
    readout.task.setCurrentIndex(readout.task.findData("optic"))
    readout.measure_now()
    assert readout.rows.rows()["rim area"] == "10800 px"
    assert readout.rows.rows()["disc, cup area"] == "14400, 3600 px²"  # its own place, and no row besides
    assert not {"disc area", "cup area"} & set(readout.rows.rows())


def test_the_preferences_page_lists_the_known_tasks():
    from pathlib import Path

    import yaml

    manifest = yaml.safe_load((Path(__file__).parent.parent / "napari.yaml").read_text(encoding="utf-8"))
    pages = manifest["contributions"]["configurations"]
    assert list(pages["models"]["properties"]) == list(TASKS)
    assert pages["general"]["properties"]["task"]["enum"] == ["auto", *TASKS]


def test_every_file_of_the_table_holds_the_task_of_its_name_and_the_first_photographs_are_meant_without_one():
    assert [KNOWN[name].task.name for name in FILES] == list(FILES) == list(TASKS)
    assert usual_task("photograph").name == DEFAULT_TASK
    assert "spleen" not in TASKS
    assert TASKS.get("spleen") is None
