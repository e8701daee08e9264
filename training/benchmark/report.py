"""What a benchmark says: table.md with means, differences, errors and cost; comparison.json; the plots beside it."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_tinymig.base.safe_files import write_atomic
from napari_tinymig.measures.declared import VCDR

from ..machine.device import device_name
from .cells import Cell
from .plots import draw_plots
from .statistics import (
    FEW_PATIENTS,
    Row,
    cluster_bootstrap,
    difference_word,
    holm,
    mean_over_seeds,
    paired_differences,
    unweighted_mean,
)

FAILURE_DICE = 0.5
DEVELOPMENT_FILE = "development.txt"
"""In a domain folder: settings were chosen while looking at this domain; the text says what."""


def read_results(path: Path) -> list[Row]:
    """Rows of results.csv, metrics as numbers."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for raw in csv.DictReader(stream):
            texts = ("recipe", "variant", "source", "target", "case", "patient")
            rows.append({k: v if k in texts else float(v) if v != "" else math.nan for k, v in raw.items()})
    return rows


def write_report(cells: Sequence[Cell], out: Path) -> None:
    """table.md, comparison.json, bars.png and boxes.png from results.csv and the runs' cell.json files."""
    rows = read_results(out / "results.csv")
    recipes = list(dict.fromkeys(c.recipe["name"] for c in cells))
    regions = [r["name"] for r in cells[0].recipe["task"]["regions"]]
    facts = _facts(cells)
    comparison = compare_with_baseline(rows, recipes, regions)
    lines = ["# Benchmark", "", *_statement(cells, rows, facts), ""]
    for region in regions:
        lines += [f"## Dice, {region}", "", *_dice_table(rows, recipes, f"dice_{region}"), ""]
    extra = error_columns(rows, regions, cells[0].recipe["task"]["input"])
    lines += ["## Spread and errors", "", *_spread_table(rows, recipes, regions, extra), ""]
    if len(recipes) > 1:
        lines += [f"## Against {recipes[0]}", "", *comparison_table(comparison), ""]
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
            row |= {"p_holm": adjusted, "verdict": difference_word(low, high, adjusted)}
        found += block
    return found


def error_columns(rows: Sequence[Row], regions: Sequence[str], kind: str) -> dict[str, str]:
    """Metrics beside Dice that the rows have, with their headings and units.

    kind: the task's input. Photographs have no size in mm, so that distances are pixels of the image; of volumes they
    are mm, and pixels where a file says no spacing.
    """
    unit = "px" if kind == "photograph" else "mm"
    wanted = {"vcdr_error": "vCDR error"}
    for region in regions:
        wanted |= {f"hd95_{region}": f"HD95 {region} ({unit})", f"assd_{region}": f"ASSD {region} ({unit})"}
        wanted |= {f"rve_{region}": f"relative volume error {region}"}
    return {k: v for k, v in wanted.items() if rows and k in rows[0] and not all(math.isnan(r[k]) for r in rows)}


def development_targets(cells: Sequence[Cell]) -> dict[str, str]:
    """Name -> reason of the targets whose folder holds DEVELOPMENT_FILE."""
    found = {}
    for folder in sorted({t for c in cells for t in c.targets}):
        marker = Path(folder) / DEVELOPMENT_FILE
        if marker.is_file():
            text = marker.read_text(encoding="utf-8", errors="replace").strip()
            found[Path(folder).name] = text.splitlines()[0][:200] if text else "no reason given"
    return found


def _on_development(cells: Sequence[Cell], targets: Sequence[str]) -> str:
    marked = {k: v for k, v in development_targets(cells).items() if k in targets}
    if not marked:
        return f"No target is marked as a development target (a file {DEVELOPMENT_FILE} in its folder would say so)."
    said = "; ".join(f"{name} ({why})" for name, why in marked.items())
    return f"Development targets, looked at while settings were chosen and no evidence about unseen centres: {said}."


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
        f"Machine that made this table: {device_name(cells[0].device)}. Dice in points (x 100), mean +- sd over seeds.",
        _on_development(cells, list(counts)),
    ]
    if any(c.recipe["task"]["input"] == "volume" for c in cells):
        lines.append("Distances are in mm; in pixels for cases whose file says no spacing.")
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
    rows: Sequence[Row], recipes: Sequence[str], regions: Sequence[str], extra: dict[str, str]
) -> list[str]:
    header = ["recipe"]
    for region in regions:
        header += [f"{region}: median", "5th pct", "failures (Dice < .5)", "worst target"]
    empties = any(r["empty"] for r in rows)
    header += [*extra.values(), *(["Dice, frames with object", "false positives, empty frames"] if empties else [])]
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
        line += [
            _points(*unweighted_mean(ours, m)[:2], scale=1, digits=3 if m.startswith((VCDR, "rve")) else 2)
            for m in extra
        ]
        if empties:
            full = [r[f"dice_{regions[0]}"] for r in ours if not r["empty"]]
            empty = [r[f"dice_{regions[0]}"] < 1 for r in ours if r["empty"]]
            line += [f"{100 * np.mean(full):.1f}" if full else "-", f"{100 * np.mean(empty):.1f} %" if empty else "-"]
        body.append(line)
    return _markdown(header, body)


def comparison_table(comparison: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the table of `compare_with_baseline`, with what its intervals mean and whether the patients suffice."""
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
    fewest = min((row["n"] for row in comparison), default=FEW_PATIENTS)
    if fewest < FEW_PATIENTS:
        note += (
            f" **Few patients ({fewest}): such intervals are too narrow (of five patients they hold the truth in 83 %, "
            "not in 95 %); read differences and verdicts as a description.**"
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
