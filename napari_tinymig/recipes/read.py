"""Recipe files: a shipped name or a .toml, dotted overrides, and sentences that name the nearest right key.

Every kind of recipe (training, probe) is read here; what a kind knows of itself are its model and its shipped files.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..base.errors import did_you_mean

T = TypeVar("T", bound=BaseModel)
RECIPES = Path(__file__).parent


def recipe_path(name_or_path: str | Path, shipped: dict[str, Path], kind: str) -> Path:
    """The file of a shipped recipe, or the .toml file that was given, there or not.

    kind: 'recipe' or 'probe recipe', for the sentence. Raises ValueError naming the nearest shipped name.
    """
    name = str(name_or_path)
    if Path(name_or_path).suffix == ".toml":
        return Path(name_or_path)
    if name not in shipped:
        hint = did_you_mean(name, shipped, f"shipped {kind}s: {', '.join(shipped)}")
        raise ValueError(f"no {kind} named '{name}'; expected a shipped name or a .toml file; {hint}")
    return shipped[name]


def read_recipe(path: Path, shipped: dict[str, Path], overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """The plain values of a .toml file, overrides put over them; the name, if not given, is the file's.

    overrides: dotted keys, e.g. {"optim.epochs": 3}. Raises ValueError for a file that is missing or no TOML.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ValueError(f"no recipe file at {path}; expected a .toml file or one of: {', '.join(shipped)}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is not valid TOML: {e}") from e
    raw.setdefault("name", path.stem)
    for dotted, value in (overrides or {}).items():
        put(raw, dotted, value)
    return raw


def put(raw: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `raw["a"]["b"]` for 'a.b', in place; ValueError where 'a' is a value and holds no keys."""
    *parents, last = dotted.split(".")
    node: Any = raw
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ValueError(f"cannot set '{dotted}': '{parent}' is the value {node!r}, not a table of keys.")
    node[last] = value


def validate(model: type[T], raw: dict[str, Any], source: str) -> T:
    """`raw` as a `model`; ValueError names every wrong key of `source` and the nearest right one."""
    try:
        return model.model_validate(raw)
    except ValidationError as e:
        lines = "; ".join(_key_sentence(dict(err), model) for err in e.errors())
        raise ValueError(f"{source}: {lines}") from e


def _key_sentence(error: dict[str, Any], model: type[BaseModel]) -> str:
    """A sentence for one pydantic error; unknown keys name the nearest known one."""
    where = ".".join(str(p) for p in error["loc"])
    if error["type"] == "value_error":  # our own validators, which say found and expected themselves
        said = error["msg"].removeprefix("Value error, ")
        return f"{where}: {said}" if where else said
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']} (found {error.get('input')!r})"
    known = _keys_of(model, error["loc"][:-1])
    hint = did_you_mean(str(error["loc"][-1]), known, f"known keys: {', '.join(known)}")
    return f"{where}: unknown key; {hint}"


def _keys_of(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Keys of the table at `location` inside a model; [] where that is no table."""
    owner: Any = model
    for part in location:
        field = owner.model_fields.get(part)
        candidates = (field.annotation, *getattr(field.annotation, "__args__", ())) if field else ()
        owner = next((c for c in candidates if hasattr(c, "model_fields")), None)
        if owner is None:
            return []
    return list(owner.model_fields)
