"""Planes in a real canvas: every series steps by its own slices, its mask is seen in all planes and in 3-D, and what is
painted in any plane lies in the right voxels."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from viewer_parts import canvas_drag, canvas_key, canvas_of, dock, open_file, spin

pytestmark = pytest.mark.viewer

SHIFT = Qt.KeyboardModifier.ShiftModifier
SERIES = ("tra", "sag", "cor")


@pytest.fixture
def study(tmp_path, dicom_series_maker):
    """Three oblique series of one study: a bright voxel of each lies at the same scanner position."""
    turn = np.deg2rad(12)
    tilt = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    planes = {
        "tra": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], float).T,
        "sag": np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]], float).T,
        "cor": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float).T,
    }
    target = np.array([5.0, -12.0, 33.0])  # LPS mm
    rng = np.random.default_rng(1)
    for name, axes in planes.items():
        direction, spacing = tilt @ axes, np.array([1.0, 1.0, 3.0])
        values = rng.integers(50, 200, (15, 48, 40)).astype(np.uint16)
        values[7, 20, 25] = 4000
        origin = target - direction @ (spacing * np.array([25, 20, 7]))
        dicom_series_maker(tmp_path / name, values, direction, tuple(spacing), origin)
    return tmp_path, np.array([-5.0, 12.0, 33.0])  # RAS mm


def test_one_point_of_a_study_has_one_position_and_a_click_moves_every_plane(viewer, study):
    from napari_tinymig.viewer.napari_io.layer_geometry import world_mm
    from napari_tinymig.viewer.planes.panel import PlanesPanel

    folder, target = study
    layers = [open_file(viewer, folder / name)[0] for name in ("tra", "sag", "cor")]
    panel = dock(viewer, PlanesPanel)
    assert len(panel.views) == 3
    for layer in layers:
        bright = np.unravel_index(int(np.argmax(layer.data)), layer.data.shape)
        np.testing.assert_allclose(world_mm(layer, layer.data_to_world(bright)), target, atol=1e-3)
    panel.go_to(target)
    for view in panel.views:
        bright = np.unravel_index(int(np.argmax(view.layer.data)), view.layer.data.shape)
        assert view.slice_number() == bright[view.axis]
        assert view.inside
    assert panel.cursor_text.text() == "L 5.0   A 12.0   S 33.0"
    # a click on the bright voxel in the sagittal view brings every other plane there
    panel.go_to(target + 9)
    view = panel.views[1]
    view.show_position(target)
    view.resize(200, 180)
    point = view.crosshair(view.picture_rect())
    panel.go_to(view.position_at(point.x(), point.y()))
    np.testing.assert_allclose(panel.position, target, atol=0.05)


def test_scanner_space_puts_every_voxel_where_it_was_scanned_and_back(viewer, study):
    from napari_tinymig.viewer.napari_io.layer_geometry import world_mm
    from napari_tinymig.viewer.napari_io.scanner_space import toggle_scanner_space

    folder, _ = study
    layers = [open_file(viewer, folder / name)[0] for name in ("tra", "sag")]
    before = [layer.affine.affine_matrix.copy() for layer in layers]
    indices = np.array([[0, 0, 0], [3, 7, 2]])
    positions = [[world_mm(layer, layer.data_to_world(i)) for i in indices] for layer in layers]
    assert "2 layer(s)" in toggle_scanner_space(viewer)
    for layer, known in zip(layers, positions):
        for index, ras in zip(indices, known):
            z, y, x = layer.data_to_world(index)  # LPS in the order (z, y, x)
            np.testing.assert_allclose((-x, -y, z), ras, atol=1e-4)
    toggle_scanner_space(viewer)
    for layer, affine in zip(layers, before):
        np.testing.assert_array_equal(layer.affine.affine_matrix, affine)
    assert viewer.dims.ndisplay == 2


def test_a_layer_without_position_is_not_listed_and_the_panel_says_what_to_open(viewer):
    from napari_tinymig.viewer.planes.panel import PlanesPanel

    viewer.add_image(np.random.default_rng(0).random((5, 20, 20)))
    panel = dock(viewer, PlanesPanel)
    assert panel.views == []
    assert "DICOM" in panel.empty.text()
    assert not panel.empty.isHidden()


@pytest.fixture
def planes(make_napari_viewer, study):
    """A window as a user has it with the three series of the study and the panel: viewer, panel, layers by name."""
    from napari_tinymig.viewer.planes.panel import PlanesPanel

    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    layers = {name: open_file(viewer, study[0] / name)[0] for name in SERIES}
    panel = dock(viewer, PlanesPanel)
    spin(0.2)
    return viewer, panel, layers


def add_mask(viewer, image):
    """An empty mask of an image, as a prediction adds it."""
    from napari_tinymig.tasks.prostate import PROSTATE
    from napari_tinymig.viewer.napari_io.layers import result_layer

    empty = np.zeros(image.data.shape, np.uint8)
    return viewer.add_layer(result_layer(image, empty, PROSTATE, f"{image.name} mask", {}))


def test_a_coronal_series_of_few_slices_is_a_case_and_a_volume(planes):
    _, panel, _ = planes
    assert [case.name for case in panel.book.cases] == list(SERIES)
    from napari_tinymig.viewer.cases.pictures import picture_of

    for case in panel.book.cases:  # 48 x 40 pixels as scanned, not the edge of 15 slices
        assert (picture_of(case).any(axis=2).sum(axis=1) > 0).sum() == 44, case.name
        assert (picture_of(case).any(axis=2).sum(axis=0) > 0).sum() >= 36, case.name


@pytest.mark.parametrize("name", SERIES)
def test_the_slider_steps_by_the_slices_of_the_chosen_series(planes, name):
    viewer, _, layers = planes
    viewer.layers.selection.active = layers[name]
    assert tuple(viewer.dims.nsteps) == layers[name].data.shape
    for step in (0, 6, 14):
        axis = layers[name].metadata["tinymig"]["slice_axis"]
        viewer.dims.set_current_step(axis, step)
        assert round(float(layers[name].world_to_data(viewer.dims.point)[axis]), 3) == step
    layers[name].scale = layers[name].scale  # napari takes its own steps again whenever a layer changes
    viewer.add_image(np.zeros((3, 9, 9)), name="another", scale=(0.1, 0.1, 0.1), units=("mm",) * 3)
    viewer.layers.selection.active = layers[name]
    assert tuple(viewer.dims.nsteps) == layers[name].data.shape


def test_choosing_a_series_keeps_the_slice_and_leaving_gives_the_slider_back(planes):
    viewer, _, layers = planes
    together = tuple(viewer.layers.extent.step)
    viewer.layers.selection.active = layers["tra"]
    middle = layers["tra"].data_to_world((7, 24, 20))
    viewer.dims.point = middle
    viewer.layers.selection.active = layers["sag"]
    viewer.layers.selection.active = layers["tra"]
    assert np.allclose(viewer.dims.point, middle, atol=1.0)
    viewer.window.remove_dock_widget("all")
    spin(0.2)
    assert [r.step for r in viewer.dims.range] == pytest.approx(together)


def test_a_series_is_first_shown_as_scanned_and_then_as_its_reader_left_it(planes):
    viewer, panel, layers = planes
    tra, sag, cor = panel.book.cases
    panel.book.go(sag)
    assert viewer.dims.order == (2, 0, 1)
    assert [v.name for v in viewer.layers if v.visible] == ["sag"]
    canvas_key(viewer, Qt.Key.Key_B, SHIFT)
    assert viewer.dims.order == (1, 0, 2)
    viewer.dims.set_point(1, layers["sag"].data_to_world((0, 31, 0))[1])
    viewer.scene.camera.zoom = 9.5
    left = (
        viewer.dims.point,
        viewer.scene.camera.zoom,
        viewer.scene.camera.center,
        tuple(viewer.scene.camera.orientation),
    )
    panel.book.go(cor)
    assert viewer.dims.order == (1, 0, 2)
    canvas_key(viewer, Qt.Key.Key_Z, SHIFT)
    angles = viewer.scene.camera.angles
    assert viewer.dims.ndisplay == 3
    panel.book.go(tra)
    assert (viewer.dims.ndisplay, viewer.dims.order) == (2, (0, 1, 2))
    panel.book.go(sag)
    back = (
        viewer.dims.point,
        viewer.scene.camera.zoom,
        viewer.scene.camera.center,
        tuple(viewer.scene.camera.orientation),
    )
    assert back[3] == left[3]
    for now, then in zip(back[:3], left[:3]):
        assert now == pytest.approx(then)
    assert viewer.dims.order == (1, 0, 2)
    panel.book.go(cor)
    assert viewer.dims.ndisplay == 3
    assert viewer.scene.camera.angles == pytest.approx(angles)


@pytest.mark.parametrize(("key", "axis"), [(Qt.Key.Key_T, 0), (Qt.Key.Key_B, 1), (Qt.Key.Key_Y, 2)])
def test_what_is_painted_in_any_plane_lies_in_the_right_voxels(planes, key, axis):
    viewer, panel, layers = planes
    mask = add_mask(viewer, layers["tra"])
    panel.book.go(panel.book.cases[0])
    canvas_key(viewer, key, SHIFT)
    at = np.array([8, 20, 17])
    viewer.dims.set_point(axis, mask.data_to_world(at)[axis])
    mask.mode, mask.brush_size, mask.selected_label = "paint", 1, 1
    across = next(a for a in (2, 1) if a != axis)
    end = at.copy()
    end[across] += 4
    canvas_drag(viewer, mask, [at, end])
    expected = np.zeros(mask.data.shape, np.uint8)
    expected[tuple(slice(a, b + 1) for a, b in zip(at, end))] = 1
    np.testing.assert_array_equal(mask.data, expected)


def test_the_mask_is_seen_in_the_picture_of_every_series_where_it_lies_in_the_scanner(planes, study):
    from napari_tinymig.base.geometry import index_at, world_mm

    viewer, panel, layers = planes
    _, target = study
    mask = add_mask(viewer, layers["tra"])
    mask.data_setitem((np.array([7, 7]), np.array([20, 21]), np.array([25, 25])), 1)
    spin(0.2)
    panel.go_to(target)
    for view in panel.views:
        labels, geometry = view.labels(), layers["tra"].metadata["tinymig"]["scan_file"].geometry
        slices = np.moveaxis(np.indices(view.layer.data.shape), 0, -1).take(view.slice_number(), view.axis)
        voxels = np.rint(index_at(world_mm(slices, view.volume_geometry), geometry)).astype(int)  # (rows, columns, 3)
        inside = np.all((voxels >= 0) & (voxels < mask.data.shape), axis=-1)
        expected = np.where(
            inside, mask.data[tuple(np.moveaxis(voxels.clip(0, np.array(mask.data.shape) - 1), -1, 0))], 0
        )
        np.testing.assert_array_equal(labels, expected[::-1] if view.axis else expected)
        assert labels.any()


def test_pictures_take_strokes_looks_and_the_windows_slice(planes):
    viewer, panel, layers = planes
    mask = add_mask(viewer, layers["tra"])
    panel.book.go(panel.book.cases[0])
    view = panel.views[0]
    before = view.grab().toImage()
    viewer.dims.set_point(0, mask.data_to_world((3, 0, 0))[0])
    assert view.slice_number() == 3
    mask.data_setitem(tuple(np.mgrid[3:4, 5:40, 5:35].reshape(3, -1)), 1)
    spin(0.2)
    assert view.labels().sum() == 35 * 30
    painted = view.grab().toImage()
    assert painted != before
    mask.contour = 1
    spin(0.1)
    assert view.grab().toImage() != painted


def test_in_3d_the_volume_stands_upright_and_is_no_mirror_image(planes):
    viewer, panel, layers = planes
    panel.book.go(panel.book.cases[0])

    def on_screen(z, y, x):
        """Canvas pixels (right, down) of a point in mm towards superior, posterior and left of the centre."""
        centre = np.mean(layers["tra"].extent.world, axis=0)
        xyz = (centre + (z, y, x))[::-1]
        mapped = canvas_of(viewer).view.scene.transform.map([*xyz, 1.0])
        return mapped[:2] / mapped[3]

    canvas_key(viewer, Qt.Key.Key_Z, SHIFT)
    assert on_screen(9, 0, 0)[1] < on_screen(-9, 0, 0)[1]  # head up
    view = np.asarray(viewer.scene.camera.view_direction)
    assert view[1] > 0  # from the front to the back
    assert on_screen(0, 0, 9)[0] > on_screen(0, 0, -9)[0]  # and then the patient's left is at the right
    assert layers["tra"].depiction == "plane"
    canvas_key(viewer, Qt.Key.Key_Z, SHIFT)
    assert viewer.dims.ndisplay == 2
    assert layers["tra"].depiction == "volume"


def test_one_series_alone_is_shown_in_three_planes_and_more_room_gives_larger_pictures(make_napari_viewer, study):
    from napari_tinymig.viewer.planes.panel import PlanesPanel

    viewer = make_napari_viewer(show=True)
    open_file(viewer, study[0] / "sag")
    panel = dock(viewer, PlanesPanel)
    spin(0.2)
    assert [view.plane for view in panel.views] == ["sagittal", "axial", "coronal"]
    sizes = []
    for size in ((330, 500), (330, 900), (700, 900)):
        panel.grid.resize(*size)  # as a dock of that size does
        frames = [view.picture_rect() for view in panel.views]
        sizes.append(min(f.width() * f.height() for f in frames))
        assert all(view.geometry().bottom() <= size[1] and view.geometry().right() <= size[0] for view in panel.views)
    assert sizes[0] < sizes[1] < sizes[2]


def test_planes_of_a_photograph_are_refused_with_a_sentence(viewer):
    from napari_tinymig.viewer.cases.panel import CasesPanel

    panel = dock(viewer, CasesPanel)
    viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True)
    panel.act["coronal"]()
    assert "of volumes" in panel.message.text()
