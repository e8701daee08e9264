"""Torch's relatives imported into a process that shows a window."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

WINDOWS = ("PyQt6.QtGui", "PyQt5.QtGui", "PySide6.QtGui", "PySide2.QtGui")


@contextmanager
def torch_beside_window() -> Iterator[None]:
    """A block in which torch, torchvision and timm may be imported beside a window.

    torchvision and timm load triton where it is installed, and triton brings an LLVM of its own. Where Mesa draws the
    window in software (a remote desktop, a machine without a graphics driver), its LLVM is loaded already, and the
    second one ends the process with a segmentation fault. Nothing here is compiled by triton, so that in a process with
    a window torch takes it for absent. Without a window, and where triton is loaded already, nothing is done.
    """
    if "triton" in sys.modules or not any(name in sys.modules for name in WINDOWS):
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment]  # an import of it raises ModuleNotFoundError
    try:
        yield
    finally:
        sys.modules.pop("triton", None)
