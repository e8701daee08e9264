"""One image asked of a classifier in the worker: the worker answers, and the viewer's process never sees torch.

The functions wait for the worker (some seconds: it imports torch and opens the backbone); call them in a background
thread.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import WorkerFailed
from ..base.records import Scan
from .worker import start

POLL_S = 0.2


@dataclass(frozen=True)
class ClassifierAnswer:
    """What a classifier says of one scan.

    classes: names; probabilities, plain: (C,), with and without the prompt. discrepancy: KL(P- || P+), nats.
    shift_score: percentile 0-100 of the source validation images, None if unknown. prompt: (H, W, 3) uint8 in the
    scan's frame, grey = no change, None without a prompt. prompted: (H, W, 3) uint8, what the backbone sees.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    plain: NDArray[np.float32]
    discrepancy: float
    shift_score: float | None
    prompt: NDArray[np.uint8] | None
    prompted: NDArray[np.uint8]
    model_id: str


def classify_scan(
    path: str | Path, weights: str | None, scan: Scan, report: Callable[[], Any] | None = None
) -> ClassifierAnswer:
    """Classify one scan. `report` is called while waiting and may raise, which ends the worker.

    Raises WorkerFailed with a sentence for a classifier, backbone or image that cannot be used.
    """
    found = _ask({"classifier": str(path), "weights": weights}, scan, report)
    discrepancy, score = (float(v) for v in found["numbers"])
    return ClassifierAnswer(
        tuple(str(c) for c in found["classes"]),
        found["probabilities"],
        found["plain"],
        discrepancy,
        None if math.isnan(score) else score,
        found.get("prompt"),
        found["prompted"],
        str(found["model_id"]),
    )


def evidence(
    path: str | Path,
    weights: str | None,
    scan: Scan,
    index: int,
    label: int,
    how: str,
    report: Callable[[], Any] | None = None,
) -> NDArray[np.float32]:
    """Where in one slice of a scan the evidence for a class lies: float32 (H, W), largest magnitude 1.

    index: slice of a volume, 0 for a picture. how: 'occlusion' or 'gradient'. Raises WorkerFailed.
    """
    asked = {"classifier": str(path), "weights": weights, "index": index, "label": label, "how": how}
    return _ask(asked, scan, report)["evidence"]


def _ask(settings: dict[str, Any], scan: Scan, report: Callable[[], Any] | None) -> dict[str, NDArray[Any]]:
    """Arrays that the worker wrote for a question about one scan."""
    with tempfile.TemporaryDirectory(prefix="tinymig-look-") as folder:
        image, out = Path(folder) / "image.npy", Path(folder) / "look.npz"
        np.save(image, np.ascontiguousarray(scan.pixels), allow_pickle=False)
        if settings["weights"]:
            settings = settings | {"weights": str(Path(settings["weights"]).expanduser().resolve())}
        settings = settings | {"classifier": str(Path(settings["classifier"]).expanduser().resolve())}
        run = start("classify", settings | {"image": str(image), "out": str(out)}, folder)
        try:
            while run.running:
                if report is not None:
                    report()
                _wait(run)
        except BaseException:
            run.discard()
            raise
        outcome = run.result()
        if not out.is_file():
            raise WorkerFailed(f"The classifier gave no answer. {outcome.text}")
        with np.load(out, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}


def _wait(run: Any) -> None:
    try:
        run.wait(POLL_S)
    except TimeoutError:
        return
