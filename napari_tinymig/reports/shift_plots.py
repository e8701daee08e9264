"""Figures of a shift report, in a light and a dark theme; matplotlib is imported when a figure is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..base.errors import MissingExtra
from ..sets.compare import Comparison, channel_quantiles, density, picture, values_of
from ..shift.causes import TITLES

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class Look:
    """Colours of one theme. a, b: the two sets; channels: red, green, blue (or grey)."""

    background: str
    text: str
    muted: str
    a: str
    b: str
    channels: tuple[str, str, str]


LOOKS: dict[str, Look] = {
    "light": Look("#ffffff", "#222426", "#8a8f98", "#2d5bd0", "#c46a00", ("#c8343c", "#2c8a4b", "#2d5bd0")),
    "dark": Look("#262930", "#f0f1f2", "#8a909b", "#6ea0ff", "#ffb000", ("#ff8d85", "#6fd08c", "#8ab4ff")),
}


def _pyplot() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtra("drawing figures", "viewer") from e
    return Figure


def new_figure(size: tuple[float, float], theme: Theme) -> tuple[Any, Look]:
    """An empty matplotlib figure in a theme (no pyplot, no window) and its colours. Raises MissingExtra."""
    figure = _pyplot()(figsize=size, layout="constrained")
    look = LOOKS[theme]
    figure.set_facecolor(look.background)
    return figure, look


def dress(axes: Any, look: Look, title: str = "", x: str = "", y: str = "") -> None:
    """Theme, title and labels of one plot: no box, only the two axes that are read."""
    axes.set_facecolor(look.background)
    axes.set_title(title, color=look.text, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(x, color=look.muted, fontsize=9)
    axes.set_ylabel(y, color=look.muted, fontsize=9)
    axes.tick_params(colors=look.muted, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(look.muted)


def legend(axes: Any, look: Look, **where: Any) -> None:
    """A frameless legend in the theme's colours."""
    axes.legend(frameon=False, fontsize=8, labelcolor=look.text, **where)


def comparison_figure(statistics: dict[str, Any], c: Comparison, theme: Theme = "light") -> Any:
    """Four views of two sets: scores, features, colours, and what differs most."""
    figure, look = new_figure((10, 7.2), theme)
    axes = figure.subplots(2, 2)
    draw_scores(axes[0, 0], c, look)
    draw_features(axes[0, 1], statistics, c, look)
    draw_colours(axes[1, 0], c, look)
    draw_differences(axes[1, 1], c, look)
    return figure


def draw_scores(axes: Any, c: Comparison, look: Look) -> None:
    """Every image's distance in source ranges as a dot; the known ground is shaded."""
    dress(axes, look, "How far is each image?", "distance in source ranges", "")
    axes.axvspan(-1.5, 1.2, color=look.muted, alpha=0.15, lw=0)
    axes.text(1.1, -0.45, "known ground", color=look.muted, fontsize=8, ha="right")
    rng = np.random.default_rng(0)
    for row, (one, colour) in enumerate(((c.a, look.a), (c.b, look.b))):
        values = np.array([i.result.distance for i in one.usable if i.result])
        if not len(values):
            axes.text(
                0, row, "shipped statistics only: the reference itself", color=look.muted, fontsize=8, va="center"
            )
            continue
        axes.scatter(
            np.clip(values, -1.5, 12), row + rng.uniform(-0.18, 0.18, len(values)), 14, colour, alpha=0.7, lw=0
        )
    axes.set_yticks([0, 1], [f"{one.name}\nn = {one.n}" for one in (c.a, c.b)], color=look.text)
    axes.set_ylim(1.6, -0.6)


def draw_features(axes: Any, statistics: dict[str, Any], c: Comparison, look: Look) -> None:
    """Both sets in the two principal axes of the network's features."""
    dress(axes, look, "What the network sees", "first axis", "second axis")
    for one, xy, colour in zip((c.a, c.b), picture(statistics, (c.a, c.b)), (look.a, look.b)):
        axes.scatter(xy[:, 0], xy[:, 1], 16, colour, alpha=0.75, lw=0, label=f"{one.name} (n = {one.n})")
    legend(axes, look, loc="best")


def draw_colours(axes: Any, c: Comparison, look: Look) -> None:
    """Mean histogram per channel: A filled, B as a line."""
    dress(axes, look, "Light and colour (filled: A, line: B)", "intensity", "share of pixels")
    for one, filled in ((c.a, True), (c.b, False)):
        quantiles = channel_quantiles(one)
        if quantiles is None:
            continue
        colours = look.channels if len(quantiles) == 3 else (look.text,)
        for channel, colour in zip(quantiles, colours):
            share = density(channel)
            at = (np.arange(len(share)) + 0.5) / len(share)
            if filled:
                axes.fill_between(at, share, color=colour, alpha=0.25, lw=0)
            else:
                axes.plot(at, share, color=colour, lw=1.6)
    axes.set_ylim(0, None)
    axes.set_xlim(0, 1)


def draw_differences(axes: Any, c: Comparison, look: Look, most: int = 9) -> None:
    """The largest differences as bars, in spreads of the training images, signed: right = B has more."""
    rows = sorted([*c.differences, *c.anatomy], key=lambda d: -d.distance)[:most][::-1]
    dress(axes, look, "What differs most (B against A)", "spreads of the training images", "")
    shown = [min(d.distance, 12.0) * d.direction for d in rows]
    axes.barh(range(len(rows)), shown, color=[look.b if v >= 0 else look.a for v in shown], height=0.6)
    axes.axvline(0, color=look.muted, lw=0.8)
    axes.set_yticks(range(len(rows)), [TITLES.get(d.name, d.name.replace("_", " ")) for d in rows], color=look.text)


def anatomy_figure(c: Comparison, theme: Theme = "light") -> Any:
    """Distributions of areas and ratios of both sets, as drawn by the model; None where there is nothing to draw."""
    names = [d.name for d in c.anatomy][:4]
    if not names:
        return None
    figure, look = new_figure((2.6 * len(names) + 0.4, 2.6), theme)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names):
        dress(axes, look, TITLES.get(name, name.replace("_", " ")))
        both = [values_of(one, name, "output") for one in (c.a, c.b)]
        pooled = np.concatenate(both)
        bins = np.linspace(pooled.min(), pooled.max() + 1e-6, 16)
        for values, colour, one in zip(both, (look.a, look.b), (c.a, c.b)):
            if len(values):
                axes.hist(values, bins, color=colour, alpha=0.55, label=one.name)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    legend(axes, look)
    return figure


def robustness_figure(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], title: str, theme: Theme = "light"
) -> Any:
    """Dice over strength, one small plot per corruption, one line per model: curves[corruption][model] = (x, y)."""
    columns = 3
    rows = -(-len(curves) // columns)
    figure, look = new_figure((9, 0.6 + 2.1 * rows), theme)
    figure.suptitle(title, color=look.text, fontsize=11, x=0.01, ha="left")
    grid = np.atleast_2d(figure.subplots(rows, columns, sharey=True, squeeze=False))
    colours = (look.a, look.b, look.channels[1], look.channels[0])
    for axes, (name, lines) in zip(grid.ravel(), curves.items()):
        dress(axes, look, name)
        for (model, (x, y)), colour in zip(lines.items(), colours):
            axes.plot(x, y, color=colour, lw=1.8, marker="o", ms=3, label=model)
        axes.set_ylim(0, 1.02)
        axes.grid(axis="y", color=look.muted, alpha=0.25, lw=0.6)
    for axes in grid.ravel()[len(curves) :]:
        axes.set_visible(False)
    if any(len(lines) > 1 for lines in curves.values()):
        legend(grid.ravel()[0], look, loc="lower left")
    return figure


def save_figure(figure: Any, *paths: Path) -> list[Path]:
    """The figure written to each path, format by ending (.png, .svg, .pdf); returns the paths."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, facecolor=figure.get_facecolor())
    return list(paths)
