"""Facts that have a table of their own are spelt nowhere else: colours, names of measures and tasks, samples."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from napari_tinymig.measures import declared
from napari_tinymig.measures.declared import DECLARED
from napari_tinymig.samples.shown import SHOWN
from napari_tinymig.samples.table import DRAWN
from napari_tinymig.tasks.table import FILES

ROOT = Path(__file__).parent.parent
HEX_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})\b")
COLOUR_TABLES = (
    "napari_tinymig/tasks/",
    "napari_tinymig/reports/page_colours.py",
    "napari_tinymig/viewer/parts/theme.py",
)
COLOURS_ELSEWHERE = {
    "napari_tinymig/formats/foreign_masks/legend.py": "an example of a foreign mask's colour",
    "napari_tinymig/cli/measure.py": "the same example, in the command's help",
    "training/classifier/backbone.py": "(3, 224, 224), a size",
    "napari_tinymig/formats/photographs.py": "what lies under a transparent pixel of a photograph",
}
MEASURE_TABLE = "napari_tinymig/measures/"
TASK_TABLES = ("napari_tinymig/tasks/", "napari_tinymig/samples/")


def sources(*tables: str) -> Iterator[tuple[str, ast.Module]]:
    """(path, syntax tree) of every file of the product and of training outside `tables`."""
    for path in sorted([*(ROOT / "napari_tinymig").rglob("*.py"), *(ROOT / "training").rglob("*.py")]):
        where = path.relative_to(ROOT).as_posix()
        if not where.startswith(tables):
            yield where, ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> Iterator[str]:
    """Every string of a file but its notes: docstrings, and strings that stand alone under what they explain."""
    notes = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in notes:
            yield node.value


def colours_in(tree: ast.Module) -> list[str]:
    """Colours as '#ffb000' in a string, or as a tuple of three bytes, or of four that end in 255.

    Three small numbers are sizes and axes, so that a tuple counts with a value from 64 on, and as black.
    """
    found = [colour for text in texts(tree) for colour in HEX_COLOUR.findall(text)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Tuple) or not all(isinstance(e, ast.Constant) for e in node.elts):
            continue
        values = [e.value for e in node.elts]
        if not all(type(v) is int and 0 <= v <= 255 for v in values):
            continue
        three = len(values) == 3 and (max(values) >= 64 or values == [0, 0, 0])
        if three or (len(values) == 4 and values[3] == 255):
            found.append(str(tuple(values)))
    return found


@pytest.mark.parametrize("line", ["x = '#ffb000'", "x = 'border: 1px #FFF'", "x = (255, 176, 0)", "f((0, 0, 0, 255))"])
def test_the_search_finds_a_colour(line):
    assert colours_in(ast.parse(line))


@pytest.mark.parametrize(
    "line", ["x = (3, 1, 1)", "def f():\n    '''#ffb000'''", "x = '# 3 of 7'", "x = (0.5, 0.5, 0.5)"]
)
def test_the_search_takes_no_size_or_note_for_a_colour(line):
    assert colours_in(ast.parse(line)) == []


def test_colours_are_spelt_in_their_tables_alone():
    found = {where: colours for where, tree in sources(*COLOUR_TABLES) if (colours := colours_in(tree))}
    assert found.keys() - COLOURS_ELSEWHERE.keys() == set(), found
    assert COLOURS_ELSEWHERE.keys() - found.keys() == set()  # no reason outlives its colour


def test_measures_are_read_by_their_declared_names():
    keys = {*DECLARED, declared.GLAND_VOXELS}
    found = {(where, text) for where, tree in sources(MEASURE_TABLE) for text in texts(tree) if text in keys}
    assert found == set()


def test_tasks_are_named_by_their_records():
    found = {(where, text) for where, tree in sources(*TASK_TABLES) for text in texts(tree) if text in FILES}
    assert found == set()


def test_the_manifest_offers_the_samples_of_the_table():
    manifest = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    titles = {c["id"]: c["title"] for c in manifest["commands"]}
    offered = {s["key"]: s["display_name"] for s in manifest["sample_data"]}
    assert offered == {name: shown.title for name, shown in SHOWN.items()}
    assert {s["key"]: titles[s["command"]] for s in manifest["sample_data"]} == offered
    assert all(shown.task in DRAWN for shown in SHOWN.values() if shown.drawn)


def test_every_key_with_a_name_is_declared():
    named = {v for k, v in vars(declared).items() if k.isupper() and isinstance(v, str)}
    assert named - {declared.GLAND_VOXELS} <= DECLARED.keys()
