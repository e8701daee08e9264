"""Engines without a network for tests of prompts: what they answer is known. And images for them."""

from __future__ import annotations

import numpy as np

from napari_tinymig.base.records import Scan
from napari_tinymig.prompts.begin import begin
from napari_tinymig.prompts.session import PromptSession


class Bright:
    """An engine that answers: everything brighter than mid grey is the object. No network, no chance."""

    size, model_id = 64, "bright@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, :3].mean(1) * 8


class Stubborn:
    """An engine that never does as it is told: it answers the opposite of the clicks."""

    size, model_id = 64, "stubborn@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return np.where(batch[:, 3] > 0, -5.0, np.where(batch[:, 4] > 0, 5.0, batch[:, 0] * 8)).astype(np.float32)


class Faint(Bright):
    """As `Bright`, but hardly sure of anything: 0.4 logits in the disks."""

    model_id = "faint@0"

    def run(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, :3].mean(1) * 0.6


def two_disks() -> np.ndarray:
    """A photograph (120, 160, 3): bright disks of radius 20 at (40, 40) and radius 15 at (80, 120)."""
    y, x = np.ogrid[:120, :160]
    bright = ((y - 40) ** 2 + (x - 40) ** 2 <= 400) | ((y - 80) ** 2 + (x - 120) ** 2 <= 225)
    return np.where(bright[..., None], 220, 30).astype(np.uint8).repeat(3, axis=2)


def session_on(image: np.ndarray, engine: object | None = None, **kwargs: object) -> PromptSession:
    kwargs.setdefault("task", "any")
    kwargs.setdefault("start", None)
    return begin(Scan(image), engine=engine or Bright(), **kwargs)


def ball() -> np.ndarray:
    """A volume (13, 64, 64): a bright ball, 5 slices and 20 pixels around (6, 32, 32); a bright bar in every slice."""
    z, y, x = np.ogrid[:13, :64, :64]
    inside = (((z - 6) / 5) ** 2 + ((y - 32) / 20) ** 2 + ((x - 32) / 20) ** 2 <= 1).copy()
    inside[:, :4] = True
    noise = np.random.default_rng(0).normal(0, 3, (13, 64, 64))
    return np.where(inside, 220, 30) + noise
