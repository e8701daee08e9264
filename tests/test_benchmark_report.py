"""table.md from drawn results: what it states of targets, machine and units, and which columns a task has."""

from __future__ import annotations

import csv
import json
import math

import pytest
import torch
from napari_tinymig.training.benchmark.report import comparison_table, development_targets, error_columns, write_report
from napari_tinymig.training.benchmark.run import Cell
from napari_tinymig.training.machine.device import device_name

from napari_tinymig.recipes.student import load_recipe


def drawn_benchmark(folder, recipe="erm", numbers=()):
    """A finished benchmark of one run over two targets, with three cases each; returns its cells."""
    for name in ("home", "far", "farther"):
        (folder / name).mkdir()
    raw = load_recipe(recipe).model_dump(mode="json")
    cell = Cell(raw, str(folder / "home"), (str(folder / "far"), str(folder / "farther")), str(folder / "out"))
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.json").write_text(
        json.dumps({"parameters": 1e6, "gmac": 1.0, "cpu_ms": 5.0, "train_seconds": 60.0, "start": ""})
    )
    keys = {"recipe": raw["name"], "variant": "student", "source": "home", "seed": 0, "empty": 0}
    regions = [r["name"] for r in raw["task"]["regions"]]
    rows = [
        keys | {"target": t, "case": f"c{i}", "patient": f"p{i}"}
        | {f"dice_{r}": 0.8 + 0.05 * i for r in regions} | dict(numbers)
        for t in ("far", "farther") for i in range(3)
    ]  # fmt: skip
    with (folder / "out" / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [cell]


OPTIC = {"vcdr_error": 0.05, "hd95_disc": 6.5, "hd95_cup": 8.25, "assd_disc": 2.5, "assd_cup": 3.125}


def test_photographs_have_their_distances_in_pixels(tmp_path):
    write_report(drawn_benchmark(tmp_path, numbers=OPTIC), tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    row = next(s for s in text.splitlines() if "HD95 disc (px)" in s)
    columns = ("vCDR error", "HD95 disc (px)", "ASSD disc (px)", "HD95 cup (px)", "ASSD cup (px)")
    assert [c.strip() for c in row.split("|")[-6:-1]] == list(columns)
    values = next(s for s in text.splitlines() if s.startswith("| erm |") and "0.050" in s)
    assert [c.strip() for c in values.split("|")[-6:-1]] == ["0.050", "6.50", "2.50", "8.25", "3.12"]
    assert "mm" not in text
    assert "volume" not in text
    assert (tmp_path / "out" / "comparison.json").is_file()


def test_volumes_have_theirs_in_mm_and_a_relative_volume_error(tmp_path):
    gland = {"hd95_gland": 4.5, "assd_gland": 1.5, "rve_gland": 0.125}
    write_report(drawn_benchmark(tmp_path, "prostate", gland), tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert "HD95 gland (mm) | ASSD gland (mm) | relative volume error gland" in text
    assert "4.50 | 1.50 | 0.125 |" in text
    assert "in pixels for cases whose file says no spacing" in text


def test_only_what_was_measured_is_a_column():
    rows = [{"dice_polyp": 0.5, "hd95_polyp": 3.0, "assd_polyp": math.nan}]
    assert error_columns(rows, ["polyp"], "photograph") == {"hd95_polyp": "HD95 polyp (px)"}
    assert error_columns([], ["polyp"], "photograph") == {}


def test_a_target_that_was_looked_at_is_called_so(tmp_path):
    cells = drawn_benchmark(tmp_path, numbers=OPTIC)
    write_report(cells, tmp_path / "out")
    assert "No target is marked as a development target" in (tmp_path / "out" / "table.md").read_text()
    (tmp_path / "far" / "development.txt").write_text("looks and averaging chosen on it\nmore\n")
    (tmp_path / "home" / "development.txt").write_text("a source is none")
    assert development_targets(cells) == {"far": "looks and averaging chosen on it"}
    write_report(cells, tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert "Development targets, looked at while settings were chosen" in text
    assert "far (looks and averaging chosen on it)" in text


def test_the_machine_is_named_and_not_called_auto(tmp_path):
    write_report(drawn_benchmark(tmp_path, numbers=OPTIC), tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text()
    assert device_name("auto") in text
    assert "auto," not in text
    assert device_name("cpu").startswith("CPU, ")
    assert f"{torch.get_num_threads()} thread(s)" in device_name("cpu")


def test_a_graphics_card_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Drawn Card")
    assert device_name("auto") == device_name("cuda") == "CUDA, Drawn Card"


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_marker_still_counts(tmp_path, text):
    cells = drawn_benchmark(tmp_path, numbers=OPTIC)
    (tmp_path / "far" / "development.txt").write_text(text)
    assert development_targets(cells) == {"far": "no reason given"}


def test_few_patients_are_said_beside_their_intervals():
    row = {"recipe": "b", "metric": "dice_gland", "mean": 0.1, "low": 0.05, "high": 0.2, "p_holm": 0.25}
    few = comparison_table([row | {"n": 3, "verdict": "open"}])
    assert "Few patients (3)" in few[0]
    assert "| b | dice_gland | +10 | +5 to +20 | 0.2500 | 3 | open |" in few
    assert "Few patients" not in comparison_table([row | {"n": 40, "verdict": "better"}])[0]
