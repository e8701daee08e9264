"""Every table of benchmarks/shift.md as rows of Markdown: separation, tests, trust, coverage, help, time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from shift_cases import Case
from shift_looks import REGIONS, Bench, Seen, dice, mask_of
from shift_statistics import auroc, spearman, with_ci

from napari_tinymig.base.records import Scan
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.sets.set_distance import permutation_test
from napari_tinymig.shift.trust import interval_factor, interval_quantile

N = 20
SPLITS = 200


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
    """(true, expected) Dice per image, of a region or the mean of both."""
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
    helps = {h: Predictor(model, "cpu", colour_match=h) for h in ("colour", "histogram")}
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
                pairs = [(mask_of(p.labels, region), mask_of(c.labels, region)) for p, c in zip(told[h], cases)]
                after = np.array([dice(a, t) for a, t in pairs])
                row += f" {after.mean():.3f} (change {with_ci(lambda v: float(v.mean()), after - before)}) |"
            rows.append(row)
    return rows


def batchnorm_adapted(sets: dict[str, list[Case]], predictor: Predictor, folder: Path) -> dict[str, Predictor]:
    """The model once per set with the BatchNorm statistics of that set's (unlabelled) regions of interest."""
    from napari_tinymig.training.networks.batchnorm import adapt_batchnorm

    out = {}
    for name, cases in sets.items():
        grids = [
            f.grid for c in cases for f in predictor.answer_photograph(Scan(c.pixels), "auto", False, False).frames
        ]
        adapted = adapt_batchnorm(predictor.model, grids, folder / f"bn_{name.split()[0]}.safetensors")
        out[name] = Predictor(adapted, "cpu")
        adapted.path.unlink()
    return out


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
    import napari_tinymig.predict.predictor as pipeline

    predictor = Predictor(model, "cpu", threads=1)
    scan, add_trust = Scan(case.pixels, None, case.name), pipeline.add_trust
    with_shift, without = [], []
    try:
        for _ in range(20):
            for times, act in ((with_shift, add_trust), (without, lambda *_: None)):
                pipeline.add_trust = act
                start = time.process_time()
                predictor.predict(scan)
                times.append(1000 * (time.process_time() - start))
    finally:
        pipeline.add_trust = add_trust
    a, b = np.array(with_shift), np.array(without)
    return [
        f"One photograph of {scan.pixels.shape[1]} x {scan.pixels.shape[0]}, 20 interleaved rounds, CPU time of one "
        f"thread: median {np.median(b):.0f} ms without, {np.median(a):.0f} ms with shift, expected Dice and intervals "
        f"(minimum {b.min():.0f} and {a.min():.0f} ms): {100 * (np.median(a) / np.median(b) - 1):.0f} % more by the "
        f"medians, {100 * (a.min() / b.min() - 1):.0f} % by the minima. The machine was shared."
    ]
