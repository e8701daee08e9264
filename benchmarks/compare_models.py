"""Is one model better than another on the same cases? Paired differences over patients, with intervals.

    tinymig evaluate --model A --domains FOLDER -o runs/A        # once for each model
    tinymig evaluate --model B --domains FOLDER -o runs/B
    python benchmarks/compare_models.py runs/A/results.csv runs/B/results.csv

Prints, per domain and metric, A's mean, B's mean, B - A with the 95 % interval of a patient-cluster bootstrap (10,000
rounds) and p. Cases that only one of the two has, or that failed in one, are counted and named, never dropped silently.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np
from napari_tinymig.training.benchmark.statistics import cluster_bootstrap

METRICS = ("dice_disc", "dice_cup", "vcdr_error", "dice_gland", "dice_polyp")
Table = dict[tuple[str, str], dict[str, str]]


def read(path: Path) -> Table:
    """(domain, case) -> row of the model itself; the 'constant cup' rows are left out."""
    with path.open(newline="", encoding="utf-8") as stream:
        return {(r["domain"], r["case"]): r for r in csv.DictReader(stream) if r["predictor"] == "model"}


def number(row: dict[str, str], metric: str) -> float:
    """A metric as a number, NaN where the row has none."""
    return float(row.get(metric) or math.nan)


def compare(first: Table, second: Table) -> list[str]:
    """Lines of a Markdown table, and a sentence for what could not be paired."""
    lines = ["| domain | metric | n | A | B | B - A [95 %] | p |", "|---|---|---|---|---|---|---|"]
    for domain in sorted({d for d, _ in first}):
        shared = sorted(k for k in first.keys() & second.keys() if k[0] == domain)
        for metric in METRICS:
            pairs = np.array([[number(first[k], metric), number(second[k], metric)] for k in shared]).reshape(-1, 2)
            known = np.isfinite(pairs).all(1)
            if not known.any():
                continue
            a, b = pairs[known].T
            patients = [first[k]["patient"] for k, ok in zip(shared, known, strict=True) if ok]
            mean, low, high, p = cluster_bootstrap(b - a, patients)
            found = f"{mean:+.4f} [{low:+.4f}, {high:+.4f}] | {p:.4f}"
            lines.append(f"| {domain} | {metric} | {known.sum()} | {a.mean():.4f} | {b.mean():.4f} | {found} |")
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        lines.append(f"\nOnly one of the two has {len(alone)} case(s): {', '.join('/'.join(k) for k in alone[:5])}")
    return lines


def main() -> None:
    """Read two result files, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    given = parser.parse_args()
    print("\n".join(compare(read(given.first), read(given.second))))


if __name__ == "__main__":
    main()
