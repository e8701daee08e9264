"""benchmarks/movl.md from benchmarks/movl.csv: means over seeds, the paper's claim put to the test, what is missing."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable
from pathlib import Path

ARMS = ("LP", "VP", "MoVL joint", "MoVL lp_then_both", "MoVL lp_then_vp", "FF")
INTRO = """# MoVL on chest X-rays: in distribution and out of it

Written by `python benchmarks/movl.py` (`--table` rewrites this page from `movl.csv`). Normal against pneumonia;
Kermany (paediatric, 1,280 images) and NIH (500 + 500, mostly adults, labels mined from reports). The source is split by
person: 20 % test, 15 % of the rest for validation, at most {per_class} training images per class; the other set is
scored whole, once. {size} px input, {epochs} epochs, batch 32; {trials} settings per method, one epoch each, chosen on
seed 0's source validation (for LP: penalties) and kept for the other seeds; the prompt is p = 30 at 224, scaled with
the input. 2-core CPU shared with much other work, one thread: read the CPU seconds, not the wall clock;
LP's do not hold the features, which come from a cache.
mobilenetv2_100 is timm's, with ImageNet weights; it is small, and nothing here speaks for ResNet-50 or CLIP, which the
paper used. tinymig:prostate is the encoder of our own prostate student: MobileNetV2 blocks 0-5 that started from
ImageNet (the first two as they were) and were trained on T2 slices; it has seen no X-ray. Research use only.
"""
CEILING = """## What the labels allow

NIH's pneumonia labels were mined from radiology reports. Its authors put the mining at about 90 % right; radiologists
who looked again disagreed with many of the pneumonia labels, and published networks trained on the whole of NIH reach
an AUROC of about 0.7 to 0.77 for pneumonia against everything else. If a share e of the labels is wrong at random, a
perfect reader scores only 1 - e in accuracy and, with balanced classes, 1 - e in AUROC: at e = 0.2 nothing can honestly
exceed 0.8. A higher figure on NIH's own test persons therefore also rewards what goes along with the label (view,
devices, exposure), which does not travel. The two sets differ in age, view, exposure and origin of the negatives: what
falls from one to the other is this confounding as much as a lack of generalisation.
"""
READING = """## What it says

Read from the full main part (three seeds, both directions, both backbones); the figures stand in the tables above.

* In distribution MoVL joint lies 0.01 to 0.05 of AUROC below full fine-tuning. Beside the linear probe it is level
  (Kermany) or 0.02 better (NIH) with MobileNetV2, and 0.01 to 0.02 worse with the prostate encoder.
* Out of distribution it is above full fine-tuning in all four comparisons, as the paper says of its data: by 0.01 and
  0.04 from Kermany, which is nothing beside the spread over seeds, and by 0.19 and 0.23 from NIH, where full
  fine-tuning fell below chance: it learned what goes along with NIH's labels, and on Kermany that points the other way.
* No method transfers: the best mean AUROC out of distribution is 0.61, most lie around 0.5. The sign of the paper's
  claim holds here, its use does not. The linear probe, a second's work, is level with MoVL there with MobileNetV2.
* lp_then_vp and lp_then_both often keep the linear probe's start (epoch 0 was best on validation): equal rows are that.
* Accuracy out of distribution stays near 0.5 and ECE is high nearly everywhere: probabilities do not travel either.
"""


def write_table(csv_path: Path, runs: Path | None = None) -> None:
    """Write the page beside the table; nothing if there is no row."""
    if not csv_path.is_file():
        return
    with csv_path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        return
    facts = {k: ", ".join(sorted({r[k] for r in rows})) for k in ("per_class", "size", "epochs")}
    facts["trials"] = max(r["trials"] for r in rows)
    main = [r for r in rows if r["part"] == "main"]
    tables = "\n".join(_main_tables(main))
    parts = [INTRO.format(**facts), _state(rows), tables, _claim(main), _reading(main), _ablation(rows), CEILING]
    parts.append(_missing(rows))
    csv_path.with_suffix(".md").write_text("\n".join(p for p in parts if p), encoding="utf-8")


def _mean(values: Iterable[str]) -> str:
    numbers = [float(v) for v in values]
    if len(numbers) == 1:
        return f"{numbers[0]:.3f}"
    return f"{statistics.mean(numbers):.3f} ± {statistics.stdev(numbers):.3f}"


def _main_tables(rows: list[dict[str, str]]) -> list[str]:
    out = []
    for backbone, source, target in dict.fromkeys((r["backbone"], r["source"], r["target"]) for r in rows):
        mine = [r for r in rows if (r["backbone"], r["source"]) == (backbone, source)]
        out += [
            f"## {backbone}: trained on {source}, tested on {source} persons never seen and on all of {target}",
            "",
            f"| method | seeds | trained parameters | {source} accuracy | {source} AUROC | {target} accuracy | "
            f"{target} AUROC | {target} ECE | CPU s |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for arm in ARMS:
            found = [r for r in mine if r["arm"] == arm]
            if not found:
                continue
            cells = [_mean(r[k] for r in found) for k in ("id_accuracy", "id_auroc", "ood_accuracy", "ood_auroc")]
            seeds = ", ".join(sorted(r["seed"] for r in found))
            cpu = statistics.median(float(r["cpu_seconds"]) for r in found)
            parameters, ece = f"{int(found[0]['trained_parameters']):,}", _mean(r["ood_ece"] for r in found)
            out.append(f"| {arm} | {seeds} | {parameters} | {' | '.join(cells)} | {ece} | {cpu:.0f} |")
        first = [r for r in mine if r["seed"] == min(r["seed"] for r in mine)]
        said = "; ".join(
            f"{r['arm']} {float(r['id_auroc_low']):.3f}-{float(r['id_auroc_high']):.3f} / "
            f"{float(r['ood_auroc_low']):.3f}-{float(r['ood_auroc_high']):.3f}"
            for r in first
        )
        out += ["", f"95 % intervals of AUROC over persons, first seed, {source} / {target}: {said}.", ""]
        chosen = "; ".join(f"{r['arm']} `{r['settings']}`" for r in first)
        out += [f"Chosen on source validation: {chosen}. CPU s: median; the first seed's include its trials.", ""]
    return out


def _claim(rows: list[dict[str, str]]) -> str:
    """MoVL minus FF and minus LP per direction, seeds paired."""
    lines = []
    for backbone, source, target in dict.fromkeys((r["backbone"], r["source"], r["target"]) for r in rows):
        by = {(r["arm"], r["seed"]): r for r in rows if (r["backbone"], r["source"]) == (backbone, source)}
        for other in ("FF", "LP"):
            seeds = [s for arm, s in by if arm == "MoVL joint" and (other, s) in by]
            if not seeds:
                continue
            gaps = {
                k: [float(by["MoVL joint", s][k]) - float(by[other, s][k]) for s in seeds]
                for k in ("id_auroc", "ood_auroc")
            }
            said = [f"{statistics.mean(g):+.3f} ({', '.join(f'{v:+.3f}' for v in g)})" for g in gaps.values()]
            lines.append(f"| {backbone} | {source} | MoVL joint - {other} | {said[0]} | {said[1]} | {target} |")
    if not lines:
        return ""
    head = [
        "## The paper's claim",
        "",
        "The paper (other data, larger backbones): MoVL near full fine-tuning in distribution (90.91 against 91.13 %)",
        "and above it out of distribution (90.33 against 85.15 %). Here, differences of AUROC, mean and each seed:",
        "",
        "| backbone | source | difference | in distribution | out of distribution | other set |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines, ""])


def _reading(rows: list[dict[str, str]]) -> str:
    """The words, which were written on the whole main part; nothing before it is complete."""
    return READING if len(rows) >= 72 else ""


def _ablation(rows: list[dict[str, str]]) -> str:
    found = [r for r in rows if r["part"] == "ablation"]
    if not found:
        return ""
    like = found[0]
    base = [
        r
        for r in rows
        if (r["part"], r["arm"], r["source"], r["seed"], r["backbone"])
        == ("main", "MoVL joint", like["source"], like["seed"], like["backbone"])
    ]
    lines = [
        f"## Ablation: MoVL joint, {like['source']} to {like['target']}, one seed, {like['backbone']}",
        "",
        "| change | trained parameters | in-distribution AUROC | out-of-distribution AUROC | CPU s |",
        "|---|---|---|---|---|",
    ]
    for row in [*base, *found]:
        name = "none (KL, lambda 0.5, p 30, zero start)" if row["part"] == "main" else row["arm"]
        cells = [f"{int(row['trained_parameters']):,}", row["id_auroc"], row["ood_auroc"], row["cpu_seconds"]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    words = [
        "One seed: a difference smaller than the intervals above is no finding. D = CE(P-, P+) differs from",
        "KL(P- || P+) by the entropy of the detached branch, a constant: the same gradient, hence the same row.",
    ]
    return "\n".join([*lines, "", *words, ""])


def _state(rows: list[dict[str, str]]) -> str:
    """How much of the grid there is, and what follows from that."""
    import movl

    total = len(list(movl.jobs(["mobilenetv2_100", "tinymig:prostate"], [0, 1, 2])))
    if len(rows) >= total:
        return ""
    pairs = {(r["source"], r["seed"]) for r in rows if r["arm"] == "FF"}
    tested = "" if len(pairs) >= 6 else " Without full fine-tuning for every seed the paper's claim is NOT tested."
    return f"**State: {len(rows)} of {total} runs; what is missing is listed at the end.{tested}**\n"


def _missing(rows: list[dict[str, str]]) -> str:
    import movl

    done = {(r["part"], r["backbone"], r["source"], r["arm"], str(r["seed"])) for r in rows}
    wanted = list(movl.jobs(["mobilenetv2_100", "tinymig:prostate"], [0, 1, 2]))
    open_jobs = [j for j in wanted if j.key not in done]
    if not open_jobs:
        return ""
    text = (
        f"## Not run\n\n{len(open_jobs)} of {len(wanted)} runs of the grid are not made; the command goes on there:\n"
    )
    groups: dict[str, list[str]] = {}
    for job in open_jobs:
        where = f"{job.part}, {job.backbone}, from {job.source}, seed {job.seed}"
        groups.setdefault(where, []).append(job.arm)
    return text + "\n" + "\n".join(f"- {where}: {', '.join(arms)}" for where, arms in groups.items()) + "\n"
