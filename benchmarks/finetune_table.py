"""The table of benchmarks/finetune.py: finetune.csv and the figures of finetune.md, between its two marks."""

from __future__ import annotations

import csv
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_tinymig.measures.bootstrap import mean_interval

FIELDS = ["part", "k", "draw", "method", "disc", "cup", "d_disc", "d_cup", "d_source_disc", "d_source_cup"]
FIELDS += ["proxy", "share", "threshold", "keep", "seed", "cpu_s", "wall_s"]
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
TITLES = {
    "random": "Random images of refuge_like teach, all others test",
    "ranked": "Which images to annotate: ranked by `tinymig next` against random order",
    "ceiling": "What 50 images give, without a guard",
    "prostate": "Slices of manual_case00 teach, the volume's other slices test (the disc column is the gland)",
}


def write_table(folder: Path, rows: Sequence[dict[str, Any]], model_id: str) -> None:
    """Write finetune.csv, and the tables into finetune.md, whose words around the marks stay."""
    with (folder / "finetune.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
    page = folder / "finetune.md"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Fine-tuning on a few images of another centre\n\n"
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2] if rest else "\n"
    figures = "\n\n".join(table(rows, part) for part in TITLES if any(r["part"] == part for r in rows))
    words = f"Parent {model_id}; one thread of a 2-core CPU, torch {torch.__version__.split('+')[0]}, "
    words += f"Python {platform.python_version()}. Dice x 100, mean over draws; gains are paired with the parent. "
    words += "Intervals draw the draws (10,000 rounds); draws share test images, so they are a little too narrow."
    page.write_text(f"{before}{BEGIN}\n{words}\n\n{figures}\n{END}{after}", encoding="utf-8")


def table(rows: Sequence[dict[str, Any]], part: str) -> str:
    """Markdown of one part: a line per k and method."""
    out = [f"### {TITLES[part]}", ""]
    out.append("| k | method | draws | disc | cup | gain disc | gain cup [95 %] | source disc | source cup | kept by the gate | CPU s |")  # fmt: skip  # noqa: E501
    out.append("|---|---|---|---|---|---|---|---|---|---|---|")
    mine = [r for r in rows if r["part"] == part]
    for k in sorted({int(r["k"]) for r in mine}):
        for method in dict.fromkeys(r["method"] for r in mine):
            some = [r for r in mine if int(r["k"]) == k and r["method"] == method]
            if some:
                out.append(line(k, method, some))
    if part == "random":
        out += ["", proxy_words(mine)]
    return "\n".join(out)


def line(k: int, method: str, some: Sequence[dict[str, Any]]) -> str:
    """One line: means over draws."""
    v = {f: column(some, f) for f in FIELDS}
    gain = "" if not v["d_cup"].size else f"{100 * v['d_cup'].mean():+.1f}"
    if gain and len(some) > 2:
        low, high = mean_interval(100 * v["d_cup"], 10_000)
        gain += f" [{low:+.1f}, {high:+.1f}]"
    cells = [str(k), method, str(len(some)), mean(v["disc"], ".1f"), mean(v["cup"], ".1f"), mean(v["d_disc"], "+.1f")]
    cells += [gain, mean(v["d_source_disc"], "+.1f"), mean(v["d_source_cup"], "+.1f")]
    cells += [f"{int(v['keep'].sum())} of {v['keep'].size}" if v["cpu_s"].size else "", mean(v["cpu_s"] / 100, ".0f")]
    return "| " + " | ".join(cells) + " |"


def column(some: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    """A column's numbers; empty where the rows do not have it."""
    values = [r.get(name) for r in some] if name != "method" else []
    return np.array([float(v) for v in values if v not in (None, "")] if name != "part" else [])


def mean(values: np.ndarray, form: str) -> str:
    """Mean x 100; empty for no values."""
    return f"{100 * values.mean():{form}}" if values.size else ""


def proxy_words(rows: Sequence[dict[str, Any]]) -> str:
    """How the gate's proxy went together with the true change on the source."""
    pairs = [(float(r["proxy"]), float(r["d_source_disc"]) + float(r["d_source_cup"])) for r in rows
             if r.get("proxy") not in (None, "")]  # fmt: skip
    if len(pairs) < 4:
        return ""
    a, b = np.array(pairs).T
    return (
        f"Proxy (agreement with the parent) against the true change on the source: r = {np.corrcoef(a, b)[0, 1]:.2f} "
        f"over {len(a)} models."
    )
