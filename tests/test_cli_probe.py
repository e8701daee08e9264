"""`tinymig probe` and `tinymig classify` as a user runs them: real processes, real files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_parts import rows_of
from PIL import Image
from safetensors.torch import save_file
from striped import striped

from napari_tinymig.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Weights, a source with two classes, a target, and a finished run."""
    import timm
    import torch

    root = tmp_path_factory.mktemp("probe")
    torch.manual_seed(3)
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), root / "w.safetensors")
    for domain, first in (("here", 0), ("there", 500)):
        for label, name in enumerate(("across", "along")):
            (root / domain / name).mkdir(parents=True)
            for i in range(12):
                Image.fromarray(striped(first + 20 * label + i, label)).save(root / domain / name / f"{name}{i}.png")
    given = "--source here --target there --backbone test_resnet --weights w.safetensors --strategy joint -o run"
    done = tinymig(root, "probe", *given.split(), "--set", "optim.epochs=1", "--set", "backbone.size=64")
    assert done.returncode == 0, done.stderr
    return root, done


def tinymig(folder, *arguments):
    import os

    environment = os.environ | {"TINYMIG_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "napari_tinymig", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_a_probe_leaves_its_classifier_and_shows_both_domains(place):
    root, done = place
    assert (root / "run" / "classifier.safetensors").is_file()
    assert "source test" in done.stdout
    assert "target there" in done.stdout
    assert "epoch 1" in done.stderr


def test_classify_writes_a_row_per_image_and_names_what_it_could_not_read(place):
    root, _ = place
    (root / "new").mkdir(exist_ok=True)
    Image.fromarray(striped(900, 1)).save(root / "new" / "fine.png")
    (root / "new" / "broken.png").write_bytes(b"not a picture")
    command = ("classify", "new", "--model", "run/classifier.safetensors", "--weights", "w.safetensors", "-o", "out")
    done = tinymig(root, *command)
    assert done.returncode == 1, done.stderr
    rows = {Path(row["file"]).name: row for row in rows_of(root / "out" / "classes.csv")}
    columns = ["file", "class", "probability_across", "probability_along", "shift_score", "seconds", "error"]
    assert list(rows["fine.png"]) == columns
    row = rows["fine.png"]
    assert float(row["probability_across"]) + float(row["probability_along"]) == pytest.approx(1, abs=1e-3)
    assert row["class"] in ("across", "along")
    assert rows["broken.png"]["class"] == ""
    assert "broken" in rows["broken.png"]["error"]


def test_a_probe_with_an_unreadable_image_ends_with_one_and_names_it(place):
    root, _ = place
    (root / "spoilt" / "along").mkdir(parents=True)
    Image.fromarray(striped(901, 1)).save(root / "spoilt" / "along" / "fine.png")
    (root / "spoilt" / "along" / "broken.png").write_bytes(b"not a picture")
    given = "--source here --target spoilt --backbone test_resnet --weights w.safetensors --method lp -o run2"
    done = tinymig(root, "probe", *given.split(), "--set", "backbone.size=64")
    assert done.returncode == 1, done.stderr
    assert "1 image could not be read" in done.stderr
    assert "target spoilt" in done.stdout
    assert "broken.png" in (root / "run2" / "failed.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("probe", "--source", "nowhere", "-o", "x"), "one sub-folder per class"),
        (("probe", "--source", "here", "--target", "nope", "-o", "x"), "nope: expected a folder"),
        (
            ("probe", "--source", "here", "--backbone", "resnet5O", "--weights", "w.safetensors", "-o", "x"),
            "did you mean",
        ),
        (("probe", "--source", "here", "--set", "optim.epoch=3", "-o", "x"), "did you mean 'epochs'"),
        (("classify", "new", "--model", "w.safetensors", "-o", "x"), "not a napari-tinymig model"),
    ],
    ids=["no folder", "no target", "no such backbone", "no such setting", "no classifier"],
)
def test_wrong_arguments_end_with_one_sentence(place, arguments, sentence, monkeypatch, capsys):
    root, _ = place
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as end:  # in this process, which has imported torch already
        main(arguments)
    assert end.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
