"""Files of cases: masks of a DICOM series as DICOM-SEG, masks of a folder in the codes that its legend explains."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from napari.layers import Layer
from PIL import Image

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.formats import find_inputs, mask_paths, open_input, write_mask
from napari_tinymig.formats.dicom_seg import is_dicom_seg
from napari_tinymig.formats.foreign_masks.kept_legend import keep_legend
from napari_tinymig.tasks.prostate import PROSTATE
from napari_tinymig.viewer.cases.case import Case
from napari_tinymig.viewer.cases.folder import cases_of, read_case
from napari_tinymig.viewer.cases.saving import put_in_place, target_of, to_write, write
from napari_tinymig.viewer.napari_io.layers import result_layer
from napari_tinymig.viewer.napari_io.readers import get_reader, image_layer, read_layers
from napari_tinymig.viewer.napari_io.writers import write_labels

pytestmark = pytest.mark.viewer
VALUES = np.random.default_rng(3).integers(0, 900, (9, 32, 40)).astype(np.int16)
LEGEND = "0:2,128:1,255:0"
CODES = np.array([255, 128, 0], np.uint8)
"""Our label -> the code of that legend."""


@pytest.fixture
def series_folder(tmp_path, dicom_series_maker):
    dicom_series_maker(tmp_path / "study" / "tra", VALUES, np.eye(3), (0.5, 0.6, 3.0), (-10.0, 20.0, 30.0))
    return tmp_path / "study" / "tra"


def gland():
    labels = np.zeros(VALUES.shape, np.uint8)
    labels[2:5, 8:20, 10:26] = 1
    return labels


def mended(image):
    """A mask layer of an open image, as the saver gets it."""
    return Case("tra", image=image, layers=[result_layer(image, gland(), PROSTATE, "tra mask", {})])


def test_the_mask_of_a_dicom_series_is_saved_as_dicom_seg_and_read_back_on_all_slices(series_folder):
    case = mended(Layer.create(*image_layer(open_input(series_folder))))
    target = target_of(case)
    assert target == series_folder.parent / "tra_mask.dcm"
    write(to_write(case, target, "saved"), True, lambda _value: None)
    assert is_dicom_seg(target)
    (again,), problems = cases_of(series_folder.parent)
    assert (again.state, again.mask_file, problems) == ("saved", target, [])
    _, (labels, attributes, kind) = read_case(again.item, again.mask_file, lambda _value: None)
    assert kind == "labels"
    assert attributes["metadata"]["tinymig"]["task"]["name"] == "prostate"
    assert [item.path for item in find_inputs([series_folder.parent.parent])] == [series_folder]
    np.testing.assert_array_equal(labels, gland())  # 9 slices, not the 3 that hold something


def test_a_mask_that_lies_there_as_nifti_stays_one_and_an_image_without_slices_gets_one(series_folder):
    scan_file = open_input(series_folder)
    (item,) = find_inputs([series_folder])
    usual = mask_paths(series_folder.parent, [item])[0]
    write_mask(gland(), scan_file, usual, task=PROSTATE)
    assert target_of(mended(Layer.create(*image_layer(scan_file)))) == usual
    usual.unlink()
    foreign = Layer.create(VALUES, {"name": "tra"}, "image")  # of another plugin's reader: its slices are not known
    foreign.metadata["tinymig"] = {"path": str(series_folder)}
    assert target_of(mended(foreign)) == usual


@pytest.fixture
def told(tmp_path):
    """A folder whose masks have foreign codes, explained by its legend."""
    labels = np.zeros((40, 50), np.uint8)
    labels[5:30, 8:40], labels[10:20, 15:30] = 1, 2
    Image.fromarray(CODES[labels]).save(tmp_path / "a_mask.png")
    Image.fromarray(CODES[labels]).save(tmp_path / "b.png")
    Image.fromarray(np.arange(2000, dtype=np.uint16).reshape(40, 50).astype(np.uint8)).save(tmp_path / "eye.png")
    keep_legend(tmp_path, LEGEND)
    return tmp_path, labels


@pytest.mark.parametrize("name", ["a_mask.png", "b.png"])
def test_foreign_codes_are_read_by_the_legend_of_their_folder_and_written_in_it(told, name):
    folder, labels = told
    with pytest.warns(UserWarning, match="label codes as kept in tinymig-labels.json"):
        [(data, attributes, kind)] = get_reader(str(folder / name))(str(folder / name))
    assert kind == "labels"
    np.testing.assert_array_equal(data, labels)
    data[0, 0] = 1
    write_labels(str(folder / name), data, attributes)
    with Image.open(folder / name) as written:
        assert written.mode == "L"
        np.testing.assert_array_equal(np.asarray(written), CODES[data])
    data[0, 1] = 7
    with pytest.raises(OutputRefused, match="no number from 0 to 255 for the label 7; choose another folder"):
        write_labels(str(folder / name), data, attributes)


def test_an_image_beside_a_legend_stays_an_image_and_codes_without_meaning_are_shown_as_they_are(told):
    folder, labels = told
    assert get_reader(str(folder / "eye.png")) is None
    Image.fromarray(labels).save(folder / "c_mask.png")
    with pytest.warns(UserWarning, match="holds codes that tinymig-labels.json in its folder does not name"):
        [(data, _, kind)] = read_layers(str(folder / "c_mask.png"))
    assert kind == "labels"
    np.testing.assert_array_equal(data, labels)


def test_a_predicted_mask_is_put_into_a_folder_in_its_codes(told):
    folder, labels = told
    waits = folder / "tinymig" / "predicted" / "eye_mask.png"
    waits.parent.mkdir(parents=True)
    Image.fromarray(labels).save(waits)
    assert put_in_place(waits, folder / "eye_mask.png") == folder / "eye_mask.png"
    assert not waits.exists()
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "eye_mask.png")), CODES[labels])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(read_layers(str(folder / "eye_mask.png"))[0][0], labels)


def test_masks_beside_the_folders_of_their_series_are_no_images(series_folder):
    study = series_folder.parent
    write_mask(gland(), open_input(series_folder), study / "tra_mask.nii.gz", task=PROSTATE)
    (study / "tra_series7_mask.nii.gz").write_bytes((study / "tra_mask.nii.gz").read_bytes())
    assert [item.path for item in find_inputs([study])] == [series_folder]
    (study / "other_mask.nii.gz").write_bytes((study / "tra_mask.nii.gz").read_bytes())
    assert [item.name for item in find_inputs([study])] == ["other_mask"]  # of no image here: shown, not lost
