"""What the viewer tests share: waiting, clicking, docking, models that are tiny but real."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE


def wait_until(condition, seconds=60.0, what="the condition"):
    """Run the window's events until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        QApplication.processEvents()
        time.sleep(0.005)


def spin(seconds):
    """Run the window's events for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        # Outside a running event loop Qt keeps deleteLater() waiting; a running napari would delete now.
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        time.sleep(0.005)


def click(panel, text):
    """Press the button of a panel whose text starts with `text`, as a user would."""
    found = [b for b in panel.findChildren(QPushButton) if b.text().startswith(text)]
    assert len(found) == 1, [b.text() for b in panel.findChildren(QPushButton)]
    assert found[0].isEnabled(), f"'{text}' is disabled: {found[0].toolTip()}"
    QTest.mouseClick(found[0], Qt.MouseButton.LeftButton)


def dock(viewer, panel_class):
    """The panel, docked as napari docks it."""
    panel = panel_class(viewer)
    viewer.window.add_dock_widget(panel, name=panel_class.__name__, area="right")
    return panel


def add_models(make_model, folder):
    """Thresholding students named as the bundled ones, in the user's model folder: real files, real ONNX Runtime."""
    spec = InputSpec(size=128)
    make_model("optic", OPTIC, [-0.2, 0.4], folder=folder, input=spec)
    volume = InputSpec(size=128, normalisation="percentile_z")
    make_model("prostate", PROSTATE, [1.0], folder=folder, input=volume)


def open_file(viewer, path):
    """The layers that the plugin's reader makes of a file or folder, added."""
    from napari.layers import Layer

    from napari_tinymig.viewer.napari_io.readers import read_layers

    return [viewer.add_layer(Layer.create(*data)) for data in read_layers(str(path))]


def photograph(shape=(300, 320), disc=60, cup=30):
    """RGB with a bright disc (150) and a brighter cup (230) at a known place; vCDR = cup / disc."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    r = np.hypot(y - 140, x - 170)
    grey = np.full(shape, 40, np.uint8)
    grey[r <= disc], grey[r <= cup] = 150, 230
    return np.repeat(grey[..., None], 3, axis=2)


def volume(shape=(12, 96, 96)):
    """A bright ball of known place in a dark volume."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    ball = ((z - 6) / 4) ** 2 + ((y - 50) / 22) ** 2 + ((x - 44) / 22) ** 2 <= 1
    rng = np.random.default_rng(0)
    return (ball * 800 + rng.normal(100, 10, shape)).astype(np.int16), ball


def canvas_of(viewer):
    """The canvas of a viewer; the proxy that plugins get does not show it."""
    return getattr(viewer, "__wrapped__", viewer).window._qt_viewer.canvas


def canvas_point(viewer, layer, position):
    """Where the canvas shows a layer's pixel, in the pixels of its widget (2-D view)."""
    canvas = canvas_of(viewer)
    world = np.asarray(layer.data_to_world(position))
    down, right = (axis - viewer.dims.ndim + layer.ndim for axis in viewer.dims.displayed)
    x, y = canvas.view.camera.transform.map([world[right], world[down]])[:2]
    return canvas.native, QPoint(round(float(x)), round(float(y)))


def canvas_drag(viewer, layer, positions):
    """Press the mouse at the first pixel of a layer, move over the others, let go at the last one."""
    for i, position in enumerate(positions):
        widget, point = canvas_point(viewer, layer, position)
        QTest.mouseMove(widget, point)
        spin(0.03)
        if i == 0:
            QTest.mousePress(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
            spin(0.03)
    QTest.mouseRelease(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
    spin(0.05)


def canvas_click(viewer, layer, position):
    """Click on a layer's pixel with the mouse."""
    canvas_drag(viewer, layer, [position])


def canvas_key(viewer, key, modifier=Qt.KeyboardModifier.NoModifier):
    """Press a key over the canvas."""
    QTest.keyClick(canvas_of(viewer).native, key, modifier)
    spin(0.05)


def segment(panel, task):
    """The mask that the Segment panel makes of its image for `task`, waited for."""
    panel.task.setCurrentIndex(panel.task.findData(task))
    before = panel.result
    click(panel, "Segment")
    wait_until(lambda: not panel.work.running and panel.result is not before, what="the mask")
    return panel.result
