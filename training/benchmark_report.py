"""What a benchmark says: means over seeds, paired differences with patient-cluster intervals, plots, one table.md."""

from __future__ import annotations

import csv
import json
import math
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.engine.safe_files import write_atomic

if TYPE_CHECKING:
    from .benchmark import Cell

BOOTSTRAP_ROUNDS = 10_000
FAILURE_DICE = 0.5
EQUAL_POINTS = 0.5

Row = dict[str, Any]


def read_results(path: Path) -> list[Row]:
    """Rows of results.csv, metrics as numbers."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for raw in csv.DictReader(stream):
            texts = ("recipe", "variant", "source", "target", "case", "patient")
            rows.append({k: v if k in texts else float(v) if v != "" else math.nan for k, v in raw.items()})
    return rows


def mean_over_seeds(rows: Sequence[Row], metric: str) -> tuple[float, float, int]:
    """Mean of the seeds' means, their sample standard deviation (NaN for one seed), number of seeds."""
    by_seed: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        by_seed[row["seed"]].append(row[metric])
    means = [float(np.mean(v)) for v in by_seed.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan, len(means)


def unweighted_mean(rows: Sequence[Row], metric: str) -> tuple[float, float, int]:
    """As `mean_over_seeds`, where each seed's mean is the unweighted mean over (source, target) pairs."""
    by: dict[float, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by[row["seed"]][(row["source"], row["target"])].append(row[metric])
    means = [float(np.mean([np.mean(v) for v in pairs.values()])) for pairs in by.values()]
    return float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan, len(means)


def paired_differences(rows: Sequence[Row], base: Sequence[Row], metric: str) -> tuple[NDArray, list[str]]:
    """Difference to the baseline of every (source, target, case), averaged over the seeds both have; its patients."""
    shared = {r["seed"] for r in rows} & {r["seed"] for r in base}

    def means(some: Sequence[Row]) -> dict[tuple[str, str, str, str], float]:
        values: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
        for r in some:
            if r["seed"] in shared:
                values[(r["source"], r["target"], r["patient"], r["case"])].append(r[metric])
        return {k: float(np.mean(v)) for k, v in values.items()}

    ours, theirs = means(rows), means(base)
    keys = sorted(ours.keys() & theirs.keys())
    return np.array([ours[k] - theirs[k] for k in keys]), ["/".join(k[1:3]) for k in keys]


def cluster_bootstrap(
    differences: NDArray, clusters: Sequence[str], rounds: int = BOOTSTRAP_ROUNDS, seed: int = 0
) -> tuple[float, float, float, float]:
    """(mean, low, high, p): percentile 95 % interval of the mean when whole patients are drawn with replacement.

    p: two-sided, the share of draws beyond zero, doubled, at least 1 / rounds; NaN for a single patient.
    """
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(index, differences), np.bincount(index)
    mean = float(differences.mean())
    if len(names) < 2:
        return mean, math.nan, math.nan, math.nan
    draws = np.random.default_rng(seed).integers(0, len(names), (rounds, len(names)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    beyond = min(float((means <= 0).mean()), float((means >= 0).mean()))
    return mean, float(low), float(high), min(1.0, max(2 * beyond, 1 / rounds))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the given order; NaN stays and is not counted."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted, running = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[i] = running
    return adjusted


def verdict(low: float, high: float, p: float) -> str:
    """better, worse, equal (interval within half a point) or open."""
    if math.isnan(low):
        return "one patient: no test"
    if max(abs(low), abs(high)) * 100 <= EQUAL_POINTS:
        return "equal"
    if p < 0.05 and low > 0:
        return "better"
    if p < 0.05 and high < 0:
        return "worse"
    return "open"


def write_report(cells: Sequence[Cell], out: Path) -> None:
    """table.md, comparison.csv, bars.png and boxes.png from results.csv and the runs' cell.json files."""
    rows = read_results(out / "results.csv")
    recipes = list(dict.fromkeys(c.recipe["name"] for c in cells))
    regions = [r["name"] for r in cells[0].recipe["task"]["regions"]]
    facts = _facts(cells)
    comparison = compare_with_baseline(rows, recipes, regions)
    lines = ["# Benchmark", "", *_statement(cells, rows, facts), ""]
    for region in regions:
        lines += [f"## Dice, {region}", "", *_dice_table(rows, recipes, f"dice_{region}"), ""]
    extra = [m for m in ("vcdr_error", *(f"hd95_{r}" for r in regions)) if rows and m in rows[0]]
    lines += ["## Spread and errors", "", *_spread_table(rows, recipes, regions, extra), ""]
    if len(recipes) > 1:
        lines += [f"## Against {recipes[0]}", "", *_comparison_table(comparison), ""]
    lines += ["## Cost", "", *_cost_table(recipes, facts), ""]
    write_atomic(out / "table.md", "\n".join(lines).encode())
    write_atomic(out / "comparison.json", json.dumps(comparison, indent=1).encode())
    draw_plots(rows, recipes, regions, out)


def compare_with_baseline(rows: Sequence[Row], recipes: Sequence[str], regions: Sequence[str]) -> list[dict[str, Any]]:
    """Every other recipe against the first, per region's Dice and vCDR error; Holm over the rows of one metric."""
    metrics = [f"dice_{r}" for r in regions] + (["vcdr_error"] if rows and "vcdr_error" in rows[0] else [])
    students = [r for r in rows if r["variant"] == "student"]
    found = []
    for metric in metrics:
        block: list[dict[str, Any]] = []
        base = [r for r in students if r["recipe"] == recipes[0]]
        for name in recipes[1:]:
            difference, patients = paired_differences([r for r in students if r["recipe"] == name], base, metric)
            if len(difference):
                mean, low, high, p = cluster_bootstrap(difference, patients)
                n = len(set(patients))
                block.append({"recipe": name, "metric": metric, "mean": mean, "low": low, "high": high, "p": p, "n": n})
        for row, adjusted in zip(block, holm([float(b["p"]) for b in block]), strict=True):
            sign = -1 if metric == "vcdr_error" else 1
            low, high = sorted((sign * row["low"], sign * row["high"]))
            row |= {"p_holm": adjusted, "verdict": verdict(low, high, adjusted)}
        found += block
    return found


def _facts(cells: Sequence[Cell]) -> dict[str, list[dict[str, Any]]]:
    facts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        path = cell.folder / "cell.json"
        if path.is_file():
            facts[cell.recipe["name"]].append(json.loads(path.read_text(encoding="utf-8")))
    return facts


def _statement(cells: Sequence[Cell], rows: Sequence[Row], facts: dict[str, list[dict[str, Any]]]) -> list[str]:
    done = {(r["recipe"], r["source"], r["seed"]) for r in rows}
    missing = [c.name for c in cells if (c.recipe["name"], Path(c.source).name, c.recipe["seed"]) not in done]
    seeds = sorted({int(r["seed"]) for r in rows})
    counts = {t: len({r["case"] for r in rows if r["target"] == t}) for t in sorted({r["target"] for r in rows})}
    starts = sorted({f["start"] for some in facts.values() for f in some if f["start"]})
    teachers = sorted({t["name"] for c in cells if (t := c.recipe.get("teacher"))})
    roi = {"truth": "box around the true disc", "auto": "full field, through the locator"}[cells[0].roi]
    lines = [
        f"Sources: {', '.join(sorted({r['source'] for r in rows}))}. Targets (n): "
        f"{', '.join(f'{t} ({n})' for t, n in counts.items())}. Seeds: {seeds}. Region of interest: {roi}. "
        f"Protocol: {cells[0].recipe['protocol']}.",
        f"Students start from: {', '.join(starts) or 'random weights'}. Teachers: {', '.join(teachers) or 'none'}. "
        f"Machine: {cells[0].device}, {platform.machine()}. Dice in points (x 100), mean +- sd over seeds.",
    ]
    if len(seeds) < 3:
        lines.append(f"Only {len(seeds)} seed(s): the spread over seeds is not known well enough to rank close rows.")
    if missing:
        lines.append(f"Not in the table ({len(missing)} of {len(cells)} runs unfinished): {', '.join(missing)}.")
    return lines


def _points(mean: float, sd: float, scale: float = 100, digits: int = 1) -> str:
    shown = f"{mean * scale:.{digits}f}"
    return shown if math.isnan(sd) else f"{shown} +- {sd * scale:.{digits}f}"


def _markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(header)} |", "|" + "---|" * len(header), *(f"| {' | '.join(b)} |" for b in body)]


def _dice_table(rows: Sequence[Row], recipes: Sequence[str], metric: str) -> list[str]:
    pairs = sorted({(r["source"], r["target"]) for r in rows})
    body = []
    for name in recipes:
        for variant in ("student", "constant cup") if metric == "dice_cup" else ("student",):
            ours = [r for r in rows if r["recipe"] == name and r["variant"] == variant]
            if not ours:
                continue
            cells = []
            for source, target in pairs:
                some = [r for r in ours if (r["source"], r["target"]) == (source, target)]
                cells.append(_points(*mean_over_seeds(some, metric)[:2]) if some else "-")
            label = name if variant == "student" else f"{name}: constant cup"
            body.append([label, *cells, _points(*unweighted_mean(ours, metric)[:2])])
    return _markdown(["recipe", *(f"{s} -> {t}" for s, t in pairs), "mean over targets"], body)


def _spread_table(
    rows: Sequence[Row], recipes: Sequence[str], regions: Sequence[str], extra: Sequence[str]
) -> list[str]:
    header = ["recipe"]
    for region in regions:
        header += [f"{region}: median", "5th pct", "failures (Dice < .5)", "worst target"]
    empties = any(r["empty"] for r in rows)
    header += [*extra, *(["Dice, frames with object", "false positives, empty frames"] if empties else [])]
    body = []
    for name in recipes:
        ours = [r for r in rows if r["recipe"] == name and r["variant"] == "student"]
        if not ours:
            continue
        line = [name]
        for region in regions:
            values = np.array([r[f"dice_{region}"] for r in ours])
            by_target = defaultdict(list)
            for r in ours:
                by_target[r["target"]].append(r[f"dice_{region}"])
            worst = min(by_target, key=lambda t: np.mean(by_target[t]))
            line += [
                f"{100 * np.median(values):.1f}",
                f"{100 * np.percentile(values, 5):.1f}",
                f"{100 * np.mean(values < FAILURE_DICE):.1f} %",
                f"{worst} {100 * np.mean(by_target[worst]):.1f}",
            ]
        line += [_points(*unweighted_mean(ours, m)[:2], scale=1, digits=3 if "vcdr" in m else 2) for m in extra]
        if empties:
            full = [r[f"dice_{regions[0]}"] for r in ours if not r["empty"]]
            empty = [r[f"dice_{regions[0]}"] < 1 for r in ours if r["empty"]]
            line += [f"{100 * np.mean(full):.1f}" if full else "-", f"{100 * np.mean(empty):.1f} %" if empty else "-"]
        body.append(line)
    return _markdown(header, body)


def _comparison_table(comparison: Sequence[dict[str, Any]]) -> list[str]:
    body = []
    for row in comparison:
        scale = 1 if row["metric"] == "vcdr_error" else 100
        interval = f"{scale * row['low']:+.3g} to {scale * row['high']:+.3g}"
        p = f"{row['p_holm']:.4f}"
        shown = [row["recipe"], row["metric"], f"{scale * row['mean']:+.3g}", interval, p, str(row["n"])]
        body.append([*shown, row["verdict"]])
    note = (
        "Paired differences, averaged over seeds first; 95 % interval of a patient-cluster bootstrap (10,000); p after "
        "Holm over the rows of a metric; 'equal' = interval within half a point."
    )
    header = ["recipe", "metric", "difference", "95 % interval", "p (Holm)", "patients", "verdict"]
    return [note, "", *_markdown(header, body)]


def _cost_table(recipes: Sequence[str], facts: dict[str, list[dict[str, Any]]]) -> list[str]:
    body = []
    for name in recipes:
        some = facts.get(name)
        if some:
            ms, seconds = min(f["cpu_ms"] for f in some), np.nanmean([f["train_seconds"] for f in some])
            body.append(
                [name, f"{some[0]['parameters'] / 1e6:.2f}", f"{some[0]['gmac']:.2f}", f"{ms:.1f}", f"{seconds:.0f}"]
            )
    return _markdown(["recipe", "M parameters", "GMAC", "CPU ms (1 thread, min)", "train seconds"], body)


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
