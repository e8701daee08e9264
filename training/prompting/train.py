"""The run `tinymig train prompt`: sources in, a prompted student out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from napari_tinymig.base.records import Message
from napari_tinymig.recipes.prompted import PromptRecipe

from .batches import PromptBatches
from .network import PromptNetwork
from .objects import load_frames
from .run import teach
from .save import save_prompted


def train(
    recipe: PromptRecipe, sources: Sequence[Path], out: Path, stop: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """Teach a prompted student on some folders; out/best.safetensors holds it, out/log.jsonl the messages.

    stop: asked at every message; True ends the run and keeps the student so far.
    """
    out.mkdir(parents=True, exist_ok=True)
    yield Message("started", text=f"{recipe.name}: {len(sources)} sources")
    frames, hashes = load_frames(sources, recipe)
    objects = int(frames.is_object.sum())
    yield Message("log", text=f"{objects} objects, {len(frames) - objects} frames of natural regions")
    torch.manual_seed(recipe.seed)
    network, seconds, stopped = PromptNetwork(recipe.student), 0.0, False
    with (out / "log.jsonl").open("w", encoding="utf-8") as log:
        for number, stage in enumerate(recipe.stages):
            seed = recipe.seed + number
            batches = PromptBatches(frames, stage.size, recipe.batch, seed, recipe.drawn, recipe.regions)
            average: torch.nn.Module = network
            for message, latest in teach(network, batches, stage.minutes, recipe.lr):
                average = latest
                log.write(message.to_json() + "\n")
                if message.kind == "done":
                    seconds += message.values["seconds"]
                    break
                yield message
                stopped = stop()
                if stopped:
                    break
            network.load_state_dict(average.state_dict())
            if stopped:
                break
    domains = tuple(p.name for p in sources)
    model = save_prompted(out / "best.safetensors", network, recipe, domains, hashes, {"train_seconds": seconds})
    yield Message("stopped" if stopped else "done", text=str(model.path))
