"""A session: one image, one task, and prompts that the mask follows."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.records import Prediction, Scan
from ..base.stack import slice_axis
from ..measures.clinical import measure
from ..tasks.task import Task
from .answer import Picture
from .checks import checked_box, checked_label, checked_position, checked_prompt, checked_start, refuse_locked
from .edits import packed, unpacked
from .fill_box import fill_box
from .follow import follow_outwards
from .grey import slice_picture
from .history import History
from .network import BoxEngine, PromptEngine
from .planes import Planes
from .records import Prompt, PromptAnswer
from .slice_answer import SliceState, answer_box, answer_points

NOTHING = "Nothing changed: these pixels had this label already. The prompt is kept and counts from now on."


class PromptSession:
    """Clicks, scribbles and boxes on one image; `labels` follow at once.

    Made by `napari_tinymig.prompt`. scan: the image, a grey picture being a one-slice volume. task: its labels; start:
    labels of `shape` to begin with. shape: the image's own, (H, W) or (D, H, W). engine: what answers. prediction: of
    the automatic mask, whose notes and trust go on. follow: volumes only, a prompt is followed to its neighbours
    before it returns; else `follow()` does that when asked. box_engine: another network that answers the boxes.

    Rules: the pixels of a prompt get its label, always; a negative prompt adds nothing; a positive one takes nothing
    away outside its own piece; regions inside others stay inside; locked labels, finished objects and other classes
    are never touched; what is refused changes nothing.
    """

    def __init__(
        self,
        scan: Scan,
        task: Task,
        engine: PromptEngine,
        start: ArrayLike,
        prediction: Prediction | None = None,
        follow: bool = True,
        flat: bool = False,
        box_engine: BoxEngine | None = None,
    ):
        self.task, self.scan, self.engine, self.box_engine = task, scan, engine, box_engine
        self._shape = scan.grid_shape[1:] if flat else scan.grid_shape
        self._planes = Planes(self._shape, 0 if len(self._shape) == 2 else slice_axis(scan.spacing_mm))
        self._start = checked_start(start, self._shape, task)
        self._prediction, self._follows = prediction, follow and len(self._shape) == 3
        self._pictures: dict[int, Picture] = {}
        self.locked: frozenset[int] = frozenset()
        self._held: NDArray[np.bool_] | None = None
        self.seconds = 0.0
        self._restart()

    def _restart(self) -> None:
        """The start's labels, no prompts, nothing finished."""
        self._history = History(np.array(self._planes.slices(self._start), np.uint8, order="C"))

    # -- what there is

    @property
    def labels(self) -> NDArray[np.uint8]:
        """A copy of the labels, uint8, in the image's shape."""
        return self._planes.image(self._history.labels).copy()

    @property
    def slice_axis(self) -> int | None:
        """The axis across which the slices lie that are answered; None for an image of two axes."""
        return None if len(self._shape) == 2 else self._planes.axis

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts that count, in order; `replay` makes the same labels of them, to the bit."""
        return [s.prompt for s in self._history.done]

    @property
    def prediction(self) -> Prediction:
        """The labels as they are, with their measures."""
        labels = self.labels
        grid = labels if labels.shape == self.scan.grid_shape else labels[None]
        found: dict[str, Any] = {
            "labels": labels,
            "measures": measure(grid, self.task, self.scan.measured_mm),
            "status": "ok" if labels.any() else "not_found",
            "seconds": self.seconds,
        }
        if self._prediction is not None:
            notes = [n for n in self._prediction.notes if not (labels.any() and n.startswith("No "))]
            return replace(self._prediction, **found, probabilities=None, uncertainty_map=None, notes=notes)
        return Prediction(
            class_names=self.task.class_names, task=self.task.name, model_id=self.engine.model_id, **found
        )

    # -- what a user does

    def click(self, position: ArrayLike, label: int = 1) -> PromptAnswer:
        """The pixel at `position`, (y, x) or (z, y, x), gets `label`, and its object follows; 0 takes away.

        Raises ValueError, with nothing changed, for a position outside the image, a label that the task lacks, a
        locked label or a finished object.
        """
        return self._do(Prompt("click", (checked_position(position, self._shape),), checked_label(label, self.task)))

    def scribble(self, positions: Iterable[ArrayLike], label: int = 1) -> PromptAnswer:
        """As `click`, for a line through `positions`; every pixel of the line gets `label`.

        A line through several slices (drawn in another plane of the volume) answers in each of them.
        """
        at = tuple(checked_position(p, self._shape) for p in positions)
        if not at:
            raise ValueError("the scribble holds no position; expected at least one; draw it on the image.")
        return self._do(Prompt("scribble", at, checked_label(label, self.task)))

    def box(self, corner: ArrayLike, opposite: ArrayLike, label: int = 1) -> PromptAnswer:
        """The object of `label` inside a box, both corners included; label 0 empties the box.

        A volume's box through several slices holds the object in all of them: the middle one answers first, the others
        when it is followed, which the box bounds; label 0 empties all of them at once. Raises as `click`, and for an
        empty box.
        """
        corners = (checked_position(corner, self._shape), checked_position(opposite, self._shape))
        checked_box(corners, self._planes)
        return self._do(Prompt("box", corners, checked_label(label, self.task)))

    def next_object(self) -> PromptAnswer:
        """The objects so far are finished: later prompts never touch them."""
        return self._do(Prompt("next"))

    def adopt(self, labels: ArrayLike) -> PromptAnswer:
        """Labels mended by hand (a brush) become the session's, as one step that can be undone and replayed."""
        new = checked_start(labels, self._shape, self.task)
        return self._do(Prompt("edit", data=packed(self._history.labels, self._planes.slices(new))))

    def undo(self) -> bool:
        """Take the last prompt back, to the bit; False if there is none."""
        return self._history.undo()

    def redo(self) -> bool:
        """Give the last prompt that was taken back again, to the bit; False if there is none."""
        return self._history.redo()

    def lock(self, *labels: int) -> None:
        """These labels are not touched from now on; without any, nothing is locked."""
        self.locked = frozenset(checked_label(v, self.task) for v in labels)

    def hold(self, pixels: ArrayLike | None) -> None:
        """These pixels (a mask of the image's shape) are not touched from now on; None = none is held."""
        if pixels is not None and np.shape(pixels) != self._shape:
            raise ValueError(
                f"held pixels have shape {np.shape(pixels)}; expected the image's {self._shape}; cut them."
            )
        self._held = None if pixels is None else self._planes.slices(np.array(pixels, bool))

    def replay(self, prompts: Sequence[Prompt]) -> list[PromptAnswer]:
        """Start again and do these prompts: the same ones give the same labels. Raises for the first refused one."""
        kept = self._history
        self._restart()
        try:
            return [self._do(checked_prompt(p, self._planes, self.task), p.reach) for p in prompts]
        except ValueError:
            self._history = kept
            raise

    def follow(self) -> Generator[int, None, None]:
        """Follow the last prompt to the neighbouring slices; yields each slice that was done.

        Stop asking, or close it, to stop following. Belongs to the prompt: one undo takes both back.
        """
        history = self._history
        if not history.done or len(self._shape) == 2:
            return
        step = history.done[-1]
        old = history.labels.copy()
        old.reshape(-1)[step.at] = step.before
        low = high = None
        try:
            for z in self._neighbours(step.prompt, old, self._planes.slice_limits(step.prompt)):
                low, high = min(z, low if low is not None else z), max(z, high if high is not None else z)
                yield z
        finally:
            if low is not None and high is not None and history.done and history.done[-1] is step:
                first = self._planes.first_slice(step.prompt)
                history.done.pop()
                history.add(replace(step.prompt, reach=(min(low, first), max(high, first))), old)

    # -- how it is done

    def _do(self, prompt: Prompt, reach: tuple[int, int] | None = None) -> PromptAnswer:
        begun = time.perf_counter()
        old = self._history.labels.copy()
        try:
            note = self._write(prompt)
        except BaseException:
            self._history.labels[:] = old
            raise
        self._history.add(replace(prompt, reach=None), old)
        self.seconds = time.perf_counter() - begun
        if prompt.kind in ("click", "scribble", "box"):
            if reach is not None:
                self._follow_to(reach)
            elif self._follows:
                for _ in self.follow():
                    pass
        step = self._history.done[-1]
        slices = self._history.slices_of(step)
        note = note or ("" if len(step.at) or prompt.kind == "next" else NOTHING)
        return PromptAnswer(len(step.at), note, self.seconds, slices)

    def _write(self, prompt: Prompt) -> str:
        """Change the labels by one prompt; returns a note."""
        if prompt.kind == "next":
            return ""
        if prompt.kind == "edit":
            unpacked(prompt.data, self._history.labels)
            return ""
        planes = self._planes
        low, high = planes.extent(prompt)
        if prompt.kind == "box":
            self._refuse([], prompt.label, None)
            middle = planes.first_slice(prompt)
            at = (middle,) if prompt.label else range(low, high + 1)
            return [answer_box(self._state(z), *planes.corners(prompt.positions), prompt.label) for z in at][-1]
        lines = {z: planes.pixels(prompt, z) for z in range(low, high + 1)}
        for z, points in lines.items():
            self._refuse(self._history.labels[z][points[:, 0], points[:, 1]], prompt.label, (z, points))
        return [answer_points(self._state(z), points, prompt.label) for z, points in lines.items()][-1]

    def _refuse(self, found: ArrayLike, label: int, at: tuple[int, NDArray[np.intp]] | None) -> None:
        refuse_locked(np.asarray(found).tolist(), label, self.locked, self.task)
        if at is None:
            return
        z, pixels = at[0], (at[1][:, 0], at[1][:, 1])
        if self._held is not None and self._held[z][pixels].any():
            raise ValueError("the prompt lies on pixels that are held; expected another place; let go of them first.")
        finished = self._history.finished()
        if finished is not None and finished[z][pixels].any():
            raise ValueError("the prompt lies on a finished object; expected another place; undo `next` to mend it.")

    def _state(self, z: int) -> SliceState:
        """Everything that an answer on slice `z` depends on; its labels are the session's own."""
        planes = self._planes
        told = [p for p in self._history.active() if planes.extent(p)[0] <= z <= planes.extent(p)[1]]
        marks = [(planes.pixels(p, z), p.label) for p in told if p.kind != "box"]
        boxes = [(*planes.corners(p.positions), p.label) for p in told if p.kind == "box"]
        finished, held = self._history.finished(), self._held
        kept = [m[z] for m in (finished, held) if m is not None]
        return SliceState(
            self.task,
            self.engine,
            self._picture(z),
            self._history.labels[z],
            marks,
            boxes,
            self.locked,
            np.logical_or.reduce(kept) if kept else None,
            self._begun(z),
            self.box_engine,
        )

    def _begun(self, z: int) -> NDArray[np.uint8]:
        """The start's labels of a slice: corrections of them stay local."""
        return self._planes.slices(self._start)[z]

    def _picture(self, z: int) -> Picture:
        if z not in self._pictures:
            if len(self._pictures) > 64:
                self._pictures.clear()
            pixels = self.scan.pixels
            photograph = self.scan.kind == "photograph"
            self._pictures[z] = Picture(pixels if photograph else slice_picture(self._planes.slices(pixels)[z]))
        return self._pictures[z]

    def _touched(self) -> set[int]:
        """Slices that a human has prompted or mended; following never changes them. Of a deep box the middle one."""
        found, planes = set(), self._planes
        for step in self._history.done:
            if step.prompt.kind == "edit":
                found |= set(self._history.slices_of(step))
            elif step.prompt.positions and planes.is_deep(step.prompt) and step.prompt.label:
                found.add(planes.first_slice(step.prompt))
            elif step.prompt.positions:
                low, high = planes.extent(step.prompt)
                found |= set(range(low, high + 1))
        return found

    def _neighbours(self, prompt: Prompt, old: NDArray[np.uint8], limits: tuple[int, int]) -> Iterator[int]:
        """Follow a prompt to the slices within `limits`; yields every slice that was written."""
        if not self._planes.is_deep(prompt):
            return follow_outwards(self._state, prompt, old, self._touched(), limits)
        if prompt.label == 0:
            return iter(())
        planes = self._planes
        box, whole = planes.corners(prompt.positions), planes.extent(prompt)
        return fill_box(self._state, prompt.label, box, planes.first_slice(prompt), self._touched(), whole, limits)

    def _follow_to(self, reach: tuple[int, int]) -> None:
        """Follow the last prompt as far as a record says that it was followed."""
        step = self._history.done[-1]
        old = self._history.labels.copy()
        old.reshape(-1)[step.at] = step.before
        low, high = self._planes.slice_limits(step.prompt)
        for _ in self._neighbours(step.prompt, old, (max(low, reach[0]), min(high, reach[1]))):
            pass
        self._history.done.pop()
        self._history.add(replace(step.prompt, reach=reach), old)
