"""Prompts by simulated users on development images: Dice after 0, 1, 3 and 5 prompts, clicks to a Dice, harm, time.

    python benchmarks/prompts.py DATA -o benchmarks/prompts [--images 12] [--users 3] [--prompts 20] [--rivals]

The images are those of benchmarks/prompt_targets.py, the users those of prompt_users.py, the rivals (with --rivals)
those of prompt_rivals.py; --boxes measures boxes instead, beside LiteMedSAM. Development: looked at while building.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from prompt_rivals import RIVALS
from prompt_targets import Target, grouped
from prompt_users import USERS, User, run, summary

from napari_tinymig.base.records import Scan
from napari_tinymig.measures.overlap import dice
from napari_tinymig.models.registry import open_model
from napari_tinymig.prompts.network import prompted_student


def boxes(data: Path, images: int, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """The true box, every side off by up to 5 % of the object's size, answered by the student and by LiteMedSAM."""
    from napari_tinymig.jobs.box_engine import open_box_engine
    from napari_tinymig.prompts.begin import begin as session

    out: list[dict[str, object]] = []
    for name, group in grouped(data, images, only=", nothing").items():
        for engine in ("student", "litemedsam"):
            scores, seconds, rng = [], [], np.random.default_rng(0)
            for target in group:
                s = session(Scan(target.image), "any", start=None, box_engine=open_box_engine(engine))
                ys, xs = np.nonzero(target.truth)
                size = max(np.ptp(ys), np.ptp(xs)) + 1
                off = rng.uniform(-0.05, 0.05, 4) * size
                low, high = (ys.min() + off[0], xs.min() + off[1]), (ys.max() + off[2], xs.max() + off[3])
                top = np.array(target.truth.shape) - 1
                corners = [tuple(int(v) for v in np.clip(np.rint(c), 0, top)) for c in (low, high)]
                for _ in range(2):  # the second time the image is encoded already
                    s.replay([])
                    s.box(*(c if len(s.labels.shape) == 2 else (0, *c) for c in corners))
                    seconds.append(s.seconds)
                scores.append(dice(s.labels.reshape(target.truth.shape) > 0, target.truth))
            first, again = np.median(seconds[::2]), np.median(seconds[1::2])
            row = {
                "target": name.split(",")[0],
                "engine": engine,
                "n": len(group),
                "dice": round(float(np.mean(scores)), 4),
            }
            out.append(row | {"first_ms": round(1000 * first, 1), "again_ms": round(1000 * again, 1)})
            say(json.dumps(out[-1]))
    return out


def compare(
    groups: dict[str, list[Target]], users: int, prompts: int, rivals: bool, say: Callable[[str], None] = print
) -> list[dict[str, object]]:
    """Every target with every user, and the rivals."""
    table = []
    for name, group in groups.items():
        for number, kind in enumerate(USERS[:users]):
            runs = [run(t, User(kind, 100 * number + i), prompts) for i, t in enumerate(group)]
            table.append(summary(name, kind, runs))
            say(json.dumps(table[-1]))
        for who, rival in RIVALS.items() if rivals else ():
            begun = time.perf_counter()
            curves = [rival(t, prompts) for t in group]
            each = (time.perf_counter() - begun) / len(group) / prompts
            runs = [[{"dice": d, "seconds": each, "obeyed": float("nan")} for d in c] for c in curves]
            table.append(summary(name, who, runs))
            say(json.dumps(table[-1]))
    return table


def with_kept(table: list[dict[str, object]], file: Path) -> list[dict[str, object]]:
    """The rows of a table in `file`, those that were measured again replaced, new ones behind them."""
    fresh = {(row["target"], row["who"]): row for row in table}
    if not file.is_file():
        return table
    with file.open(newline="", encoding="utf-8") as stream:
        kept = [fresh.pop((row["target"], row["who"]), dict(row)) for row in csv.DictReader(stream)]
    return [*kept, *fresh.values()]


def markdown(table: list[dict[str, object]], a: argparse.Namespace) -> str:
    """The table for people."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    automatic = ", ".join(f"`{open_model(name).model_id}`" for name in ("optic-sdg", "polyp-sdg", "prostate"))
    lines = [
        "# Prompts on development images",
        "",
        f"`python benchmarks/prompts.py DATA --images {a.images} --users {a.users} --prompts {a.prompts}"
        f"{' --rivals' if a.rivals else ''}`; `{prompted_student().model_id}`; {threads} thread(s) of",
        "a shared machine: the times are noisy. Images looked at while building: development, never unseen. `lowered`:",
        "share of prompts that lowered Dice by more than 0.001, and by more than 0.01. `obeyed`: the clicked pixel has",
        f"the told label. Cap of prompts: {a.prompts} (NoC of an object that never gets there counts as the cap).",
        "A target measured again alone (`--only`) has its rows replaced; all other rows are of the run before.",
        f"Automatic masks: {automatic} (the silver volumes used here taught `prostate`).",
        "The frame of random walker and graph cut is placed around the truth, and the graph cut knows that the object",
        "lies in the frame's middle: advantages that a user's clicks do not give.",
        "",
        "| target | who | n | Dice 0 | 1 | 3 | 5 | NoC .85 | NoC .90 | lowered | by 1 point | obeyed | ms p50 / p95 |",
        "|---" * 13 + "|",
    ]
    for r in table:
        obeyed = "-" if np.isnan(float(r["obeyed"])) else f"{100 * float(r['obeyed']):.0f} %"
        cells = [r["target"], r["who"], r["runs"], *(f"{float(r[f'dice_{n}']):.3f}" for n in (0, 1, 3, 5))]
        cells += [r["noc_0.85"], r["noc_0.9"], f"{100 * float(r['lowered']):.0f} %"]
        cells += [
            f"{100 * float(r['lowered_1pt']):.0f} %",
            obeyed,
            f"{r.get('p50_ms') or '-'} / {r.get('p95_ms') or '-'}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompts"))
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=20, help="cap of prompts on one object")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--only", default="", help="part of a target's name; the table's other rows are kept")
    parser.add_argument("--boxes", action="store_true", help="only the boxes, beside LiteMedSAM (extra [medsam])")
    a = parser.parse_args()
    if a.boxes:
        rows = boxes(a.data, a.images)
        a.out.with_name(a.out.name + "_boxes.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        return
    table = compare(grouped(a.data, a.images, only=a.only), a.users, a.prompts, a.rivals)
    if a.only:
        table = with_kept(table, a.out.with_suffix(".csv"))
    columns = list(dict.fromkeys(k for row in table for k in row))
    with a.out.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(table)
    a.out.with_suffix(".md").write_text(markdown(table, a), encoding="utf-8")
    print(f"{len(table)} rows in {a.out.with_suffix('.csv')}; {platform.processor() or platform.machine()}")


if __name__ == "__main__":
    main()
