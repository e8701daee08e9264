"""A folder of weight files named after timm models, said by an environment variable; found without loading timm."""

from __future__ import annotations

import os
from pathlib import Path

WEIGHTS_FOLDER = "TINYMIG_WEIGHTS"  # environment variable: a folder of weight files named after timm models


def local_weights(name: str) -> Path | None:
    """A file named after the model in the folder TINYMIG_WEIGHTS, if there is one."""
    folder = os.environ.get(WEIGHTS_FOLDER)
    if not folder:
        return None
    found = sorted(p for p in Path(folder).glob(f"{name}.*") if p.suffix in (".safetensors", ".pth", ".pt", ".bin"))
    return found[0] if found else None
