"""A mask opened again: on its scan's whole grid, in its task's colours, and never with '_mask' twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from viewer_parts import click, dock, photograph, wait_until

from napari_tinymig.formats import open_input, read_mask, write_mask
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE

pytestmark = pytest.mark.viewer
VALUES = np.random.default_rng(3).integers(0, 900, (19, 40, 48)).astype(np.int16)


@pytest.fixture
def scan(tmp_path, dicom_series_maker):
    """A series folder of 19 slices and a DICOM-SEG of it with 13."""
    folder = tmp_path / "tra"
    dicom_series_maker(folder, VALUES, np.eye(3), (0.5, 0.6, 3.0), (-10.0, 20.0, 30.0))
    scan_file = open_input(folder)
    labels = np.zeros(scan_file.scan.pixels.shape, np.uint8)
    labels[3:16, 10:30, 12:34] = 1
    write_mask(labels, scan_file, tmp_path / "tra_mask.dcm", task=PROSTATE)
    return folder, tmp_path / "tra_mask.dcm", labels


def test_a_dicom_seg_fills_the_grid_of_its_open_scan_and_is_saved_there_under_its_name(viewer, scan):
    from napari_tinymig.viewer.save import SavePanel

    folder, seg, labels = scan
    viewer.open(str(folder), plugin="napari-tinymig")
    (mask,) = viewer.open(str(seg), plugin="napari-tinymig")
    np.testing.assert_array_equal(mask.data, labels)  # 19 slices, not the 13 that hold something
    np.testing.assert_allclose(mask.data_to_world((0, 0, 0)), viewer.layers["tra"].data_to_world((0, 0, 0)))
    assert mask.metadata["tinymig"]["task"]["name"] == "prostate"
    save = dock(viewer, SavePanel)
    save.layers.choose(mask)
    assert save.name.text() == "tra_mask.dcm"  # DICOM-SEG first for a DICOM source
    mask.data_setitem((np.array([1]), np.array([5]), np.array([5])), 1)  # in a slice that the file had not
    click(save, "Save mask")
    click(save, "Replace the existing file")
    wait_until(lambda: not save.work.running, what="the file")
    assert read_mask(folder.parent / "tra_mask.dcm", like=open_input(folder))[1, 5, 5] == 1


def test_a_dicom_seg_whose_scan_is_not_open_keeps_its_own_slices(viewer, scan):
    _, seg, _ = scan
    (mask,) = viewer.open(str(seg), plugin="napari-tinymig")
    assert mask.data.shape[0] == 13


@pytest.mark.parametrize(("task", "labels"), [(OPTIC, 2), (POLYP, 1)])
def test_a_png_mask_has_the_colours_and_classes_of_its_task(viewer, tmp_path, task, labels):
    Image.fromarray(photograph()).save(tmp_path / "eye.png")
    drawn = np.zeros((300, 320), np.uint8)
    drawn[50:200, 60:200], drawn[100:150, 100:150] = 1, labels
    write_mask(drawn, open_input(tmp_path / "eye.png"), tmp_path / "eye_mask.png", task=task)
    (mask,) = viewer.open(str(tmp_path / "eye_mask.png"), plugin="napari-tinymig")
    assert type(mask).__name__ == "Labels"
    if labels == 2:  # with label 1 alone, disc rim and polyp look the same
        assert mask.metadata["tinymig"]["task"]["name"] == task.name
        assert list(mask.features["class"]) == list(task.class_names.values())
    wanted = [int(task.regions[0].colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    np.testing.assert_allclose(mask.colormap.map(1).ravel()[:3], wanted, atol=0.01)


def test_a_picture_called_a_mask_is_labels_where_it_is_one(tmp_path):
    from napari_tinymig.viewer.napari_io.readers import get_reader

    manifest = yaml.safe_load((Path(__file__).parent.parent / "napari.yaml").read_text(encoding="utf-8"))
    claimed = [p for reader in manifest["contributions"]["readers"] for p in reader["filename_patterns"]]
    drawn = np.zeros((60, 80), np.uint8)
    drawn[5:20, 5:30], drawn[8:12, 10:20] = 1, 2
    grey = np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8)
    pictures = {"codes_mask": drawn, "white-mask": np.where(drawn, 255, 0).astype(np.uint8), "two_labels": drawn > 0}
    pictures |= {"deep_seg": drawn.astype(np.uint16), "grey_mask": grey, "eye": drawn}
    pictures["colour_mask"] = np.repeat(drawn[..., None], 3, 2)
    kinds = {}
    for name, pixels in pictures.items():
        path = tmp_path / f"{name}.{'tif' if name == 'deep_seg' else 'png'}"
        Image.fromarray(pixels).save(path)
        reader = get_reader(str(path))
        kinds[name] = [layer[2] for layer in reader(str(path))] if reader else "napari's own"
        if reader:
            np.testing.assert_array_equal(reader(str(path))[0][0], pixels)
            assert any(path.match(pattern) for pattern in claimed), "napari asks this plugin for the name"
    labels = {"codes_mask", "white-mask", "two_labels", "deep_seg"}
    assert {name for name, kind in kinds.items() if kind == ["labels"]} == labels
    assert {kinds[name] for name in pictures if name not in labels} == {"napari's own"}


def test_the_reader_of_the_preferences_opens_a_mask_as_labels(viewer, tmp_path):
    """What docs/VIEWER.md says of napari's own choice."""
    from napari.settings import get_settings

    drawn = np.zeros((60, 80), np.uint8)
    drawn[5:20, 5:30] = 1
    Image.fromarray(drawn).save(tmp_path / "eye_mask.png")
    (own,) = viewer.open(str(tmp_path / "eye_mask.png"))
    assert type(own).__name__ == "Image"
    with pytest.raises(Exception, match="Multiple plugins found"):
        viewer.open(str(tmp_path / "eye_mask.png"), plugin=None)
    get_settings().plugins.extension2reader = {"*_mask.png": "napari-tinymig"}
    try:
        (mask,) = viewer.open(str(tmp_path / "eye_mask.png"), plugin=None)
    finally:
        get_settings().plugins.extension2reader = {}
    assert type(mask).__name__ == "Labels"
    np.testing.assert_array_equal(mask.data, drawn)
