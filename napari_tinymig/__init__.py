"""Segment fundus photographs, prostate MRI and polyps with tiny students, mend the mask, adapt in minutes.

    import napari_tinymig as tm
    prediction = tm.segment(image, task="optic")
    prediction.labels, prediction.measures["vcdr"]

Importing the package costs nothing; numpy, ONNX Runtime and the rest are imported when something is asked for.
Research use only; not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import finetune, load_model, prompt, segment

    __version__: str

__all__ = ["__version__", "finetune", "load_model", "prompt", "segment"]


def __getattr__(name: str) -> Any:
    if name in ("segment", "load_model", "finetune", "prompt"):
        from . import api

        return getattr(api, name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'napari_tinymig' has no attribute '{name}'; it offers {', '.join(__all__)}")


def _version() -> str:
    """The installed version; looked up when asked for, because the look-up costs 50 ms."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-tinymig")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
