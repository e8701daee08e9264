"""Train a cup head.

python -m napari_tinymig.training.cup_head.train --source DRISHTI -o cup-sdg.safetensors --init-weights FILE
python -m napari_tinymig.training.cup_head.train --source DRISHTI --other REFUGE_LIKE --other ORIGA_A \
    -o cup.safetensors --init-weights FILE

Every eighth source eye is held out and scored at the end.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_tinymig.base.records import Message
from napari_tinymig.models.file import ModelFile, write_model_file
from napari_tinymig.network.disc_polar import ANGLES, RADII, REACH, DiscBorder, vertical_ratio_of
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.predict.cup_head import QUANTILE, at_quantile
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec, Lineage, ModelHeader, StudentSpec

from ..networks.cup_head_network import WIDTHS, CupHeadNetwork, HeadShape, expected_share, inside_cup
from ..networks.export import save_model
from .eyes import Eyes, counted_eyes, joined, seen_eyes
from .views import positions, radii, views

DRAWN_FROM = 0.65
"""How likely a radius must lie in the cup to be drawn as cup (chosen: where `optic-sdg` itself draws cups)."""
SLOW = 0.4
"""Learning rate of blocks 1 and 2, which come from ImageNet, over the rest's (chosen)."""


FIRST_SHAPE = HeadShape()


@dataclass(frozen=True)
class HeadRecipe:
    """Settings of one run. warp: part of the eyes whose cups get another ratio."""

    steps: int = 600
    batch: int = 16
    lr: float = 2e-3
    warp: float = 0.75
    seed: int = 0
    shape: HeadShape = FIRST_SHAPE


def train_head(eyes: Eyes, recipe: HeadRecipe, init_weights: str | None) -> Iterator[tuple[int, float, nn.Module]]:
    """(step, mean loss of the last fifty, mean network of the way) every fifty steps."""
    torch.manual_seed(recipe.seed)
    g = Generator().manual_seed(recipe.seed)
    network = CupHeadNetwork(init_weights, recipe.shape)
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    network.train()
    slow = [p for p in network.stages.parameters() if p.requires_grad]
    known = {id(p) for p in slow}
    fast = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    rates = [recipe.lr * SLOW, recipe.lr]
    optimiser = torch.optim.AdamW([{"params": slow}, {"params": fast}], recipe.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=recipe.steps, pct_start=0.1)
    heard = []
    for step in range(1, recipe.steps + 1):
        network.train()
        rows = torch.multinomial(eyes.weight, recipe.batch, replacement=True, generator=g)
        loss = head_loss(network, *views(eyes.rows(rows), g, recipe.warp))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        mean.update_parameters(network)
        heard.append(float(loss.detach()))
        if step % 50 == 0 or step == recipe.steps:
            yield step, float(np.mean(heard[-50:])), mean.module.eval()


def head_loss(network: nn.Module, x: Tensor, target: Tensor, border: Tensor) -> Tensor:
    """Bins of the cup (BCE), twice the error of the shares, and the error of the vertical ratio."""
    out = network(x)
    share, hoped = expected_share(out), target.mean(-1)
    radius = border.view(*share.shape, -1).mean(-1)
    bins = F.binary_cross_entropy(inside_cup(out), target)
    return bins + 2 * (share - hoped).abs().mean() + (_vertical(share, radius) - _vertical(hoped, radius)).abs().mean()


def _vertical(share: Tensor, radius: Tensor) -> Tensor:
    """(B,) vertical ratio of shares and radii (B, A)."""
    down = torch.sin((torch.arange(share.shape[1]) + 0.5) * (2 * torch.pi / share.shape[1]))
    cup, disc = share * radius * down, radius * down
    return (cup.amax(1) - cup.amin(1)) / (disc.amax(1) - disc.amin(1))


def scores_of(model: ModelFile, eyes: Eyes) -> dict[str, float]:
    """Error, bias and r of the vertical ratio on eyes with known cups, in their true borders."""
    network = OnnxNetwork(model, 1)
    at = positions(eyes.centre, eyes.border, radii().expand(len(eyes.crops), ANGLES, RADII))
    x = F.grid_sample(eyes.crops, at, align_corners=False).numpy()
    cups = F.grid_sample(eyes.cups, at, align_corners=False)[:, 0] > 0.5
    known = cups.float().mean(-1).view(len(x), ANGLES // 2, 2).mean(-1).numpy() * REACH
    places = [np.exp(network.run(np.stack([p, p[:, ::-1]])).logits.astype(np.float64)) for p in x]
    shares = [at_quantile((p + m[::-1]) / 2, model.header.constants[QUANTILE]) for p, m in places]
    borders = [DiscBorder((float(y), float(x)), b.numpy()) for (x, y), b in zip(eyes.centre, eyes.border)]
    answer, truth = (np.array([vertical_ratio_of(s, b) for s, b in zip(v, borders)]) for v in (shares, known))
    off, r = answer - truth, float(np.corrcoef(answer, truth)[0, 1])
    found = {"eyes": float(len(off)), "error": float(np.abs(off).mean()), "bias": float(off.mean()), "r": r}
    return {k: round(v, 4) for k, v in found.items()}


def finished(path: Path, header: ModelHeader, network: nn.Module, held: Eyes) -> ModelFile:
    """The model file with its scores on held-out source eyes."""
    model = save_model(path, header, network)
    scored = model.header.model_copy(update={"scores": {"held_out_ratio": scores_of(model, held)}})
    return write_model_file(path, scored, model.weights(), model.onnx)


def make_header(name: str, domains: Sequence[Path], seconds: float, recipe: HeadRecipe) -> ModelHeader:
    """What a head's file says of itself."""
    lineage = Lineage(
        domains=tuple(sorted(p.name for p in domains)),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=importlib.metadata.version("napari-tinymig"),
        recipe={k: getattr(recipe, k) for k in ("steps", "batch", "lr", "warp", "seed")},
    )
    extra = recipe.shape.facts() | {"train_seconds": seconds}
    spec = StudentSpec(encoder="mobile")
    return ModelHeader(
        kind="cup_head",
        name=name,
        input=InputSpec(size=ANGLES),
        student=spec,
        constants={QUANTILE: DRAWN_FROM},
        lineage=lineage,
        extra=extra,
    )


def run(given: argparse.Namespace) -> Iterator[Message]:
    """Messages 'started', 'epoch' every fifty steps, 'saved'."""
    shape = HeadShape(given.start, given.channels, given.deep)
    recipe, start = HeadRecipe(given.steps, seed=given.seed, shape=shape), time.time()
    source = counted_eyes(given.source)
    held = torch.arange(len(source.crops)) % 8 == given.seed % 8
    parts = [source.rows(~held)]
    if given.other:
        student = Predictor(given.student, "cpu", 1)
        parts += [seen_eyes(student, f, given.disc_scale, given.half) for f in given.other]
    yield Message("started", 0, recipe.steps, {"eyes": float(sum(len(p.crops) for p in parts))}, given.out.stem)
    network: nn.Module = CupHeadNetwork(shape=recipe.shape)
    for step, loss, mean in train_head(joined(parts), recipe, given.init_weights):
        yield Message("epoch", step, recipe.steps, {"loss": loss})
        network = mean
    header = make_header(given.out.stem, [given.source, *given.other], time.time() - start, recipe)
    model = finished(given.out, header, network, source.rows(held))
    yield Message("saved", recipe.steps, recipe.steps, model.header.scores["held_out_ratio"], str(given.out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Messages on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with images/ and experts/{disc,cup}")
    parser.add_argument("--other", type=Path, action="append", default=[], help="folder with labels/ or vcdr.csv")
    parser.add_argument("--student", default="optic-sdg", help="the model whose discs other eyes are seen in")
    parser.add_argument(
        "--disc-scale", type=float, default=0.958, help="size of other masks' borders (Drishti's: .958)"
    )
    parser.add_argument("--half", choices=["all", "even", "odd"], default="all", help="which of the other eyes teach")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--start", choices=list(WIDTHS), default=FIRST_SHAPE.start, help="network of the first blocks")
    parser.add_argument("--channels", type=int, default=FIRST_SHAPE.channels, help="of the decoder")
    parser.add_argument("--deep", type=int, default=FIRST_SHAPE.deep, help="channels of the dilated blocks")
    parser.add_argument("--init-weights", default="imagenet", help="file of timm's network --start; default: the hub")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for message in run(given):
        sys.stderr.write(message.to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
