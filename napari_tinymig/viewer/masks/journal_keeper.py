"""Keeps painted strokes safe: every edited mask of a viewer has a journal on disk, written every second or two."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from ...annotations.journal import Journal, Recovery
from ...base.errors import TinyMIGError
from ...tasks.task import Task
from ..napari_io.layers import KEY
from .mask_state import events_of_change, note_saved
from .sparse_canvas import canvas_looks

INTERVAL_MS = 1000
BURST = 40
"""Label events after which a write is asked for at once, without waiting for the timer."""

log = logging.getLogger(__name__)


@dataclass
class _Kept:
    """What is kept of one layer. before: the labels as they were before the first unsaved stroke. array: the layer's
    own, in which napari paints."""

    layer: Labels
    before: np.ndarray
    array: np.ndarray
    journal: Journal | None = None
    events: int = 0
    writing: Future[None] | None = None


class JournalKeeper(QObject):
    """Watches the uint8 Labels layers of one viewer; one per viewer, from `hold_keeper`.

    A stroke, or its undo, is on the disk one to two seconds after it was painted: a timer looks at layers with new
    events, and a thread copies their labels and writes the difference. `saved(layer)` ends a journal once the labels
    lie elsewhere.
    """

    failed = Signal(str)
    stored = Signal(object)
    """A layer whose labels were just saved elsewhere."""

    def __init__(self, viewer: Any):
        super().__init__()
        self.viewer = viewer
        self._kept: dict[int, _Kept] = {}
        self._stopped = False
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.write)
        self._timer.start()
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        for layer in viewer.layers:
            self._follow(layer)

    def _inserted(self, event: Any) -> None:
        self._follow(event.value)

    def _removed(self, event: Any) -> None:
        """A removed layer's strokes stay on the disk and are offered again."""
        kept = self._kept.pop(id(event.value), None)
        if kept is not None:
            self._leave(kept)
            self._write(kept, force=True)
            self._threads.submit(_close, kept, False)

    def _follow(self, layer: Any) -> None:
        if not isinstance(layer, Labels) or id(layer) in self._kept:
            return
        if not isinstance(layer.data, np.ndarray) or layer.data.dtype != np.uint8:
            return
        self._kept[id(layer)] = _Kept(layer, layer.data.copy(), layer.data)
        for emitter in events_of_change(layer):
            emitter.connect(self._touched)

    def _leave(self, kept: _Kept) -> None:
        for emitter in events_of_change(kept.layer):
            emitter.disconnect(self._touched)

    def _touched(self, event: Any) -> None:
        kept = self._kept.get(id(event.source))
        if kept is None:
            return
        if kept.layer.data is not kept.array:  # a panel or a script put other labels in: no stroke
            kept.array = kept.layer.data
            self._threads.submit(_begin_with, kept, kept.array)
            return
        kept.events += 1
        if kept.events >= BURST:
            self._write(kept, force=False)

    def write(self, force: bool = False) -> None:
        """Hand the labels of every touched layer to the writing thread."""
        for kept in list(self._kept.values()):
            if kept.events or force:
                self._write(kept, force)

    def _write(self, kept: _Kept, force: bool) -> None:
        if kept.writing is not None and not kept.writing.done() and not force:
            return  # the disk is slow: the next tick takes all strokes together
        kept.events = 0
        kept.writing = self._threads.submit(self._record, kept, kept.layer.data, about(kept.layer))

    def _record(self, kept: _Kept, data: np.ndarray, words: dict[str, Any]) -> None:
        """In the thread: copy the labels, start the journal at the first difference, then append. A stroke that goes on
        while they are copied asks for the next write."""
        labels = data.copy()
        try:
            if labels.shape != kept.before.shape or labels.dtype != np.uint8:
                return
            if kept.journal is None:
                if np.array_equal(labels, kept.before):
                    return
                kept.journal = Journal(kept.before, words, every_s=0.0)
            kept.journal.record(labels, force=True)
        except (TinyMIGError, ValueError, OSError) as e:
            log.warning("strokes of %s are not kept safe: %s", words.get("layer"), e)
            self.failed.emit(str(e))

    def saved(self, layer: Labels, labels: np.ndarray | None = None) -> None:
        """These labels of a layer (as it is now, if None) lie safely elsewhere: its journal ends, the next stroke
        begins a new one. What was painted after they were taken stays in the journal."""
        layer = real(layer)
        labels = layer.data.copy() if labels is None else labels
        note_saved(layer, labels)
        self.stored.emit(layer)
        kept = self._kept.get(id(layer))
        if kept is None or not np.array_equal(labels, layer.data):
            return
        kept.events = 0

        def restart() -> None:
            _close(kept, True)
            kept.before = labels

        self._threads.submit(restart)

    def settle(self) -> None:
        """Write everything and wait until it is on the disk (tests, the end of a session)."""
        self.write(force=True)
        self._threads.submit(lambda: None).result(timeout=30)

    def stop(self) -> None:
        """Write what is left and let go of the viewer; journals stay for the next start."""
        self._timer.stop()
        if self._stopped:
            return
        self._stopped = True
        self.viewer.layers.events.inserted.disconnect(self._inserted)
        self.viewer.layers.events.removed.disconnect(self._removed)
        for kept in self._kept.values():
            self._leave(kept)
            self._write(kept, force=True)
            self._threads.submit(_close, kept, False)
        self._kept.clear()
        self._threads.shutdown(wait=True)


def _begin_with(kept: _Kept, data: np.ndarray) -> None:
    if kept.journal is None:
        kept.before = data.copy()


def _close(kept: _Kept, discard: bool) -> None:
    if kept.journal is not None:
        kept.journal.close(discard)
        kept.journal = None


def about(layer: Labels) -> dict[str, Any]:
    """What a recovery needs to know of a layer: plain values."""
    own = layer.metadata.get(KEY, {}) if layer.metadata else {}
    return {
        "layer": layer.name,
        "source": own.get("source", ""),
        "path": own.get("path", ""),
        "model_id": own.get("model_id", ""),
        "labelled": own.get("labelled", ""),
        "task": own.get("task") if isinstance(own.get("task"), dict) else None,
        "affine": np.asarray(layer.affine.affine_matrix).tolist(),
        "scale": np.asarray(layer.scale).tolist(),
        "translate": np.asarray(layer.translate).tolist(),
        "rotate": np.asarray(layer.rotate).tolist(),
        "shear": np.asarray(layer.shear).tolist(),
        "units": [str(u) for u in layer.units],
    }


def restored_layer(recovery: Recovery) -> Labels:
    """A Labels layer of recovered strokes, lying where the lost one lay."""
    words = recovery.about
    task = Task.model_validate(words["task"]) if words.get("task") else None
    looks = {} if task is None else canvas_looks(task, words.get("labelled") or "all")
    own = {k: words.get(k, "") for k in ("source", "path", "model_id")} | {"recovered": True}
    if words.get("labelled"):
        own["labelled"] = words["labelled"]
    if task is not None:
        own["task"] = task.model_dump()
    return Labels(
        recovery.labels,
        name=f"{words.get('layer', 'mask')} (recovered)",
        metadata={KEY: own},
        **{k: words[k] for k in ("affine", "scale", "translate", "rotate", "shear", "units") if k in words},
        **looks,
    )


@dataclass
class _Held:
    keeper: JournalKeeper
    holders: int = 0


_HELD: dict[int, _Held] = {}


def hold_keeper(viewer: Any) -> JournalKeeper:
    """The keeper of a viewer, started by its first holder; every holder calls `let_keeper_go` once."""
    itself = real(viewer)
    if id(itself) not in _HELD:
        _HELD[id(itself)] = _Held(JournalKeeper(itself))
    held = _HELD[id(itself)]
    held.holders += 1
    return held.keeper


def let_keeper_go(viewer: Any) -> None:
    """One holder less; the last one ends the keeper, after everything is written."""
    key = id(real(viewer))
    held = _HELD.get(key)
    if held is None:
        return
    held.holders -= 1
    if held.holders <= 0:
        del _HELD[key]
        held.keeper.stop()


def mark_saved(viewer: Any, layer: Labels, labels: np.ndarray | None = None) -> None:
    """These labels of a layer (as it is now, if None) were saved: nothing of them is to be recovered."""
    held = _HELD.get(id(real(viewer)))
    if held is not None:
        held.keeper.saved(layer, labels)
    else:
        taken = layer.data if labels is None else labels
        note_saved(real(layer), taken)


def real(thing: Any) -> Any:
    """The object behind the proxy that napari hands to plugins: events come from the object itself."""
    return getattr(thing, "__wrapped__", thing)
