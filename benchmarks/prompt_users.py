"""Simulated users of benchmarks/prompts.py: where they look, where they miss, and what a run of prompts did.

Three users, all of whom look for the largest fault: `centre` clicks its deepest point, `anywhere` a random point of it,
`sloppy` is off by 4 % of the object's size and tells the wrong label once in twenty prompts.
"""

from __future__ import annotations

import numpy as np
from prompt_targets import Target, begin
from scipy import ndimage

from napari_tinymig.measures.overlap import dice
from napari_tinymig.prompts.network import PromptEngine

USERS = ("centre", "anywhere", "sloppy")


class User:
    """Looks for the largest fault and prompts there."""

    def __init__(self, kind: str, seed: int):
        self.kind, self.rng = kind, np.random.default_rng(seed)

    def next_prompt(self, mask: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], bool] | None:
        """Where to click, and whether the object is there; None if nothing is wrong."""
        fault, add = largest_fault(mask, truth)
        if fault is None:
            return None
        depth = ndimage.distance_transform_edt(np.pad(fault, 1))[1:-1, 1:-1]
        if self.kind == "anywhere":
            inside = np.argwhere(depth >= min(depth.max(), 2) - 0.01)
            at = inside[self.rng.integers(len(inside))]
        else:
            at = np.array(np.unravel_index(int(depth.argmax()), depth.shape))
        if self.kind == "sloppy":
            size = np.sqrt(truth.sum())
            at = at + np.rint(self.rng.normal(0, 0.04 * size, 2)).astype(int)
            at = np.clip(at, 0, np.array(truth.shape) - 1)
            if self.rng.random() < 0.05:
                add = not add
        return (int(at[0]), int(at[1])), add


def largest_fault(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """The largest connected piece in which mask and truth differ, and whether the object is missing there."""
    best, add, most = None, True, 0
    for part, missing in ((truth & ~mask, True), (mask & ~truth, False)):
        numbers, count = ndimage.label(part)
        if count:
            sizes = np.bincount(numbers.ravel())[1:]
            if sizes.max() > most:
                best, add, most = numbers == int(sizes.argmax()) + 1, missing, int(sizes.max())
    return best, add


def told_label(target: Target, at: tuple[int, int], add: bool) -> int:
    """The label that the user tells: the region's own, or what lies under the fault."""
    true = int(target.labels[at])
    if add:
        return true if true in target.region else target.region[-1]
    return 0 if true in target.region else true


def region_of(labels: np.ndarray, target: Target) -> np.ndarray:
    """The target's region in a session's labels, (H, W)."""
    return np.isin(labels.reshape(target.labels.shape), target.region)


def run(target: Target, user: User, prompts: int, engine: PromptEngine | None = None) -> list[dict[str, float]]:
    """One user on one object: Dice, seconds, obedience, and whether the truth was told; row 0 is the start."""
    session = begin(target, engine)
    truth, shape = target.truth, target.labels.shape
    mask = region_of(session.labels, target)
    rows = [{"dice": dice(mask, truth), "seconds": 0.0, "obeyed": 1.0, "true": 1.0}]
    for _ in range(prompts):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            at, add = asked
            label = told_label(target, at, add)
            session.click(at if len(session.labels.shape) == 2 else (0, *at), label)
            labels = session.labels.reshape(shape)
            mask = region_of(labels, target)
            row = {"dice": dice(mask, truth), "seconds": session.seconds, "obeyed": float(labels[at] == label)}
            rows.append(row | {"true": float((label in target.region) == truth[at])})
        else:
            rows.append(rows[-1] | {"seconds": float("nan")})
    return rows


def summary(name: str, who: str, runs: list[list[dict[str, float]]]) -> dict[str, object]:
    """One row of the table."""
    curve = np.array([[r["dice"] for r in rows] for rows in runs])
    row: dict[str, object] = {"target": name, "who": who, "runs": len(runs)}
    for n in (0, 1, 3, 5):
        row[f"dice_{n}"] = round(float(curve[:, n].mean()), 4)
    for goal in (0.85, 0.9):
        row[f"noc_{goal}"] = round(float(np.mean([clicks_to(c, goal) for c in curve])), 2)
    change = np.diff(curve, axis=1)
    asked = ~np.isnan([[r["seconds"] for r in rows[1:]] for rows in runs])
    row["lowered"] = round(float((change[asked] < -1e-3).mean()), 4)
    row["lowered_1pt"] = round(float((change[asked] < -1e-2).mean()), 4)
    true = np.array([[r.get("true", 1.0) for r in rows[1:]] for rows in runs]) > 0.5
    row["told_wrongly"] = round(float((~true[asked]).mean()), 4)
    row["lowered_told_right"] = round(float((change[asked & true] < -1e-3).mean()), 4)
    row["obeyed"] = round(float(np.mean([r["obeyed"] for rows in runs for r in rows[1:]])), 4)
    ms = 1000 * np.array([r["seconds"] for rows in runs for r in rows[1:]])
    ms = ms[~np.isnan(ms) & (ms > 0)]
    if len(ms):
        row["p50_ms"], row["p95_ms"] = round(float(np.median(ms)), 1), round(float(np.percentile(ms, 95)), 1)
    return row


def clicks_to(curve: np.ndarray, goal: float) -> int:
    """Prompts until the Dice is at least `goal`; the cap, one run's number of prompts, where it never is."""
    hits = np.flatnonzero(curve >= goal)
    return int(hits[0]) if len(hits) else len(curve) - 1
