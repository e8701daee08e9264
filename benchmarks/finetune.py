"""Few-shot fine-tuning on another centre: guarded, plain, threshold calibration alone, none.

    python benchmarks/finetune.py --data DATA --model optic-sdg --k 5 1 10 3 --draws 5 --steps 60 -o benchmarks

DATA holds fundus/drishti_gs1 (the source of optic-sdg) and fundus/refuge_like (a DEVELOPMENT target). k random images
of the target teach, all others test; the source drop is taken on Drishti cases that the parent held out. Scores are
Dice on the deployed region of interest around the true disc, so the locator plays no part. Draws are seeded 0, 1, ...;
rows that are in finetune.csv already are not run again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from napari_tinymig.training.data import Case, ImageSet, find_cases, load_set, split_cases
from napari_tinymig.training.export import load_student
from napari_tinymig.training.finetune import Tuning
from napari_tinymig.training.loop import fit
from napari_tinymig.training.tune_parts import Views, mixed

from napari_tinymig.engine.config import Recipe, recipe_from_dict
from napari_tinymig.engine.finetune_config import FineTuneSpec
from napari_tinymig.engine.registry import open_model

FIELDS = ["k", "draw", "method", "disc", "cup", "d_disc", "d_cup", "d_source_disc", "d_source_cup"]
FIELDS += ["proxy", "share", "threshold", "keep", "seconds"]
LIMITS = np.round(1 / (1 + np.exp(-np.linspace(-2.5, 2.5, 41))), 4)


def views(cases: list[Case], recipe: Recipe, student: Any) -> Views:
    """Deployed views of cases, encoded once."""
    data: ImageSet = load_set(cases, recipe)
    out = Views(data, range(len(data)), recipe)
    out.keep_maps(student)
    return out


def best_threshold(some: Views, student: Any, rows: list[int]) -> float:
    """The cup threshold of the best mean Dice on the teaching images; the present one where nothing beats it."""
    few = copy.copy(some)
    few.truth, few.known, few.cases = some.truth[rows], some.known[rows], [some.cases[i] for i in rows]
    few.maps = [m[rows] for m in some.maps or []]
    p = few.probabilities(student)
    table = [few.dice(p, [0.5, t])[:, 1].mean() for t in (0.5, *LIMITS)]
    at = int(np.argmax(table))
    return 0.5 if table[at] <= table[0] else float([0.5, *LIMITS][at])


def plain(tuning: Tuning) -> Any:
    """The same steps, learning rate and views without rehearsal, mixing, or gate."""
    course = tuning.course
    share, course.share = course.share, 0.0
    run = course.run(list(range(len(tuning.rows))), Recipe.model_validate(tuning.plan.recipe), tuning.out)
    run.save_last = lambda: None
    for _ in fit(run, lambda: False):
        pass
    course.share = share
    return run.student.eval()


def one_draw(
    k: int, draw: int, model: Any, cases: list[Case], target: Views, source: Views, steps: int
) -> list[dict[str, Any]]:
    """Rows of one draw: none, calibration, plain, guarded."""
    rows = np.random.default_rng(1000 * k + draw).choice(len(cases), k, replace=False).tolist()
    rest = [i for i in range(len(cases)) if i not in rows]
    parent = load_student(model)
    base_t, base_s = (v.dice(v.probabilities(parent)) for v in (target, source))
    table: list[dict[str, Any]] = []

    def add(method: str, student: Any, threshold: float = 0.5, **more: Any) -> None:
        scores = [v.dice(v.probabilities(student), [0.5, threshold]) for v in (target, source)]
        now, gain, drop = scores[0][rest].mean(0), (scores[0] - base_t)[rest].mean(0), (scores[1] - base_s).mean(0)
        values = dict(zip(FIELDS[3:9], [*now, *gain, *drop]))
        table.append({"k": k, "draw": draw, "method": method, "threshold": threshold} | values | more)

    add("none", parent)
    add("threshold calibration", parent, best_threshold(target, parent, rows))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "set"
        for kind in ("images", "labels"):
            (data / kind).mkdir(parents=True)
        for i in rows:
            shutil.copy(cases[i].image, data / "images")
            shutil.copy(cases[i].label, data / "labels")  # type: ignore[arg-type]
        spec = FineTuneSpec(steps=steps, seed=draw, scope="decoder", device="cpu")
        begin = time.process_time()
        tuning = Tuning(model, data, Path(folder), spec, False, lambda: False)
        last = list(tuning.messages())
        seconds = time.process_time() - begin
        header, proxy = tuning.result_header, tuning.result_verdict.proxy
        more = {"proxy": proxy.get("drawn pictures"), "keep": last[-1].values["keep"], "seconds": seconds}
        inner = header.thresholds.get("cup", 0.5)
        add("fine-tuning, guarded", tuning.result_student, inner, share=header.extra["share_of_child"], **more)
        child = plain(tuning)
        add("fine-tuning, plain", child, share=1.0, proxy=tuning.drift_of(child))
        half = mixed(parent, child, 0.5)
        add("plain, mixed half with the parent", half, share=0.5, proxy=tuning.drift_of(half))
    return table


def summary(rows: list[dict[str, Any]], words: str) -> str:
    """Markdown: mean over draws with the range of draws and a bootstrap interval over draws."""
    out = [
        words,
        "",
        "| k | method | disc Dice | cup Dice | draws | gain disc | gain cup [95 %] | source disc | source cup |",
    ]
    out.append("|---|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for k in sorted({int(r["k"]) for r in rows}):
        for method in dict.fromkeys(r["method"] for r in rows):
            some = [r for r in rows if int(r["k"]) == k and r["method"] == method]
            if not some:
                continue
            v = {f: np.array([float(r[f]) for r in some]) * 100 for f in FIELDS[3:9]}
            picks = v["d_cup"][rng.integers(0, len(some), (10_000, len(some)))].mean(1)
            low, high = np.percentile(picks, (2.5, 97.5))
            out.append(
                f"| {k} | {method} | {v['disc'].mean():.1f} | {v['cup'].mean():.1f} | {len(some)} | "
                f"{v['d_disc'].mean():+.1f} | {v['d_cup'].mean():+.1f} [{low:+.1f}, {high:+.1f}] | "
                f"{v['d_source_disc'].mean():+.1f} | {v['d_source_cup'].mean():+.1f} |"
            )
    pairs = [(float(r["proxy"]), float(r["d_source_disc"]) + float(r["d_source_cup"])) for r in rows if r.get("proxy")]
    if len(pairs) > 3:
        a, b = np.array(pairs).T
        r = np.corrcoef(a, b)[0, 1]
        out += ["", f"Proxy (agreement with the parent) against true source change: r = {r:.2f}, {len(a)} models."]
    return "\n".join(out) + "\n"


def describe(model_id: str, args: argparse.Namespace, targets: int, held: int) -> str:
    """What the table is about, and how to make it again."""
    return (
        f"Development target refuge_like (n = {targets}), parent {model_id} trained on Drishti, source change on "
        f"{held} held-out Drishti cases. Decoder scope, {args.steps} steps a part, seeds = draws, "
        f"{os.cpu_count()}-core CPU, one thread, torch {torch.__version__}, Python {platform.python_version()}.\n"
        f"Command: `python benchmarks/finetune.py --data DATA --model {args.model} --k {' '.join(map(str, args.k))} "
        f"--draws {args.draws} --steps {args.steps}`. Dice x 100, mean over draws; gains are paired with 'none'."
    )


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="optic-sdg")
    parser.add_argument("--k", type=int, nargs="+", default=[5, 1, 10, 3])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = open_model(args.model)
    recipe = recipe_from_dict(model.header.lineage.recipe)
    drishti = find_cases(args.data / "fundus" / "drishti_gs1", recipe.data)
    held = split_cases(drishti, recipe.data, recipe.seed)[1]
    cases = find_cases(args.data / "fundus" / "refuge_like")
    student = load_student(model)
    target, source = views(cases, recipe, student), views(held, recipe, student)
    path = args.out / "finetune.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    for draw in range(args.draws):
        for k in args.k:
            if any(int(r["k"]) == k and int(r["draw"]) == draw for r in rows):
                continue
            rows += one_draw(k, draw, model, cases, target, source, args.steps)
            with path.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, FIELDS, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows)
            words = describe(model.model_id, args, len(cases), len(held))
            (args.out / "finetune.md").write_text(
                "# Fine-tuning on a few images of another centre\n\n" + summary(rows, words)
            )
            print(k, draw, [(r["method"], round(100 * float(r["d_cup"]), 1)) for r in rows[-5:]], flush=True)


if __name__ == "__main__":
    main()
