"""Figures of a shift report, in a light and a dark theme; matplotlib is imported when a figure is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..base.errors import MissingExtra
from ..sets.compare import Comparison, channel_quantiles, density, picture, values_of
from ..shift.causes import TITLES
from .page_colours import PLOT_COLOURS, PlotColours

Theme = Literal["light", "dark"]


def _pyplot() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingExtra("drawing figures", "viewer") from e
    return Figure


def new_figure(size: tuple[float, float], theme: Theme) -> tuple[Any, PlotColours]:
    """An empty matplotlib figure in a theme (no pyplot, no window) and its colours. Raises MissingExtra."""
    figure = _pyplot()(figsize=size, layout="constrained")
    palette = PLOT_COLOURS[theme]
    figure.set_facecolor(palette.background)
    return figure, palette


def dress(axes: Any, palette: PlotColours, title: str = "", x: str = "", y: str = "") -> None:
    """Theme, title and labels of one plot: no box, only the two axes that are read."""
    axes.set_facecolor(palette.background)
    axes.set_title(title, color=palette.text, fontsize=10, loc="left", fontweight="bold")
    axes.set_xlabel(x, color=palette.muted, fontsize=9)
    axes.set_ylabel(y, color=palette.muted, fontsize=9)
    axes.tick_params(colors=palette.muted, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.muted)


def legend(axes: Any, palette: PlotColours, **where: Any) -> None:
    """A frameless legend in the theme's colours."""
    axes.legend(frameon=False, fontsize=8, labelcolor=palette.text, **where)


def comparison_figure(statistics: dict[str, Any], c: Comparison, theme: Theme = "light") -> Any:
    """Four views of two sets: scores, features, colours, and what differs most."""
    figure, palette = new_figure((10, 7.2), theme)
    axes = figure.subplots(2, 2)
    draw_scores(axes[0, 0], c, palette)
    draw_features(axes[0, 1], statistics, c, palette)
    draw_colours(axes[1, 0], c, palette)
    draw_differences(axes[1, 1], c, palette)
    return figure


def draw_scores(axes: Any, c: Comparison, palette: PlotColours) -> None:
    """Every image's distance in source ranges as a dot; the known ground is shaded."""
    dress(axes, palette, "How far is each image?", "distance in source ranges", "")
    axes.axvspan(-1.5, 1.2, color=palette.muted, alpha=0.15, lw=0)
    axes.text(1.1, -0.45, "known ground", color=palette.muted, fontsize=8, ha="right")
    rng = np.random.default_rng(0)
    for row, (one, colour) in enumerate(((c.a, palette.a), (c.b, palette.b))):
        values = np.array([i.result.distance for i in one.usable if i.result])
        if not len(values):
            axes.text(
                0, row, "shipped statistics only: the reference itself", color=palette.muted, fontsize=8, va="center"
            )
            continue
        axes.scatter(
            np.clip(values, -1.5, 12), row + rng.uniform(-0.18, 0.18, len(values)), 14, colour, alpha=0.7, lw=0
        )
    axes.set_yticks([0, 1], [f"{one.name}\nn = {one.n}" for one in (c.a, c.b)], color=palette.text)
    axes.set_ylim(1.6, -0.6)


def draw_features(axes: Any, statistics: dict[str, Any], c: Comparison, palette: PlotColours) -> None:
    """Both sets in the two principal axes of the network's features."""
    dress(axes, palette, "What the network sees", "first axis", "second axis")
    for one, xy, colour in zip((c.a, c.b), picture(statistics, (c.a, c.b)), (palette.a, palette.b)):
        axes.scatter(xy[:, 0], xy[:, 1], 16, colour, alpha=0.75, lw=0, label=f"{one.name} (n = {one.n})")
    legend(axes, palette, loc="best")


def draw_colours(axes: Any, c: Comparison, palette: PlotColours) -> None:
    """Mean histogram per channel: A filled, B as a line."""
    dress(axes, palette, "Light and colour (filled: A, line: B)", "intensity", "share of pixels")
    for one, filled in ((c.a, True), (c.b, False)):
        quantiles = channel_quantiles(one)
        if quantiles is None:
            continue
        colours = palette.channels if len(quantiles) == 3 else (palette.text,)
        for channel, colour in zip(quantiles, colours):
            share = density(channel)
            at = (np.arange(len(share)) + 0.5) / len(share)
            if filled:
                axes.fill_between(at, share, color=colour, alpha=0.25, lw=0)
            else:
                axes.plot(at, share, color=colour, lw=1.6)
    axes.set_ylim(0, None)
    axes.set_xlim(0, 1)


def draw_differences(axes: Any, c: Comparison, palette: PlotColours, most: int = 9) -> None:
    """The largest differences as bars, in spreads of the training images, signed: right = B has more."""
    rows = sorted([*c.differences, *c.anatomy], key=lambda d: -d.distance)[:most][::-1]
    dress(axes, palette, "What differs most (B against A)", "spreads of the training images", "")
    shown = [min(d.distance, 12.0) * d.direction for d in rows]
    axes.barh(range(len(rows)), shown, color=[palette.b if v >= 0 else palette.a for v in shown], height=0.6)
    axes.axvline(0, color=palette.muted, lw=0.8)
    axes.set_yticks(range(len(rows)), [TITLES.get(d.name, d.name.replace("_", " ")) for d in rows], color=palette.text)


def anatomy_figure(c: Comparison, theme: Theme = "light") -> Any:
    """Distributions of areas and ratios of both sets, as drawn by the model; None where there is nothing to draw."""
    names = [d.name for d in c.anatomy][:4]
    if not names:
        return None
    figure, palette = new_figure((2.6 * len(names) + 0.4, 2.6), theme)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names):
        dress(axes, palette, TITLES.get(name, name.replace("_", " ")))
        both = [values_of(one, name, "output") for one in (c.a, c.b)]
        pooled = np.concatenate(both)
        bins = np.linspace(pooled.min(), pooled.max() + 1e-6, 16)
        for values, colour, one in zip(both, (palette.a, palette.b), (c.a, c.b)):
            if len(values):
                axes.hist(values, bins, color=colour, alpha=0.55, label=one.name)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    legend(axes, palette)
    return figure


def robustness_figure(
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], title: str, theme: Theme = "light"
) -> Any:
    """Dice over strength, one small plot per corruption, one line per model: curves[corruption][model] = (x, y)."""
    columns = 3
    rows = -(-len(curves) // columns)
    figure, palette = new_figure((9, 0.6 + 2.1 * rows), theme)
    figure.suptitle(title, color=palette.text, fontsize=11, x=0.01, ha="left")
    grid = np.atleast_2d(figure.subplots(rows, columns, sharey=True, squeeze=False))
    colours = (palette.a, palette.b, palette.channels[1], palette.channels[0])
    for axes, (name, lines) in zip(grid.ravel(), curves.items()):
        dress(axes, palette, name)
        for (model, (x, y)), colour in zip(lines.items(), colours):
            axes.plot(x, y, color=colour, lw=1.8, marker="o", ms=3, label=model)
        axes.set_ylim(0, 1.02)
        axes.grid(axis="y", color=palette.muted, alpha=0.25, lw=0.6)
    for axes in grid.ravel()[len(curves) :]:
        axes.set_visible(False)
    if any(len(lines) > 1 for lines in curves.values()):
        legend(grid.ravel()[0], palette, loc="lower left")
    return figure


def save_figure(figure: Any, *paths: Path) -> list[Path]:
    """The figure written to each path, format by ending (.png, .svg, .pdf); returns the paths."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, facecolor=figure.get_facecolor())
    return list(paths)
