"""Bars and boxes of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .statistics import Row, mean_over_seeds


def draw_plots(rows: Sequence[Row], recipes: Sequence[str], regions: Sequence[str], out: Path) -> None:
    """bars.png (mean Dice per target, whiskers = sd over seeds) and boxes.png (every case)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    students = [r for r in rows if r["variant"] == "student"]
    targets = sorted({r["target"] for r in students})
    for kind in ("bars", "boxes"):
        figure, axes = plt.subplots(1, len(regions), figsize=(4 + 3.5 * len(regions), 4.2), squeeze=False)
        for axis, region in zip(axes[0], regions, strict=True):
            for i, name in enumerate(recipes):
                at = np.arange(len(targets)) + (i - (len(recipes) - 1) / 2) * 0.8 / len(recipes)
                groups = [[r for r in students if r["recipe"] == name and r["target"] == t] for t in targets]
                _draw_groups(axis, kind, at, groups, f"dice_{region}", 0.7 / len(recipes), f"C{i % 10}", name)
            axis.set_xticks(range(len(targets)), targets)
            axis.set_ylabel(f"Dice, {region}")
            axis.grid(axis="y", alpha=0.3)
            low = min((r[f"dice_{region}"] for r in students), default=0.0)
            axis.set_ylim(max(0.0, low - 0.05) if kind == "boxes" else 0.0, 1.0)
        handles, names = axes[0][0].get_legend_handles_labels()
        columns = min(len(names), 6)
        figure.legend(handles, names, loc="lower center", ncols=columns, fontsize=8, frameon=False)
        figure.tight_layout(rect=(0, 0.05 * -(-len(names) // columns), 1, 1))
        figure.savefig(out / f"{kind}.png", dpi=120)
        plt.close(figure)


def _draw_groups(
    axis: Any, kind: str, at: NDArray, groups: list[list[Row]], metric: str, width: float, colour: str, name: str
) -> None:
    if kind == "bars":
        stats = [mean_over_seeds(g, metric) if g else (0.0, 0.0, 0) for g in groups]
        spread = [0.0 if math.isnan(s[1]) else s[1] for s in stats]
        axis.bar(at, [s[0] for s in stats], width, yerr=spread, color=colour, label=name)
        return
    shown = axis.boxplot(
        [[r[metric] for r in g] for g in groups], positions=at, widths=width, patch_artist=True, manage_ticks=False,
        flierprops={"markersize": 2}, medianprops={"color": "black"},
    )  # fmt: skip
    for box in shown["boxes"]:
        box.set_facecolor(colour)
    shown["boxes"][0].set_label(name)
