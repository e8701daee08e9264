"""Few-shot fine-tuning on another centre: none, threshold calibration, as shipped, plain; random and ranked images.

    python benchmarks/finetune.py --data DATA -o benchmarks                        # k = 1, 3, 5, 10; five draws
    python benchmarks/finetune.py --data DATA --part ranked -o benchmarks          # which images to annotate
    python benchmarks/finetune.py --data DATA --part prostate -o benchmarks        # slices of one volume
    python benchmarks/finetune.py --data DATA --part ceiling -o benchmarks         # 50 images, the whole student

DATA holds fundus/drishti_gs1 (the source of optic-sdg), fundus/refuge_like and prostate/manual_case00 (DEVELOPMENT
targets). k random images teach, all others test; the source's change is taken on Drishti cases that the parent held
out. Scores are Dice of the network on the deployed region of interest around the true disc, so the locator plays no
part. Draws are seeded 0, 1, ...; rows that are in finetune.csv already are not run again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finetune_table import FIELDS, write_table
from napari_tinymig.training.data.cases import Case, find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.finetune.mixing import Views
from napari_tinymig.training.finetune.pipeline import Tuning
from napari_tinymig.training.networks.saved import load_student

from napari_tinymig.formats import find_inputs
from napari_tinymig.models.file import ModelFile
from napari_tinymig.models.registry import open_model
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.finetune import FineTuneSpec, settings_for
from napari_tinymig.recipes.student import Recipe, recipe_from_dict
from napari_tinymig.sets.next_image import look_at, rank

LIMITS = np.round(1 / (1 + np.exp(-np.linspace(-2.5, 2.5, 41))), 4)
Row = dict[str, Any]


class Ground:
    """What every draw shares: the parent, the target's cases as views, the source's held-out cases as views."""

    def __init__(self, model: ModelFile, target: Sequence[Case], source: Sequence[Case]):
        self.model, self.cases = model, list(target)
        self.recipe = recipe_from_dict(model.header.lineage.recipe)
        self.parent = load_student(model)
        self.target, self.source = self._views(target), self._views(source)
        self.keep_maps()
        self.before = [v.dice(v.probabilities(self.parent)) for v in (self.target, self.source)]

    def _views(self, cases: Sequence[Case]) -> Views:
        data = load_set(list(cases), self.recipe)
        return Views(data, range(len(data)), self.recipe)

    def keep_maps(self) -> None:
        """Encode every view once: while the encoder is frozen only decoders have to be asked."""
        for some in (self.target, self.source):
            some.keep_maps(self.parent)

    def row(self, student: Any, tested: list[int], threshold: float = 0.5) -> Row:
        """Mean Dice on the tested target cases, and paired changes there and on the source."""
        now = [v.dice(v.probabilities(student), [0.5, threshold]) for v in (self.target, self.source)]
        here, gain = now[0][tested].mean(0), (now[0] - self.before[0])[tested].mean(0)
        drop = (now[1] - self.before[1]).mean(0)
        return dict(zip(FIELDS[4:10], [*here, *gain, *drop])) | {"threshold": threshold}

    def best_threshold(self, rows: list[int]) -> float:
        """The parent's best cup threshold on the teaching images; the present one where nothing beats it."""
        few = copy.copy(self.target)
        few.truth, few.known = few.truth[rows], few.known[rows]
        few.cases, few.maps = [few.cases[i] for i in rows], [m[rows] for m in few.maps or []]
        p = few.probabilities(self.parent)
        table = [few.dice(p, [0.5, t])[:, 1].mean() for t in (0.5, *LIMITS)]
        at = int(np.argmax(table))
        return 0.5 if table[at] <= table[0] else float([0.5, *LIMITS][at])


def copy_cases(cases: Sequence[Case], folder: Path) -> Path:
    """A domain folder of some cases."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for case in cases:
        shutil.copy(case.image, folder / "images")
        shutil.copy(case.label, folder / "labels")  # type: ignore[arg-type]
    return folder


def tuned(ground: Ground, rows: list[int], seed: int, folder: Path, **settings: Any) -> tuple[Tuning, Row]:
    """One run of the product's own fine-tuning, and what it tells."""
    data = copy_cases([ground.cases[i] for i in rows], folder / "set")
    settings = {"steps": settings_for(len(rows)).most_steps, "scope": "decoder"} | settings
    spec = FineTuneSpec(seed=seed, device="cpu", **settings)
    wall, cpu = time.monotonic(), time.process_time()
    run = Tuning(ground.model, data, folder, spec, False, lambda: False)
    last = list(run.messages())[-1]
    told = {"keep": last.values["keep"], "share": run.result.header.extra["share_of_child"], "seed": seed}
    told |= {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}
    return run, told | {"proxy": run.result.acceptance.proxy.get("drawn pictures")}


def random_rows(ground: Ground, k: int, draw: int) -> list[Row]:
    """Rows of one draw: none, calibration, as shipped, plain."""
    taught = np.random.default_rng(1000 * k + draw).choice(len(ground.cases), k, replace=False).tolist()
    tested = [i for i in range(len(ground.cases)) if i not in taught]
    limit = ground.best_threshold(taught)
    out = [{"method": "none"} | ground.row(ground.parent, tested)]
    out.append({"method": "threshold calibration"} | ground.row(ground.parent, tested, limit))
    with tempfile.TemporaryDirectory() as folder:
        run, told = tuned(ground, taught, draw, Path(folder))
        inner = run.result.header.thresholds.get("cup", 0.5)
        out.append({"method": "fine-tuning as shipped"} | ground.row(run.result.student, tested, inner) | told)
        child = run.result.child  # the same steps without mixing, thresholds or gate
        out.append({"method": "plain fine-tuning"} | ground.row(child, tested) | {"share": 1.0, "keep": 1.0})
        out[-1]["proxy"] = run.scoring.drift_of(child)
    return out


def ranked_rows(ground: Ground, ks: Sequence[int], draws: int) -> list[Row]:
    """Half of the target is the pool to annotate from, the other half tests; ranked once against random order."""
    order = np.random.default_rng(7).permutation(len(ground.cases)).tolist()
    pool, tested = order[: len(order) // 2], order[len(order) // 2 :]
    paths = {ground.cases[i].image: i for i in pool}
    candidates = look_at([i for i in find_inputs([p.parent for p in paths][:1]) if i.path in paths],
                         Predictor(ground.model, "cpu"))  # fmt: skip
    ranking = [paths[r.candidate.path] for r in rank(list(candidates))]
    out: list[Row] = []
    for k in ks:
        plans = [("images ranked by 'next'", s, ranking[:k]) for s in range(draws)]
        plans += [("images in random order", s, np.random.default_rng(s).permutation(pool)[:k].tolist()) for s in range(draws)]  # fmt: skip  # noqa: E501
        for method, seed, taught in plans:
            with tempfile.TemporaryDirectory() as folder:
                run, told = tuned(ground, taught, seed, Path(folder))
                row = ground.row(run.result.student, tested, run.result.header.thresholds.get("cup", 0.5))
                out.append({"part": "ranked", "k": k, "draw": seed, "method": method} | row | told)
                print(k, method, seed, round(100 * row["d_cup"], 1), flush=True)
    return out


def ceiling_rows(ground: Ground, k: int = 50) -> list[Row]:
    """What many images give: k teach, whole student or decoder, without a guard; the rest tests."""
    taught = np.random.default_rng(1000 * k).choice(len(ground.cases), k, replace=False).tolist()
    tested = [i for i in range(len(ground.cases)) if i not in taught]
    out: list[Row] = []
    for scope, steps in (("decoder", 800), ("whole", 200)):
        with tempfile.TemporaryDirectory() as folder:
            run, told = tuned(ground, taught, 0, Path(folder), scope=scope, steps=steps, guard=False, folds="none")
            ground.target.maps = ground.source.maps = None
            method = f"ceiling: {scope}, {steps} steps"
            row = ground.row(run.result.child, tested)
            ground.keep_maps()
        out.append({"part": "ceiling", "k": k, "draw": 0, "method": method} | row | told)
        print(method, round(100 * row["d_cup"], 1), flush=True)
    return out


def prostate_rows(data: Path, ks: Sequence[int], draws: int) -> list[Row]:
    """k labelled slices of manual_case00 teach, the volume's other slices test (3-D Dice over them)."""
    model = open_model("prostate")
    recipe = recipe_from_dict(model.header.lineage.recipe)
    cases = find_cases(data / "prostate" / "manual_case00", recipe.data)
    images = load_set(cases, recipe)
    parent = load_student(model)
    gland = [i for i in range(len(images)) if images.targets[i].any()]
    out: list[Row] = []
    for k in ks:
        for draw in range(draws):
            taught = sorted(np.random.default_rng(1000 * k + draw).choice(gland, k, replace=False).tolist())
            test = Views(images, [i for i in range(len(images)) if i not in taught], recipe)
            before = float(test.dice(test.probabilities(parent))[0, 0])
            with tempfile.TemporaryDirectory() as folder:
                run, told = prostate_run(model, cases[0], taught, draw, Path(folder))
                for method, student in (("as shipped", run.result.student), ("plain", run.result.child)):
                    after = float(test.dice(test.probabilities(student))[0, 0])
                    row = {"part": "prostate", "k": k, "draw": draw, "method": f"prostate, {method}", "disc": after}
                    out.append(row | {"d_disc": after - before} | told)
                    print(*list(out[-1].values())[:6], flush=True)
    return out


def prostate_run(model: ModelFile, case: Case, slices: list[int], seed: int, folder: Path) -> tuple[Tuning, Row]:
    """Fine-tuning on a copy of the volume in which only some slices are labelled (255 elsewhere)."""
    import SimpleITK

    data = copy_cases([case], folder / "set")
    path = data / "labels" / case.label.name  # type: ignore[union-attr]
    whole = SimpleITK.ReadImage(str(path))
    labels = SimpleITK.GetArrayFromImage(whole).astype(np.uint8)
    sparse = np.full_like(labels, 255)
    sparse[slices] = labels[slices]
    image = SimpleITK.GetImageFromArray(sparse)
    image.CopyInformation(whole)
    SimpleITK.WriteImage(image, str(path))
    spec = FineTuneSpec(seed=seed, device="cpu", scope="decoder", steps=settings_for(len(slices)).most_steps)
    cpu, wall = time.process_time(), time.monotonic()
    run = Tuning(model, data, folder, spec, False, lambda: False)
    last = list(run.messages())[-1]
    told = {"keep": last.values["keep"], "share": run.result.header.extra["share_of_child"], "seed": seed}
    return run, told | {"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - wall}


def main() -> None:
    """Run what is missing of a part, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("random", "ranked", "prostate", "ceiling"), default="random")
    parser.add_argument("--model", default="optic-sdg")
    parser.add_argument("--k", type=int, nargs="+", default=[5, 1, 10, 3])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "finetune.csv"
    rows: list[Row] = list(csv.DictReader(path.open(encoding="utf-8"))) if path.exists() else []
    if args.part == "random":
        ground = optic_ground(args.model, args.data)
        for draw in range(args.draws):
            for k in args.k:
                if any((r["part"], int(r["k"]), int(r["draw"])) == ("random", k, draw) for r in rows):
                    continue
                new = [{"part": "random", "k": k, "draw": draw} | r for r in random_rows(ground, k, draw)]
                print(k, draw, [(r["method"], round(100 * r["d_cup"], 1)) for r in new], flush=True)
                rows += new
                write_table(args.out, rows, ground.model.model_id)
        return
    rows = [r for r in rows if r["part"] != args.part]
    if args.part == "prostate":
        rows += prostate_rows(args.data, args.k, args.draws)
    elif args.part == "ranked":
        rows += ranked_rows(optic_ground(args.model, args.data), args.k, args.draws)
    else:
        rows += ceiling_rows(optic_ground(args.model, args.data))
    write_table(args.out, rows, open_model(args.model).model_id)


def optic_ground(model_name: str, data: Path) -> Ground:
    """refuge_like as the target, the parent's own held-out Drishti cases as the source."""
    model = open_model(model_name)
    recipe: Recipe = recipe_from_dict(model.header.lineage.recipe)
    drishti = find_cases(data / "fundus" / "drishti_gs1", recipe.data)
    held = split_cases(drishti, recipe.data, recipe.seed)[1]
    return Ground(model, find_cases(data / "fundus" / "refuge_like"), held)


if __name__ == "__main__":
    main()
