"""A session at work on a mask layer: what was painted meanwhile goes in, what changed comes out; no Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray

from ...base.records import Scan
from ...jobs.box_engine import open_box_engine
from ...prompts.begin import begin
from ...prompts.records import Prompt, PromptAnswer
from ...prompts.session import PromptSession
from ...tasks.task import Task
from ..napari_io.layers import KEY

LabelArray = NDArray[np.uint8]
UNDO_STEPS = 8  # so many undo steps of a layer are recognised at once


@dataclass(frozen=True)
class Progress:
    """An answer on its way: the labels so far, and how many slices were followed."""

    labels: LabelArray
    followed: int = 0


@dataclass(frozen=True)
class Done:
    """What one request did: the labels, the answers to its prompts, and how many slices were followed."""

    labels: LabelArray
    answers: tuple[PromptAnswer, ...] = ()
    followed: int = 0


def opened(
    scan: Scan,
    task: str | Task,
    start: Any,
    flat: bool,
    engine: str,
    held: NDArray[np.bool_] | None,
    report: Callable[[Any], None],
) -> PromptSession:
    """A session for an image layer; in a thread. held: pixels that an annotator has locked."""
    report("start")
    boxes = open_box_engine(engine)
    report("network")
    session = begin(scan, task, start=start, follow=False, flat=flat, box_engine=boxes)
    session.hold(held)
    return session


def tell(session: PromptSession, prompt: Prompt) -> PromptAnswer:
    """Give a session one prompt of a user. Raises ValueError as the session does."""
    if prompt.kind == "click":
        return session.click(prompt.positions[0], prompt.label)
    if prompt.kind == "scribble":
        return session.scribble(prompt.positions, prompt.label)
    if prompt.kind == "box":
        return session.box(prompt.positions[0], prompt.positions[-1], prompt.label)
    return session.next_object()


def answer(
    session: PromptSession, painted: LabelArray | None, prompt: Prompt, stop: threading.Event
) -> Generator[Progress, None, Done]:
    """One prompt answered, then followed through a volume until `stop` is set; in a thread.

    painted: the mask layer's labels where they differ from the session's, None where they do not.
    """
    if painted is not None:
        session.adopt(painted)
    found = tell(session, prompt)
    labels = session.labels
    yield Progress(labels)
    count = 0
    if labels.ndim == 3 and prompt.kind != "next" and (found.changed or prompt.kind == "box"):
        with closing(session.follow()) as slices:
            for _ in slices:
                count += 1
                yield Progress(labels, count)
                if stop.is_set():
                    break
        labels = session.labels
    return Done(labels, (found,), count)


def mended(
    session: PromptSession, painted: LabelArray | None, change: Callable[[list[Prompt]], list[Prompt]]
) -> Generator[Progress, None, Done]:
    """The session again with prompts moved or left out, as `change` makes them; in a thread."""
    if painted is not None:
        session.adopt(painted)
    yield Progress(session.labels)
    answers = session.replay(change(session.prompts))
    return Done(session.labels, tuple(answers))


def moved(prompts: Sequence[Prompt], now: dict[int, Prompt], shown: Sequence[int], slices: int) -> list[Prompt]:
    """The prompts with the `shown` numbers as the layer has them `now`: moved, or gone where it has them no longer.

    slices: of a volume; a moved prompt is followed anew, as far as its object goes.
    """
    out = []
    for number, prompt in enumerate(prompts):
        if number not in shown or (number in now and now[number].positions == prompt.positions):
            out.append(prompt)
        elif number in now:
            reach = (0, slices - 1) if slices > 1 else None
            out.append(replace(prompt, positions=now[number].positions, reach=reach))
    return out


def plane_of(mask: Labels) -> LabelArray:
    """The labels of a mask in the dimensions of its session: without the leading axes of length 1 that hold the place
    of a frame in its stack."""
    labels = np.asarray(mask.data)
    return labels.reshape(labels.shape[frame_axes(mask) :])


def frame_axes(mask: Labels) -> int:
    """How many leading axes of a mask index the frame of a stack; 0 for the mask of a plain image."""
    return len(mask.metadata.get(KEY, {}).get("frame", ())) if mask.metadata else 0


def painted_by_hand(mask: Labels, known: LabelArray) -> LabelArray | None:
    """A copy of the layer's labels where they differ from the known ones; None where they do not."""
    labels = plane_of(mask)
    return None if np.array_equal(labels, known) else labels.astype(np.uint8)


def put_change(mask: Labels, before: LabelArray, after: LabelArray) -> int:
    """Write what changed between two states into the layer, as one undoable edit; what was painted elsewhere stays.

    The number of pixels written.
    """
    changed = np.flatnonzero(before != after)  # on one axis: numpy finds them three times as fast
    if changed.size:
        where = np.unravel_index(changed, after.shape)
        at = (np.zeros_like(changed),) * frame_axes(mask) + where
        mask.data_setitem(at, after.reshape(-1)[changed].astype(mask.data.dtype))
    return int(changed.size)


def went_along(session: PromptSession, labels: NDArray[Any]) -> bool:
    """Take a session to the state of `labels` where that is one it had a few steps ago, or may have again; else False.

    So an undo of the mask layer's own is an undo of the prompt, too.
    """
    for step, back in ((session.undo, session.redo), (session.redo, session.undo)):
        count = 0
        while count < UNDO_STEPS and step():
            count += 1
            if np.array_equal(labels, session.labels):
                return True
        for _ in range(count):
            back()
    return False


def shown_of(prompts: list[Prompt]) -> list[int]:
    """Numbers of the prompts that have marks: those of the object at work."""
    first = max((i + 1 for i, p in enumerate(prompts) if p.kind == "next"), default=0)
    return [i for i, p in enumerate(prompts) if i >= first and p.positions]


def refuse_locked(mask: Labels) -> None:
    """Raise ValueError for a mask layer that may not be edited."""
    if not mask.editable:
        raise ValueError(
            f"the mask '{mask.name}' is locked (not editable) and stays as it is; expected one that can be edited; "
            "unlock it, or choose a new mask."
        )
