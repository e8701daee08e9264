"""An export format is one entry of a table: the command line writes a made-up one, its help names every real one."""

from __future__ import annotations

import pytest
from napari_tinymig.training.exports import written
from typer.testing import CliRunner

from napari_tinymig.cli import app
from napari_tinymig.models.exports import EXPORTS, Export, export_help


@pytest.fixture
def name_format(monkeypatch):
    """A made-up format: the model's name as text, compared with nothing."""

    def write_name(model, path):
        path.write_text(model.header.name)
        return ""

    monkeypatch.setattr(written, "write_name", write_name, raising=False)
    monkeypatch.setitem(EXPORTS, "name", Export("written:write_name", "the name alone (name)"))


def export(*words):
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.mark.usefixtures("name_format")
def test_a_made_up_export_is_written_and_nobody_says_that_it_was_compared(tmp_path):
    done = export("polyp", "--to", "name", "-o", tmp_path / "n.txt")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "n.txt").read_text() == "polyp"
    assert " ".join(done.output.split()).endswith("written; not compared with the product")


@pytest.mark.usefixtures("name_format")
def test_another_word_is_answered_with_the_words_that_are_known(tmp_path):
    done = export("polyp", "--to", "coreml", "-o", tmp_path / "x")
    assert str(done.exception) == "--to is 'coreml'; expected onnx, torchscript, bundle, name."


@pytest.mark.usefixtures("name_format")
def test_the_help_of_export_is_the_table():
    assert export_help() == "onnx, torchscript, a MONAI bundle folder (bundle), or the name alone (name)."


def test_the_graph_says_what_was_compared(tmp_path):
    assert "every number is the product's" in " ".join(
        export("polyp", "--to", "onnx", "-o", tmp_path / "p.onnx").output.split()
    )
