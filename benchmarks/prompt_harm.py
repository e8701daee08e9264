"""What keeps a prompt from lowering Dice: ways to ask the network to be surer, on the same targets and clicks.

    python benchmarks/prompt_harm.py DATA [--images 9] [--prompts 10] [-o benchmarks/prompt_harm.json]

Every way replaces `prompts.answer.doubt`: how many logits a pixel of a fault needs before it changes. Targets with an
automatic mask, users and counts are those of benchmarks/prompts.py (development images).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import prompts as bench

from napari_tinymig.prompts import answer

WAYS: dict[str, Callable[[int, float], float]] = {
    "any likely pixel": lambda count, depth: 0.0,
    "0.3 logits": lambda count, depth: 0.3,
    "0.5 logits": lambda count, depth: 0.5,
    "0.5 after three prompts": lambda count, depth: 0.5 if count > 3 else 0.0,
    "0.2 a prompt": lambda count, depth: min(0.2 * max(count - 1, 0), 1.0),
    "0.2 a prompt, shallow faults": answer.doubt,
}


def measured(groups: dict[str, list[bench.Target]], prompts: int) -> dict[str, float]:
    """Means over targets: harm and Dice of the careful users, and of the sloppy one."""
    rows: dict[str, list[dict[str, object]]] = {"careful": [], "sloppy": []}
    for name, group in groups.items():
        for number, kind in enumerate(bench.USERS):
            runs = [bench.run(t, bench.User(kind, 100 * number + i), prompts) for i, t in enumerate(group)]
            rows["sloppy" if kind == "sloppy" else "careful"].append(bench.summary(name, kind, runs))
    keys = ("lowered", "lowered_1pt", "dice_1", "dice_3", "dice_5")
    return {f"{who}_{k}": round(float(np.mean([r[k] for r in found])), 4) for who, found in rows.items() for k in keys}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompt_harm.json"))
    parser.add_argument("--images", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=10)
    a = parser.parse_args()
    groups: dict[str, list[bench.Target]] = {}
    for target in bench.targets(a.data, a.images):
        if target.start == "auto":
            groups.setdefault(target.name, []).append(target)
    table = {}
    for name, way in WAYS.items():
        answer.doubt = way
        table[name] = measured(groups, a.prompts)
        print(json.dumps({name: table[name]}), flush=True)
    a.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
