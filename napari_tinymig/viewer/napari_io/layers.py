"""Between napari's layers and the engine's records: what fits, what scan a layer holds, how a result is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from ...base.errors import UnsupportedInput
from ...base.picture_axes import Axes, Kind, read_axes
from ...base.records import Prediction, Scan
from ...formats import eight_bit
from ...tasks.colours import label_colours
from ...tasks.table import TASKS, usual_task
from ...tasks.task import Task
from .layer_geometry import KEY


def axes_of(layer: Layer, flat: bool = False) -> Axes:
    """How the axes of an image layer are read; of a multiscale one, its finest level.

    flat: a stack that is not known to be a volume (no voxel size in mm) is read as grey pictures in frames. Raises
    UnsupportedInput for what cannot be looked at, with what was found and what to do.
    """
    if not isinstance(layer, Image):
        raise UnsupportedInput(f"'{layer.name}' is a {type(layer).__name__} layer; expected an image.")
    known = spacing_mm(layer) is not None or bool(layer.metadata.get(KEY, {}).get("scan_file"))
    data = finest(layer)
    try:
        axes = read_axes(data.shape, np.dtype(data.dtype), layer.rgb, layer.axis_labels, known)
    except UnsupportedInput as e:
        raise UnsupportedInput(f"'{layer.name}': {e}") from e
    return Axes("grey", frames=1) if flat and not known and axes == Axes("volume") else axes


def _colours_first(layer: Layer) -> bool:
    return isinstance(layer, Image) and not layer.rgb and kind_of(layer) == "photograph"


def finest(layer: Layer) -> Any:
    """The array of a layer, the finest level where it has several."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def kind_of(layer: Layer) -> Kind | None:
    """What a layer can be segmented as; None for other types, and for stacks of frames (`kind_of_frames`).

    photograph: (H, W, 3 or 4) RGB or (3 or 4, H, W). grey: (H, W). volume: (D, H, W). Multiscale: its finest level.
    """
    try:
        axes = axes_of(layer)
    except UnsupportedInput:
        return None
    return None if axes.frames else axes.kind


def kind_of_frames(layer: Layer) -> Kind | None:
    """What the frame on show can be segmented as, of a single image or of a stack of frames; None if nothing fits."""
    try:
        return axes_of(layer).kind
    except UnsupportedInput:
        return None


def why_no_image(layers: Iterable[Layer], frames: bool = False) -> str:
    """The sentence for a list that offers none of `layers`: what was found, what to do; '' without an image layer."""
    for layer in layers:
        if isinstance(layer, Image):
            try:
                axes = axes_of(layer)
            except UnsupportedInput as e:
                return str(e)
            if axes.frames and not frames:
                return f"'{layer.name}' is a stack of frames; the Segment panel looks at the frame on show."
    return ""


def said_of_axes(layer: Layer, flat: bool = False) -> str:
    """How a layer is read where that is not obvious: its level, colours or frames; '' for plain images."""
    axes, said = axes_of(layer, flat), []
    if layer.multiscale:
        height, width = finest(layer).shape[-3:-1] if layer.rgb else finest(layer).shape[-2:]
        said.append(f"the finest of {len(layer.data)} levels, {width} x {height} pixels")
    if axes.colours_first:
        said.append(f"a colour picture, its {finest(layer).shape[0]} colours on the first axis")
    if axes.frames:
        said.append("the frame on show")
    return f"Read as {'; '.join(said)}." if said else ""


def frame_on_show(layer: Layer, point: Sequence[float], flat: bool = False) -> tuple[int, ...]:
    """Index of the frame at `point`, (..., y, x) in napari's world such as `viewer.dims.point`; () for a layer that is
    no stack of frames."""
    frames = axes_of(layer, flat).frames
    index = np.rint(layer.world_to_data(np.asarray(point, np.float64)[-layer.ndim :]))[:frames]
    return tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(index, finest(layer).shape))


@lru_cache
def _mm_of(unit: Any) -> float | None:
    """Millimetres of one unit (pint); None where it is no length. Kept: it is asked for at every stroke."""
    quantity = 1 * unit
    return float(quantity.to("millimeter").magnitude) if quantity.check("[length]") else None


def spacing_mm(layer: Layer) -> tuple[float, ...] | None:
    """Pixel or voxel size in mm, array order, from scale and units; None where the units are no length."""
    sizes = []
    for unit, size in zip(layer.units, layer.scale):
        length = _mm_of(unit)
        if length is None:
            return None
        sizes.append(abs(float(size)) * length)
    return tuple(sizes) if all(np.isfinite(s) and s > 0 for s in sizes) else None


def scan_of(layer: Layer, frame: tuple[int, ...] = ()) -> Scan:
    """The engine's view of an image layer; the layer is not changed and a volume is not copied.

    frame: of a stack of frames (`frame_on_show`), how its leading axes are indexed. RGB of another depth becomes uint8
    (floats are read as 0..1). A grey 2-D image is a volume of one slice, whose thickness nobody knows: its spacing is
    unknown. Raises ValueError for a layer that does not fit.
    """
    try:
        axes = axes_of(layer, flat=len(frame) > 0)
    except UnsupportedInput as e:
        raise ValueError(str(e)) from e
    if axes.frames != len(frame):
        raise ValueError(f"layer '{layer.name}' has {axes.frames} axes of frames; expected the index of one frame.")
    pixels = np.asarray(finest(layer)[frame] if frame else finest(layer))
    spacing = spacing_mm(layer)
    spacing = None if spacing is None else spacing[axes.frames :]
    drawn = bool(layer.metadata.get(KEY, {}).get("drawn"))
    if axes.kind == "photograph":
        if axes.colours_first:
            return Scan(rgb8(np.moveaxis(pixels, 0, -1)), None, layer.name)
        return Scan(rgb8(pixels), spacing, layer.name, drawn)
    if axes.kind == "grey":
        return Scan(pixels[None], None, layer.name)
    return Scan(pixels, spacing, layer.name, drawn)


def rgb8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of an RGB(A) array: floats are read as 0..1, integers as `eight_bit` reads them."""
    rgb = pixels[..., :3]
    if np.issubdtype(rgb.dtype, np.floating):
        return np.clip(np.rint(np.nan_to_num(rgb) * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(eight_bit(rgb))


def geometry_of(layer: Layer, frame: tuple[int, ...] = ()) -> dict[str, Any]:
    """The seven keys that say where a layer lies, as keyword arguments for a new layer of the grid `grid_shape`.

    frame: the new layer holds that frame alone, at its place in the stack.
    """
    moved = np.zeros(layer.ndim)
    moved[: len(frame)] = frame
    shift = np.asarray(layer.data_to_world(moved)) - np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    shift = np.linalg.solve(layer.affine.affine_matrix[: layer.ndim, : layer.ndim], shift)  # affine comes after it
    first = 1 if _colours_first(layer) else 0
    shear = np.asarray(layer.shear)
    return {
        "scale": layer.scale[first:].copy(),
        "translate": (layer.translate + shift)[first:].copy(),
        "rotate": layer.rotate[first:, first:].copy(),
        "shear": shear[-1:].copy() if first and shear.ndim == 1 else shear[first:, first:] if first else shear.copy(),
        "affine": layer.affine.affine_matrix[first:, first:].copy(),
        "units": layer.units[first:],
        "axis_labels": layer.axis_labels[first:],
    }


def class_colours(task: Task) -> DirectLabelColormap:
    """Named colours of a task's labels; background and unknown values are transparent."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colours.update(label_colours(task).items())
    return DirectLabelColormap(color_dict=colours)


def class_features(class_names: Mapping[int, str]) -> dict[str, list[Any]]:
    """The `features` table of a Labels layer: label value and class name."""
    return {"index": list(class_names), "class": list(class_names.values())}


def result_layer(
    image: Layer,
    labels: NDArray[np.uint8],
    task: Task,
    name: str,
    about: Mapping[str, Any],
    frame: tuple[int, ...] = (),
) -> Labels:
    """A new Labels layer that lies exactly where `image`, or one frame of it, does; `about` is kept in its metadata.

    metadata carries over what a reader put there (the file's own grid), so that the mask can be written back into it,
    and a copy of the labels as predicted, which tells later what the annotator changed.
    """
    labels = np.ascontiguousarray(labels, np.uint8)
    own = {"task": task.model_dump(), "source": image.name, "predicted": labels.copy(), **about}
    layer = Labels(
        labels,
        name=name,
        colormap=class_colours(task),
        features=class_features(task.class_names),
        opacity=0.55,
        metadata=dict(image.metadata) | {KEY: dict(image.metadata.get(KEY, {})) | own},
        **geometry_of(image, frame),
    )
    if frame:
        layer.metadata[KEY]["frame"] = frame
    if image.source.path:
        layer.metadata[KEY].setdefault("path", str(image.source.path))
    return layer


def probability_layers(image: Layer, prediction: Prediction, task: Task, frame: tuple[int, ...] = ()) -> list[Image]:
    """One additive image (0..1) per region, where the prediction carries probabilities."""
    if prediction.probabilities is None:
        return []
    out = []
    for region, plane in zip(task.regions, prediction.probabilities):
        data = np.asarray(plane, np.float32).reshape(grid_shape(image, frame))
        out.append(
            Image(
                data,
                name=f"{image.name} p({region.name})",
                contrast_limits=(0, 1),
                colormap="magma",
                blending="additive",
                opacity=0.6,
                visible=False,
                metadata={KEY: {"probability_of": region.name}},
                **geometry_of(image, frame),
            )
        )
    return out


def grid_shape(layer: Layer, frame: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Shape of a label array for an image layer: its finest data without colours; of one `frame`, 1 along frames."""
    shape = tuple(int(n) for n in finest(layer).shape)
    if getattr(layer, "rgb", False):
        shape = shape[:-1]
    elif _colours_first(layer):
        shape = shape[1:]
    return (1,) * len(frame) + shape[len(frame) :]


def task_of_labels(layer: Layer) -> Task | None:
    """The task a Labels layer was made for; otherwise a guess from its dimensions and values, None if neither helps."""
    kept = layer.metadata.get(KEY, {}).get("task") if isinstance(layer.metadata, Mapping) else None
    if isinstance(kept, Mapping):
        return Task.model_validate(dict(kept))
    if isinstance(kept, str) and kept in TASKS:
        return TASKS[kept]
    if layer.ndim == 3:
        return usual_task("volume")
    if layer.ndim == 2:
        highest = int(np.asarray(layer.data)[::4, ::4].max(initial=0))  # one label alone says nothing
        return next((t for t in TASKS.values() if t.input == "photograph" and 1 < highest == len(t.regions)), None)
    return None


def measured_grid(
    layer: Layer, task: Task, point: Sequence[float] | None = None
) -> tuple[NDArray[Any], tuple[float, ...] | None] | None:
    """Labels and pixel size of a mask layer in the dimensions that a task measures: (H, W) of photographs, (D, H, W) of
    volumes; axes of length 1 (one frame of a stack) go or are added. point: where the window is, for the mask of a
    movie, of which the frame on show is measured. None for a mask of other dimensions."""
    labels, spacing, wanted = np.asarray(layer.data), spacing_mm(layer), 2 if task.input == "photograph" else 3
    if point is not None and labels.ndim > wanted:
        index = np.rint(layer.world_to_data(np.asarray(point, np.float64)[-layer.ndim :]))[: labels.ndim - wanted]
        labels = labels[tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(index, labels.shape))]
        spacing = spacing[-wanted:] if spacing else None
    while labels.ndim > wanted and labels.shape[0] == 1:
        labels, spacing = labels[0], spacing[1:] if spacing else None
    if labels.ndim == wanted:
        return labels, spacing
    return (labels[None], None) if labels.ndim + 1 == wanted else None


def changed_by_user(layer: Labels) -> NDArray[np.bool_]:
    """Where a Labels layer differs from what was predicted into it; all that is painted if nothing was predicted."""
    labels = np.asarray(layer.data)
    predicted = layer.metadata.get(KEY, {}).get("predicted")
    if predicted is None or predicted.shape != labels.shape:
        return labels != 0
    return labels != predicted


def put_labels(layer: Labels, new: NDArray[Any]) -> int:
    """Change a Labels layer to `new` as ONE undoable edit; the number of changed pixels.

    Raises ValueError for another shape.
    """
    data = np.asarray(layer.data)
    if new.shape != data.shape:
        raise ValueError(f"new labels have shape {new.shape}; layer '{layer.name}' has {data.shape}.")
    where = np.nonzero(data != new)
    if where[0].size:
        layer.data_setitem(where, new[where].astype(data.dtype))
    return int(where[0].size)
