"""The shift and what-if panels in a real window: badge, reasons, sets, sliders, curves; both themes; no leftovers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from viewer_parts import click, dock, spin, wait_until

from napari_tinymig.base.records import Scan
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.sets.survey import Known, add_statistics
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE

pytestmark = pytest.mark.viewer


def eye(seed, blue=0.4, side=140):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    r = np.hypot(y, x)
    grey = 60 + 80 * (r < 36 + rng.normal()) + 70 * (r < 18 + rng.normal()) + rng.normal(0, 4, (side, side))
    return np.clip(grey[..., None] * np.array([1.0, 0.7, blue]) * rng.uniform(0.95, 1.05), 0, 255).astype(np.uint8)


def gland(seed):
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:6, :64, :64]
    ball = ((z - 2.5) / 2.5) ** 2 + ((y - 32) / (15 + rng.normal())) ** 2 + ((x - 32) / 15) ** 2 < 1
    return (ball * 600 + rng.normal(200, 30, ball.shape)).astype(np.float32), ball.astype(np.uint8)


@pytest.fixture
def models(make_model, model_folder):
    """An optic and a prostate model with source statistics in a user folder of this test's own."""
    optic = make_model("optic", OPTIC, [-0.35, 0.1], folder=model_folder, input=InputSpec(size=96))
    drawn = np.zeros((140, 140), np.uint8)
    y, x = np.mgrid[:140, :140] - 70
    drawn[np.hypot(y, x) < 36], drawn[np.hypot(y, x) < 18] = 1, 2
    add_statistics(optic.path, [Known(Scan(eye(i), None, f"k{i}"), drawn, f"k{i}", i > 15) for i in range(26)])
    spec = InputSpec(size=64, normalisation="percentile_z")
    prostate = make_model("prostate", PROSTATE, [0.8], folder=model_folder, input=spec)
    add_statistics(prostate.path, [Known(Scan(gland(i)[0], (3, 0.5, 0.5), f"v{i}"), gland(i)[1]) for i in range(6)])
    return model_folder


@pytest.fixture
def shift_panel(viewer, models):
    from napari_tinymig.viewer.shift.panel import ShiftPanel

    return dock(viewer, ShiftPanel)


@pytest.fixture
def what_if(viewer, models):
    from napari_tinymig.viewer.what_if.panel import WhatIfPanel

    return dock(viewer, WhatIfPanel)


def choose(chooser, name):
    chooser.setCurrentIndex(chooser.findData(name))


def measure(panel):
    click(panel, "Measure the shift")
    wait_until(lambda: not panel.work.running, what="the shift")
    return panel.results[0]


def test_a_home_image_is_known_ground_and_a_blue_one_is_far_away(viewer, shift_panel):
    assert not shift_panel.go.isEnabled()
    viewer.add_image(eye(100), rgb=True, name="home")
    choose(shift_panel.model, "optic")
    shown = measure(shift_panel)
    assert shown.badge.text() == "known ground"
    assert set(shown.bars.bars) >= {"edges, grain", "the whole", "colour, light", "the mask"}
    viewer.add_image(eye(101, blue=0.9), rgb=True, name="away")
    choose(shift_panel.model, "optic")
    shown = measure(shift_panel)
    assert shown.badge.text() == "far away"
    assert "bluer" in shown.reason.text().lower()
    assert "expected Dice, disc" in shown.rows.rows()


def test_a_second_model_is_shown_beside_the_first(viewer, shift_panel, make_model, models):
    import shutil

    shutil.copy(models / "optic.safetensors", models / "after.safetensors")
    viewer.add_image(eye(100), rgb=True, name="home")
    choose(shift_panel.model, "optic")
    choose(shift_panel.other, "after")
    measure(shift_panel)
    assert [not card.isHidden() for card in shift_panel.results] == [True, True]
    assert shift_panel.results[1].heading.text() == "home, seen by after"


def test_the_uncertainty_map_lies_where_the_image_does(viewer, shift_panel):
    image = viewer.add_image(eye(100), rgb=True, name="home", scale=(0.5, 0.5), translate=(7, 8))
    choose(shift_panel.model, "optic")
    shift_panel.add_map()
    wait_until(lambda: not shift_panel.work.running, what="the map")
    layer = viewer.layers["home uncertainty"]
    assert layer.data.shape == (140, 140)
    np.testing.assert_array_equal(layer.scale, image.scale)
    np.testing.assert_array_equal(layer.translate, image.translate)
    assert shift_panel.images.layer == image  # a map is no image to measure


def test_a_volume_is_scored_with_its_furthest_slice(viewer, shift_panel):
    viewer.add_image(gland(50)[0], name="T2", scale=(3, 0.5, 0.5), units=("mm",) * 3)
    choose(shift_panel.model, "prostate")
    shown = measure(shift_panel)
    assert shown.badge.text() in ("known ground", "some shift", "far away")
    assert "furthest slice" in shown.rows.rows()


def test_a_model_without_statistics_says_so(viewer, shift_panel, make_model, models):
    make_model("bare", OPTIC, [-0.35, 0.1], folder=models, input=InputSpec(size=96))
    viewer.add_image(eye(100), rgb=True, name="home")
    shift_panel.model.offer("photograph")
    choose(shift_panel.model, "bare")
    shown = measure(shift_panel)
    assert shown.badge.text() == "cannot say"


def test_two_folders_become_points_that_hover_and_open(viewer, shift_panel, tmp_path):
    from qtpy.QtCore import QPointF

    for name, blue in (("home", 0.4), ("away", 0.9)):
        (tmp_path / name).mkdir(exist_ok=True)
        for i in range(8):
            Image.fromarray(eye(200 + i, blue)).save(tmp_path / name / f"{name}{i}.png")
    viewer.add_image(eye(100), rgb=True, name="open")
    choose(shift_panel.model, "optic")
    shift_panel.sets[0].set_folder(tmp_path / "home")
    shift_panel.sets[1].set_folder(tmp_path / "away")
    (tmp_path / "home" / "models").exists()
    click(shift_panel, "Compare")
    wait_until(lambda: not shift_panel.comparing.running, 60, "the comparison")
    assert "differ" in shift_panel.sentence.text(), shift_panel.message.text()
    scatter = shift_panel.scatter
    assert len(scatter.points) == 16
    spin(0.05)
    at = scatter.position(3)
    assert scatter.nearest(at) is not None
    assert scatter.nearest(QPointF(-500, -500)) is None
    assert scatter.points[3].thumbnail.shape[2] == 3
    viewer.camera.center, viewer.camera.zoom = (0, -900, -900), 0.01
    scatter.opened.emit(scatter.points[3].key)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["home3"]
    assert viewer.layers.selection.active == viewer.layers["home3"]
    size = np.array(viewer.layers["home3"].data.shape[:2])
    np.testing.assert_allclose(viewer.camera.center[-2:], (size - 1) / 2, atol=1)
    assert viewer.camera.zoom > 0.2
    assert "click a point" in scatter.toolTip().lower()
    assert "direction of most spread" in scatter.toolTip()
    scatter.opened.emit(scatter.points[4].key)
    scatter.opened.emit(scatter.points[3].key)  # open already: shown again, not opened twice
    assert [layer.name for layer in viewer.layers if layer.visible] == ["home3"]
    assert len([layer for layer in viewer.layers if layer.name == "home3"]) == 1
    (tmp_path / "report").mkdir()
    shift_panel.save(tmp_path / "report")
    written = {p.name for p in (tmp_path / "report").iterdir()}
    assert {"report.html", "shift.csv", "differences.csv", "shift.png", "shift.svg"} <= written


def test_open_images_are_compared_with_the_training_images(viewer, shift_panel):
    for i in range(5):
        viewer.add_image(eye(300 + i, blue=0.9), rgb=True, name=f"away{i}")
    choose(shift_panel.model, "optic")
    click(shift_panel, "Compare")
    wait_until(lambda: not shift_panel.comparing.running, 60, "the comparison")
    assert "training images of optic" in shift_panel.sentence.text()
    assert len(shift_panel.scatter.points) == 16 + 5


def test_two_model_sets_are_refused_with_a_sentence(viewer, shift_panel):
    viewer.add_image(eye(1), rgb=True, name="eye")
    for chooser in shift_panel.sets:
        chooser.setCurrentIndex(0)
    click(shift_panel, "Compare")
    assert "choose a folder or open images" in shift_panel.message.text()


def start_what_if(panel):
    click(panel, "Start")
    wait_until(lambda: panel.opened is not None and panel.applied is not None, 30, "the what-if panel")


def test_a_slider_spoils_a_copy_in_place_and_dice_falls(viewer, what_if):
    pixels = eye(100)
    image = viewer.add_image(pixels.copy(), rgb=True, name="eye", scale=(2, 2), translate=(5, 6))
    choose(what_if.model, "optic")
    start_what_if(what_if)
    assert what_if.rows.rows()["Dice, disc"] == "1.00"
    spoiled, mask = viewer.layers["what if: eye"], viewer.layers["what if: optic"]
    np.testing.assert_allclose(spoiled.data_to_world((0, 0)), image.data_to_world((0, 0)))
    np.testing.assert_allclose(spoiled.data_to_world((139, 139)), image.data_to_world((139, 139)))
    assert mask.data.shape == (140, 140)
    what_if.sliders["contrast"].setValue(20)
    wait_until(lambda: what_if.applied == {"contrast": 1.0}, what="the spoiled answer")
    assert float(what_if.rows.rows()["Dice, cup"]) < 0.9
    np.testing.assert_array_equal(image.data, pixels)  # the user's image is never changed
    click(what_if, "Reset all")
    wait_until(lambda: what_if.applied == {}, what="the plain answer")
    click(what_if, "End")
    assert [layer.name for layer in viewer.layers] == ["eye"]


def test_only_the_latest_wish_is_answered(viewer, what_if):
    viewer.add_image(eye(100), rgb=True, name="eye")
    choose(what_if.model, "optic")
    start_what_if(what_if)
    for value in range(1, 15):
        what_if.sliders["blur"].setValue(value)
    wait_until(lambda: what_if.applied == {"blur": 0.7}, what="the last answer")
    assert not what_if.trying.running


def test_my_mask_is_what_dice_is_measured_against(viewer, what_if):
    viewer.add_image(eye(100), rgb=True, name="eye")
    mask = np.zeros((140, 140), np.uint8)
    mask[:20, :20] = 1
    viewer.add_labels(mask, name="mine")
    choose(what_if.model, "optic")
    what_if.use_mask.setCurrentIndex(1)
    start_what_if(what_if)
    assert what_if.rows.rows()["held against"] == "my mask"
    assert what_if.rows.rows()["Dice, disc"] == "0.00"


def test_curves_are_measured_shown_and_saved(viewer, what_if, tmp_path):
    viewer.add_image(eye(100), rgb=True, name="eye")
    choose(what_if.model, "optic")
    start_what_if(what_if)
    click(what_if, "Measure the curves")
    wait_until(lambda: bool(what_if.curves), 90, "the curves")
    assert len(what_if.curves) == 9
    assert "Most sensitive to" in what_if.progress.text()
    what_if.save(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert (tmp_path / "curves.svg").read_text().startswith("<?xml")


def test_one_slice_of_a_volume_is_benched_where_it_lies(viewer, what_if):
    viewer.add_image(gland(50)[0], name="T2", scale=(3, 0.5, 0.5), translate=(1, 2, 3))
    viewer.dims.set_point(0, 1 + 3 * 3)
    choose(what_if.model, "prostate")
    start_what_if(what_if)
    layer = viewer.layers["what if: T2"]
    assert layer.data.shape == (1, 64, 64)
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), viewer.layers["T2"].data_to_world((3, 0, 0)))


def test_panels_follow_the_theme_and_close_without_a_trace(viewer, shift_panel, what_if):
    viewer.add_image(eye(100), rgb=True, name="eye")
    viewer.theme = "light"
    spin(0.05)
    assert not shift_panel.scatter.colours.dark
    viewer.theme = "dark"
    assert what_if.chart.colours.dark
    choose(what_if.model, "optic")
    start_what_if(what_if)
    for panel in (shift_panel, what_if):
        viewer.window.remove_dock_widget(panel)
    spin(0.2)
    viewer.add_image(eye(3), rgb=True, name="later")


def test_hours_below_the_rims_bars_never_run_together():
    from napari_tinymig.viewer.readout.rim_plot import hours_with_room

    assert hours_with_room(10) == [10, 12, 3, 6]  # 9 would touch 10
    assert sorted(hours_with_room(9)) == [3, 6, 9, 12]
    assert sorted(hours_with_room(1)) == [1, 3, 6, 9]
    assert sorted(hours_with_room(11)) == [3, 6, 9, 11]
