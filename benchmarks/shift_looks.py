"""What a model says of the images of the shift benchmark, remembered on disk so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from shift_cases import Case

from napari_tinymig.base.records import Scan
from napari_tinymig.measures.overlap import dice
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.sets.compare import SeenSet, coordinates, see_scan

REGIONS = ("disc", "cup")


class Seen:
    """What the model said of one image: prediction, true Dice per region, whitened coordinates."""

    def __init__(self, case: Case, predictor: Predictor, statistics: dict, coordinates_too: bool = False):
        scan = Scan(case.pixels, None, case.name)
        prediction = predictor.predict(scan)
        self.extra, self.found_vcdr = prediction.extra, prediction.measures.get("vcdr", np.nan)
        self.distance = float(self.extra.get("shift_distance", 99.0))
        self.profile = self.extra.get("shift_profile", {})
        self.level = self.extra.get("shift_level", "not located")
        both = (prediction.labels, case.labels)
        self.dice = {} if case.labels is None else {r: dice(*(mask_of(x, r) for x in both)) for r in REGIONS}
        self.vcdr = vcdr(case.labels) if case.labels is not None else np.nan
        self.coordinates = None
        if coordinates_too:
            seen = see_scan(predictor, statistics, scan, Path(case.name))
            if seen.result is not None:
                self.coordinates = coordinates(statistics, SeenSet("one", [seen]))[0]


def mask_of(labels: np.ndarray, region: str) -> np.ndarray:
    """True where `labels` belong to the region."""
    return labels >= 1 if region == "disc" else labels == 2


def vcdr(labels: np.ndarray) -> float:
    """Vertical cup-to-disc ratio by the rows that hold cup and disc; NaN where one is missing."""
    heights = [
        np.ptp(np.flatnonzero(mask_of(labels, r).any(1))) + 1 if mask_of(labels, r).any() else 0 for r in REGIONS
    ]
    return heights[1] / heights[0] if min(heights) else float("nan")


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
