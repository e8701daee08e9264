"""`tinymig doctor`: everything a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import typer

PACKAGES = {
    "base": ("numpy", "scipy", "scikit-image", "onnxruntime", "nibabel", "pydicom", "Pillow", "pydantic", "typer"),
    "train": ("torch", "torchvision", "timm", "monai", "lightning-fabric", "onnx", "onnxscript"),
    "viewer": ("napari", "npe2", "magicgui", "qtpy", "superqt", "PyQt6", "PySide6"),
    "dicom": ("highdicom",),
    "cluster": ("dask", "distributed"),
}


def doctor() -> None:
    """Versions, devices, extras and models of this installation."""
    from .. import __version__
    from ..models.registry import list_models, user_folder
    from ..network.run import resolve_device, usable_threads

    lines = [
        f"napari-tinymig {__version__}",
        f"Python {sys.version.split()[0]} at {sys.executable}",
        f"{platform.platform()}, {usable_threads()} usable cores",
        f"device {resolve_device('auto')}",
        "",
    ]
    for extra, names in PACKAGES.items():
        found = {n: _version(n) for n in names}
        have = ", ".join(f"{n} {v}" for n, v in found.items() if v)
        missing = [n for n, v in found.items() if not v]
        hint = f"; missing {', '.join(missing)}" if missing and extra != "viewer" else ""
        if not have:
            hint = f"not installed: pip install 'napari-tinymig[{extra}]'"
        lines.append(f"{extra + ':':9}{have}{hint}")
    lines += ["", f"your models: {user_folder()}"]
    for entry in list_models():
        state = entry.problem or f"{entry.model_id}, {entry.task}"
        lines.append(f"  {entry.name}: {state}")
    typer.echo("\n".join(lines))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
