"""What the tests of the Prompt panel share: the panel in a window, a session that is open, its answers."""

from __future__ import annotations

import numpy as np
from viewer_parts import (
    dock,
    photograph,
    spin,
    wait_until,
)

from napari_tinymig.tasks.optic import OPTIC


def prompt_panel(viewer):
    """The Prompt panel, docked."""
    from napari_tinymig.viewer.prompts.panel import PromptPanel

    viewer.window.resize(1100, 800)
    return dock(viewer, PromptPanel)


def opened(viewer, panel, *tools):
    """Take tools by their buttons; the session's mask layer."""
    for name in tools:
        panel.tools.buttons[name].click()
    wait_until(lambda: not panel.prompting.opening.running, what="the session")
    viewer.reset_view()
    spin(0.2)
    return panel.prompting.mask


def answered(panel):
    """Until every mark is answered."""
    spin(0.05)
    wait_until(lambda: not panel.prompting.work.running, what="the answer")
    spin(0.02)


def eye(viewer, **where):
    return viewer.add_image(photograph(), rgb=True, name="eye", **where)


def disk(radius=60):
    y, x = np.ogrid[:300, :320]
    return np.hypot(y - 140, x - 170) <= radius


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def with_mask(viewer, image, labels, task=OPTIC):
    from napari_tinymig.viewer.napari_io.layers import result_layer

    return viewer.add_layer(result_layer(image, labels.astype(np.uint8), task, "mine", {}))
