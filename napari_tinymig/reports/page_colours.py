"""The colours of pictures, pages and figures; those of masks are the tasks' (`tasks/colours.py`)."""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[int, int, int]

BLACK: Rgb = (0, 0, 0)
OVERLAY_INK: Rgb = (245, 247, 250)
OVERLAY_PAPER: Rgb = (18, 22, 28)
OVERLAY_GREY: Rgb = (150, 160, 172)
OVERLAY_WARN: Rgb = (255, 122, 89)
"""Overlays: as dark as the room in which images are read."""

PLOT_INK: Rgb = (28, 33, 40)
PLOT_PAPER: Rgb = (255, 255, 255)
PLOT_GREY: Rgb = (110, 118, 128)
PLOT_FAINT: Rgb = (226, 230, 235)
PLOT_BIAS: Rgb = (22, 120, 170)
PLOT_LIMITS: Rgb = (208, 100, 20)
"""Plots for a paper."""

PRINT_TEXT, PRINT_QUIET, PRINT_TICKS = "#333333", "#555555", "#777777"
PRINT_NOTICE, PRINT_DOUBT, PRINT_THINNEST = "#a01010", "#9a5b00", "#d98200"
"""The one-page report."""


@dataclass(frozen=True)
class PlotColours:
    """Of figures in one theme. a, b: the two sets; channels: red, green, blue (or grey)."""

    background: str
    text: str
    muted: str
    a: str
    b: str
    channels: tuple[str, str, str]


PLOT_COLOURS: dict[str, PlotColours] = {
    "light": PlotColours("#ffffff", "#222426", "#8a8f98", "#2d5bd0", "#c46a00", ("#c8343c", "#2c8a4b", "#2d5bd0")),
    "dark": PlotColours("#262930", "#f0f1f2", "#8a909b", "#6ea0ff", "#ffb000", ("#ff8d85", "#6fd08c", "#8ab4ff")),
}

PAGE_CSS = """
:root { color-scheme: light dark; --ink: #222426; --paper: #fff; --soft: #666c75; --line: #d8dce2; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f1f2; --paper: #262930; --soft: #a9b0ba; --line: #434852; } }
"""
"""The colours of a page in a browser, as CSS variables."""
