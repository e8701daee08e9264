"""The keys of cases: bound while a panel that uses cases is open, the same with the mouse in the image or a panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..docks.keys import CASE_KEYS
from ..docks.tabs import front_panel, open_panel
from ..napari_io.planes import PLANES, is_volume, show_in_3d, show_plane, stand_as_scanned
from .worklist import Worklist

_HELD: dict[int, int] = {}


def actions(worklist: Worklist) -> dict[str, Callable[[], Any]]:
    """Name of a key -> what it does."""
    viewer, book, look = worklist.viewer, worklist.book, worklist.look

    def panel(title: str) -> Any:
        return open_panel(viewer, title)

    def correct() -> None:
        panel("Correct a mask")
        mask = book.current.mask if book.current is not None else None
        if mask is None:
            worklist.said.emit("There is no mask to mend yet; segment the case first.", "warn")
            return
        viewer.layers.selection.active = mask
        mask.mode = "paint"

    def segment_all() -> None:
        in_front = front_panel(viewer)
        panel("Segment").segment_all_cases()
        if in_front == "Cases":  # it shows how far they are
            panel(in_front)

    return {
        "next": lambda: book.step(1),
        "previous": lambda: book.step(-1),
        "segment": lambda: panel("Segment").segment(),
        "segment_all": segment_all,
        "correct": correct,
        "readout": lambda: panel("Live read-out"),
        "save": worklist.save,
        "save_all": worklist.save_all,
        "see_through": look.see_through,
        "outline": look.toggle_outline,
        "axial": lambda: _look_along(worklist, "axial"),
        "coronal": lambda: _look_along(worklist, "coronal"),
        "sagittal": lambda: _look_along(worklist, "sagittal"),
        "volume": lambda: _look_along(worklist, "volume"),
        "cases": lambda: panel("Cases").toggle_keys(),
    }


def _look_along(worklist: Worklist, plane: str) -> None:
    """The volume of the case on show, alone, in one of the planes, or in 3-D and back."""
    viewer, case = worklist.viewer, worklist.book.current
    if case is None or not is_volume(case.image):
        worklist.said.emit("Planes and 3-D are of volumes; open or choose one.", "warn")
        return
    worklist.book.alone()
    if plane in PLANES:
        show_plane(viewer, case.image, PLANES[plane])
    elif viewer.dims.ndisplay == 3:
        stand_as_scanned(viewer, case.image)
        viewer.reset_view(layers=[case.image])
    else:
        show_in_3d(viewer, case.image)


def bind_keys(worklist: Worklist) -> None:
    """Bind every key; each panel that uses cases calls it once, and `release_keys` when it goes."""
    at = id(worklist)
    _HELD[at] = _HELD.get(at, 0) + 1
    if _HELD[at] == 1:
        for name, act in actions(worklist).items():
            key = CASE_KEYS[name].key
            worklist.viewer.bind_key(key, lambda _viewer, run=act: _run(run), overwrite=True)


def _run(act: Callable[[], Any]) -> None:
    act()


def release_keys(worklist: Worklist) -> None:
    """One panel less; the last one leaves napari's keys as they were."""
    at = id(worklist)
    _HELD[at] = _HELD.get(at, 1) - 1
    if _HELD[at] <= 0:
        del _HELD[at]
        for key in CASE_KEYS.values():
            worklist.viewer.bind_key(key.key, None)
