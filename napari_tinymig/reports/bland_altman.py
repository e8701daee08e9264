"""A Bland-Altman plot drawn with Pillow, because the base install has no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..measures.agreement import Agreement
from .page_colours import PLOT_BIAS, PLOT_FAINT, PLOT_GREY, PLOT_INK, PLOT_LIMITS, PLOT_PAPER

WIDTH, HEIGHT, FINE = 760, 520, 2
LEFT, RIGHT, TOP, BOTTOM = 86, 170, 58, 64


def bland_altman(
    a: Sequence[float], b: Sequence[float], found: Agreement, measure: str, names: tuple[str, str]
) -> Image.Image:
    """Differences a - b over means, with bias and limits of agreement; one dot per image."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    both = np.isfinite(x) & np.isfinite(y)
    mean, difference = (x[both] + y[both]) / 2, x[both] - y[both]
    picture = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), PLOT_PAPER)
    draw = ImageDraw.Draw(picture)
    across = _Axis(mean, LEFT, WIDTH - RIGHT)
    up = _Axis(np.concatenate([difference, _finite(found.lower, found.upper, 0.0)]), HEIGHT - BOTTOM, TOP)
    _frame(draw, across, up, measure, names)
    for value, text, colour in (
        (found.upper, f"+1.96 sd  {found.upper:.3g}", PLOT_LIMITS),
        (found.bias, f"bias  {found.bias:.3g}", PLOT_BIAS),
        (found.lower, f"-1.96 sd  {found.lower:.3g}", PLOT_LIMITS),
    ):
        if math.isfinite(value):
            _line(draw, (LEFT, up.at(value)), (WIDTH - RIGHT, up.at(value)), colour, 1.8)
            _text(draw, WIDTH - RIGHT + 8, up.at(value), text, 14, colour, "lm")
    for m, d in zip(mean, difference):
        cx, cy, r = across.at(m) * FINE, up.at(d) * FINE, 4.2 * FINE
        draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=PLOT_BIAS, outline=PLOT_PAPER, width=FINE)
    icc = f", ICC(2,1) {found.icc:.3f}" if math.isfinite(found.icc) else ""
    _text(draw, LEFT, 16, f"{measure}: {names[0]} against {names[1]}, n = {found.n}{icc}", 18, PLOT_INK, "la")
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


class _Axis:
    """Numbers to pixels, with round ticks."""

    def __init__(self, values: Any, start: float, stop: float):
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        room = 0.08 * (high - low) or max(abs(high) * 0.1, 0.05)
        self.low, self.high, self.start, self.stop = low - room, high + room, start, stop

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next((f for f in (1, 2, 5, 10) if (self.high - self.low) / (step * f) <= 6), 10)
        first = math.ceil(self.low / step)
        return [round(k * step, 10) for k in range(first, math.floor(self.high / step) + 1)]


def _finite(*values: float) -> list[float]:
    return [v for v in values if math.isfinite(v)]


def _frame(draw: ImageDraw.ImageDraw, across: _Axis, up: _Axis, measure: str, names: tuple[str, str]) -> None:
    for v in across.ticks():
        _line(draw, (across.at(v), TOP), (across.at(v), HEIGHT - BOTTOM), PLOT_FAINT, 1)
        _text(draw, across.at(v), HEIGHT - BOTTOM + 8, f"{v:g}", 13, PLOT_GREY, "ma")
    for v in up.ticks():
        _line(draw, (LEFT, up.at(v)), (WIDTH - RIGHT, up.at(v)), PLOT_FAINT, 1)
        _text(draw, LEFT - 8, up.at(v), f"{v:g}", 13, PLOT_GREY, "rm")
    if up.low < 0 < up.high:
        _line(draw, (LEFT, up.at(0)), (WIDTH - RIGHT, up.at(0)), PLOT_GREY, 1)
    _text(draw, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 26, f"mean {measure} of both", 15, PLOT_INK, "ma")
    _text(draw, LEFT, TOP - 18, f"{measure}: {names[0]} - {names[1]}", 13, PLOT_GREY, "la")


def _line(draw: ImageDraw.ImageDraw, a: tuple[float, float], b: tuple[float, float], colour: Any, width: float) -> None:
    draw.line([(a[0] * FINE, a[1] * FINE), (b[0] * FINE, b[1] * FINE)], fill=colour, width=max(1, round(width * FINE)))


def _text(draw: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, colour: Any, anchor: str) -> None:
    draw.text((x * FINE, y * FINE), text, colour, font=ImageFont.load_default(size * FINE), anchor=anchor)
