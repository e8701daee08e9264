"""A format is declared once: a made-up one is found, read, written, offered; the manifest says the same."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import yaml

from napari_tinymig.base.geometry import Geometry
from napari_tinymig.formats import find_inputs, mask_paths, open_input, read_mask, write_mask
from napari_tinymig.formats.declared import FORMATS, FileFormat, dialog_filter, mask_choices, options
from napari_tinymig.formats.read_masks import LOADERS
from napari_tinymig.formats.scan_file import StoredVolume
from napari_tinymig.formats.write_masks import WRITERS

ROOT = Path(__file__).parent.parent
GRID = (8, 8, 2)


def load_toy(path: Path, like: object) -> StoredVolume:
    """128 numbers of one byte after the word TOY: a volume of 8 x 8 x 2 voxels of 1 mm."""
    array = np.frombuffer(path.read_bytes()[3:], np.uint8).reshape(GRID)
    geometry = Geometry(GRID, np.eye(4), oriented=True, has_spacing=True)
    return StoredVolume(array, geometry, GRID, array.dtype, None, "toy")


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The format '.toy' of the table, and a file of it."""
    monkeypatch.setitem(FORMATS, "toy", FileFormat("TOY", (".toy",), "volume", writes=(".toy",), option="toy"))
    monkeypatch.setitem(LOADERS, "toy", load_toy)
    monkeypatch.setitem(WRITERS, "toy", lambda stored, scan_file, suffix: b"TOY" + stored.astype(np.uint8).tobytes())
    path = tmp_path / "a.toy"
    path.write_bytes(b"TOY" + bytes(range(128)))
    return path


def test_a_made_up_format_is_found_read_and_its_mask_comes_back(toy, tmp_path):
    (item,) = find_inputs([tmp_path])
    assert (item.format, item.name) == ("toy", "a")
    scan_file = open_input(item)
    assert scan_file.scan.spacing_mm == (1.0, 1.0, 1.0)
    assert sorted(scan_file.scan.pixels.ravel()) == list(range(128))
    labels = (scan_file.scan.pixels > 63).astype(np.uint8)
    (target,) = mask_paths(tmp_path / "out", [item])
    assert target.name == "a_mask.toy"
    write_mask(labels, scan_file, target)
    assert target.read_bytes() == b"TOY" + bytes([0] * 64 + [1] * 64)
    np.testing.assert_array_equal(read_mask(target, like=scan_file), labels)


def test_a_made_up_format_is_a_choice_of_the_save_panel_and_the_command_line(toy, tmp_path):
    assert mask_choices("toy", flat=False, volume=True)["TOY (.toy)"] == ".toy"
    assert next(iter(mask_choices("toy", flat=False, volume=True))) == "TOY (.toy)"
    (item,) = find_inputs([toy])
    assert mask_paths(tmp_path, [item], "toy")[0].name == "a_mask.toy"
    with pytest.raises(ValueError, match="expected same, png, nifti, dicomseg, toy"):
        mask_paths(tmp_path, [item], "gif")
    assert dialog_filter("toy", "Toys") == "Toys (*.toy)"


def test_the_save_panel_offers_a_made_up_format_for_its_own_images_first(toy, make_napari_viewer):
    from napari.layers import Labels

    from napari_tinymig.viewer.napari_io.layer_geometry import KEY
    from napari_tinymig.viewer.save import SavePanel

    scan_file = open_input(toy)
    viewer = make_napari_viewer()
    labels = np.ones(scan_file.scan.grid_shape, np.uint8)
    viewer.add_layer(Labels(labels, name="m", metadata={KEY: {"scan_file": scan_file}}))
    panel = SavePanel(viewer)
    assert panel.format.itemText(0) == "TOY (.toy)"
    assert panel.path().name == "a_mask.toy"


def test_the_command_line_measures_a_mask_of_a_made_up_format(toy, tmp_path):
    from typer.testing import CliRunner

    from napari_tinymig.cli import app

    (tmp_path / "a.toy").write_bytes(b"TOY" + bytes([0] * 64 + [1] * 64))
    done = CliRunner().invoke(app, ["measure", str(toy), "-o", str(tmp_path / "out"), "--task", "prostate"])
    assert done.exit_code == 0, done.output
    assert "a.toy: 0.1 mL" in done.output  # 64 voxels of 1 mm³


def test_masks_go_where_the_table_says():
    assert list(mask_choices("dicom", flat=False, volume=True)) == [
        *("NIfTI (.nii.gz)", "NRRD (.nrrd)", "MetaImage (.mha)", "DICOM segmentation (.dcm)")
    ]
    assert list(mask_choices(None, flat=True, volume=False)) == ["indexed PNG (.png)"]
    assert next(iter(mask_choices("nrrd", flat=True, volume=True))) == "NRRD (.nrrd)"


def test_the_help_of_segment_names_every_mask_format():
    from napari_tinymig.cli.segment import FORMAT_HELP

    assert all(word in FORMAT_HELP for word in options())


def test_the_manifest_reads_and_writes_what_the_table_says():
    said = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    patterns = {p for r in said["readers"] for p in r["filename_patterns"]}
    volumes = {f"*{s}" for f in FORMATS.values() if f.holds != "picture" for s in f.suffixes}
    assert volumes <= patterns
    written = {w["command"].rpartition(".")[2]: set(w["filename_extensions"]) for w in said["writers"]}
    assert written["write_labels"] == {s for f in FORMATS.values() for s in f.writes}
    assert written["write_image"] == {s for f in FORMATS.values() if f.holds == "volume" for s in f.writes}


def test_no_suffix_of_an_image_is_spelt_outside_the_formats():
    named = {s for f in FORMATS.values() for s in f.suffixes} - {".png"}  # figures and overlays are PNG too
    allowed = {"training/data/importers.py"}  # public data sets as their owners publish them
    found = set()
    for path in (*(ROOT / "napari_tinymig").rglob("*.py"), *(ROOT / "training").rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        if where.startswith("napari_tinymig/formats/") or where in allowed:
            continue
        constants = (
            n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)
        )
        found |= {(where, v) for v in constants if isinstance(v, str) and v in named}
    assert found == set()
