"""Saving, reports and batches in a real window; what is saved lands on the same pixels when reopened."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as PilImage
from viewer_parts import click, dock, open_file, photograph, spin, volume, wait_until

pytestmark = pytest.mark.viewer


def oblique_nifti(path):
    """A tilted, flipped, permuted volume: file axes (y, z, x), x mirrored, turned by 20 degrees about x."""
    pixels, ball = volume()
    turn = np.deg2rad(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.array([[0, 0, -0.5], [-0.5, 0, 0], [0, 3, 0]])  # columns: file axes y, z, x
    affine[:3, 3] = (10, -20, 30)
    nib.save(nib.Nifti1Image(pixels.transpose(1, 0, 2), affine), path)
    return pixels, ball, affine


def test_a_saved_mask_has_its_sources_grid_and_reopens_on_the_same_voxels(viewer, models, tmp_path):
    from napari_tinymig.viewer.save import SavePanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    source = tmp_path / "case.nii.gz"
    oblique_nifti(source)
    (image,) = open_file(viewer, source)
    segmenting, saving = dock(viewer, SegmentPanel), dock(viewer, SavePanel)
    wait_until(lambda: segmenting.chosen_task == "prostate")
    click(segmenting, "Segment")
    wait_until(lambda: segmenting.result is not None)
    mask = segmenting.result
    assert saving.layers.layer == mask
    assert saving.name.text() == "case_mask.nii.gz"
    click(saving, "Save mask")
    wait_until(lambda: "Saved" in saving.message.text())
    written, original = nib.load(tmp_path / "case_mask.nii.gz"), nib.load(source)
    assert written.shape == original.shape
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-6)
    (again,) = open_file(viewer, tmp_path / "case_mask.nii.gz")
    np.testing.assert_array_equal(again.data, mask.data)
    np.testing.assert_allclose(again.scale, image.scale)
    np.testing.assert_allclose(again.translate, image.translate, atol=1e-5)


def test_an_existing_mask_is_replaced_only_after_a_second_press(viewer, tmp_path):
    from napari_tinymig.viewer.save import SavePanel

    labels = np.zeros((40, 40), np.uint8)
    labels[10:20, 10:20] = 1
    viewer.add_labels(labels, name="mine")
    panel = dock(viewer, SavePanel)
    panel.folder.setText(str(tmp_path))
    panel.name.setText("mine_mask.png")
    (tmp_path / "mine_mask.png").write_bytes(b"precious")
    click(panel, "Save mask")
    spin(0.3)
    assert (tmp_path / "mine_mask.png").read_bytes() == b"precious"
    assert "exists already" in panel.message.text()
    click(panel, "Replace the existing file")
    wait_until(lambda: "Saved" in panel.message.text())
    np.testing.assert_array_equal(np.asarray(PilImage.open(tmp_path / "mine_mask.png")), labels)


def test_a_folder_that_cannot_be_written_is_a_sentence(viewer, tmp_path):
    from napari_tinymig.viewer.save import SavePanel

    viewer.add_labels(np.ones((40, 40), np.uint8))
    panel = dock(viewer, SavePanel)
    (tmp_path / "file").write_text("in the way")
    panel.folder.setText(str(tmp_path / "file"))
    click(panel, "Save mask")
    wait_until(lambda: "cannot be written" in panel.message.text() or "cannot write" in panel.message.text())


def test_row_and_report_hold_the_numbers_of_the_mask_as_it_is_now(viewer, models, tmp_path):
    from napari_tinymig.viewer.save import SavePanel
    from napari_tinymig.viewer.segment.panel import SegmentPanel

    PilImage.fromarray(photograph()).save(tmp_path / "eye.png")
    open_file(viewer, tmp_path / "eye.png")
    segmenting, saving = dock(viewer, SegmentPanel), dock(viewer, SavePanel)
    segmenting.task.setCurrentIndex(segmenting.task.findData("optic"))
    click(segmenting, "Segment")
    wait_until(lambda: segmenting.result is not None)
    where = np.nonzero(segmenting.result.data == 2)
    segmenting.result.data_setitem(where, 1)  # the annotator takes the cup away
    click(saving, "Add row")
    rows = list(csv.DictReader((tmp_path / "measurements.csv").open()))
    assert len(rows) == 1
    assert rows[0]["file"].endswith("eye.png")
    assert float(rows[0]["vcdr"]) == 0
    click(saving, "Report (PNG)")
    wait_until(lambda: (tmp_path / "eye_report.png").exists(), 30)
    assert PilImage.open(tmp_path / "eye_report.png").size[0] > 1000
    spin(0.2)
    click(saving, "Report (PDF)")
    wait_until(lambda: (tmp_path / "eye_report.pdf").exists(), 30)
    assert (tmp_path / "eye_report.pdf").read_bytes().startswith(b"%PDF")


def test_a_folder_to_adapt_to_shows_what_that_is_worth_and_needs_a_task(viewer, models, tmp_path):
    from napari_tinymig.viewer.batch import BatchPanel

    panel = dock(viewer, BatchPanel)
    panel.source.setText(str(tmp_path))
    panel.target.setText(str(tmp_path / "results"))
    assert panel.worth.isHidden()
    panel.adapt.click()
    assert not panel.worth.isHidden()
    click(panel, "Segment folder")
    assert not panel.work.running
    assert "Choose the task first" in panel.message.text()


def test_a_batch_goes_on_after_cancel_lists_failures_and_opens_a_row(viewer, models, tmp_path):
    from napari_tinymig.viewer.batch import BatchPanel

    images, results = tmp_path / "images", tmp_path / "results"
    images.mkdir()
    for i in range(6):
        PilImage.fromarray(photograph(disc=40 + 4 * i, cup=20 + 2 * i)).save(images / f"eye{i}.png")
    (images / "torn.png").write_bytes((images / "eye0.png").read_bytes()[:200])
    panel = dock(viewer, BatchPanel)
    panel.source.setText(str(images))
    panel.target.setText(str(results))
    panel.task.setCurrentIndex(panel.task.findData("optic"))
    click(panel, "Segment folder")
    wait_until(lambda: panel.table.rowCount() >= 2)
    click(panel, "Cancel")
    assert not panel.work.running
    done = panel.table.rowCount()
    assert done < 7
    spin(1.0)
    click(panel, "Segment folder")
    wait_until(lambda: not panel.work.running, 60, "the folder")
    statuses = [r["status"] for r in panel.rows]
    assert len(statuses) == 7
    assert statuses.count("failed") == 1
    assert statuses.count("skipped") >= done - 1
    assert len(list(results.glob("*_mask.png"))) == 6
    failed = next(i for i, r in enumerate(panel.rows) if r["status"] == "failed")
    assert len(panel.table.item(failed, 3).text()) > 20
    panel.only_failed.click()
    assert [panel.table.isRowHidden(i) for i in range(7)].count(False) == 1
    panel.only_failed.click()
    panel.open_row(1)
    wait_until(lambda: len(viewer.layers) == 2, what="image and mask")
    assert viewer.layers[1].data.max() == 2
    panel.open_row(2)
    wait_until(lambda: viewer.layers and viewer.layers[0].name == "eye2")
    assert len(viewer.layers) == 2  # the pair before was closed, it had no edits
