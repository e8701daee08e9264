"""A measure is declared once and appears in the table, the result card, the report and the command line."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from napari_tinymig.base.records import Prediction
from napari_tinymig.measures import clinical
from napari_tinymig.measures.csv_table import CONTRACT, Table, row_of, table_columns
from napari_tinymig.measures.declared import DECLARED, Measure, cells
from napari_tinymig.reports.one_page import number_rows
from napari_tinymig.reports.words import result_rows
from napari_tinymig.tasks.optic import OPTIC


@pytest.fixture
def rim_px(monkeypatch):
    """A made-up measure: pixels of the rim."""
    monkeypatch.setitem(DECLARED, "rim_px", Measure("rim_px", "rim area", "px", 0, column=True, main=True))
    plain = clinical.measure
    more = lambda labels, *rest: plain(labels, *rest) | {"rim_px": float((labels == 1).sum())}  # noqa: E731
    monkeypatch.setattr(clinical, "measure", more)
    monkeypatch.setattr("napari_tinymig.reports.one_page.measure", more)


def eye() -> np.ndarray:
    labels = np.zeros((20, 20), np.uint8)
    labels[4:16, 4:16], labels[7:13, 7:13] = 1, 2
    return labels


def test_the_table_begins_with_the_contract_and_has_the_disc_area_in_mm2():
    assert table_columns()[: len(CONTRACT)] == CONTRACT
    assert "disc_area_mm2" in table_columns()
    assert cells({"vcdr": 0.5, "disc_area_mm2": 2.25})["disc_area_mm2"] == 2.25


def test_a_made_up_measure_is_seen_in_table_card_and_report(rim_px, tmp_path):
    values = clinical.measure(eye(), OPTIC, None)
    assert values["rim_px"] == 12 * 12 - 6 * 6
    prediction = Prediction(
        labels=eye(), class_names=OPTIC.class_names, measures=values, task="optic", model_id="m@1", status="ok"
    )
    table = Table(tmp_path / "measurements.csv")
    table.put({"file": "a.png"} | row_of(prediction))
    table.write()
    with (tmp_path / "measurements.csv").open() as stream:
        assert next(csv.DictReader(stream))["rim_px"] == "108"
    assert result_rows(prediction)["rim area"] == "108 px"
    assert ("rim area", "108 px") in number_rows(eye(), OPTIC, None)


def test_a_made_up_measure_is_seen_by_the_command_line(rim_px, tmp_path):
    from PIL import Image
    from typer.testing import CliRunner

    from napari_tinymig.cli import app

    Image.fromarray(eye()).save(tmp_path / "a_mask.png")
    done = CliRunner().invoke(app, ["measure", str(tmp_path / "a_mask.png"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "measurements.csv").open() as stream:
        assert next(csv.DictReader(stream))["rim_px"] == "108"
