"""A finer input and a larger backbone for the linear probe of chest films: other persons, and the other centre.

TINYMIG_WEIGHTS=WEIGHTS python benchmarks/probe_input.py --data DATA/cxr --runs RUNS -o benchmarks/probe_input.csv

Kermany to NIH and back, split by person, three seeds of train and validation, one test part; the penalty is chosen on
source validation out of eight. The features of a backbone and side are made once and kept. The other centre is scored
once a run and chooses nothing. Films are 256 px a side: 320 px are enlarged ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from csv_rows import read_rows, write_rows
from napari_tinymig.training.classifier.probe import probe

from napari_tinymig.recipes.classify import load_probe_recipe

PERSON = r"^(\d{8}|person\d+|(?:NORMAL2-)?IM-\d+)"
DIRECTIONS = (("kermany", "nih"), ("nih", "kermany"))
PAIRS = (
    ("mobilenetv2_100", 96),
    ("mobilenetv2_100", 224),
    ("tf_efficientnet_lite0", 224),
    ("tf_efficientnet_lite2", 256),
    ("mobilenetv2_100", 320),
)
METHODS: dict[str, dict[str, Any]] = {
    "lp": {"method": "lp", "prompt.kind": "none", "optim.trials": 8},
    "movl": {"method": "movl", "strategy": "lp_then_both"},
}


def row_of(given: argparse.Namespace, backbone: str, size: int, way: tuple[str, str], seed: int) -> dict[str, Any]:
    """Scores of one run on the source's test persons and on the other centre."""
    source, target = way
    changes: dict[str, Any] = {
        "backbone.name": backbone,
        "backbone.size": size,
        "data.case_pattern": PERSON,
        "seed": seed,
    }
    recipe = load_probe_recipe("probe", changes | METHODS[given.method])
    out = given.runs / f"{given.method}-{backbone}-{size}-{source}-{seed}"
    for message in probe(recipe, given.data / source, [given.data / target], out, "cpu", overwrite=True):
        if message.kind in ("warning", "log"):
            print("   ", message.text, flush=True)
    facts = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = {"method": given.method, "backbone": backbone, "size": size, "source": source, "seed": seed}
    for words, name in (("persons", "source test"), ("other centre", f"target {target}")):
        found = facts["sets"][name]
        low, high = found["intervals"]["auroc"]
        row |= {f"{words} n": found["n"], f"{words} auroc": found["auroc"], f"{words} low": low, f"{words} high": high}
        row[f"{words} balanced accuracy"] = found["balanced_accuracy"]
    row["seconds"] = facts["train_seconds"]
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def main() -> None:
    """Read the arguments; rows that the table holds are not made again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of kermany and nih")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--method", choices=list(METHODS), default="lp")
    parser.add_argument("--pairs", nargs="+", default=[f"{b}:{s}" for b, s in PAIRS], help="BACKBONE:SIDE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_rows(given.out)
    made = {(r["method"], r["backbone"], str(r["size"]), r["source"], str(r["seed"])) for r in rows}
    for backbone, size in (pair.split(":") for pair in given.pairs):
        for way in DIRECTIONS:
            for seed in given.seeds:
                if (given.method, backbone, size, way[0], str(seed)) in made:
                    continue
                rows.append(row_of(given, backbone, int(size), way, seed))
                print(rows[-1], flush=True)
                write_rows(given.out, rows)


if __name__ == "__main__":
    main()
