"""The student's shape, by quick runs under one budget: what its decoder, its smoothing, its stem and its encoder cost
and give.

python benchmarks/student_shapes.py --data DATA/fundus --weights WEIGHTS --kept runs/cup_heads -o runs/shapes
python benchmarks/student_shapes.py --data DATA/fundus --weights WEIGHTS --kept runs/cup_heads -o runs/shapes --time

Every shape starts from ImageNet and learns from Drishti-GS1 alone by the recipe `optic-sdg`, same seed, same batches,
same number of steps; the last epoch's averaged weights count. Scored on the crops that the shipped `optic-sdg` looks at
(`benchmarks/cup_heads.py` keeps them): one look, no cup head, shapes drawn to ellipses as in the product. A shape that
is there already is scored, not trained again. WEIGHTS holds timm's `mobilenetv2_100.*` and `tf_efficientnet_lite0.*`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from csv_rows import write_rows
from cup_heads import Eye, looked_at, scored
from napari_tinymig.training.data.batches import Batches
from napari_tinymig.training.data.cases import find_cases, split_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.networks.student import (
    Decoder,
    Student,
    count_macs,
    count_parameters,
    fix_same_padding,
)
from napari_tinymig.training.networks.weights import create_pretrained
from napari_tinymig.training.objectives.build import build_objective
from napari_tinymig.training.run.loop import Run, fit
from napari_tinymig.training.run.train import never
from torch import Tensor, nn
from torch.nn import functional as F

from napari_tinymig.base.geometry import place, whole_box
from napari_tinymig.models.file import ModelFile, read_model_file
from napari_tinymig.network.labels_from_logits import region_logits
from napari_tinymig.network.normalise import normalise
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.predict.disc_cup_shape import drawn_to_ellipse
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import ModelHeader, Recipe, load_recipe

MOBILE, LITE0 = "mobilenetv2_100", "tf_efficientnet_lite0"
ASKED = 256
"""Side in pixels for which products and milliseconds are given: the deployed one."""


class BlocksEncoder(nn.Module):
    """Stem and first blocks of a timm mobile network; the maps after the blocks in `taps`, which halve each time."""

    def __init__(self, name: str, taps: tuple[int, ...], weights: Path):
        super().__init__()
        full: Any = create_pretrained(name, next(weights.glob(f"{name}.*")), pad_type="same")
        self.taps, self.stem = taps, nn.Sequential(full.conv_stem, full.bn1)
        self.blocks = nn.ModuleList(list(full.blocks)[: taps[-1] + 1])
        self.widths = _widths(self.blocks, taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps, x = [], self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                maps.append(x)
        return maps


def _widths(blocks: nn.ModuleList, taps: Sequence[int]) -> tuple[int, ...]:
    """Channels after each tapped block: of the last convolution in it."""
    return tuple([m for m in blocks[t].modules() if isinstance(m, nn.Conv2d)][-1].out_channels for t in taps)


class SeparableBlock(nn.Module):
    """3x3 per channel, then 1x1, BatchNorm, its input added, ReLU: the smoothing at a seventh of its products."""

    def __init__(self, channels: int):
        super().__init__()
        self.each = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels, bias=False)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.mix(self.each(x))) + x)


def shipped(student: Student, weights: Path) -> None:
    """MobileNetV2 blocks 0-5, decoder of 48 channels."""


def separable(student: Student, weights: Path) -> None:
    """The decoder smooths channel by channel, then mixes."""
    student.decoder.smooth = nn.ModuleList(SeparableBlock(student.spec.decoder) for _ in student.decoder.smooth)


def coarse_stem(student: Student, weights: Path) -> None:
    """The stem halves twice, and the block that halved next does not: nothing runs at half the side."""
    encoder: Any = student.encoder
    encoder.stem[0][1].stride = (4, 4)  # padding, then the convolution
    halving = next(m for m in encoder.blocks[1].modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2))
    halving.stride, halving.padding = (1, 1), (1, 1)
    for parent in encoder.blocks[1].modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Sequential) and halving in child.children():
                setattr(parent, name, halving)


def other_encoder(name: str, taps: tuple[int, ...]) -> Callable[[Student, Path], None]:
    """First blocks of another network, or fewer of the same."""

    def change(student: Student, weights: Path) -> None:
        encoder: Any = BlocksEncoder(name, taps, weights)
        fix_same_padding(encoder)
        for part in [encoder.stem, *encoder.blocks[: student.spec.frozen_blocks]]:
            part.requires_grad_(False)
        student.encoder, student.decoder = encoder, Decoder(encoder.widths, student.spec.decoder)

    return change


SHAPES: dict[str, tuple[dict[str, Any], Callable[[Student, Path], None]]] = {
    "as shipped": ({}, shipped),
    "decoder 32": ({"student.decoder": 32}, shipped),
    "separable smoothing": ({}, separable),
    "Lite0 to stride 16": ({}, other_encoder(LITE0, (1, 2, 4))),
    "MobileNetV2 to stride 16": ({}, other_encoder(MOBILE, (1, 2, 4))),
    "stem stride 4": ({}, coarse_stem),
}


def built(recipe: Recipe, change: Callable[[Student, Path], None], weights: Path) -> Student:
    """A shape, seeded, its encoder from ImageNet."""
    torch.manual_seed(recipe.seed)
    student = Student(recipe.student, len(recipe.task.regions))
    change(student, weights)
    return student


def file_of(name: str, folder: Path) -> Path:
    """Where a shape's model lies."""
    return folder / (name.replace(" ", "-") + ".safetensors")


def recipe_of(name: str, given: argparse.Namespace) -> Recipe:
    """The recipe `optic-sdg` as this shape learns by it."""
    start = str(next(given.weights.glob(f"{MOBILE}.*")))
    fixed = {"optim.epochs": given.epochs, "student.init_weights": start, "seed": given.seed, "input.size": given.size}
    return load_recipe("optic-sdg", fixed | SHAPES[name][0])


def trained(name: str, given: argparse.Namespace) -> ModelFile:
    """The model file of a shape, trained unless it is there."""
    path = file_of(name, given.out)
    if path.exists():
        return read_model_file(path)
    recipe, change = recipe_of(name, given), SHAPES[name][1]
    student = built(recipe, change, given.weights)
    taught, _ = split_cases(find_cases(given.data / "drishti_gs1", recipe.data), recipe.data, recipe.seed)
    device, begun = torch.device("cpu"), time.monotonic()
    batches = Batches(load_set(taught, recipe), recipe, device)
    run = Run(student, build_objective(recipe, student, device), batches, None, recipe, path.with_suffix(""), device)
    path.with_suffix("").mkdir(parents=True, exist_ok=True)
    for message in fit(run, never):
        if message.kind == "epoch" and message.step % 5 == 0:
            print(f"  {name}: epoch {message.step}, loss {message.values['train_loss']:.4f}", flush=True)
    plain = built(recipe, change, given.weights)
    plain.load_state_dict(run.best_state or {})
    return save_model(path, header_of(name, recipe, {"seconds": time.monotonic() - begun}), plain)


def header_of(name: str, recipe: Recipe, extra: dict[str, Any]) -> ModelHeader:
    """What a shape's file says of itself."""
    return ModelHeader(name=name, task=recipe.task, input=recipe.input, student=recipe.student, extra=extra)


def priced(name: str, given: argparse.Namespace) -> tuple[dict[str, Any], ModelFile]:
    """Parameters and products of a shape at the deployed side, and its graph there: neither depends on training."""
    path, recipe = file_of(name, given.out / "asked"), recipe_of(name, given)
    student = built(recipe, SHAPES[name][1], given.weights).eval()
    facts = {"parameters": count_parameters(student), "gmac at 256": count_macs(student, ASKED) / 1e9}
    if path.exists():
        return facts, read_model_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header_of(name, recipe, {})
    header = header.model_copy(update={"input": header.input.model_copy(update={"size": ASKED})})
    return facts, save_model(path, header, student)


def answered(model: ModelFile, cases: list[Eye]) -> list[Eye]:
    """The same eyes with this model's logits, one look, drawn to ellipses."""
    network, header, out = OnnxNetwork(model, 1), model.header, []
    for eye in cases:
        grid, side = eye.grid, len(eye.grid)
        seen = place(grid, whole_box(grid.shape), header.input.size)[0]
        raw = network.run(normalise(seen, header.input)[None]).logits
        large = F.interpolate(torch.from_numpy(raw), (side, side), mode="bilinear")[0].numpy()
        out.append(eye._replace(logits=drawn_to_ellipse(region_logits(large, header))))
    return out


def milliseconds(models: dict[str, ModelFile], rounds: int = 31) -> dict[str, tuple[float, float]]:
    """Least and median ms of one 256 px crop on one thread, shapes taken in turn."""
    networks = {k: OnnxNetwork(m, 1) for k, m in models.items()}
    x = np.random.default_rng(0).normal(size=(1, 3, ASKED, ASKED)).astype(np.float32)
    times: dict[str, list[float]] = {k: [] for k in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            begun = time.perf_counter()
            network.run(x)
            times[name].append(1e3 * (time.perf_counter() - begun))
    return {k: (min(v), float(np.median(v))) for k, v in times.items()}


def rows_of(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a shape; what learning gave only for those of `shapes`."""
    asked = Predictor("optic-sdg", "cpu", 1)
    facts, models = {}, {}
    for name in SHAPES:
        facts[name], models[name] = priced(name, given)
    rows: list[dict[str, Any]] = []
    for name, (least, median) in milliseconds(models).items():
        row: dict[str, Any] = {"shape": name} | facts[name] | {"ms least": least, "ms median": median}
        if name in given.shapes and not given.time:
            model = trained(name, given)
            row |= {"size": given.size, "epochs": given.epochs, "seed": given.seed} | model.header.extra
            for folder in ("refuge_like", "origa_a"):
                cases = looked_at(asked, given.data / folder, given.kept / f"{folder}-optic-sdg.npz")
                found, _ = scored(answered(model, cases), [0.0] * len(cases))
                keys = ("OD", "OC", "error", "bias", "r", "auroc")
                row |= {f"{folder} {k}": float(found[k]) for k in keys if k in found}
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
        print(rows[-1], flush=True)
        if given.csv:
            write_rows(given.csv, rows)
    return rows


def main() -> None:
    """Read the arguments, train what is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of drishti_gs1, refuge_like and origa_a")
    parser.add_argument("--weights", type=Path, required=True, help="folder of timm's weights")
    parser.add_argument("--kept", type=Path, required=True, help="what the shipped student saw: cup_heads.py")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size", type=int, default=128, help="side of the crops in training and scoring")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--time", action="store_true", help="parameters, products and milliseconds alone")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows_of(given)


if __name__ == "__main__":
    main()
