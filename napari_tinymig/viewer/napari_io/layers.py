"""Between napari's layers and the engine's records: what fits, what scan a layer holds, how a result is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from ...base.records import Prediction, Scan
from ...tasks.colours import label_colours
from ...tasks.table import TASKS, usual_task
from ...tasks.task import Task
from .layer_geometry import KEY

Kind = Literal["photograph", "grey", "volume"]
GEOMETRY_KEYS = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def kind_of(layer: Layer) -> Kind | None:
    """What a layer can be segmented as; None if it does not fit (stacks of photographs, 4-D, multiscale, other types).

    photograph: (H, W, 3 or 4) RGB. grey: (H, W). volume: (D, H, W).
    """
    if not isinstance(layer, Image) or layer.multiscale:
        return None
    if layer.rgb:
        return "photograph" if layer.ndim == 2 else None
    return {2: "grey", 3: "volume"}.get(layer.ndim)  # type: ignore[return-value]


def spacing_mm(layer: Layer) -> tuple[float, ...] | None:
    """Pixel or voxel size in mm, array order, from scale and units; None where the units are no length."""
    sizes = []
    for unit, size in zip(layer.units, layer.scale):
        quantity = 1 * unit
        if not quantity.check("[length]"):
            return None
        sizes.append(abs(float(size)) * float(quantity.to("millimeter").magnitude))
    return tuple(sizes) if all(np.isfinite(s) and s > 0 for s in sizes) else None


def scan_of(layer: Layer) -> Scan:
    """The engine's view of an image layer; the layer is not changed and a volume is not copied.

    RGB of another depth becomes uint8 (floats are read as 0..1). A grey 2-D image is a volume of one slice, whose
    thickness nobody knows: its spacing is unknown. Raises ValueError for a layer that does not fit.
    """
    kind = kind_of(layer)
    if kind is None:
        raise ValueError(
            f"layer '{layer.name}' is {type(layer).__name__} {getattr(layer.data, 'shape', '')}; "
            "expected an RGB photograph, a grey image or a volume (D, H, W)."
        )
    pixels = np.asarray(layer.data)
    if kind == "photograph":
        return Scan(_rgb8(pixels), spacing_mm(layer), layer.name)
    if kind == "grey":
        return Scan(pixels[None], None, layer.name)
    return Scan(pixels, spacing_mm(layer), layer.name)


def _rgb8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    rgb = pixels[..., :3]
    if rgb.dtype == np.uint8:
        return rgb
    if np.issubdtype(rgb.dtype, np.floating):
        return np.clip(np.rint(np.nan_to_num(rgb) * 255), 0, 255).astype(np.uint8)
    return (rgb.astype(np.float64) * (255.0 / np.iinfo(rgb.dtype).max)).round().astype(np.uint8)


def geometry_of(layer: Layer) -> dict[str, Any]:
    """The seven keys that say where a layer lies, as keyword arguments for a new layer of the same grid."""
    return {
        "scale": layer.scale.copy(),
        "translate": layer.translate.copy(),
        "rotate": layer.rotate.copy(),
        "shear": layer.shear.copy(),
        "affine": layer.affine.affine_matrix.copy(),
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def class_colours(task: Task) -> DirectLabelColormap:
    """Named colours of a task's labels; background and unknown values are transparent."""
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colours.update(label_colours(task).items())
    return DirectLabelColormap(color_dict=colours)


def class_features(class_names: Mapping[int, str]) -> dict[str, list[Any]]:
    """The `features` table of a Labels layer: label value and class name."""
    return {"index": list(class_names), "class": list(class_names.values())}


def result_layer(image: Layer, labels: NDArray[np.uint8], task: Task, name: str, about: Mapping[str, Any]) -> Labels:
    """A new Labels layer that lies exactly where `image` does; `about` is kept in its metadata.

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
        **geometry_of(image),
    )
    if image.source.path:
        layer.metadata[KEY].setdefault("path", str(image.source.path))
    return layer


def probability_layers(image: Layer, prediction: Prediction, task: Task) -> list[Image]:
    """One additive image (0..1) per region, where the prediction carries probabilities."""
    if prediction.probabilities is None:
        return []
    out = []
    for region, plane in zip(task.regions, prediction.probabilities):
        data = np.asarray(plane, np.float32).reshape(grid_shape(image))
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
                **geometry_of(image),
            )
        )
    return out


def grid_shape(layer: Layer) -> tuple[int, ...]:
    """Shape of a label array for an image layer: its data without colour channels."""
    shape = tuple(layer.data.shape)
    return shape[:-1] if getattr(layer, "rgb", False) else shape


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
