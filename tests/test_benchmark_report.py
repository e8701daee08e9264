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


SEEN = {0: {"far": (0.8, 0.6), "farther": (0.4,)}, 1: {"far": (0.9, 0.7), "farther": (0.6,)}}
"""Seed -> target -> Dice of the disc, case by case; the cup's is .5 everywhere, a constant cup's .3."""


@pytest.fixture
def two_seeds(tmp_path):
    """One recipe, seeds 0 and 1, with the results of `SEEN`; its cells."""
    raw = load_recipe("erm").model_dump(mode="json")
    targets = tuple(str(tmp_path / t) for t in ("far", "farther"))
    cells, rows = [], []
    for seed, ms, seconds in ((0, 5.0, 60.0), (1, 4.0, 90.0)):
        cell = Cell(raw | {"seed": seed}, str(tmp_path / "home"), targets, str(tmp_path))
        cell.folder.mkdir(parents=True)
        facts = {"parameters": 1.5e6, "gmac": 2.25, "cpu_ms": ms, "train_seconds": seconds, "start": ""}
        (cell.folder / "cell.json").write_text(json.dumps(facts))
        cells.append(cell)
        for target, values in SEEN[seed].items():
            for i, disc in enumerate(values):
                keys = {"recipe": raw["name"], "source": "home", "seed": seed, "empty": 0, "target": target}
                keys |= {"case": f"c{i}", "patient": f"p{i}"}
                rows.append(keys | {"variant": "student", "dice_disc": disc, "dice_cup": 0.5})
                rows.append(keys | {"variant": "constant cup", "dice_disc": disc, "dice_cup": 0.3})
    with (tmp_path / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return cells


def cells_of(text, start):
    """The cells of every line of a table that begins with `start`."""
    return [[c.strip() for c in line.split("|")[2:-1]] for line in text.splitlines() if line.startswith(f"| {start} |")]


def test_means_spread_failures_and_cost_are_those_by_hand(two_seeds, tmp_path):
    write_report(two_seeds, tmp_path)
    text = (tmp_path / "table.md").read_text()
    disc, cup, spread, cost = cells_of(text, "erm")
    # far: .70 and .80 of the two seeds; farther: .40 and .60; both together .55 and .70
    assert disc == ["75.0 +- 7.1", "50.0 +- 14.1", "62.5 +- 10.6"]
    assert cup == ["50.0 +- 0.0"] * 3
    assert cells_of(text, "erm: constant cup") == [["30.0 +- 0.0"] * 3]
    # of .4 .6 .6 .7 .8 .9 the median is .65, a quarter of the way from .4 to .6 is .45, one of six is below .5
    assert spread[:4] == ["65.0", "45.0", "16.7 %", "farther 50.0"]
    assert spread[4:8] == ["50.0", "50.0", "0.0 %", "far 50.0"]
    assert cost == ["1.50", "2.25", "4.0", "75"]


def noting(real, seen):
    """A method that notes its arguments in `seen` and does what `real` does."""

    def noted(axis, *arguments, **words):
        seen.append((arguments, words))
        return real(axis, *arguments, **words)

    return noted


def test_bars_are_means_with_the_spread_over_seeds_and_boxes_hold_every_case(two_seeds, tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = {"bar": [], "boxplot": []}
    for name in drawn:
        real = getattr(Axes, name)
        monkeypatch.setattr(
            Axes,
            name,
            lambda axis, *a, _real=real, _seen=drawn[name], **k: _seen.append((a, k)) or _real(axis, *a, **k),
        )
    write_report(two_seeds, tmp_path)
    (_, heights, _), words = drawn["bar"][0]
    assert heights == pytest.approx([0.75, 0.5])
    assert words["yerr"] == pytest.approx([0.1 / math.sqrt(2), 0.2 / math.sqrt(2)])
    ((groups,), _) = drawn["boxplot"][0]
    assert [sorted(g) for g in groups] == [[0.6, 0.7, 0.8, 0.9], [0.4, 0.6]]
    assert (tmp_path / "bars.png").is_file()
    assert (tmp_path / "boxes.png").is_file()
