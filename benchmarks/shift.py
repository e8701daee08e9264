"""Does the shift score mean what it says? Every figure of benchmarks/shift.md comes from this program.

    python benchmarks/shift.py --data ../shared/data --model optic-sdg --out benchmarks

Home = the Drishti images that the model did not train on (its own split, by the recipe and seed in its header).
Writes shift.md and shift.json; finished sets are remembered in OUT/shift_cache, so that a stopped run
goes on. CPU only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from napari_tinymig.engine.config import recipe_from_dict
from napari_tinymig.engine.corruptions import CORRUPTIONS, corrupt
from napari_tinymig.engine.image_sets import SeenSet, coordinates, see_scan
from napari_tinymig.engine.io import find_inputs
from napari_tinymig.engine.predict import Predictor
from napari_tinymig.engine.records import Scan
from napari_tinymig.engine.set_distance import permutation_test
from napari_tinymig.engine.trust import interval_factor, interval_quantile

STRENGTHS = (1 / 3, 2 / 3, 1.0)
SPLITS = 200
READING = """## Reading the table

* Corruptions are made on the whole photograph at half size; the network sees the region around the disc. Vignetting and
  bias fields hardly reach it: they are not noticed, and Dice does not suffer either. Weak gamma, temperature and
  contrast changes lie within the scatter of the source's own photographs.
* In every polyp and chest image the locator finds a "disc" and the student draws it. The badge is what tells.
* Home has only a dozen held-out images. The same images calibrate the score, so an AUROC against them cannot be
  sharper than its interval, and 'home' itself is in-sample for calibration (not for the moments).
* Expected Dice is too optimistic on refuge_like, as anything learned on the source alone would be; its order is what
  to use. An AUROC of failures rests on the number of failures beside it: with one to three, read it as an anecdote.
* Matching colours helps the other camera and leaves home alone; matching whole histograms harms the cup at home;
  BatchNorm statistics change little. All stay off by default: two sets are not evidence enough to turn one on.
"""
N = 20
REGIONS = ("disc", "cup")


class Case:
    """One image with its truth (None if unknown)."""

    def __init__(self, name: str, pixels: np.ndarray, labels: np.ndarray | None = None, path: Path | None = None):
        self.name, self.pixels, self.labels, self.path = name, pixels, labels, path


def photographs(folder: Path, limit: int | None = None) -> list[Case]:
    """Images of a folder (evenly spaced if limited), with ../labels/<stem>.png where it exists."""
    items = find_inputs([folder])
    if limit and len(items) > limit:
        items = [items[round(i * (len(items) - 1) / (limit - 1))] for i in range(limit)]
    cases = []
    for item in items:
        truth = folder.parent / "labels" / f"{item.name}.png"
        labels = np.asarray(Image.open(truth)) if folder.name == "images" and truth.is_file() else None
        with Image.open(item.path) as picture:
            cases.append(Case(item.name, np.asarray(picture.convert("RGB")), labels, item.path))
    return cases


def held_out(cases: list[Case], predictor: Predictor, folder: Path) -> list[Case]:
    """The cases that the model's own split held back."""
    from napari_tinymig.training.data import find_cases, split_cases

    recipe = recipe_from_dict(dict(predictor.header.lineage.recipe))
    _, held = split_cases(find_cases(folder, recipe.data), recipe.data, recipe.seed)
    names = {c.name for c in held}
    return [c for c in cases if c.name in names]


def re_encoded(case: Case, quality: int) -> Case:
    """The same photograph after one more JPEG at its own size."""
    stream = io.BytesIO()
    Image.fromarray(case.pixels).save(stream, "JPEG", quality=quality)
    return Case(case.name, np.asarray(Image.open(stream).convert("RGB")), case.labels)


def half_size(case: Case) -> Case:
    """A photograph at half its size: corruptions are made there, because the network sees less still."""
    h, w = case.pixels.shape[:2]
    size = (w // 2, h // 2)
    labels = np.asarray(Image.fromarray(case.labels).resize(size, Image.Resampling.NEAREST))
    return Case(case.name, np.asarray(Image.fromarray(case.pixels).resize(size, Image.Resampling.BOX)), labels)


def corrupted(cases: list[Case], name: str, strength: float) -> list[Case]:
    """Every case after one corruption, each with its own seed."""
    return [Case(c.name, corrupt(c.pixels, name, strength, i), c.labels) for i, c in enumerate(cases)]


class Seen:
    """What the model said of one image: prediction, true Dice per region, whitened coordinates."""

    def __init__(self, case: Case, predictor: Predictor, statistics: dict, coordinates_too: bool = False):
        scan = Scan(case.pixels, None, case.name)
        prediction = predictor.predict(scan)
        self.extra, self.found_vcdr = prediction.extra, prediction.measures.get("vcdr", np.nan)
        self.distance = float(self.extra.get("shift_distance", 99.0))
        self.profile = self.extra.get("shift_profile", {})
        self.level = self.extra.get("shift_level", "not located")
        self.dice = {r: dice(prediction.labels, case.labels, r) for r in REGIONS} if case.labels is not None else {}
        self.vcdr = vcdr(case.labels) if case.labels is not None else np.nan
        self.coordinates = None
        if coordinates_too:
            seen = see_scan(predictor, statistics, scan, Path(case.name))
            if seen.result is not None:
                self.coordinates = coordinates(statistics, SeenSet("one", [seen]))[0]


def mask_of(labels: np.ndarray, region: str) -> np.ndarray:
    return labels >= 1 if region == "disc" else labels == 2


def dice(labels: np.ndarray, truth: np.ndarray, region: str) -> float:
    a, b = mask_of(labels, region), mask_of(truth, region)
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def vcdr(labels: np.ndarray) -> float:
    heights = [
        np.ptp(np.flatnonzero(mask_of(labels, r).any(1))) + 1 if mask_of(labels, r).any() else 0 for r in REGIONS
    ]
    return heights[1] / heights[0] if min(heights) else float("nan")


def auroc(home: Iterable[float], other: Iterable[float]) -> float:
    """Chance that another image scores higher than a home image; ties count half."""
    a, b = np.asarray(list(home)), np.asarray(list(other))
    return float(np.mean((b[None] > a[:, None]) + 0.5 * (b[None] == a[:, None])))


def with_ci(statistic: Callable[..., float], *columns: np.ndarray, draws: int = 500, paired: bool = True) -> str:
    """'value [low, high]': percentile bootstrap over images, 95 %."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(draws):
        if paired:
            i = rng.integers(0, len(columns[0]), len(columns[0]))
            values.append(statistic(*(c[i] for c in columns)))
        else:
            values.append(statistic(*(c[rng.integers(0, len(c), len(c))] for c in columns)))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return f"{statistic(*columns):.2f} [{low:.2f}, {high:.2f}]"


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.spearmanr(a, b)[0]) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else float("nan")


class Bench:
    """The model, its statistics, and a folder that remembers finished sets, so that a stopped run goes on."""

    def __init__(self, model: str, folder: Path):
        self.predictor = Predictor(model, "cpu")
        self.statistics = self.predictor.header.statistics
        header = self.predictor.header
        seal = hashlib.sha256(json.dumps([header.weights_sha256, header.statistics]).encode()).hexdigest()[:8]
        self.folder = folder / f"{header.name}-{seal}"  # scores or cards in a header change nothing here
        self.folder.mkdir(parents=True, exist_ok=True)

    def remembered(self, name: str, make: Callable[[], object]) -> Any:
        """What `make` gave in this or an earlier run of the same model."""
        path = self.folder / (re.sub(r"[^a-z0-9]+", "-", name.lower()) + ".pickle")
        if path.is_file():
            return pickle.loads(path.read_bytes())
        start = time.perf_counter()
        made = make()
        path.write_bytes(pickle.dumps(made))
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        return made

    def look_at(self, name: str, cases: Callable[[], list[Case]], coordinates_too: bool = False) -> list[Seen]:
        """Every image of a set through the model."""
        return self.remembered(
            name, lambda: [Seen(c, self.predictor, self.statistics, coordinates_too) for c in cases()]
        )


def features(cases: list[Case], predictor: Predictor, statistics: dict) -> np.ndarray:
    """(n, d) whitened coordinates of the images in which something was located."""
    seen = SeenSet(
        "features", [see_scan(predictor, statistics, Scan(c.pixels, None, c.name), Path(c.name)) for c in cases]
    )
    return coordinates(statistics, seen)


def separation(home: list[Seen], sets: dict[str, list[Seen]]) -> list[str]:
    """AUROC of every set against home, joint and part by part, and what the badge says."""
    parts = list(home[0].profile)
    rows = [
        f"| set | n | mean Dice | AUROC (95 % CI) | known ground | some shift | far away | {' | '.join(parts)} |",
        "|" + "---|" * (7 + len(parts)),
    ]
    d = np.array([s.distance for s in home])
    for name, seen in {"home (held out)": home, **sets}.items():
        levels = [sum(s.level == level for s in seen) for level in ("known ground", "some shift", "far away")]
        joint = with_ci(auroc, d, np.array([s.distance for s in seen]), paired=False)
        single = [f"{auroc([h.profile[p] for h in home], [s.profile.get(p, 100.0) for s in seen]):.2f}" for p in parts]
        quality = (
            f"{np.mean([list(s.dice.values()) for s in seen]):.3f}" if name.startswith(("home", "refuge")) else "-"
        )
        rows.append(
            f"| {name} | {len(seen)} | {quality} | {joint} | {' | '.join(map(str, levels))} | {' | '.join(single)} |"
        )
    return rows


def two_samples(a: np.ndarray, b: np.ndarray) -> list[str]:
    """Detection between two centres and false alarms within each, n = 20 against 20."""
    rng = np.random.default_rng(0)
    rows = ["| sets | splits | share p < 0.01 | share p < 0.05 | largest p |", "|---|---|---|---|---|"]

    def test(draw: Callable[[], tuple[np.ndarray, np.ndarray]], name: str) -> None:
        p = np.array([permutation_test(*draw(), permutations=199, seed=i).p for i in range(SPLITS)])
        rows.append(f"| {name} | {SPLITS} | {np.mean(p < 0.01):.3f} | {np.mean(p < 0.05):.3f} | {p.max():.3f} |")

    def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = rng.permutation(len(x))
        return x[order[:N]], x[order[N : 2 * N]]

    test(lambda: (a[rng.permutation(len(a))[:N]], b[rng.permutation(len(b))[:N]]), "Drishti against refuge_like")
    test(lambda: halves(a), "Drishti against Drishti (false alarms)")
    test(lambda: halves(b), "refuge_like against refuge_like (false alarms)")
    return rows


def trust_rows(sets: dict[str, list[Seen]]) -> list[str]:
    """Expected against true Dice within each set, and failures (Dice < 0.7) found."""
    rows = [
        "| set | region | n | true Dice | expected Dice | Spearman (95 % CI) | mean abs. error | failures "
        "| AUROC of failures |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, seen in sets.items():
        for region in (*REGIONS, "mean"):
            got = [s for s in seen if s.dice and "expected_dice" in s.extra]
            if len(got) < 8:
                continue
            true, expected = dice_pair(got, region)
            failed = true < 0.7
            found = (
                f"{auroc(1 - expected[~failed], 1 - expected[failed]):.2f}" if 0 < failed.sum() < len(failed) else "-"
            )
            rows.append(
                f"| {name} | {region} | {len(true)} | {true.mean():.3f} | {expected.mean():.3f} | "
                f"{with_ci(spearman, true, expected)} | {np.abs(true - expected).mean():.3f} | {int(failed.sum())} "
                f"| {found} |"
            )
    return rows


def dice_pair(seen: list[Seen], region: str) -> tuple[np.ndarray, np.ndarray]:
    names = REGIONS if region == "mean" else (region,)
    true = np.mean([[s.dice[r] for s in seen] for r in names], 0)
    expected = np.mean([[s.extra["expected_dice"][r][0] for s in seen] for r in names], 0)
    return true, expected


def coverage_rows(home: list[Seen], sets: dict[str, list[Seen]], statistics: dict) -> list[str]:
    """How often the 90 % interval of vCDR holds the truth, and how wide it is.

    Twice: with the factor in the model's header, and with the factor that today's rule (`trust.interval_quantile`)
    gives for the same home images; they are equal for models trained with this version.
    """
    rows = [
        "| set | factor | n | nominal | coverage (95 % CI) | mean width | mean abs. error of vCDR |",
        "|---|---|---|---|---|---|---|",
    ]
    factor, _ = interval_factor(statistics, "ratio") or (np.nan, 0)
    today = interval_quantile([abs(error) / spread for error, spread in errors(home, factor)])
    for name, seen in sets.items():
        got = errors(seen, factor)
        for said, f in ((f"in the header, {factor:.2f}", factor), (f"today's rule, {today:.2f}", today)):
            inside = np.array([abs(error) <= f * spread for error, spread in got], float)
            width = np.mean([2 * f * spread for _, spread in got])
            error = np.mean([abs(e) for e, _ in got])
            coverage = with_ci(lambda v: float(v.mean()), inside)
            rows.append(f"| {name} | {said} | {len(got)} | 0.90 | {coverage} | {width:.2f} | {error:.3f} |")
    return rows


def errors(seen: list[Seen], factor: float) -> list[tuple[float, float]]:
    """(true - found vCDR, unit of its interval) of every image that has both."""
    out = []
    for s in seen:
        low, high = s.extra.get("intervals", {}).get("vcdr", (np.nan, np.nan))
        if np.isfinite(s.vcdr) and np.isfinite(low):
            half = max(high - s.found_vcdr, s.found_vcdr - low)  # the upper end is cut at 1
            out.append((s.vcdr - s.found_vcdr, half / factor))
    return out


def help_rows(model: str, sets: dict[str, list[Case]], plain: dict[str, list[Seen]], bench: Bench) -> list[str]:
    """Benefit and harm of test-time help: mean Dice per set, and the paired change."""
    rows = ["| set | n | region | none | colour | histogram | BatchNorm statistics |", "|---|---|---|---|---|---|---|"]
    adapted = batchnorm_adapted(sets, bench.predictor, bench.folder)
    helps = {h: Predictor(model, "cpu", help=h) for h in ("colour", "histogram")}
    for name, cases in sets.items():
        told = {h: [p.predict(Scan(c.pixels, None, c.name)) for c in cases] for h, p in helps.items()}
        if name in adapted:
            told["bn"] = [adapted[name].predict(Scan(c.pixels, None, c.name)) for c in cases]
        for region in REGIONS:
            before = np.array([s.dice[region] for s in plain[name]])
            row = f"| {name} | {len(cases)} | {region} | {before.mean():.3f} |"
            for h in ("colour", "histogram", "bn"):
                if h not in told:
                    row += " - |"
                    continue
                after = np.array([dice(p.labels, c.labels, region) for p, c in zip(told[h], cases)])
                row += f" {after.mean():.3f} (change {with_ci(lambda v: float(v.mean()), after - before)}) |"
            rows.append(row)
    return rows


def risk_rows(seen: list[Seen]) -> list[str]:
    """Risk-coverage: mean Dice of the images that are kept when the least trusted are set aside."""
    true, expected = dice_pair([s for s in seen if s.dice and "expected_dice" in s.extra], "mean")
    order = np.argsort(-expected)
    rows = [
        "| kept | mean Dice of those kept | mean Dice if kept at random | if kept by the truth |",
        "|---|---|---|---|",
    ]
    best = np.sort(true)[::-1]
    for share in (1.0, 0.9, 0.8, 0.6, 0.4):
        k = max(1, round(share * len(true)))
        rows.append(f"| {share:.0%} | {true[order][:k].mean():.3f} | {true.mean():.3f} | {best[:k].mean():.3f} |")
    return rows


def time_rows(model: str, case: Case) -> list[str]:
    """CPU milliseconds of a whole prediction with and without statistics; interleaved, one thread, one process."""
    import napari_tinymig.engine.predict as pipeline

    predictor = Predictor(model, "cpu", threads=1)
    scan, judge = Scan(case.pixels, None, case.name), pipeline.judge
    with_shift, without = [], []
    try:
        for _ in range(20):
            for times, act in ((with_shift, judge), (without, lambda *_: None)):
                pipeline.judge = act
                start = time.process_time()
                predictor.predict(scan)
                times.append(1000 * (time.process_time() - start))
    finally:
        pipeline.judge = judge
    a, b = np.array(with_shift), np.array(without)
    return [
        f"One photograph of {scan.pixels.shape[1]} x {scan.pixels.shape[0]}, 20 interleaved rounds, CPU time of one "
        f"thread: median {np.median(b):.0f} ms without, {np.median(a):.0f} ms with shift, expected Dice and intervals "
        f"(minimum {b.min():.0f} and {a.min():.0f} ms): {100 * (np.median(a) / np.median(b) - 1):.0f} % more by the "
        f"medians, {100 * (a.min() / b.min() - 1):.0f} % by the minima. The machine was shared."
    ]


def batchnorm_adapted(sets: dict[str, list[Case]], predictor: Predictor, folder: Path) -> dict[str, Predictor]:
    """The model once per set with the BatchNorm statistics of that set's (unlabelled) regions of interest."""
    from napari_tinymig.training.batchnorm import adapt_batchnorm

    out = {}
    for name, cases in sets.items():
        grids = [
            f.grid for c in cases for f in predictor.answer_photograph(Scan(c.pixels), "auto", False, False).frames
        ]
        adapted = adapt_batchnorm(predictor.model, grids, folder / f"bn_{name.split()[0]}.safetensors")
        out[name] = Predictor(adapted, "cpu")
        adapted.path.unlink()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="optic-sdg")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    parser.add_argument("--limit", type=int, default=40, help="images of each foreign set")
    arguments = parser.parse_args()
    bench = Bench(arguments.model, arguments.out / "shift_cache")
    predictor, statistics = bench.predictor, bench.statistics
    drishti = photographs(arguments.data / "fundus/drishti_gs1/images")
    home_cases = held_out(drishti, predictor, arguments.data / "fundus/drishti_gs1")
    refuge_cases = photographs(arguments.data / "fundus/refuge_like/images")
    home = bench.look_at("home", lambda: home_cases)
    refuge = bench.look_at("refuge_like", lambda: refuge_cases, True)
    foreign = {"refuge_like": refuge}
    for name, folder in (
        ("polyp (Kvasir)", "polyp/kvasir_seg/images"),
        ("chest X-ray (NIH)", "cxr/nih/normal"),
        ("chest X-ray (Kermany)", "cxr/kermany/normal"),
    ):
        foreign[name] = bench.look_at(name, partial(photographs, arguments.data / folder, arguments.limit))
    encoded = {
        f"home re-encoded, JPEG {q}": bench.look_at(f"JPEG {q}", lambda q=q: [re_encoded(c, q) for c in home_cases])
        for q in (95, 75, 50)
    }
    some = refuge_cases[:: max(1, len(refuge_cases) // 40)]
    alike = bench.look_at("all JPEG 75", lambda: [re_encoded(c, 75) for c in [*home_cases, *some]])
    halves = [half_size(c) for c in home_cases]
    spoiled = {"home at half size": bench.look_at("half size", lambda: halves)}
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            key = f"home, {name} {strength:.2f}"
            spoiled[key] = bench.look_at(key, partial(corrupted, halves, name, strength))
    source = bench.remembered("source features", lambda: features(drishti, predictor, statistics))
    pooled = [s for name, seen in spoiled.items() if name != "home at half size" for s in seen]
    scored = {"home (held out)": home, "refuge_like (development)": refuge, "corrupted home, pooled": pooled}
    labelled = {"home (held out)": home_cases, "refuge_like (development)": some}
    by_name = {c.name: s for c, s in zip(refuge_cases, refuge)}
    plain = {"home (held out)": home, "refuge_like (development)": [by_name[c.name] for c in some]}
    alike_home, alike_refuge = alike[: len(home_cases)], alike[len(home_cases) :]
    helped = bench.remembered("help", lambda: help_rows(arguments.model, labelled, plain, bench))
    sections = [
        ("Separation from home", separation(home, foreign | encoded | spoiled)),
        (
            "All sets re-encoded alike (JPEG 75)",
            [
                "AUROC of refuge_like against home after both were re-encoded: "
                + with_ci(
                    auroc,
                    np.array([s.distance for s in alike_home]),
                    np.array([s.distance for s in alike_refuge]),
                    paired=False,
                )
            ],
        ),
        (
            f"Two sets of {N}: permutation test on the features (MMD)",
            two_samples(source, np.stack([s.coordinates for s in refuge if s.coordinates is not None])),
        ),
        ("Expected Dice", trust_rows(scored)),
        ("Risk and coverage on refuge_like (development)", risk_rows(refuge)),
        ("Interval of vCDR, 90 % nominal", coverage_rows(home, scored, statistics)),
        ("Test-time help without training", helped),
        ("Time", time_rows(arguments.model, home_cases[0])),
    ]
    write(arguments, predictor, len(home_cases), sections)


def write(arguments: argparse.Namespace, predictor: Predictor, n: int, sections: list) -> None:
    statistics = predictor.header.statistics
    head = [
        "# The shift score, measured",
        "",
        f"Command: `python benchmarks/shift.py --data DATA --model {arguments.model}`. Model {predictor.model_id}, "
        f"trained on {', '.join(predictor.header.lineage.domains)} alone; home = its {n} held-out images, which also "
        f"calibrate the score ({statistics['calibration']['source']}). One model, one seed, CPU "
        f"(2 cores, shared). "
        "refuge_like is a DEVELOPMENT target: the score was shaped while looking at it. Intervals are 95 % percentile "
        "bootstraps over images. Labels of Drishti: all four experts agree.",
    ]
    text = "\n".join(head)
    for title, rows in sections:
        text += f"\n\n## {title}\n\n" + "\n".join(rows)
    text += "\n\n" + READING
    (arguments.out / "shift.md").write_text(text + "\n", encoding="utf-8")
    (arguments.out / "shift.json").write_text(json.dumps(dict(sections), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
