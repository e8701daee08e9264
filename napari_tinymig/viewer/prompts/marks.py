"""Prompts as two layers that lie where the image lies: points and strokes, to be moved and deleted as any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from ...prompts.records import Prompt
from ...tasks.colours import TAKEN_AWAY, rgb
from ..napari_io.layers import KEY, geometry_of
from .mask_session import frame_axes, plane_of

if TYPE_CHECKING:
    import napari.viewer

Shape = Literal["point", "scribble", "box"]
NUMBER, LABEL, SIGN, NEW = "prompt", "label", "away", -1
BELOW, ABOVE = "slices below", "slices above"
"""Columns of a mark's features: its number among the session's prompts, `NEW` before it is answered; its label; 1 where
it was drawn to take away; how many slices a box reaches below and above the one in which it is shown."""
DONE = ("added", "removed", "changed")


@dataclass(frozen=True)
class Mark:
    """One mark as its layer shows it.

    number: of the prompt among the session's, `NEW` = not answered. prompt: what it tells. away: drawn to take away.
    """

    number: int
    prompt: Prompt
    away: bool = False


class PromptMarks:
    """The two layers of one image's prompts; `changed` is called after a user added, moved or deleted a mark.

    mask: the labels layer, in whose pixels marks are told (an image may have axes of colours, or several levels).
    colours: label -> colour of the marks that add it. taken_back, given_again: what the undo keys do while one of the
    layers is active, as they do in a Labels layer. slice_axis: of a volume, None of an image.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        image: Layer,
        mask: Labels,
        colours: dict[int, str],
        changed: Callable[[], None],
        taken_back: Callable[[], None],
        given_again: Callable[[], None],
        slice_axis: int | None = None,
    ):
        self.viewer, self.mask, self._changed, self._axis = viewer, mask, changed, slice_axis
        self.colours = {label: lighter(colour) for label, colour in colours.items()}
        self._mine, self._leading = False, frame_axes(mask)
        shape = tuple(mask.data.shape)
        own = {"metadata": {KEY: {"source": image.name}}, "ndim": len(shape)} | geometry_of(mask)
        size = max(shape[-2:]) / 40  # shown at 14 to 20 px, however near one looks
        table = _table([])
        self.points = Points(
            name=f"{image.name} prompts",
            size=size,
            canvas_size_limits=(14, 20),
            border_color="white",
            border_width=0.12,
            features=table,
            **own,
        )
        self.strokes = Shapes(name=f"{image.name} strokes", features=table, opacity=0.9, **own)
        self.width = max(shape[-2:]) / 160
        for layer in (self.points, self.strokes):
            layer.events.data.connect(self._noticed)
            layer.bind_key("Control-Z", lambda _layer: taken_back(), overwrite=True)
            layer.bind_key("Control-Shift-Z", lambda _layer: given_again(), overwrite=True)
        viewer.add_layer(self.strokes)
        viewer.add_layer(self.points)

    @property
    def layers(self) -> tuple[Layer, Layer]:
        """Points and strokes."""
        return self.points, self.strokes

    @property
    def are_open(self) -> bool:
        """Both layers are still in the viewer."""
        return all(layer in self.viewer.layers for layer in self.layers)

    @property
    def shape_in_hand(self) -> Shape | None:
        """What a mouse press draws now; None where it draws no prompt."""
        active = self.viewer.layers.selection.active
        if active == self.points and str(self.points.mode) == "add":
            return "point"
        modes: dict[str, Shape] = {"add_path": "scribble", "add_rectangle": "box"}
        return modes.get(str(self.strokes.mode)) if active == self.strokes else None

    def take(self, shape: Shape, label: int, away: bool, through: int = 0) -> None:
        """From now on the mouse draws this shape for this label. away: to take away from a class. through: so many
        slices a box reaches below and above its own."""
        layer: Any = self.points if shape == "point" else self.strokes
        layer.selected_data = set()  # what is selected would take the new colour, too
        layer.feature_defaults = {NUMBER: NEW, LABEL: label, SIGN: int(away), BELOW: through, ABOVE: through}
        if shape == "point":
            layer.current_face_color, layer.current_symbol = self._colour(label), _symbol(label)
        else:
            layer.current_face_color = "transparent"
            layer.current_edge_color, layer.current_edge_width = self._colour(label), self.width
        self.viewer.layers.selection.active = layer
        layer.mode = {"point": "add", "scribble": "add_path", "box": "add_rectangle"}[shape]

    def let_go(self) -> None:
        """The mouse moves the view again."""
        for layer in self.layers:
            layer.mode = "pan_zoom"  # type: ignore[attr-defined]

    def close(self) -> None:
        """Remove both layers."""
        for layer in self.layers:
            layer.events.data.disconnect(self._noticed)
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    # --- what the layers say -----------------------------------------------------------------------------------

    def _noticed(self, event: Any) -> None:
        if not self._mine and str(event.action) in DONE:
            QTimer.singleShot(0, self._tell)  # napari is still at work on the layer

    def _tell(self) -> None:
        if self.are_open:
            self._changed()

    def read(self) -> list[Mark]:
        """Every mark, points first; copies of a mark count as new."""
        found: list[Mark] = []
        for i, at in enumerate(self.points.data):
            found.append(self._mark(self.points, i, "click", [at]))
        for i, (kind, vertices) in enumerate(zip(self.strokes.shape_type, self.strokes.data)):
            if kind == "rectangle":
                found.append(self._mark(self.strokes, i, "box", [vertices.min(0), vertices.max(0)]))
            else:
                found.append(self._mark(self.strokes, i, "scribble", vertices))
        seen: set[int] = set()
        out = []
        for mark in found:
            number = NEW if mark.number in seen else mark.number
            seen.add(number)
            out.append(Mark(number, mark.prompt, mark.away))
        return out

    def _mark(self, layer: Points | Shapes, row: int, kind: Any, at: Sequence[NDArray[Any]]) -> Mark:
        positions = [self.mask.world_to_data(layer.data_to_world(p)) for p in at]
        pixels = [tuple(int(np.floor(v + 0.5 + 1e-6)) for v in p[self._leading :]) for p in positions]
        about = layer.features.iloc[row]
        if kind == "box" and self._axis is not None:
            reach = -int(about[BELOW]), int(about[ABOVE])
            pixels = [_in_slices(p, self._axis, by, self.mask.data.shape) for p, by in zip(pixels, reach)]
        if kind == "scribble":
            pixels = [p for p, before in zip(pixels, [None, *pixels]) if p != before]
        return Mark(int(about[NUMBER]), Prompt(kind, tuple(pixels), int(about[LABEL])), bool(about[SIGN]))

    # --- showing -----------------------------------------------------------------------------------------------

    def show(self, marks: Sequence[Mark]) -> None:
        """Show exactly these marks."""
        self._mine = True
        marks = [replace(m, prompt=self._placed(m.prompt)) for m in marks]
        try:
            self._show_points([m for m in marks if m.prompt.kind == "click"])
            self._show_strokes([m for m in marks if m.prompt.kind in ("scribble", "box")])
        finally:
            self._mine = False

    def _placed(self, prompt: Prompt) -> Prompt:
        """A prompt with the leading axes of its frame."""
        return replace(prompt, positions=tuple((0,) * self._leading + tuple(p) for p in prompt.positions))

    def _show_points(self, marks: list[Mark]) -> None:
        layer = self.points
        layer.selected_data = set()
        hand = (layer.feature_defaults, layer.current_symbol, layer.current_face_color)
        ndim = layer.ndim
        layer.data = np.array([m.prompt.positions[0] for m in marks], float).reshape(-1, ndim)
        layer.features = _table(marks, self._axis)
        if marks:
            layer.symbol = [_symbol(m.prompt.label) for m in marks]
            layer.face_color = [self._colour(m.prompt.label) for m in marks]
        layer.feature_defaults, layer.current_symbol, layer.current_face_color = hand

    def _show_strokes(self, marks: list[Mark]) -> None:
        layer = self.strokes
        layer.selected_data = set()
        if not marks and not layer.nshapes:
            return
        hand = (layer.feature_defaults, layer.current_edge_color, layer.current_edge_width)
        layer.data = []
        if marks:
            layer.add(
                [_corners(m.prompt, self._axis) if m.prompt.kind == "box" else _line(m.prompt) for m in marks],
                shape_type=["rectangle" if m.prompt.kind == "box" else "path" for m in marks],
                edge_color=[self._colour(m.prompt.label) for m in marks],
                face_color="transparent",
                edge_width=self.width,
            )
        layer.features = _table(marks, self._axis)
        layer.selected_data = set()
        layer.feature_defaults, layer.current_edge_color, layer.current_edge_width = hand

    def _colour(self, label: int) -> str:
        return self.colours.get(label, TAKEN_AWAY)


def as_told(mark: Mark, mask: Labels | None) -> Prompt:
    """What a mark tells: taken away from a class inside another where neither is, it gives nothing to the outer one."""
    prompt = mark.prompt
    if mark.away and prompt.label and mask is not None:
        at = prompt.positions[0]
        labels = plane_of(mask)
        inside = all(0 <= v < n for v, n in zip(at, labels.shape))
        if inside and not labels[at]:
            return Prompt(prompt.kind, prompt.positions, 0)
    return prompt


def lighter(colour: str, share: float = 0.6) -> str:
    """A hex colour mixed with white, to be seen on a mask of that colour."""
    return "#" + "".join(f"{round(v + (255 - v) * share):02x}" for v in rgb(colour))


def _symbol(label: int) -> str:
    """A plus, or a minus for what takes away."""
    return "cross" if label else "hbar"


def _table(marks: Sequence[Mark], axis: int | None = None) -> dict[str, NDArray[np.int64]]:
    """The features of marks."""
    columns = {NUMBER: [m.number for m in marks], LABEL: [m.prompt.label for m in marks]}
    columns[SIGN] = [int(m.away) for m in marks]
    reaches = [_reach(m.prompt, axis) for m in marks]
    columns[BELOW], columns[ABOVE] = [low for low, _ in reaches], [high for _, high in reaches]
    return {name: np.array(values, np.int64) for name, values in columns.items()}


def _reach(prompt: Prompt, axis: int | None) -> tuple[int, int]:
    """How many slices a box reaches below and above the one in which it is shown: the middle one."""
    if axis is None or prompt.kind != "box":
        return 0, 0
    low, high = sorted(p[axis] for p in prompt.positions)
    return (low + high) // 2 - low, high - (low + high) // 2


def _in_slices(position: tuple[int, ...], axis: int, by: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A position moved across slices, as far as there are some; one outside the image stays where it is."""
    at = position[axis]
    moved = min(max(at + by, 0), shape[axis] - 1) if 0 <= at < shape[axis] else at
    return (*position[:axis], moved, *position[axis + 1 :])


def _line(prompt: Prompt) -> NDArray[Any]:
    """The vertices of a scribble; a path has at least two."""
    at = np.array(prompt.positions, float)
    return np.concatenate([at, at]) if len(at) == 1 else at


def _corners(prompt: Prompt, axis: int | None) -> NDArray[Any]:
    """The four corners of a box, in the plane in which it was drawn; of one through several slices, in the middle."""
    low, high = (np.array(f(prompt.positions, axis=0), float) for f in (np.min, np.max))
    if axis is not None:
        low[axis] = high[axis] = (low[axis] + high[axis]) // 2
    row, column = sorted(np.argsort(high - low, kind="stable")[-2:])
    corners = np.tile(low, (4, 1))
    corners[1:3, column] = high[column]
    corners[2:4, row] = high[row]
    return corners
