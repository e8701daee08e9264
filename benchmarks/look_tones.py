"""Looks of a fundus student in other tones: which of its looks gain from even local contrast, disc and cup apart.

    python benchmarks/look_tones.py optic-sdg --data DATA/fundus --half 0 -o tones.csv

Through the product, locator, ellipses and cup head included; only the looks whose logits are averaged change. A variant
names the looks of the disc and those of the cup: m(iddle), f(ar, mirrored), n(ear, mirrored), each plain (p) or in even
contrast (c). --half: every second eye of origa_a from that one on; refuge_like and myopia_dev whole.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from csv_rows import write_rows
from cup_strata import auroc, ratio
from numpy.typing import NDArray
from PIL import Image

from napari_tinymig.api import load_model, segment
from napari_tinymig.base.geometry import place
from napari_tinymig.measures.overlap import dice
from napari_tinymig.network import several_looks
from napari_tinymig.network.labels_from_logits import region_logits
from napari_tinymig.network.local_contrast import equalise_local_contrast
from napari_tinymig.network.normalise import inside_frame, network_input
from napari_tinymig.predict import photograph

SIDES = {"m": 1.0, "f": 1.4, "n": 0.75}
VARIANTS = {
    "plain looks, as before": ("mp fp np", "mp fp np"),
    "far look even (ships)": ("mp fc np", "mp fc np"),
    "middle look even": ("mc fp np", "mc fp np"),
    "far and near even": ("mp fc nc", "mp fc nc"),
    "far and near even for the disc, plain for the cup (five looks)": ("mp fc nc", "mp fp np"),
    "disc middle and far even, cup middle and near": ("mp fc", "mp np"),
    "all even": ("mc fc nc", "mc fc nc"),
}


class Toned:
    """Takes the place of `averaged_logits` and of `PhotographStudent.decide`: every variant of one look, kept."""

    def __init__(self) -> None:
        self.variant, self.labels, self._looks = "", {}, {}
        self._decide = photograph.PhotographStudent.decide

    def look(self, pixels: NDArray[Any], frame: Any, network: Any, header: Any, name: str) -> tuple[Any, Any]:
        """Logits (R, s, s) of one look on the first look's grid, and how far each of its pixels is covered."""
        side, even = SIDES[name[0]], name[1] == "c"
        box = several_looks._zoomed(frame.placement.box, side)
        grid, placement = place(pixels, box, header.input.size)
        grid = equalise_local_contrast(grid) if even else grid
        turn = slice(None) if side == 1 else slice(None, None, -1)
        ready = np.ascontiguousarray(network_input(grid, inside_frame(placement), header.input)[..., turn])
        logits = region_logits(network.run(ready[None]).logits[0], header)[..., turn]
        return several_looks._on_grid_of(frame, logits, box)

    def average(self, pixels: NDArray[Any], frame: Any, network: Any, header: Any, looks: Any) -> NDArray[np.float32]:
        """The mean of a variant's looks, region by region."""
        means = []
        for region, names in enumerate(VARIANTS[self.variant]):
            for name in names.split():
                if name not in self._looks:
                    self._looks[name] = self.look(pixels, frame, network, header, name)
            found = [self._looks[name] for name in names.split()]
            means.append(sum(x[region] for x, _ in found) / sum(w for _, w in found))
        return np.stack(means).astype(np.float32)

    def decide(self, student: Any, pixels: NDArray[Any], frame: Any, *asked: bool) -> Any:
        """Every variant's labels into `labels`; the last one's answer."""
        self._looks.clear()
        for self.variant in VARIANTS:
            answer = self._decide(student, pixels, frame, *asked)
            self.labels[self.variant] = answer.labels
        return answer


def main() -> None:
    """Read the arguments, print a line per variant, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    toned, model = Toned(), load_model(given.model)
    photograph.averaged_logits = toned.average
    photograph.PhotographStudent.decide = lambda *asked: toned.decide(*asked)
    eyes = list(csv.DictReader((given.data / "origa_a/vcdr.csv").open(encoding="utf-8")))[given.half :: 2]
    ratios: dict[str, list[float]] = {v: [] for v in VARIANTS}
    for eye in eyes:
        segment(given.data / "origa_a/images" / eye["file"], task="optic", model=model)
        for variant, labels in toned.labels.items():
            ratios[variant].append(ratio(labels))
    masks: dict[str, list[list[float]]] = {v: [] for v in VARIANTS}
    myopic: dict[str, list[float]] = {v: [] for v in VARIANTS}
    for folder in ("refuge_like", "myopia_dev"):
        for path in sorted((given.data / folder / "images").iterdir()):
            truth = np.asarray(Image.open(given.data / folder / "labels" / f"{path.stem}.png"))
            segment(path, task="optic", model=model)
            for variant, labels in toned.labels.items():
                disc = dice(labels >= 1, truth >= 1)
                if folder == "myopia_dev":
                    myopic[variant].append(disc)
                else:
                    masks[variant].append([disc, dice(labels == 2, truth == 2), abs(ratio(labels) - ratio(truth))])
    true, ill = np.array([float(e["vcdr_expert"]) for e in eyes]), np.array([e["glaucoma"] == "1" for e in eyes])
    rows = []
    for variant in VARIANTS:
        answer = np.array(ratios[variant])
        disc, cup, error = np.mean(masks[variant], axis=0)
        numbers = {"origa_error": np.abs(answer - true).mean(), "origa_r": np.corrcoef(answer, true)[0, 1]}
        numbers |= {"origa_auroc": auroc(answer, ill), "refuge_disc": disc, "refuge_cup": cup, "refuge_error": error}
        numbers |= {"myopia_disc": float(np.mean(myopic[variant]))}
        rows.append({"variant": variant, "origa_eyes": len(eyes)} | {k: f"{v:.4f}" for k, v in numbers.items()})
        print(rows[-1])
    write_rows(given.out, rows)


if __name__ == "__main__":
    main()
