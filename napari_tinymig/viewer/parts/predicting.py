"""One prediction as the panels ask for it: a frozen request, run in a thread, answered once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Layer, Shapes

from ...base.records import Prediction, Scan
from ...tasks.table import TASKS
from ...tasks.task import Task
from ..napari_io.layers import grid_shape
from ..napari_io.warm_up import load_for_labels
from .settings import setting

if TYPE_CHECKING:  # imported when first needed: 0.15 s less until the panel is open
    from ...predict.predictor import Predictor, Roi

_READY: dict[tuple[str, str, int], Predictor] = {}  # opened models; a second prediction starts at once


@dataclass(frozen=True)
class Request:
    """What was asked: the same request gives the same answer."""

    scan: Scan
    model: str
    device: str = "auto"
    threads: int = 0
    roi: Roi = "auto"
    probabilities: bool = False


def request_as_preferred(scan: Scan, model: str, roi: Roi = "auto", probabilities: bool = False) -> Request:
    """A request on the device and with the threads of the Preferences."""
    return Request(
        scan, model, str(setting("general", "device")), int(setting("general", "threads")), roi, probabilities
    )


def predict(request: Request, report: Callable[[Any], None]) -> tuple[Prediction, Task]:
    """The answer to a request; `report` gets (done, total) and may raise to stop between two frames."""
    from ...predict.task_guess import scan_for_task

    load_for_labels()
    predictor = ready(request.model, request.device, request.threads)
    report((0, 0))
    prediction = predictor.predict(
        scan_for_task(request.scan, predictor.task.input),
        roi=request.roi,
        probabilities=request.probabilities,
        progress=lambda done, total: report((done, total)),
    )
    return prediction, predictor.task


def ready(model: str, device: str, threads: int) -> Predictor:
    """A model opened once and kept; at most four are kept."""
    from ...jobs.accelerate import open_network
    from ...predict.predictor import Predictor

    key = (model, device, threads)
    if key not in _READY:
        if len(_READY) >= 4:
            _READY.pop(next(iter(_READY)))
        _READY[key] = Predictor(model, device, threads or None, on_gpu=open_network)
    return _READY[key]


def forget_models() -> None:
    """Open models again when next needed (after one was added, removed or kept under the same name)."""
    _READY.clear()


def preferred_model(task: str) -> str | None:
    """The user's default model for a task: from Preferences if changed there, else from the model registry."""
    from ...base.errors import ModelFileError
    from ...models.registry import default_model

    if task in TASKS:
        chosen = str(setting("models", task))
        if chosen != task:
            return chosen
    try:
        return default_model(task)
    except ModelFileError:
        return None


_SEEN: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()
"""By panel: task -> the default model that it offered last."""


def news_of_default(panel: Any, task: str) -> str:
    """A sentence where the default of a task became another since a panel last offered it, in this window, in another
    one or on the command line; '' otherwise."""
    seen, now = _SEEN.setdefault(panel, {}), preferred_model(task)
    before = seen.get(task)
    if now is not None:
        seen[task] = now
    return f"'{now}' is the default for {task} now, no longer '{before}'." if now and before and now != before else ""


def default_told(name: str, task: str) -> tuple[str, bool]:
    """The sentence after a model became the default of the registry, and False where the Preferences name another."""
    first = preferred_model(task)
    if first == name:
        return f"'{name}' is now the default for {task}.", True
    return f"'{name}' is the default for {task} outside napari; the Preferences name '{first}' for napari.", False


def rectangle_of(shapes: Shapes, image: Layer) -> tuple[float, float, float, float]:
    """The square box (y0, x0, y1, x1), in pixel edges of `image`, around the selected or last rectangle.

    A network sees a square: the shorter side is widened, so that nothing is squeezed. Raises ValueError if the layer
    has no rectangle, or if it lies outside the image.
    """
    rectangles = [i for i, kind in enumerate(shapes.shape_type) if kind == "rectangle"]
    chosen = [i for i in sorted(shapes.selected_data) if i in rectangles] or rectangles
    if not chosen:
        raise ValueError(f"layer '{shapes.name}' has no rectangle; draw one around the disc (key R), then try again.")
    corners = np.array([image.world_to_data(shapes.data_to_world(p)) for p in shapes.data[chosen[-1]]])[:, -2:]
    (y0, x0), (y1, x1) = corners.min(0) + 0.5, corners.max(0) + 0.5  # pixel centres -> pixel edges
    height, width = grid_shape(image)[-2:]
    if y1 <= 0 or x1 <= 0 or y0 >= height or x0 >= width:
        raise ValueError(f"the rectangle of '{shapes.name}' lies outside '{image.name}'; draw it on the image.")
    side = max(y1 - y0, x1 - x0)
    if side < 8:
        raise ValueError(f"the rectangle of '{shapes.name}' is {side:.0f} px; expected at least 8 px.")
    y, x = (y0 + y1) / 2, (x0 + x1) / 2
    return (y - side / 2, x - side / 2, y + side / 2, x + side / 2)
