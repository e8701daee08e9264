"""The gate: which task does an image belong to? A tiny student encoder with one linear layer, trained in a minute."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from napari_tinymig.base.errors import TinyMIGError, UnreadableInput
from napari_tinymig.base.geometry import place, square_box, whole_box
from napari_tinymig.base.records import Message, Scan
from napari_tinymig.formats import as_photograph, find_inputs, open_input
from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.task_guess import NONE
from napari_tinymig.recipes.student import InputSpec, Lineage, ModelHeader, StudentSpec
from napari_tinymig.recipes.train import AugmentSpec
from napari_tinymig.samples.drawn import fundus_sample
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.table import TASKS

from ..augmentation.apply import draw_theta, sampling_grid
from ..augmentation.order import PHOTOGRAPH_PARTS
from ..augmentation.parts import View, apply_parts
from ..networks.export import save_model
from ..networks.gate_network import GateNetwork
from ..networks.saved import load_student

CLASSES = (*TASKS, NONE)
SIZE = 96
SPEC = StudentSpec(encoder="dense", widths=(16, 32, 48, 64), blocks=(1, 1, 1, 1), decoder=16)
AUGMENT = AugmentSpec(
    rotate_deg=25,
    scale=(0.6, 2.5),
    shift=0.15,
    aspect=0.25,
    colour=1.2,
    blur=1.0,
    noise=1.0,
    illumination=1.0,
    gin=0.1,
    cutout=0.15,
    frame=0.15,
)


def gate_frames(paths: Sequence[Path], most: int, seed: int) -> NDArray[np.uint8]:
    """Up to `most` images of files and folders as the gate sees them: (n, SIZE, SIZE, 3). Volumes give five slices."""
    rng = np.random.default_rng(seed)
    items = find_inputs(paths)
    picks = rng.permutation(len(items))[:most]
    frames: list[NDArray[np.uint8]] = []
    for index in picks:
        try:
            scan = open_input(items[index]).scan
        except TinyMIGError:
            continue
        frames += [_seen(s) for s in _photographs(scan)]
    if not frames:
        raise UnreadableInput(f"{paths[0]} holds no image that can be read; expected a folder of images; give another")
    return np.stack(frames)


def _photographs(scan: Scan) -> list[Scan]:
    if scan.kind == "photograph":
        return [scan]
    depth = len(scan.pixels)
    rows = sorted({int(depth * q) for q in (0.2, 0.35, 0.5, 0.65, 0.8)}) if depth > 1 else [0]
    return [as_photograph(Scan(scan.pixels[z : z + 1], None, scan.name)) for z in rows]


def _seen(scan: Scan) -> NDArray[np.uint8]:
    grid = place(scan.pixels, whole_box(scan.pixels.shape), SIZE)[0]
    return np.clip(np.round(grid), 0, 255).astype(np.uint8)


def drawn_nothing(count: int, seed: int) -> NDArray[np.uint8]:
    """Images that are none of the tasks: blobs, stripes, gradients, text-like boxes, noise, in colour and grey."""
    rng = np.random.default_rng(seed)
    out = []
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    for number in range(count):
        base = rng.random(3) * 255
        image = np.broadcast_to(base, (SIZE, SIZE, 3)).copy()
        kind = number % 5
        if kind == 0:
            image += (np.sin(x * rng.uniform(2, 40) + y * rng.uniform(-40, 40))[..., None] * rng.random(3)) * 120
        elif kind == 1:
            small = rng.random((rng.integers(2, 12), rng.integers(2, 12), 3)) * 255
            image = place(small, (0, 0, small.shape[0], small.shape[1]), SIZE)[0]
        elif kind == 2:
            image[:] = 250 if rng.random() < 0.7 else 10
            for top in range(8, SIZE - 8, int(rng.integers(6, 12))):
                image[top : top + 3, 6 : int(rng.integers(20, SIZE - 5))] = rng.random(3) * 90
        elif kind == 3:
            for _ in range(rng.integers(3, 12)):
                r, cy, cx = rng.uniform(0.05, 0.3), *rng.random(2)
                inside = (y - cy) ** 2 + (x - cx) ** 2 < r**2
                image[inside] = rng.random(3) * 255
        else:
            image += rng.normal(0, rng.uniform(5, 80), image.shape)
        if rng.random() < 0.4:
            image = np.broadcast_to(image.mean(-1, keepdims=True), image.shape)
        out.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(out)


def drawn_fundus(count: int, seed: int) -> NDArray[np.uint8]:
    """Drawn eyes in many colours, whole, cut to the field or close to the disc: cameras that no folder here has."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        if number % 8 == 0:
            sample = fundus_sample(
                256, int(rng.integers(1 << 30)), rng.uniform(0.2, 0.8), ("left", "right")[number % 16 // 8]
            )
        pixels, (height, width) = sample.scan.pixels, sample.truth.shape
        ys, xs = np.nonzero(sample.truth)
        near = (ys.mean(), xs.mean()) if number % 3 == 2 else (height / 2, width / 2)
        side = rng.uniform(50, 160) if number % 3 == 2 else rng.uniform(0.7, 1.05) * height
        gains = rng.uniform((0.5, 0.4, 0.2), (1.3, 1.5, 2.2))
        frame = place(pixels, square_box(near, side), SIZE)[0] * gains
        out.append(np.clip(frame, 0, 255).astype(np.uint8))
    return np.stack(out)


def train_gate(
    folders: Mapping[str, Sequence[Path]],
    out: Path,
    epochs: int = 20,
    seed: int = 0,
    most: int = 500,
    start: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """A gate from folders per class of `CLASSES` ('none': anything else, e.g. chest films); writes `out`.

    Folders of a class are drawn from equally often, whatever their size. Every fifth image is held out and scored at
    the end. Drawn images are one more folder of 'none' and of 'optic'. Messages 'epoch', then 'saved' and
    'done' with the accuracy per class. start: an earlier gate to go on from.
    """
    torch.manual_seed(seed)
    groups = {k: [gate_frames([p], most, seed) for p in folders.get(k, ())] for k in CLASSES}
    groups[NONE].append(drawn_nothing(800, seed))
    if groups[OPTIC.name]:
        groups[OPTIC.name].append(drawn_fundus(200, seed))
    held = {k: np.concatenate([v[::5] for v in groups[k]]) for k in CLASSES if groups[k]}
    pixels = {k: [torch.from_numpy(_kept(v)).permute(0, 3, 1, 2) for v in groups[k]] for k in held}
    yield Message("started", 0, epochs, {k: float(sum(map(len, v))) for k, v in pixels.items()}, "gate")
    network = GateNetwork(SPEC, len(CLASSES))
    if start is not None:
        network.load_state_dict(load_student(read_model_file(start)).state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    for epoch in range(epochs):
        if stop():
            break
        loss = _gate_epoch(network, optimiser, pixels, epoch, epochs, seed)
        yield Message("epoch", epoch + 1, epochs, {"loss": loss})
    accuracy = gate_accuracy(network, held)
    scores = {"held_out_accuracy": accuracy, "held_out_images": {k: len(v) for k, v in held.items()}}
    model = save_model(out, _header(folders, scores), network)
    yield Message("saved", epochs, epochs, accuracy, str(model.path))
    yield Message("done", epochs, epochs, accuracy, str(model.path))


def _header(folders: Mapping[str, Sequence[Path]], scores: dict[str, Any]) -> ModelHeader:
    """What the gate's file says of itself."""
    lineage = Lineage(
        domains=tuple(sorted({p.name for paths in folders.values() for p in paths})),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=importlib.metadata.version("napari-tinymig"),
    )
    spec = InputSpec(size=SIZE)
    return ModelHeader(
        kind="gate", name="gate", input=spec, student=SPEC, classes=CLASSES, scores=scores, lineage=lineage
    )


def _gate_epoch(
    network: GateNetwork,
    optimiser: torch.optim.Optimizer,
    pixels: Mapping[str, Sequence[Tensor]],
    epoch: int,
    epochs: int,
    seed: int,
    batch: int = 32,
) -> float:
    """One epoch of 40 class-balanced steps; the mean loss."""
    g = Generator().manual_seed(seed * 1_000_003 + epoch)
    for group in optimiser.param_groups:
        group["lr"] = 2e-3 * (1 - epoch / epochs) ** 0.9
    network.train()
    total, steps = 0.0, 40
    for _ in range(steps):
        known = [CLASSES.index(k) for k in pixels]
        labels = torch.tensor(known)[torch.randint(0, len(known), (batch,), generator=g)]
        rows = []
        for label in labels.tolist():
            folders = pixels[CLASSES[label]]
            folder = folders[int(torch.randint(0, len(folders), (1,), generator=g))]
            rows.append(folder[int(torch.randint(0, len(folder), (1,), generator=g))])
        x = augment_frames(torch.stack(rows).float() / 255, g)
        scans = torch.tensor([CLASSES.index(t.name) for t in TASKS.values() if t.input == "volume"])
        grey = (torch.isin(labels, scans)) | ((labels == CLASSES.index(NONE)) & (torch.rand(batch, generator=g) < 0.5))
        x = torch.where(grey[:, None, None, None], x.mean(1, keepdim=True).expand_as(x), x)  # a scan stays grey
        loss = F.cross_entropy(network(x * 2 - 1), labels, label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += float(loss.detach())
    return total / steps


def _kept(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four of five frames; a folder of fewer than five is kept whole."""
    return np.concatenate([frames[i::5] for i in range(1, 5)]) if len(frames) >= 5 else frames


def augment_frames(x: Tensor, g: Generator) -> Tensor:
    """Frames (B, 3, s, s) in 0..1, moved, relit and blurred as `AUGMENT` says."""
    n, size = len(x), x.shape[-1]
    theta = draw_theta(torch.ones(n), torch.zeros(n, 2), AUGMENT, g)
    grid = sampling_grid(theta, size)
    inside = (grid.abs().amax(-1) <= 1)[:, None]
    x = F.grid_sample(x, grid, align_corners=False)
    view = apply_parts(PHOTOGRAPH_PARTS, View(x, torch.zeros(n, 1, size, size), inside), AUGMENT, g)
    return view.x * view.inside


@torch.no_grad()
def gate_accuracy(network: GateNetwork, frames: Mapping[str, NDArray[np.uint8]]) -> dict[str, float]:
    """Share of right answers per class, and 'all'."""
    network.eval()
    right, count, out = 0, 0, {}
    for name, images in frames.items():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        hits = int((network(x).argmax(1) == CLASSES.index(name)).sum())
        out[name] = round(hits / len(images), 4)
        right, count = right + hits, count + len(images)
    return out | {"all": round(right / count, 4)}


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m napari_tinymig.training.task_gate.train --out FILE CLASS=FOLDER ...`; messages on stderr."""
    parser = argparse.ArgumentParser(description="Train the gate behind --task auto.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="an earlier gate to go on from")
    parser.add_argument("folders", nargs="+", help=f"CLASS=FOLDER, CLASS one of {', '.join(CLASSES)}")
    given = parser.parse_args(arguments)
    folders: dict[str, list[Path]] = {}
    for word in given.folders:
        name, sign, folder = word.partition("=")
        if not sign or name not in CLASSES:
            parser.error(f"'{word}': expected CLASS=FOLDER with CLASS one of {', '.join(CLASSES)}")
        folders.setdefault(name, []).append(Path(folder))
    for message in train_gate(folders, given.out, given.epochs, given.seed, start=given.start):
        sys.stderr.write(message.to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
