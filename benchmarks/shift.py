"""Does the shift score mean what it says? Every figure of benchmarks/shift.md comes from this program.

    python benchmarks/shift.py --data ../shared/data --model optic-sdg --out benchmarks

Home = the Drishti images that the model did not train on (its own split, by the recipe and seed in its header).
Writes shift.md and shift.json; finished sets are remembered in OUT/shift_cache, so that a stopped run
goes on. CPU only.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shift_cases import Case, corrupted, half_size, held_out, photographs, re_encoded
from shift_looks import Bench, Seen, features
from shift_statistics import auroc, with_ci
from shift_tables import (
    N,
    coverage_rows,
    help_rows,
    risk_rows,
    separation,
    time_rows,
    trust_rows,
    two_samples,
)

from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.shift.corruptions import CORRUPTIONS

STRENGTHS = (1 / 3, 2 / 3, 1.0)
READING = """## Reading the table

* Corruptions are made on the whole photograph at half size; the network sees the region around the disc. Vignetting and
  bias fields hardly reach it: they are not noticed, and Dice does not suffer either. Weak gamma, temperature and
  contrast changes lie within the scatter of the source's own photographs.
* In every polyp and chest image the badge says *far away*, whatever the student draws in it.
* Home has only a dozen held-out images. The same images calibrate the score, so an AUROC against them cannot be
  sharper than its interval, and 'home' itself is in-sample for calibration (not for the moments).
* Expected Dice is too optimistic on refuge_like, as anything learned on the source alone would be; its order is what
  to use. An AUROC of failures rests on the number of failures beside it: with one to three, read it as an anecdote.
* Matching colours helps the other camera and leaves home alone; matching whole histograms harms the cup at home;
  BatchNorm statistics change little. All stay off by default: two sets are not evidence enough to turn one on.
"""


class Home(NamedTuple):
    """The photographs that the model did not train on, and those of another camera (development)."""

    drishti: list[Case]
    held_out: list[Case]
    refuge: list[Case]

    @property
    def some_refuge(self) -> list[Case]:
        """About 40 of the other camera's, evenly spaced, for what takes long."""
        return self.refuge[:: max(1, len(self.refuge) // 40)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="optic-sdg")
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    parser.add_argument("--limit", type=int, default=40, help="images of each foreign set")
    parser.add_argument("--helped", type=int, default=40, help="images of the other camera for test-time help")
    parser.add_argument("--short", action="store_true", help="without test-time help and time")
    arguments = parser.parse_args()
    bench = Bench(arguments.model, arguments.out / "shift_cache")
    fundus = arguments.data / "fundus"
    drishti = photographs(fundus / "drishti_gs1/images")
    cases = Home(
        drishti, held_out(drishti, bench.predictor, fundus / "drishti_gs1"), photographs(fundus / "refuge_like/images")
    )
    write(arguments, bench.predictor, len(cases.held_out), sections(arguments, bench, cases))


def foreign_sets(bench: Bench, data: Path, limit: int) -> dict[str, list[Seen]]:
    """Images of other organs altogether."""
    folders = (
        ("polyp (Kvasir)", "polyp/kvasir_seg/images"),
        ("chest X-ray (NIH)", "cxr/nih/normal"),
        ("chest X-ray (Kermany)", "cxr/kermany/normal"),
    )
    return {name: bench.look_at(name, partial(photographs, data / folder, limit)) for name, folder in folders}


def re_encoded_sets(bench: Bench, home: list[Case]) -> dict[str, list[Seen]]:
    """Home after one more JPEG."""
    return {
        f"home re-encoded, JPEG {q}": bench.look_at(f"JPEG {q}", lambda q=q: [re_encoded(c, q) for c in home])
        for q in (95, 75, 50)
    }


def corrupted_sets(bench: Bench, home: list[Case]) -> dict[str, list[Seen]]:
    """Home at half size, and there after every corruption at every strength."""
    halves = [half_size(c) for c in home]
    looks = {"home at half size": bench.look_at("half size", lambda: halves)}
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            key = f"home, {name} {strength:.2f}"
            looks[key] = bench.look_at(key, partial(corrupted, halves, name, strength))
    return looks


def alike_rows(bench: Bench, home: list[Case], refuge: list[Case]) -> list[str]:
    """Whether the other camera is told apart by its pixels alone, not by its file format."""
    alike = bench.look_at("all JPEG 75", lambda: [re_encoded(c, 75) for c in [*home, *refuge]])
    distances = np.array([s.distance for s in alike])
    said = with_ci(auroc, distances[: len(home)], distances[len(home) :], paired=False)
    return [f"AUROC of refuge_like against home after both were re-encoded: {said}"]


def sections(arguments: argparse.Namespace, bench: Bench, cases: Home) -> list[tuple[str, list[str]]]:
    """(heading, rows) of every table, in the order of the page."""
    home = bench.look_at("home", lambda: cases.held_out)
    refuge = bench.look_at("refuge_like", lambda: cases.refuge, True)
    foreign = {"refuge_like": refuge} | foreign_sets(bench, arguments.data, arguments.limit)
    encoded = re_encoded_sets(bench, cases.held_out)
    alike = alike_rows(bench, cases.held_out, cases.some_refuge)
    spoiled = corrupted_sets(bench, cases.held_out)
    source = bench.remembered("source features", lambda: features(cases.drishti, bench.predictor, bench.statistics))
    other = np.stack([s.coordinates for s in refuge if s.coordinates is not None])
    pooled = [s for name, seen in spoiled.items() if name != "home at half size" for s in seen]
    scored = {"home (held out)": home, "refuge_like (development)": refuge, "corrupted home, pooled": pooled}
    by_name = {c.name: s for c, s in zip(cases.refuge, refuge)}
    some = cases.refuge[:: max(1, len(cases.refuge) // arguments.helped)]
    labelled = {"home (held out)": cases.held_out, "refuge_like (development)": some}
    plain = {"home (held out)": home, "refuge_like (development)": [by_name[c.name] for c in some]}
    long: list[tuple[str, list[str]]] = []
    if not arguments.short:
        helped = bench.remembered("help", lambda: help_rows(arguments.model, labelled, plain, bench))
        long = [("Test-time help without training", helped), ("Time", time_rows(arguments.model, cases.held_out[0]))]
    return [
        ("Separation from home", separation(home, foreign | encoded | spoiled)),
        ("All sets re-encoded alike (JPEG 75)", alike),
        (f"Two sets of {N}: permutation test on the features (MMD)", two_samples(source, other)),
        ("Expected Dice", trust_rows(scored)),
        ("Risk and coverage on refuge_like (development)", risk_rows(refuge)),
        ("Interval of vCDR, 90 % nominal", coverage_rows(home, scored, bench.statistics)),
        *long,
    ]


def write(arguments: argparse.Namespace, predictor: Predictor, n: int, sections: list) -> None:
    """OUT/shift.md and OUT/shift.json. n: how many home images there are."""
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
