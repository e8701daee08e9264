"""What keeps a prompt from lowering Dice, and what it costs: ways to mend a fault, on the same targets and users.

    python benchmarks/prompt_harm.py DATA [--images 7] [--prompts 8] [--half 0] [--start nothing] [--way NAME] [-o FILE]

Targets with an automatic mask (or, with --start nothing, without one) of benchmarks/prompt_targets.py, users of
prompt_users.py, development images. A way is chosen on one half of the cases (--half 0) and reported on the other
(--half 1). Every way sets constants of `prompts.answer` or replaces a function of it, or of `prompts.slice_answer`.
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
from prompt_users import USERS, User, run, summary
from scipy import ndimage

from napari_tinymig.base.geometry import place
from napari_tinymig.prompts import answer, rules, slice_answer
from napari_tinymig.prompts.zoom import View, view_around

IMAGES = 7
BEFORE: dict[str, Any] = {"WIDE": 1.4, "REACH": 10.0}
plain, doubt, correction = answer.fault_logits, answer.doubt, answer.correction


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
    logits = plain(engine, picture, view, given, mask, fresh)
    return (logits + zoomed(engine, picture, view, given, mask, fresh, 1.4)) / 2


def zoomed(
    engine: Any, picture: Any, view: View, given: Any, mask: np.ndarray, fresh: bool, margin: float
) -> np.ndarray:
    """The logits of a view `margin` times as wide, on the view's own grid."""
    other = view_around([view.box], view.shape, view.size, margin)
    seen = tuple((b - other.box[i % 2]) * other.scale for i, b in enumerate(view.box))
    return place(plain(engine, picture, other, given, mask, fresh), seen, view.size)[0]


def agreeing(engine: Any, picture: Any, view: View, given: Any, mask: np.ndarray, fresh: bool) -> np.ndarray:
    """The view's own answer where one from a fifth further away agrees; elsewhere the mask stays."""
    logits = plain(engine, picture, view, given, mask, fresh)
    other = zoomed(engine, picture, view, given, mask, fresh, 1.2)
    stays = np.where(view.mask_on_grid(mask), 1.0, -1.0).astype(np.float32)
    return np.where((logits > 0) == (other > 0), logits, stays)


def freely_two_zooms(engine: Any, picture: Any, view: View, given: Any, mask: np.ndarray, fresh: bool) -> np.ndarray:
    """Where the mask is trusted less, the mean of the view and, inside it, of a nearer one at 1.4 times the object."""
    logits = plain(engine, picture, view, given, mask, fresh)
    return (logits + zoomed(engine, picture, view, given, mask, fresh, 1.4 / answer.WIDE)) / 2 if fresh else logits


def surer(least: float) -> Callable[[int, float], float]:
    """So many logits are asked for at least, from the first prompt on and of deep faults, too."""
    return lambda count, depth: max(doubt(count, depth), least)


def reaching(wanted: Callable[[int, float], float]) -> Callable[..., np.ndarray]:
    """A correction that reaches as far as `wanted` says of the number of prompts and the fault's depth on the grid."""

    def mended(engine: Any, picture: Any, given: Any, mask: np.ndarray, points: Any, positive: bool, free: bool) -> Any:
        own, depth = answer.near_piece(mask, points), 0.0
        if own is not None:
            view = view_around([own, answer.box_of(points)], picture.shape, engine.size)
            depth = float(rules.depths(mask, points, positive).max()) * view.scale
        with patch.object(answer, "REACH", wanted(given.count, depth)):
            return correction(engine, picture, given, mask, points, positive, free)

    return mended


def without_necks(rule: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A rule whose change loses what hangs on it by a neck thinner than .6 of the thickness at the click."""

    def kept(old: np.ndarray, seen: np.ndarray, points: Any, core: np.ndarray, where: np.ndarray | None) -> np.ndarray:
        new = rule(old, seen, points, core, where)
        change = old ^ new
        if where is None or len(points) > rules.FEW or not change.any():
            return new
        inner = ndimage.distance_transform_edt(np.pad(change, 1))[1:-1, 1:-1]
        thin = 0.3 * float(rules.depths(old, points, rule is rules.added).max())
        seeds = rules.pieces_at((inner > thin) | core | rules.disks(old.shape, points, int(thin) + 1) & change, points)
        near = ndimage.distance_transform_edt(~seeds) <= 1.5 * thin
        return old ^ (rules.pieces_at(change & near, points) | core & change)

    return kept


OWNER = {"correction": slice_answer}
"""Where a replaced function is asked for, if not in `prompts.answer`."""
WAYS: dict[str, dict[str, Any]] = {
    "every fault at 1.4 times the object (before)": BEFORE,
    "deep faults at 2.2 times, reach 5": {},  # what ships
    "deep faults at 2.2 times": BEFORE | {"WIDE": 2.2},
    "deep faults at 1.8 times": BEFORE | {"WIDE": 1.8},
    "deep faults at 2.6 times": BEFORE | {"WIDE": 2.6},
    "before, mirror image averaged": BEFORE | {"fault_logits": flipped},
    "before, two zooms averaged": BEFORE | {"fault_logits": two_zooms},
    "before, reach 4 instead of 10": BEFORE | {"REACH": 4.0},
    "before, never surer": BEFORE | {"DOUBT": 0.0},
    "before, surer by 0.3 a prompt": BEFORE | {"DOUBT": 0.3, "MOST_DOUBT": 1.5},
    "reach 2 after three prompts": {"correction": reaching(lambda count, depth: 5.0 if count <= 3 else 2.0)},
    "reach 3 at shallow faults": {"correction": reaching(lambda count, depth: 5.0 if depth >= answer.NEAR else 3.0)},
    "without thin necks": {"added": without_necks(rules.added), "taken": without_necks(rules.taken)},
    "two zooms agree": {"fault_logits": agreeing},
    "surer by 0.5 from the first": {"doubt": surer(0.5)},
    "two zooms agree, surer by 0.3": {"fault_logits": agreeing, "doubt": surer(0.3)},
    "from nothing, two zooms averaged": {"fault_logits": freely_two_zooms},
}


def measured(
    groups: dict[str, list[Target]], prompts: int, tell: Callable[[str], None] | None = None
) -> dict[str, float]:
    """Means over targets for each user: harm, harm where the truth was told, and Dice. tell: of every case, too."""
    rows: dict[str, list[dict[str, object]]] = {kind: [] for kind in USERS}
    for name, group in groups.items():
        for kind in USERS:
            seed = 200 if kind == "sloppy" else 0
            runs = [run(t, User(kind, seed + i), prompts) for i, t in enumerate(group)]
            rows[kind].append(summary(name, kind, runs))
            for target, found in zip(group, runs) if tell is not None else ():
                tell(f"{name}, {kind}, {target.case}: {[round(float(r['dice']), 3) for r in found]}")
    keys = ("lowered", "lowered_1pt", "told_wrongly", "lowered_told_right", "dice_0", "dice_1", "dice_3", "dice_5")
    out = {f"{who}_{k}": round(float(np.mean([r[k] for r in found])), 4) for who, found in rows.items() for k in keys}
    return out | {f"{r['target']}_{k}": r[k] for r in rows["centre"] for k in ("lowered", "dice_3")}  # type: ignore[misc]


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/prompt_harm.json"))
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--half", type=int, choices=(0, 1), default=None, help="of the cases; default: all")
    parser.add_argument("--start", choices=("automatic", "nothing"), default="automatic")
    parser.add_argument("--way", default="", help="only the ways whose name holds this")
    parser.add_argument("--cases", action="store_true", help="also print the Dice of every case after each prompt")
    a = parser.parse_args()
    groups = grouped(a.data, a.images, a.half, a.start)
    key = f"{a.start}, " + ("all cases" if a.half is None else ("chosen on", "reported on")[a.half])
    key += "" if a.images == IMAGES else f", {a.images} cases"
    table = json.loads(a.out.read_text(encoding="utf-8")) if a.out.is_file() else {}
    for name, changes in WAYS.items():
        if a.way not in name:
            continue
        with ExitStack() as stack:
            for what, value in changes.items():
                stack.enter_context(patch.object(OWNER.get(what, answer), what, value))
            table.setdefault(key, {})[name] = measured(groups, a.prompts, say if a.cases else None)
        say(json.dumps({name: table[key][name]}))
        a.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
