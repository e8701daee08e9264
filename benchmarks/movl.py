"""The MoVL grid: LP, VP, MoVL (three strategies) and full fine-tuning, one chest X-ray set to the other and back.

    python benchmarks/movl.py --data ../shared/data/cxr --weights ../shared/weights/mobilenetv2_100.imagenet.safetensors
    python benchmarks/movl.py --table        # only rewrite benchmarks/movl.md from benchmarks/movl.csv

Resumable: a run whose row is in benchmarks/movl.csv is skipped; `--minutes M` ends after the run in which M is over.
Settings are tried on seed 0's source validation (the same number of trials for every method) and kept for the other
seeds. Runs are ordered so that the main comparison comes first and the ablations last.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from movl_table import write_table

from napari_tinymig.base.errors import TinyMIGError

HERE = Path(__file__).parent
PERSON = r"^(\d{8}|person\d+|(?:NORMAL2-)?IM-\d+)"
DIRECTIONS = (("kermany", "nih"), ("nih", "kermany"))
ARMS: dict[str, dict[str, Any]] = {
    "LP": {"method": "lp"},
    "MoVL joint": {"method": "movl", "strategy": "joint"},
    "FF": {"method": "ff"},
    "MoVL lp_then_both": {"method": "movl", "strategy": "lp_then_both"},
    "MoVL lp_then_vp": {"method": "movl", "strategy": "lp_then_vp"},
    "VP": {"method": "vp"},
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "lambda 0": {"discrepancy.weight": 0.0},
    "lambda 2": {"discrepancy.weight": 2.0},
    "lambda 0.1": {"discrepancy.weight": 0.1},
    "sign -1": {"discrepancy.sign": -1},
    "D ce": {"discrepancy.term": "ce"},
    "D mse": {"discrepancy.term": "mse"},
    "D l1": {"discrepancy.term": "l1"},
    "D feature_mse": {"discrepancy.term": "feature_mse"},
    "p 10": {"prompt.width": 10},
    "p 60": {"prompt.width": 60},
    "full prompt": {"prompt.kind": "full"},
    "init normal": {"prompt.init": "normal"},
    "head init zero": {"head_init": "zero"},
    "replace": {"prompt.mode": "replace"},
    "shrink": {"prompt.mode": "shrink"},
}
FIELDS = (
    *("part", "backbone", "source", "target", "arm", "seed", "size", "per_class", "epochs", "trials"),
    *("trained_parameters", "val_loss", "settings"),
    *(f"{k}_{name}" for k in ("id", "ood") for name in ("n", "accuracy", "balanced_accuracy", "auroc")),
    *(f"{k}_{name}" for k in ("id", "ood") for name in ("auroc_low", "auroc_high", "ece")),
    *("train_seconds", "total_seconds", "cpu_seconds"),
)


@dataclass(frozen=True)
class Job:
    """One run of the grid."""

    part: str
    backbone: str
    source: str
    target: str
    arm: str
    seed: int
    overrides: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)

    @property
    def key(self) -> tuple[str, ...]:
        return (self.part, self.backbone, self.source, self.arm, str(self.seed))


def jobs(backbones: list[str], seeds: list[int]) -> Iterator[Job]:
    """Every run, most important first."""
    first, others = backbones[0], backbones[1:]
    plan = [(first, seeds[0]), *((b, seeds[0]) for b in others)]
    plan += [(first, s) for s in seeds[1:]] + [(b, s) for b in others for s in seeds[1:]]
    for backbone, seed in plan:
        for arm, overrides in ARMS.items():
            for source, target in DIRECTIONS:
                yield Job("main", backbone, source, target, arm, seed, overrides)
    source, target = DIRECTIONS[0]
    for name, overrides in ABLATIONS.items():
        base = {"method": "movl", "strategy": "joint"}
        yield Job("ablation", first, source, target, name, seeds[0], base | overrides)


def settings(job: Job, args: argparse.Namespace, rows: list[dict[str, str]]) -> dict[str, Any]:
    """Dotted overrides of a run: trials for seed 0 of the main part, afterwards what those trials chose."""
    chosen: dict[str, Any] = {
        "backbone.name": job.backbone,
        "backbone.size": args.size,
        "data.case_pattern": PERSON,
        "data.per_class": args.per_class,
        "optim.epochs": args.epochs,
        "seed": job.seed,
        "name": f"{job.arm} {job.source}",
    }
    if not job.backbone.startswith("tinymig:"):
        chosen["backbone.weights"] = str(args.weights)
    if job.part == "main" and job.seed == args.seeds[0]:
        return chosen | {"optim.trials": args.trials, "optim.trial_epochs": args.trial_epochs} | job.overrides
    arm = job.arm if job.part == "main" else "MoVL joint"
    for name in ("LP", arm):
        tuned = next((r for r in rows if _same_setting(r, job, name, args.seeds[0])), None)
        if tuned is not None:
            chosen |= {f"optim.{k}": v for k, v in json.loads(tuned["settings"]).items()}
    return chosen | job.overrides


def _same_setting(row: dict[str, str], job: Job, arm: str, seed: int) -> bool:
    found = (row["part"], row["backbone"], row["source"], row["arm"], row["seed"])
    return found == ("main", job.backbone, job.source, arm, str(seed))


def run(job: Job, args: argparse.Namespace, rows: list[dict[str, str]]) -> dict[str, Any]:
    """Run one job and return its row."""
    from napari_tinymig.training.classifier.probe import probe

    from napari_tinymig.recipes.classify import load_probe_recipe

    recipe = load_probe_recipe("probe", settings(job, args, rows))
    out = args.runs / "_".join(job.key).replace(" ", "-").replace(":", "-").replace("/", "-")
    wall, cpu = time.perf_counter(), time.process_time()
    for message in probe(recipe, args.data / job.source, [args.data / job.target], out, args.device, overwrite=True):
        if message.kind in ("log", "warning", "epoch"):
            print("   ", message.kind, message.text, {k: round(v, 4) for k, v in message.values.items()}, flush=True)
    facts = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = {
        "part": job.part,
        "backbone": job.backbone,
        "source": job.source,
        "target": job.target,
        "arm": job.arm,
        "seed": job.seed,
        "size": recipe.backbone.size,
        "per_class": args.per_class,
        "epochs": recipe.optim.epochs,
        "trials": recipe.optim.trials,
        "trained_parameters": facts["trained_parameters"],
        "val_loss": round(facts["validation_loss"], 4),
        "settings": json.dumps({k: float(f"{v:.4g}") for k, v in facts["settings"].items()}),
        "train_seconds": facts["train_seconds"],
        "total_seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    for prefix, name in (("id", "source test"), ("ood", f"target {job.target}")):
        scores = facts["sets"][name]
        row[f"{prefix}_n"] = scores["n"]
        for key in ("accuracy", "balanced_accuracy", "auroc", "ece"):
            row[f"{prefix}_{key}"] = round(scores[key], 4)
        low, high = scores["intervals"]["auroc"]
        row |= {f"{prefix}_auroc_low": round(low, 4), f"{prefix}_auroc_high": round(high, 4)}
    return row


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of the table so far."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the table in one step."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared/data/cxr")
    shared = HERE.parent.parent / "shared/weights/mobilenetv2_100.imagenet.safetensors"
    parser.add_argument("--weights", type=Path, default=shared, help="weights of the timm backbone")
    parser.add_argument("--backbones", nargs="+", default=["mobilenetv2_100", "tinymig:prostate"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--per-class", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--trial-epochs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--only", default=None, help="run only jobs whose key holds this text")
    parser.add_argument("--csv", type=Path, default=HERE / "movl.csv")
    parser.add_argument("--runs", type=Path, default=HERE.parent / "runs/movl")
    parser.add_argument("--table", action="store_true", help="write the .md from the .csv and end")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    rows: list[dict[str, Any]] = list(read_rows(args.csv))
    begun = time.monotonic()
    for job in [] if args.table else jobs(args.backbones, args.seeds):
        if any((r["part"], r["backbone"], r["source"], r["arm"], str(r["seed"])) == job.key for r in rows):
            continue
        if args.only and args.only not in " ".join(job.key):
            continue
        if args.minutes is not None and time.monotonic() - begun > 60 * args.minutes:
            break
        print(*job.key, flush=True)
        try:
            rows.append(run(job, args, rows))
        except (TinyMIGError, ValueError, RuntimeError, OSError) as e:
            print("  not run:", e, flush=True)
            continue
        write_rows(args.csv, rows)
    write_table(args.csv, args.runs)


if __name__ == "__main__":
    main()
