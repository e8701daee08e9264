"""Undo and redo to the bit: every prompt with the pixels it changed, before and after."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .records import Prompt


@dataclass
class Step:
    """One prompt and what it changed: flat indices, values before and after, slices a human touched with it."""

    prompt: Prompt
    at: NDArray[np.intp]
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]


@dataclass
class History:
    """Steps done and steps undone, over one label array that it changes in place."""

    labels: NDArray[np.uint8]
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def add(self, prompt: Prompt, old: NDArray[np.uint8]) -> Step:
        """A new step: the labels as they are now, against `old`. What was undone is gone."""
        at = np.flatnonzero(self.labels != old)
        step = Step(prompt, at, old.reshape(-1)[at].copy(), self.labels.reshape(-1)[at].copy())
        self.done.append(step)
        self.undone.clear()
        return step

    def slices_of(self, step: Step) -> tuple[int, ...]:
        """The slices in which a step changed something, in order."""
        size = self.labels[0].size
        first = np.searchsorted(step.at, np.arange(len(self.labels) + 1) * size)
        return tuple(np.flatnonzero(np.diff(first)).tolist())

    def undo(self) -> bool:
        """Take the last step back; False if there is none."""
        if not self.done:
            return False
        step = self.done.pop()
        self.labels.reshape(-1)[step.at] = step.before
        self.undone.append(step)
        return True

    def redo(self) -> bool:
        """Do the last undone step again; False if there is none."""
        if not self.undone:
            return False
        step = self.undone.pop()
        self.labels.reshape(-1)[step.at] = step.after
        self.done.append(step)
        return True

    def active(self) -> list[Prompt]:
        """Prompts that have a place, since the last finished object."""
        return [s.prompt for s in self.done[self._last_next() + 1 :] if s.prompt.positions]

    def finished(self) -> NDArray[np.bool_] | None:
        """Pixels of finished objects; None if there are none."""
        last = self._last_next()
        if last < 0:
            return None
        labels = self.labels.copy()
        for step in reversed(self.done[last + 1 :]):
            labels.reshape(-1)[step.at] = step.before
        return labels > 0

    def _last_next(self) -> int:
        return max((i for i, s in enumerate(self.done) if s.prompt.kind == "next"), default=-1)
