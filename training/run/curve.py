"""The curve of a run as a picture."""

from __future__ import annotations

import csv
from pathlib import Path


def draw_curve(metrics: Path, path: Path, title: str) -> None:
    """Validation Dice and learning rate over epochs, from metrics.csv to a PNG; nothing where there is no row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with metrics.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        return
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    epochs = [int(r["epoch"]) for r in rows]
    for name in [k for k in rows[0] if k.startswith("dice_")]:
        axes.plot(epochs, [float(r[name]) for r in rows], label=name.removeprefix("dice_"))
    axes.set(xlabel="epoch", ylabel="Dice on held-out source cases", title=title, ylim=(0, 1))
    if axes.lines:
        axes.legend(loc="lower right", frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
