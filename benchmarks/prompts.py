"""Prompts by simulated users on development images: Dice after 0, 1, 3 and 5 prompts, clicks to a Dice, harm, time.

    python benchmarks/prompts.py DATA -o benchmarks/prompts [--images 12] [--users 3] [--prompts 20] [--rivals]

DATA holds fundus/, polyp/ and prostate/ as docs/DATASETS.md says. Three users, all of whom look for the largest fault:
`centre` clicks its deepest point, `anywhere` a random point of it, `sloppy` is off by 4 % of the object's size and
tells the wrong label once in twenty prompts. Beside them: the automatic mask with an ideal brush of as many strokes
(a disk of a tenth of the object's size, never wrong), and, on the same prompts, scikit-image's random walker and the
graph cut of OpenCV (GrabCut; `pip install opencv-python-headless`, wanted by --rivals alone). `coins`
(scikit-image) is a kind of object that the student was never taught; its truth is the watershed of scikit-image's
own tutorial. Development targets: looked at while building.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import random_walker, watershed

import napari_tinymig as tm
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import open_input, read_mask
from napari_tinymig.measures.overlap import dice
from napari_tinymig.prompts.grey import slice_picture
from napari_tinymig.prompts.zoom import extent_of, view_around

STUDENTS = {"optic": "optic-sdg", "polyp": "polyp-sdg", "prostate": "prostate"}
"""The automatic masks: `optic` and `polyp` themselves were taught on the targets."""
USERS = ("centre", "anywhere", "sloppy")


@dataclass(frozen=True)
class Target:
    """One object: a picture (H, W, 3) or slice (1, H, W), its labels, the region's labels, and where to start."""

    name: str
    image: np.ndarray
    labels: np.ndarray
    region: tuple[int, ...]
    task: str
    start: str | None
    case: str

    @property
    def truth(self) -> np.ndarray:
        return np.isin(self.labels, self.region)


def targets(data: Path, images: int) -> Iterator[Target]:
    """The development targets, a fixed sample of each."""
    for name, region in (("disc", (1, 2)), ("cup", (2,))):
        for case, image, labels in pairs(data / "fundus/refuge_like", images):
            yield Target(f"optic {name}, automatic", image, labels, region, "optic", "auto", case)
    for case, image, labels in pairs(data / "polyp/polypgen_C3", images, least=300):
        yield Target("polyp, automatic", image, labels, (1,), "polyp", "auto", case)
    for case, image, labels in slices(data, images):
        yield Target("prostate slice, automatic", image, labels, (1,), "prostate", "auto", case)
    for case, image, labels in coins(images):
        yield Target("coin (never taught), nothing", image, labels, (1,), "any", None, case)
    for case, image, labels in pairs(data / "fundus/refuge_like", images):
        yield Target("disc, nothing", image, (labels > 0).astype(np.uint8), (1,), "any", None, case)
    for case, image, labels in pairs(data / "polyp/polypgen_C3", images, least=300):
        yield Target("polyp, nothing", image, labels, (1,), "any", None, case)
    for case, image, labels in slices(data, images):
        yield Target("prostate slice, nothing", image, labels, (1,), "any", None, case)


def pairs(folder: Path, images: int, least: int = 1) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """A fixed sample of a domain folder."""
    files = sorted((folder / "labels").iterdir())
    found = 0
    for i in np.random.default_rng(0).permutation(len(files)):
        labels = read_mask(files[i])
        if (labels > 0).sum() >= least and found < images:
            found += 1
            image = next((folder / "images").glob(files[i].stem.split(".")[0] + ".*"))
            yield files[i].stem, open_input(image).scan.pixels, labels


def slices(data: Path, images: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Slices of the two volumes that were held back, and of the one with manual labels."""
    folders = [(data / "prostate/silver", "ProstateX-0004"), (data / "prostate/silver", "ProstateX-0005")]
    folders.append((data / "prostate/manual_case00", "case00"))
    for folder, name in folders:
        volume = open_input(next((folder / "images").glob(f"{name}.*"))).scan.pixels
        labels = read_mask(next((folder / "labels").glob(f"{name}.*")))
        inside = np.flatnonzero((labels > 0).sum((1, 2)) > 250)
        for z in inside[np.linspace(1, len(inside) - 2, max(images // 3, 1)).astype(int)]:
            yield f"{name}:{z}", volume[z : z + 1], labels[z]


def coins(images: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Coins of scikit-image's picture, cut by the watershed of its tutorial."""
    from skimage.data import coins as picture
    from skimage.filters import sobel

    grey = picture()
    markers = np.zeros(grey.shape, int)
    markers[grey < 30], markers[grey > 150] = 1, 2
    filled = ndimage.binary_fill_holes(watershed(sobel(grey), markers) - 1)
    numbers, _ = ndimage.label(ndimage.binary_opening(filled, iterations=2))
    sizes = np.bincount(numbers.ravel())
    kept = [n for n in range(1, len(sizes)) if sizes[n] > 600]
    for n in kept[:images]:
        yield f"coin {n}", np.repeat(grey[..., None], 3, axis=2), (numbers == n).astype(np.uint8)


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


def run(target: Target, user: User, prompts: int) -> list[dict[str, float]]:
    """One user on one object: Dice, seconds and obedience after every prompt; row 0 is the start."""
    session = begin(target)
    truth, shape = target.truth, target.labels.shape
    mask = np.isin(session.labels.reshape(shape), target.region)
    rows = [{"dice": dice(mask, truth), "seconds": 0.0, "obeyed": 1.0}]
    for _ in range(prompts):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            at, add = asked
            label = told_label(target, at, add)
            position = at if len(session.labels.shape) == 2 else (0, *at)
            session.click(position, label)
            labels = session.labels.reshape(shape)
            mask = np.isin(labels, target.region)
            rows.append({"dice": dice(mask, truth), "seconds": session.seconds, "obeyed": float(labels[at] == label)})
        else:
            rows.append(rows[-1] | {"seconds": float("nan")})
    return rows


ENGINE = None
BUNDLED = "the bundled prompted student"
STARTS: dict[tuple[str, str], np.ndarray] = {}


def begin(target: Target) -> object:
    """A session on a target; the automatic mask is asked for once."""
    from napari_tinymig.prompts.begin import begin as session

    scan = Scan(target.image)
    key = (target.task, target.case)
    if target.start == "auto" and key not in STARTS:
        STARTS[key] = tm.segment(scan, model=STUDENTS[target.task]).labels
    return session(scan, target.task, start=STARTS[key] if target.start == "auto" else None, engine=ENGINE)


def brush(target: Target, strokes: int) -> list[float]:
    """An ideal brush: every stroke makes a disk around the deepest fault right."""
    session = begin(target)
    truth = target.truth
    mask = np.isin(session.labels.reshape(truth.shape), target.region)
    user, out = User("centre", 0), [dice(mask, truth)]
    radius = 0.1 * np.sqrt(4 * truth.sum() / np.pi)
    rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
    for _ in range(strokes):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            (y, x), _ = asked
            disk = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            mask = np.where(disk, truth, mask)
        out.append(dice(mask, truth))
    return out


Cut = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A rival: picture (n, n, 3) uint8 and seeds (n, n), 1 = object, 2 = not, 0 = open -> object, bool."""
FRAME = 96


def walker(picture: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """scikit-image's random walker."""
    return np.asarray(random_walker(picture.mean(2) / 127.5 - 1, seeds, beta=300, mode="cg_j", tol=1e-2) == 1)


def graph_cut(picture: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """GrabCut of OpenCV (Rother et al., 2004), five rounds; what is open in the middle may be the object."""
    import cv2

    middle = np.hypot(*(np.ogrid[-1 : 1 : FRAME * 1j, -1 : 1 : FRAME * 1j])) <= 1 / 1.6
    state = np.where(middle, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[seeds == 1], state[seeds == 2] = cv2.GC_FGD, cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(picture), state, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


def seeded(target: Target, prompts: int, cut: Cut) -> list[float]:
    """A rival whose seeds are the prompts of a `centre` user and the frame of a view around the truth."""
    truth, user = target.truth, User("centre", 0)
    session = begin(target)
    mask = np.isin(session.labels.reshape(truth.shape), target.region)
    out, positive, negative = [dice(mask, truth)], [], []
    picture = target.image if target.image.shape[-1] == 3 else slice_picture(target.image[0])
    for _ in range(prompts):
        asked = user.next_prompt(mask, truth)
        if asked is not None:
            (positive if asked[1] else negative).append(asked[0])
            extent = extent_of(mask) or extent_of(truth)
            view = view_around([extent, extent_of(truth)], truth.shape, FRAME, margin=1.6)
            looked = np.clip(np.rint((view.picture(picture) + 1) * 127.5), 0, 255).astype(np.uint8).transpose(1, 2, 0)
            seeds = np.zeros((FRAME, FRAME), int)
            seeds[[0, -1]], seeds[:, [0, -1]] = 2, 2
            for points, value in ((positive, 1), (negative, 2)):
                for y, x in np.clip(np.rint(view.on_grid(points)).astype(int), 1, FRAME - 2) if points else []:
                    seeds[y - 1 : y + 2, x - 1 : x + 2] = value
            if (seeds == 1).any():
                mask = np.zeros_like(truth)
                mask[view.window] = view.in_window(cut(looked, seeds).astype(np.float32) - 0.5) > 0
        out.append(dice(mask, truth))
    return out


RIVALS: dict[str, Callable[[Target, int], list[float]]] = {
    "ideal brush": brush,
    "random walker": lambda target, prompts: seeded(target, prompts, walker),
    "graph cut": lambda target, prompts: seeded(target, prompts, graph_cut),
}


def boxes(data: Path, images: int, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """The true box, every side off by up to 5 % of the object's size, answered by the student and by LiteMedSAM."""
    from napari_tinymig.jobs.box_engine import open_box_engine
    from napari_tinymig.prompts.begin import begin as session

    out: list[dict[str, object]] = []
    groups: dict[str, list[Target]] = {}
    for target in targets(data, images):
        if target.start is None:
            groups.setdefault(target.name.split(",")[0], []).append(target)
    for name, group in groups.items():
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
            row = {"target": name, "engine": engine, "n": len(group), "dice": round(float(np.mean(scores)), 4)}
            out.append(row | {"first_ms": round(1000 * first, 1), "again_ms": round(1000 * again, 1)})
            say(json.dumps(out[-1]))
    return out


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


def compare(
    data: Path, images: int, users: int, prompts: int, rivals: bool, only: str, say: Callable[[str], None] = print
) -> list[dict[str, object]]:
    """Every target with every user, and the rivals."""
    groups: dict[str, list[Target]] = {}
    for target in targets(data, images):
        if only in target.name:
            groups.setdefault(target.name, []).append(target)
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


def markdown(table: list[dict[str, object]], a: argparse.Namespace) -> str:
    """The table for people."""
    lines = [
        "# Prompts on development images",
        "",
        f"`python benchmarks/prompts.py DATA --images {a.images} --users {a.users} --prompts {a.prompts}"
        f"{' --rivals' if a.rivals else ''}`; `{BUNDLED}`; {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s) of",
        "a shared machine: the times are noisy. Images looked at while building: development, never unseen. `lowered`:",
        "share of prompts that lowered Dice by more than 0.001, and by more than 0.01. `obeyed`: the clicked pixel has",
        f"the told label. Cap of prompts: {a.prompts} (NoC of an object that never gets there counts as the cap).",
        "Automatic masks: `optic-sdg`, `polyp-sdg`, `prostate` (the silver volumes used here taught `prostate`).",
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
        cells += [f"{100 * float(r['lowered_1pt']):.0f} %", obeyed, f"{r.get('p50_ms', '-')} / {r.get('p95_ms', '-')}"]
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
    parser.add_argument("--only", default="")
    parser.add_argument("--boxes", action="store_true", help="only the boxes, beside LiteMedSAM (extra [medsam])")
    a = parser.parse_args()
    if a.boxes:
        rows = boxes(a.data, a.images)
        a.out.with_name(a.out.name + "_boxes.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        return
    global BUNDLED
    from napari_tinymig.prompts.network import prompted_student

    BUNDLED = prompted_student().model_id
    table = compare(a.data, a.images, a.users, a.prompts, a.rivals, a.only)
    columns = list(dict.fromkeys(k for row in table for k in row))
    with a.out.with_suffix(".csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(table)
    a.out.with_suffix(".md").write_text(markdown(table, a), encoding="utf-8")
    print(f"{len(table)} rows in {a.out.with_suffix('.csv')}; {platform.processor() or platform.machine()}")


if __name__ == "__main__":
    main()
