"""Teaching the prompted student: simulated users, no-gradient rounds, weights averaged over the last steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from napari_tinymig.base.records import Message

from ..machine.device import fast_at_bf16
from .batches import Batch, PromptBatches
from .network import PromptNetwork, border_dice
from .users import Marks, correct, first_mark

ROUNDS = (0.4, 0.25, 0.2, 0.15)
"""Probability of 0, 1, 2 and 3 corrections before the step that teaches."""
AVERAGE = 0.998
STARTED = 0.4
"""Share of views that start from a mask instead of nothing."""
FORGET = 0.25
"""Share of views whose mask so far is withheld in the step that teaches."""


def step_input(batch: Batch, marks: list[Marks], masks: list[np.ndarray | None]) -> Tensor:
    """(B, 8, s, s): image and prompt maps."""
    size = batch.images.shape[-1]
    maps = np.stack([m.maps(p, size) for m, p in zip(marks, masks)])
    return torch.cat([batch.images, torch.from_numpy(maps)], 1).contiguous(memory_format=torch.channels_last)


def precision() -> torch.autocast:
    """bf16 where this processor is fast at it, fp32 elsewhere."""
    return torch.autocast("cpu", torch.bfloat16, enabled=fast_at_bf16(torch.device("cpu")))


def answers(network: nn.Module, x: Tensor) -> np.ndarray:
    """Masks (B, s, s) of the network as it stands, without gradient."""
    network.eval()
    with torch.no_grad(), precision():
        logits = network(x)
    network.train()
    return (logits[:, 0] > 0).numpy()


def simulate(
    network: nn.Module, batch: Batch, rounds: int, rng: np.random.Generator
) -> tuple[list[Marks], list[np.ndarray | None]]:
    """Prompts and masks after the first prompt and `rounds` answers with corrections."""
    truth = batch.truth[:, 0].numpy() > 0.5
    marks: list[Marks] = [Marks() for _ in truth]
    masks: list[np.ndarray | None] = [batch.start[i] if rng.random() < STARTED else None for i in range(len(truth))]
    for i, target in enumerate(truth):
        if masks[i] is None:
            first_mark(marks[i], target, rng)
        else:
            correct(marks[i], masks[i], target, rng)  # type: ignore[arg-type]
    for _ in range(rounds):
        masks = list(answers(network, step_input(batch, marks, masks)))
        for i, target in enumerate(truth):
            correct(marks[i], masks[i], target, rng)  # type: ignore[arg-type]
    # without the mask so far, the prompts alone have to be followed: it must not become an anchor
    return marks, [None if rng.random() < FORGET and (m.positive or m.box) else p for m, p in zip(marks, masks)]


def teach(
    network: PromptNetwork, batches: PromptBatches, minutes: float, lr: float, every: int = 20
) -> Iterator[tuple[Message, nn.Module]]:
    """Train for `minutes`; every `every` steps, and at the end, a message and the averaged network.

    AdamW, half a cosine over the minutes after a short warm-up; the yielded network is a copy in evaluation mode.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on CPU
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    start, step, total = time.monotonic(), 0, 0.0
    network.train()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = lr * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, lr * 0.01)
        batch = batches.draw()
        rounds = int(batches.rng.choice(len(ROUNDS), p=ROUNDS)) if step > 150 else 0
        marks, masks = simulate(network, batch, rounds, batches.rng)
        x = step_input(batch, marks, masks)
        with precision():
            logits = network(x)
        loss = border_dice(logits.float(), batch.truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        _follow(average, network, min(AVERAGE, (step + 1) / (step + 10)))
        step, total = step + 1, total + loss.item()
        if step % every == 0:
            values = {"loss": total / every, "progress": done, "steps_per_s": step / (time.monotonic() - start)}
            total = 0.0
            yield Message("step", step, 0, values), average
    yield Message("done", step, step, {"seconds": time.monotonic() - start}), average


def _follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """The averaged weights move towards the network's; counters are copied."""
    with torch.no_grad():
        for ours, theirs in zip(average.state_dict().values(), network.state_dict().values()):
            if ours.is_floating_point():
                ours.lerp_(theirs.to(ours.dtype), 1 - keep)
            else:
                ours.copy_(theirs)
