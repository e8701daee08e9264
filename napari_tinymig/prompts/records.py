"""Prompts as records: enough to replay a session to the same bits, in a file that people can read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..base.errors import UnreadableInput
from ..base.plain_json import parse_json
from ..base.safe_files import write_atomic

Kind = Literal["click", "scribble", "box", "next", "edit"]
FORMAT = 1


@dataclass(frozen=True)
class Prompt:
    """One thing that a user told a session.

    kind: click (one position), scribble (its pixels in drawing order), box (two opposite corners), next (the objects
    so far are finished), edit (a mask mended by hand, in `data`). positions: in array order of the image, (y, x) or
    (z, y, x), whole pixels. label: of the structure; 0 takes away. reach: first and last slice that a volume's mask was
    followed to, None = not followed. data: of an edit, the changed pixels, packed.
    """

    kind: Kind
    positions: tuple[tuple[int, ...], ...] = ()
    label: int = 1
    reach: tuple[int, int] | None = None
    data: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without what is not set."""
        out = {k: v for k, v in asdict(self).items() if v not in (None, "", ())}
        return out | {"label": self.label}

    @classmethod
    def from_dict(cls, raw: Any, number: int = 0) -> Prompt:
        """The prompt of plain values. Raises ValueError with one sentence that names the prompt's number."""
        where = f"prompt {number}"
        if not isinstance(raw, dict) or raw.get("kind") not in get_args(Kind):
            raise ValueError(
                f"{where} is {str(raw)[:80]}; expected an object whose kind is one of {', '.join(get_args(Kind))}; see "
                "docs/PROMPTS.md."
            )
        if unknown := sorted(set(raw) - {"kind", "positions", "label", "reach", "data"}):
            raise ValueError(
                f"{where} has the key '{unknown[0]}'; expected kind, positions, label, reach; take it out."
            )
        try:
            positions = tuple(tuple(round(float(v)) for v in p) for p in raw.get("positions", ()))
            reach = raw.get("reach")
            return cls(
                raw["kind"],
                positions,
                int(raw.get("label", 1)),
                None if reach is None else (int(reach[0]), int(reach[1])),
                str(raw.get("data", "")),
            )
        except (TypeError, ValueError, IndexError, OverflowError) as e:
            raise ValueError(
                f"{where} has positions {str(raw.get('positions'))[:80]} and label {raw.get('label')!r}; expected "
                "positions as [[y, x], ...] or [[z, y, x], ...] and a whole number as label; correct them."
            ) from e


@dataclass(frozen=True)
class PromptAnswer:
    """What one prompt did: pixels that changed, a sentence where that needs one, seconds, slices that changed."""

    changed: int
    note: str = ""
    seconds: float = 0.0
    slices: tuple[int, ...] = ()


def read_prompts(path: str | Path) -> tuple[list[Prompt], dict[str, Any]]:
    """The prompts of a JSON file, and its settings (task, start, engine) where it names them.

    The file is a list of prompts or an object with the key 'prompts'. Raises UnreadableInput with one sentence.
    """
    path = Path(path)
    try:
        raw = parse_json(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UnreadableInput(f"{path} cannot be read ({e.strerror}); expected a JSON file of prompts.") from e
    except ValueError as e:
        raise UnreadableInput(f"{path} is not JSON ({e}); expected a list of prompts; see docs/PROMPTS.md.") from e
    settings = raw if isinstance(raw, dict) else {}
    listed = settings.get("prompts") if isinstance(raw, dict) else raw
    if not isinstance(listed, list):
        raise UnreadableInput(f"{path} holds no list of prompts; expected [...] or {{'prompts': [...]}}.")
    if settings.get("format", FORMAT) != FORMAT:
        raise UnreadableInput(f"{path} has format {settings['format']}; expected {FORMAT}; update napari-tinymig.")
    try:
        return [Prompt.from_dict(p, n) for n, p in enumerate(listed, 1)], {
            k: settings[k] for k in ("task", "start", "engine") if k in settings
        }
    except ValueError as e:
        raise UnreadableInput(f"{path}: {e}") from e


def write_prompts(path: str | Path, prompts: Iterable[Prompt], **settings: Any) -> None:
    """Prompts and settings as a JSON file that `read_prompts` reads."""
    content = {"format": FORMAT, **settings, "prompts": [p.to_dict() for p in prompts]}
    write_atomic(Path(path), (json.dumps(content, indent=1) + "\n").encode())
