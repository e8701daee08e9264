"""The order in which photographs are changed: what lies in the scene, its light and colour, the camera, the screen."""

from __future__ import annotations

from .endoscopy import AFTER_LIGHT, BEFORE_LIGHT, COLOURS
from .fundus import FUNDUS_PARTS
from .photographs import CAMERA, FRAME, LIGHT, SENSOR, STYLES

PHOTOGRAPH_PARTS = (*FUNDUS_PARTS, *STYLES, *BEFORE_LIGHT, *LIGHT, *COLOURS, *CAMERA, *AFTER_LIGHT, *SENSOR, *FRAME)
