"""The run `tinymig train prompt`: sources in, a prompted student out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.base.records import Message
from napari_tinymig.base.safe_files import refused_writes
from napari_tinymig.models.registry import open_model
from napari_tinymig.recipes.prompted import PromptRecipe

from .batches import PromptBatches
from .network import PromptNetwork
from .objects import load_frames
from .run import teach
from .save import load_prompted, save_prompted


def starting_network(recipe: PromptRecipe) -> PromptNetwork:
    """Random weights, or those of the prompted student that `student.init_weights` names.

    Raises ValueError for a model of another kind or shape.
    """
    start = recipe.student.init_weights
    if start in (None, "none"):
        return PromptNetwork(recipe.student)
    model = open_model(str(start))
    found = model.header.student.model_copy(update={"init_weights": start})
    if model.header.kind != "prompted" or found != recipe.student:
        raise ValueError(
            f"student.init_weights names '{model.header.name}' (kind {model.header.kind}, {found}); expected a "
            f"prompted student of the recipe's shape ({recipe.student})."
        )
    return load_prompted(model)


def start_in_words(recipe: PromptRecipe) -> str:
    """Where the first weights came from."""
    start = recipe.student.init_weights
    return "random" if start in (None, "none") else f"the student {open_model(str(start)).model_id}"


def without_start(recipe: PromptRecipe) -> PromptRecipe:
    """The recipe as a header may hold it: without the path of somebody's file."""
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"init_weights": None})})


def train(
    recipe: PromptRecipe, sources: Sequence[Path], out: Path, stop: Callable[[], bool] = lambda: False
) -> Iterator[Message]:
    """Teach a prompted student on some folders; out/best.safetensors holds it, out/log.jsonl the messages.

    stop: asked at every message; True ends the run and keeps the student so far. Raises OutputRefused where the disk is
    full or `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputRefused(
            f"cannot write the run folder {out} ({e.strerror}); choose a folder that can be written"
        ) from e
    with refused_writes(out, "train again: a prompted training cannot be resumed"):
        yield from _train(recipe, sources, out, stop)


def _train(recipe: PromptRecipe, sources: Sequence[Path], out: Path, stop: Callable[[], bool]) -> Iterator[Message]:
    yield Message("started", text=f"{recipe.name}: {len(sources)} sources")
    torch.manual_seed(recipe.seed)
    network, seconds, stopped = starting_network(recipe), 0.0, False  # before the minutes that reading takes
    frames, hashes = load_frames(sources, recipe)
    objects = int(frames.is_object.sum())
    yield Message("log", text=f"{objects} objects, {len(frames) - objects} frames of natural regions")
    with (out / "log.jsonl").open("w", encoding="utf-8", buffering=1) as log:  # line by line: a run can be watched
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
    facts = {"train_seconds": seconds, "encoder_start": start_in_words(recipe)}
    model = save_prompted(out / "best.safetensors", network, without_start(recipe), domains, hashes, facts)
    yield Message("stopped" if stopped else "done", text=str(model.path))
