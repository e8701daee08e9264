"""An export format is one entry of a table: the command line writes a made-up one, its help names every real one."""

from __future__ import annotations

from napari_tinymig.training.exports.written import EXPORTS
from typer.testing import CliRunner

from napari_tinymig.cli import app
from napari_tinymig.cli.train import EXPORT_HELP


def test_a_made_up_export_is_written_by_the_command_line(monkeypatch, tmp_path):
    monkeypatch.setitem(EXPORTS, "name", lambda model, path: path.write_text(model.header.name))
    out = tmp_path / "n.txt"
    done = CliRunner().invoke(app, ["export", "polyp", "--to", "name", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_text() == "polyp"


def test_another_word_is_answered_with_the_words_that_are_known(monkeypatch, tmp_path):
    monkeypatch.setitem(EXPORTS, "name", lambda model, path: None)
    done = CliRunner().invoke(app, ["export", "polyp", "--to", "coreml", "-o", str(tmp_path / "x")])
    assert str(done.exception) == "--to is 'coreml'; expected onnx, torchscript, bundle, name."


def test_the_help_of_export_names_every_format():
    assert all(word in EXPORT_HELP for word in EXPORTS)
