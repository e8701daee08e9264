"""One training run of a benchmark: what it is, where it lies, what its scores depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_tinymig.recipes.student import Recipe


@dataclass(frozen=True)
class Cell:
    """One training run of a benchmark: a recipe (with its seed), a source folder, the target folders."""

    recipe: dict[str, Any]
    source: str
    targets: tuple[str, ...]
    out: str
    roi: str = "truth"
    device: str = "auto"
    threads: int | None = None

    @property
    def name(self) -> str:
        """Folder of the run: recipe, source, seed."""
        return f"{self.recipe['name']}__{Path(self.source).name}__s{self.recipe['seed']}"

    @property
    def folder(self) -> Path:
        """Where the run and its scores lie."""
        return Path(self.out) / "runs" / self.name

    def fingerprint(self) -> str:
        """16 hex digits over everything that the scores depend on, except the bytes of the images.

        Settings at their default are left out, so that a setting added later does not void finished runs.
        """
        changed = Recipe.model_validate(self.recipe).model_dump(mode="json", exclude_defaults=True)
        told = json.dumps([changed, Path(self.source).name, sorted(self.targets), self.roi], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]
