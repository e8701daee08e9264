"""Classify in a window that is on the screen: its colours as painted, and all of it within reach of the wheel."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QColor, QWheelEvent
from qtpy.QtWidgets import QApplication
from striped import striped
from viewer_parts import dock, spin, wait_until

from napari_tinymig.jobs.classifying import ClassifierAnswer

pytestmark = pytest.mark.viewer
CALM_OR_ILL = np.float32([0.25, 0.75])
SEEN = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def panel(make_napari_viewer_proxy, tmp_path, monkeypatch):
    """The panel beside a film, in a window as small as a projector's."""
    from napari_tinymig.viewer.classify.panel import ClassifyPanel

    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path))
    viewer = make_napari_viewer_proxy(show=True)
    viewer.window.resize(1100, 700)
    viewer.add_image(striped(0, 1), name="film")
    made = dock(viewer, ClassifyPanel)
    made.classifier.setText("probe.safetensors")
    made.refresh()
    wait_until(made.isVisible, 10, "the panel")
    return made


def answer(panel, score):
    """Show an answer with this shift score, and let it be painted."""
    found = ClassifierAnswer(("calm", "ill"), CALM_OR_ILL, CALM_OR_ILL, 0.0, score, SEEN, SEEN, "probe@1")
    panel.answer.show_look(panel.viewer.layers["film"], found, "probe.safetensors")
    spin(0.2)


def painted(label, colour):
    """How many pixels of a label were painted in a colour (three levels of 255 to either side)."""
    image, wanted = label.grab().toImage(), QColor(colour)
    pixels = [image.pixelColor(x, y) for y in range(image.height()) for x in range(image.width())]
    near = [
        max(abs(p.red() - wanted.red()), abs(p.green() - wanted.green()), abs(p.blue() - wanted.blue())) for p in pixels
    ]
    return sum(n <= 3 for n in near)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_badge_of_an_answer_is_painted_green_only_where_the_image_is_like_the_examples(panel, theme):
    panel.viewer.theme = theme
    colours, badge = panel.palette_colours, panel.answer.badge
    for score, tone, other in ((40.0, colours.good, colours.warn), (100.0, colours.warn, colours.good)):
        answer(panel, score)
        panel.scroll_area.ensureWidgetVisible(badge)
        spin(0.1)
        assert painted(badge, tone) > 10
        assert painted(badge, other) == 0
        assert badge.width() >= badge.sizeHint().width(), "its words are not cut"


def test_everything_of_a_full_panel_is_reached_by_the_wheel_and_nothing_is_cut_at_the_side(panel):
    answer(panel, 100.0)
    area = panel.scroll_area
    bar, port = area.verticalScrollBar(), area.viewport()
    assert bar.maximum() > 0, "the window is too small for the whole panel"
    assert area.horizontalScrollBar().maximum() == 0
    buttons = [b for b in (panel.go, panel.answer.prompt_button, panel.answer.prompted_button) if not b.isHidden()]
    assert len(buttons) == 3
    bar.setValue(0)
    for button in buttons:
        for _ in range(60):
            top = button.mapTo(port, QPoint(0, 0)).y()
            if 0 <= top <= port.height() - button.height():
                break
            turned(port, down=top > 0)
        left = button.mapTo(port, QPoint(0, 0))
        assert 0 <= left.y() <= port.height() - button.height(), button.text()
        assert 0 <= left.x() <= port.width() - button.width(), button.text()


def turned(port, down):
    """One notch of a real wheel over the middle of a scroll area's viewport."""
    middle = QPointF(port.rect().center())
    notch = QPoint(0, -120 if down else 120)
    event = QWheelEvent(
        middle,
        QPointF(port.mapToGlobal(port.rect().center())),
        QPoint(),
        notch,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(port, event)
    spin(0.02)
