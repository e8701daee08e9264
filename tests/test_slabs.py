"""Sagittal and coronal stacks: answered as axial slabs, brought back to their own grid without moving a voxel."""

import numpy as np
import pytest

from napari_tinymig.base.geometry import place, whole_box
from napari_tinymig.base.records import Scan
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.slabs import Slabs
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.prostate import PROSTATE

FINE = 0.6
CENTRE, RADII = np.array((30.0, 32.0, 28.0)), np.array((16.0, 14.0, 20.0))  # mm; z, y, x


def gland(spacing, extent=(60.0, 66.0, 60.0)):
    """A drawn ellipsoid in patient order: (D, H, W) where voxel i has its middle at (i + .5) spacing."""
    shape = [round(e / s) for e, s in zip(extent, spacing, strict=True)]
    z, y, x = ((np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True))
    far = ((z - CENTRE[0]) / RADII[0]) ** 2
    far = far[:, None, None] + (((y - CENTRE[1]) / RADII[1]) ** 2)[None, :, None]
    return far + (((x - CENTRE[2]) / RADII[2]) ** 2)[None, None] <= 1


def scan_of(inside, spacing):
    noise = np.random.default_rng(0).normal(100, 5, inside.shape)
    return Scan((noise + 300 * inside).astype(np.int16), spacing)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture
def predictor(make_model):
    spec = InputSpec(size=128, normalisation="percentile_z", context_slices=True, fov_mm=80.0)
    return Predictor(make_model("prostate-toy", PROSTATE, (1.0,), input=spec), "cpu")


PLANES = {"axial": (3.0, FINE, FINE), "coronal": (FINE, 3.0, FINE), "sagittal": (FINE, FINE, 3.6)}


@pytest.mark.parametrize("plane", PLANES)
def test_a_drawn_gland_is_found_where_it_is_in_every_plane(predictor, plane):
    spacing = PLANES[plane]
    inside = gland(spacing)
    seen = []
    p = predictor.predict(
        scan_of(inside, spacing), probabilities=True, uncertainty=True, progress=lambda _, total: seen.append(total)
    )
    assert set(seen) == {20}  # 60 mm in slices or slabs of 3 mm
    assert p.labels.shape == inside.shape
    assert dice(p.labels == 1, inside) > 0.85
    middles = [(np.mean(np.nonzero(m), axis=1) + 0.5) * spacing for m in (p.labels == 1, inside)]
    assert np.abs(np.subtract(*middles)).max() < 0.8  # mm
    assert p.probabilities.shape == (1, *inside.shape)
    assert p.uncertainty_map.shape == inside.shape
    assert any(f"{plane} stack" in n for n in p.notes) == (plane != "axial")


def test_a_stack_turned_about_the_body_answers_the_same_voxels(predictor):
    inside = gland((FINE, FINE, 3.0), (60.0, 66.0, 66.0))
    scan = scan_of(inside, (FINE, FINE, 3.0))
    turned = Scan(np.ascontiguousarray(scan.pixels[:, ::-1, ::-1]), scan.spacing_mm)
    there, back = predictor.predict(scan).labels, predictor.predict(turned).labels[:, ::-1, ::-1]
    assert dice(there == 1, back == 1) > 0.97


def test_slabs_by_hand():
    slabs = Slabs.of(Scan(np.zeros((11, 20, 10), np.int16), (0.6, 0.6, 3.6)), field_mm=36.0)
    assert slabs.starts == (0, 5, 10, 11)
    assert slabs.margin == (20, 0)
    seen = slabs.seen(np.arange(11, dtype=np.int16)[:, None, None] * np.ones((1, 20, 10), np.int16))
    assert seen.shape == (3, 60, 10)
    assert seen[:, 0, 0].tolist() == [2.0, 7.0, 10.0]
    values = np.float32([2, 7, 10])[:, None, None] * np.ones((1, 64, 64), np.float32)
    placement = place(seen[0], whole_box(seen.shape[1:]), 64)[1]
    rows = [float(slabs.row(values, placement, z)[10, 5]) for z in (0, 2, 3, 7, 9, 10)]
    assert rows == pytest.approx([2, 2, 3, 7, 9, 10])  # linear between the middles 2, 7 and 10
    assert slabs.row(values, placement, 0).shape == (20, 10)


def test_an_axial_stack_and_one_without_spacing_are_left_as_they_are():
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for spacing in (None, (3.0, 0.5, 0.5), (1.0, 1.0, 1.0)):
        slabs = Slabs.of(Scan(volume, spacing), 100.0)
        assert slabs.plain
        assert slabs.seen(volume) is volume


def test_the_truth_of_a_slab_is_where_it_fills_half_of_it():
    labels = np.zeros((5, 4, 4), np.uint8)
    labels[:3, 0, 0], labels[:2, 1, 1] = 1, 1
    slabs = Slabs((0, 5), (0, 0))
    assert slabs.seen_labels(labels)[0].tolist()[0][0] == 1
    assert slabs.seen_labels(labels)[0].tolist()[1][1] == 0
