"""What keeps a prompt from lowering Dice, and what it costs: ways to mend a fault, on the same targets and users.

    python benchmarks/prompt_harm.py DATA [--images 7] [--prompts 8] [--half 0] [--start nothing] [--way NAME] [-o FILE]

Targets with an automatic mask (or, with --start nothing, without one) of benchmarks/prompt_targets.py, users of
prompt_users.py, development images. A way is chosen on one half of the cases (--half 0) and reported on the other
(--half 1). Every way sets constants of `prompts.answer` or replaces a function of it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from prompt_targets import Target, grouped
from prompt_users import User, run, summary

from napari_tinymig.base.geometry import place
from napari_tinymig.prompts import answer
from napari_tinymig.prompts.zoom import View, view_around

USERS = ("centre", "sloppy")
BEFORE: dict[str, Any] = {"WIDE": 1.4, "REACH": 10.0}
plain = answer.fault_logits


def flipped(engine: Any, picture: Any, view: View, given: Any, mask: np.ndarray, fresh: bool) -> np.ndarray:
    """The mean of the view and its mirror image."""
    look = plain(engine, picture, view, given, mask, fresh)
    return (look + plain(Mirrored(engine), picture, view, given, mask, fresh)[:, ::-1]) / 2


class Mirrored:
    """An engine that sees everything mirrored, left to right."""

    def __init__(self, engine: Any):
        self.engine, self.size, self.model_id = engine, engine.size, engine.model_id

    def run(self, batch: np.ndarray) -> np.ndarray:
        return self.engine.run(np.ascontiguousarray(batch[..., ::-1]))


def two_zooms(engine: Any, picture: Any, view: View, given: Any, mask: np.ndarray, fresh: bool) -> np.ndarray:
    """The mean of the view and of one 1.4 times as wide."""
    wide = view_around([view.box], view.shape, view.size, 1.4)
    logits = plain(engine, picture, wide, given, mask, fresh)
    seen = tuple((b - wide.box[i % 2]) * wide.scale for i, b in enumerate(view.box))
    return (plain(engine, picture, view, given, mask, fresh) + place(logits, seen, view.size)[0]) / 2


WAYS: dict[str, dict[str, Any]] = {
    "every fault at 1.4 times the object (before)": BEFORE,
    "deep faults at 2.2 times, reach 5": {},
    "deep faults at 2.2 times": BEFORE | {"WIDE": 2.2},
    "deep faults at 1.8 times": BEFORE | {"WIDE": 1.8},
    "deep faults at 2.6 times": BEFORE | {"WIDE": 2.6},
    "before, mirror image averaged": BEFORE | {"fault_logits": flipped},
    "before, two zooms averaged": BEFORE | {"fault_logits": two_zooms},
    "before, reach 4 instead of 10": BEFORE | {"REACH": 4.0},
    "before, never surer": BEFORE | {"DOUBT": 0.0},
    "before, surer by 0.3 a prompt": BEFORE | {"DOUBT": 0.3, "MOST_DOUBT": 1.5},
}


def measured(groups: dict[str, list[Target]], prompts: int) -> dict[str, float]:
    """Means over targets for each user: harm, harm where the truth was told, and Dice."""
    rows: dict[str, list[dict[str, object]]] = {kind: [] for kind in USERS}
    for name, group in groups.items():
        for kind in USERS:
            seed = 200 if kind == "sloppy" else 0
            runs = [run(t, User(kind, seed + i), prompts) for i, t in enumerate(group)]
            rows[kind].append(summary(name, kind, runs))
    keys = ("lowered", "lowered_1pt", "told_wrongly", "lowered_told_right", "dice_0", "dice_1", "dice_3", "dice_5")
    out = {f"{who}_{k}": round(float(np.mean([r[k] for r in found])), 4) for who, found in rows.items() for k in keys}
    return out | {f"{r['target']}_{k}": r[k] for r in rows["centre"] for k in ("lowered", "dice_3")}  # type: ignore[misc]


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompt_harm.json"))
    parser.add_argument("--images", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--half", type=int, choices=(0, 1), default=None, help="of the cases; default: all")
    parser.add_argument("--start", choices=("automatic", "nothing"), default="automatic")
    parser.add_argument("--way", default="", help="only the ways whose name holds this")
    a = parser.parse_args()
    groups = grouped(a.data, a.images, a.half, a.start)
    key = f"{a.start}, " + ("all cases" if a.half is None else ("chosen on", "reported on")[a.half])
    table = json.loads(a.out.read_text(encoding="utf-8")) if a.out.is_file() else {}
    for name, changes in WAYS.items():
        if a.way not in name:
            continue
        with ExitStack() as stack:
            for what, value in changes.items():
                stack.enter_context(patch.object(answer, what, value))
            table.setdefault(key, {})[name] = measured(groups, a.prompts)
        say(json.dumps({name: table[key][name]}))
        a.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
