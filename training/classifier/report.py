"""What a probe leaves behind for people: a table, every answer as a row, and one picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.measures.classification import FEWEST_CASES, ClassificationScores
from napari_tinymig.recipes.classify import ProbeRecipe

from .images import Item


@dataclass
class SetResult:
    """Answers and scores of one set. probabilities: (N, C); features: (N, F)."""

    name: str
    scores: ClassificationScores
    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    items: list[Item]
    features: NDArray[np.float32]


def write_report(
    out: Path,
    recipe: ProbeRecipe,
    classes: Sequence[str],
    results: dict[str, SetResult],
    facts: dict[str, Any],
    prompt: NDArray[np.float32] | None,
) -> None:
    """Write scores.json, scores.md, predictions.csv, metrics.csv and report.png into the run folder.

    facts: trained_parameters, train_seconds and whatever else scores.json should hold.
    """
    scores = {name: r.scores.as_dict() for name, r in results.items()}
    (out / "scores.json").write_text(json.dumps(facts | {"sets": scores}, indent=1), encoding="utf-8")
    table = score_table(recipe, classes, results, facts["trained_parameters"], facts["train_seconds"])
    (out / "scores.md").write_text(table, encoding="utf-8")
    with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["set", "file", "case", "truth", "answer", *(f"p_{c}" for c in classes)])
        for name, result in results.items():
            for item, p, y in zip(result.items, result.probabilities, result.labels):
                row = [f"{v:.4f}" for v in p]
                writer.writerow([name, item.name, item.case, classes[y], classes[int(p.argmax())], *row])
    epochs = _epochs(out / "log.jsonl")
    if epochs:
        with (out / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
            lines = csv.DictWriter(stream, list(epochs[-1]), extrasaction="ignore")
            lines.writeheader()
            lines.writerows(epochs)
    draw_report(out / "report.png", recipe, classes, results, epochs, prompt)


def score_table(
    recipe: ProbeRecipe, classes: Sequence[str], results: dict[str, SetResult], trained: int, seconds: float
) -> str:
    """In- and out-of-distribution side by side, as Markdown."""
    lines = [
        f"# {recipe.name}: {recipe.method}" + (f" ({recipe.strategy})" if recipe.method == "movl" else ""),
        "",
        f"Backbone {recipe.backbone.name}; {trained:,} trained parameters; {seconds:.0f} s; seed {recipe.seed}. "
        f"95 % intervals resample persons; of fewer than {FEWEST_CASES} persons none is given. "
        "Research use only; not a medical device.",
        "",
        "| set | images | persons | accuracy | balanced accuracy | AUROC | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        s = result.scores
        ranges = s.intervals if s.cases >= FEWEST_CASES else {}
        cells = [_with_interval(getattr(s, k), ranges.get(k)) for k in ("accuracy", "balanced_accuracy", "auroc")]
        lines.append(f"| {name} ({result.name}) | {s.n} | {s.cases} | {' | '.join(cells)} | {s.ece:.3f} |")
    for name, result in results.items():
        lines += ["", *confusion_table(name, result.scores.confusion, classes)]
    return "\n".join(lines) + "\n"


def confusion_table(name: str, counts: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """Markdown lines of a confusion matrix (C, C): a row per true class, a column per answer, counts of images."""
    lines = [f"Confusion, {name} (images):", "", f"| truth \\ answer | {' | '.join(classes)} |"]
    lines.append("|---" * (len(classes) + 1) + "|")
    lines += [f"| {c} | {' | '.join(str(int(n)) for n in row)} |" for c, row in zip(classes, counts, strict=True)]
    return lines


def write_failures(path: Path, failed: Sequence[tuple[str, str, str]]) -> None:
    """A row (set, file, error) per image that could not be read; without any, no file, and an older one goes."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("set", "file", "error"), *failed])


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")


def _epochs(log: Path) -> list[dict[str, Any]]:
    rows = []
    for line in log.read_text(encoding="utf-8").splitlines():
        message = json.loads(line)
        if message["kind"] == "epoch":
            rows.append({"step": message["step"]} | message["values"])
    return rows


def draw_report(
    path: Path,
    recipe: ProbeRecipe,
    classes: Sequence[str],
    results: dict[str, SetResult],
    epochs: list[dict[str, Any]],
    prompt: NDArray[np.float32] | None,
) -> None:
    """Curve, ROC of every set, confusion of the held-out source and of the targets, and the learned prompt."""
    from matplotlib.figure import Figure  # without pyplot: no global state, half the import

    shown = {k: v for k, v in results.items() if k != "source validation"} or results
    columns = 2 + min(2, len(shown)) + (prompt is not None)
    figure = Figure(figsize=(3.4 * columns, 3.4), layout="constrained")
    axes = figure.subplots(1, columns)
    _draw_curve(axes[0], epochs)
    _draw_roc(axes[1], shown, classes)
    for axis, (name, result) in zip(axes[2:], shown.items()):
        _draw_confusion(axis, name, result, classes)
    if prompt is not None:
        span = float(np.abs(prompt).max()) or 1.0
        axes[-1].imshow(prompt / (2 * span) + 0.5)
        axes[-1].set(title=f"learned prompt (±{span:.2f})", xticks=[], yticks=[])
    figure.suptitle(f"{recipe.name}: {recipe.method} on {recipe.backbone.name} - research use only", fontsize=10)
    figure.savefig(path, dpi=110)


def _draw_curve(axis: Any, epochs: list[dict[str, Any]]) -> None:
    if not epochs:
        axis.text(0.5, 0.5, "fitted in closed form,\nno epochs", ha="center", va="center")
        axis.set(xticks=[], yticks=[], title="training")
        return
    for key, label in (("loss", "training loss"), ("val_loss", "validation loss")):
        axis.plot(
            range(len(epochs)), [e.get(key) if e.get(key) is not None else np.nan for e in epochs], "o-", label=label
        )
    axis.set(xlabel="epoch", title="training", ylim=(0, None))
    axis.legend(frameon=False, fontsize=8)


def _draw_roc(axis: Any, results: dict[str, SetResult], classes: Sequence[str]) -> None:
    for name, result in results.items():
        positive = result.labels == len(classes) - 1
        if not 0 < positive.sum() < len(positive):
            continue
        order = np.argsort(-result.probabilities[:, -1], kind="stable")
        hits = positive[order]
        rates = np.cumsum(~hits) / (~hits).sum(), np.cumsum(hits) / hits.sum()
        axis.plot(np.r_[0, rates[0]], np.r_[0, rates[1]], label=f"{name} {result.scores.auroc:.2f}")
    axis.plot([0, 1], [0, 1], color="0.8", lw=1, zorder=0)
    axis.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, '{classes[-1]}'", aspect="equal")
    axis.legend(frameon=False, fontsize=7, loc="lower right")


def _draw_confusion(axis: Any, name: str, result: SetResult, classes: Sequence[str]) -> None:
    counts = result.scores.confusion
    axis.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        dark = count > 0.5 * counts[i].sum()
        axis.text(j, i, f"{count}", ha="center", va="center", color="white" if dark else "black")
    axis.set(xticks=range(len(classes)), yticks=range(len(classes)), xlabel="answer", ylabel="truth", title=name)
    axis.set_xticklabels(classes, fontsize=8)
    axis.set_yticklabels(classes, fontsize=8, rotation=90, va="center")
