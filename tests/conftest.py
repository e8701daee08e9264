"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: TINYMIG_DATA, or ../shared/data beside the repository; skips where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("TINYMIG_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set TINYMIG_DATA to the data folder")
    return folder
