"""The ledger of a results folder: what `tinymig segment` did there, one JSON object per finished input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LEDGER = "details.jsonl"


def read_ledger(folder: Path) -> dict[str, dict[str, Any]]:
    """Finished inputs by the name of their mask; a torn last line is ignored."""
    try:
        lines = (folder / LEDGER).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    out: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            out[entry["mask"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return out
