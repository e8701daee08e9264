"""Segment fundus photographs, prostate MRI and polyps with tiny students, mend the mask, adapt in minutes.

    import napari_tinymig as tm
    prediction = tm.segment(image, task="optic")
    prediction.labels, prediction.measures["vcdr"]

Importing the package costs nothing; numpy, ONNX Runtime and the rest are imported when something is asked for.
Research use only; not a medical device.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import finetune, load_model, segment

try:
    __version__ = version("napari-tinymig")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "finetune", "load_model", "segment"]


def __getattr__(name: str) -> Any:
    if name in ("segment", "load_model", "finetune"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module 'napari_tinymig' has no attribute '{name}'; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
