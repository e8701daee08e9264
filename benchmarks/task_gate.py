"""The gate behind --task auto: is the task right on the folders it knows, and on a folder that it never saw?

    python benchmarks/task_gate.py --data DATA -o benchmarks/task_gate.md [--every 5] [--epochs 20]

Part 1 asks the shipped gate, as the product does, about every n-th image of each folder; most of these were trained on.
Part 2 trains the gate again without one folder (a centre, or a kind of picture that is none of the tasks) and asks it
about that folder alone: what a new centre may expect. DATA is laid out as the README's domain folders.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from napari_tinymig.training.task_gate.train import train_gate

from napari_tinymig.base.errors import TaskRefused, TinyMIGError
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import find_inputs, open_input
from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.round_field import ROUND, roundness
from napari_tinymig.predict.task_guess import TaskGate

FOLDERS = {
    "fundus/drishti_gs1/images": "optic",
    "fundus/refuge_like/images": "optic",
    "fundus/myopia_dev/images": "optic",
    "fundus/origa_a/images": "optic",
    "prostate/silver/images": "prostate",
    "prostate/manual_case00/images": "prostate",
    "prostate/unlabelled/images": "prostate",
    "polyp/kvasir_seg/images": "polyp",
    "polyp/polypgen_C1/images": "polyp",
    "polyp/polypgen_C2/images": "polyp",
    "polyp/polypgen_C3/images": "polyp",
    "cxr/nih/normal": "none",
    "cxr/nih/pneumonia": "none",
    "cxr/kermany/normal": "none",
    "cxr/kermany/pneumonia": "none",
}
LEFT_OUT = (
    ("fundus/drishti_gs1/images",),
    ("fundus/refuge_like/images",),
    ("fundus/myopia_dev/images", "fundus/origa_a/images"),
    ("polyp/polypgen_C1/images", "polyp/polypgen_C2/images", "polyp/polypgen_C3/images"),
    ("polyp/kvasir_seg/images",),
    ("cxr/nih/normal", "cxr/nih/pneumonia"),
    ("cxr/kermany/normal", "cxr/kermany/pneumonia"),
)


def answers(gate: TaskGate, folder: Path, every: int) -> Counter[str]:
    """What the gate says of every n-th image: a task, 'refused', or 'unreadable'; volumes as single middle slices."""
    said: Counter[str] = Counter()
    for item in find_inputs([folder])[::every]:
        try:
            scan = open_input(item).scan
        except TinyMIGError:
            said["unreadable"] += 1
            continue
        try:
            said[gate_task(gate, scan)] += 1
        except TaskRefused:
            said["refused"] += 1
    return said


def gate_task(gate: TaskGate, scan: Scan) -> str:
    """The task by the pixels alone: a volume gives its middle slice, so that its shape does not answer."""
    if scan.kind == "volume":
        middle = scan.pixels.shape[0] // 2
        scan = Scan(scan.pixels[middle : middle + 1], None, scan.name)
    return gate.task_of(scan)


def row(name: str, wanted: str, said: Counter[str]) -> str:
    """A line of the table; refusing is the right answer for 'none'."""
    right = said["refused" if wanted == "none" else wanted]
    total = sum(said.values())
    others = ", ".join(f"{k} {v}" for k, v in said.most_common() if k != ("refused" if wanted == "none" else wanted))
    return f"| {name} | {wanted} | {total} | {right} ({100 * right / total:.0f} %) | {others} |"


def known(data: Path, every: int) -> list[str]:
    """The shipped gate on every folder."""
    gate = TaskGate()
    lines = [row(name, wanted, answers(gate, data / name, every)) for name, wanted in FOLDERS.items()]
    print(*lines, sep="\n", flush=True)
    return lines


def round_fields(data: Path, every: int) -> list[str]:
    """Of the photographs of each folder, how many have a round lit field."""
    lines = []
    for name, task in FOLDERS.items():
        if task in ("optic", "polyp"):
            scans = [open_input(item).scan for item in find_inputs([data / name])[::every]]
            count = sum(roundness(s.pixels) > ROUND for s in scans)
            lines.append(f"| {name} | {count} of {len(scans)} |")
    return lines


def unseen(data: Path, every: int, epochs: int, seed: int, only: str) -> list[str]:
    """For each left-out group of folders (those with `only` in a name) a gate that never saw it."""
    lines = []
    for group in (g for g in LEFT_OUT if any(only in name for name in g)):
        given: dict[str, list[Path]] = {}
        for name, task in FOLDERS.items():
            if name not in group and name != "prostate/manual_case00/images":
                given.setdefault(task, []).append(data / name)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "gate.safetensors"
            list(train_gate(given, out, epochs, seed))
            gate = TaskGate(read_model_file(out))
            lines += [row(name, FOLDERS[name], answers(gate, data / name, every)) for name in group]
        print(*lines[-len(group) :], sep="\n", flush=True)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both parts and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part 2 for the groups with this word in a folder's name alone")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    head = ["| folder | wanted | images | right | otherwise |", "|---|---|---|---|---|"]
    lines = [
        "# The gate behind `--task auto`",
        "",
        f"`python benchmarks/task_gate.py --data DATA --every {given.every} --epochs {given.epochs} "
        f"--only '{given.only}' -o FILE`, seed "
        f"{given.seed}. Every {given.every}th image; by the pixels alone, volumes as their middle slice. For "
        "'none' the right answer is to refuse.",
        "",
        "## The shipped gate on the folders it was made from (mostly trained on; manual_case00 was not)",
        "",
        *head,
        *known(given.data, given.every),
        "",
        "## Photographs with a round lit field",
        "",
        "| folder | round |",
        "|---|---|",
        *round_fields(given.data, given.every),
        "",
        "## Made again without that folder: what a new centre may expect",
        "",
        "Whole centres are left out together. The everyday pictures of the shipped gate are not among DATA and are "
        "left out here; drawn pictures stay.",
        "",
        *head,
        *unseen(given.data, given.every, given.epochs, given.seed, given.only),
    ]
    given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
