"""Keeping, rolling back and comparing models: which came from which, which is the default, and which was before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..base.errors import ModelFileError, OutputRefused
from ..base.plain_json import parse_json
from ..base.safe_files import write_atomic
from .file import read_model_file, write_model_file
from .registry import (
    SUFFIX,
    Entry,
    add_model,
    default_model,
    defaults,
    entry,
    find_model,
    list_models,
    model_paths,
    set_default,
    user_folder,
)

HISTORY = "defaults_history.json"


class NotAccepted(OutputRefused):
    """The acceptance check spoke against a model; keeping it needs `knowingly=True`."""


def acceptance_of(path: str | Path) -> dict[str, Any] | None:
    """What the acceptance check said when the model was fine-tuned; None for a model that never met it."""
    header = read_model_file(path).header
    acceptance = header.scores.get("finetune")
    return acceptance if isinstance(acceptance, dict) else None


def free_name(wanted: str) -> str:
    """`wanted`, or with the smallest number that makes it free."""
    known, name, number = model_paths(), wanted, 2
    while name in known:
        name, number = f"{wanted}-{number}", number + 1
    return name


def keep(path: str | Path, name: str | None = None, knowingly: bool = False) -> Entry:
    """Make a fine-tuned model one of the user's and the default of its task; the former default is remembered.

    path: of a run's best.safetensors. name: default its own, numbered if taken. knowingly: the user has read why the
    acceptance check refused and wants it all the same. Raises NotAccepted with the acceptance check's sentences,
    ModelFileError for a damaged file, OutputRefused for a taken name.
    """
    model = read_model_file(path)
    if model.header.task is None:
        raise ValueError(f"'{model.header.name}' is a {model.header.kind}; expected a segmenter with a task")
    acceptance = acceptance_of(path)
    if acceptance is not None and not acceptance.get("keep") and not knowingly:
        raise NotAccepted(
            " ".join(str(r) for r in acceptance.get("reasons", ())) + " It can be kept knowingly (--knowingly)."
        )
    chosen = name or free_name(model.header.name)
    if chosen in model_paths():
        raise OutputRefused(f"a model named '{chosen}' exists already; give another name, or remove it first")
    kept = add_model(path, chosen)
    if model.header.name != chosen:
        renamed = model.header.model_copy(update={"name": chosen})
        write_model_file(kept.path, renamed, model.weights(), model.onnx)
    use(chosen)
    return entry(chosen, kept.path)


def use(name: str) -> None:
    """Make a model the default of its task, remembering the former one. Raises ModelFileError for an unknown name."""
    found = entry(name, find_model(name))
    if found.header is None:
        raise ModelFileError(found.problem)
    former = _present(found.task)
    if former != name:
        past = history()
        past.setdefault(found.task, []).append(former)
        _save_history(past)
    set_default(found.task, name)


def rollback(task: str) -> str:
    """Return to the default before the present one; the name of what is the default now.

    Without a remembered one: the present model's parent, else the bundled model. Models are not deleted.
    Raises ValueError if there is nothing to go back to.
    """
    past = history()
    known = model_paths()
    stack = past.get(task, [])
    while stack:
        name = stack.pop()
        if not name or name in known:
            _save_history(past)
            set_default(task, name or None)
            return name or default_model(task)
    present = defaults().get(task)
    if not present:
        raise ValueError(f"the default of '{task}' is the bundled model already; there is nothing to roll back")
    parent = parent_of(entry(present, find_model(present)))
    set_default(task, parent.name if parent and not parent.bundled else None)
    return default_model(task)


def rename(name: str, new: str) -> Entry:
    """Give one of the user's models another name; defaults follow. The hash in its id stays."""
    path = _own(name)
    if new in model_paths():
        raise OutputRefused(f"a model named '{new}' exists already; choose another name")
    if not new or new != Path(new).name or new.startswith("."):
        raise ValueError(f"'{new}' cannot be a model's name; expected a plain word such as optic-mine")
    model = read_model_file(path)
    target = path.with_name(f"{new}{SUFFIX}")
    write_model_file(target, model.header.model_copy(update={"name": new}), model.weights(), model.onnx)
    task = model.header.task.name if model.header.task else ""
    was_default = defaults().get(task) == name
    past = history()
    _save_history({t: [new if n == name else n for n in names] for t, names in past.items()})
    path.unlink()
    if was_default:
        set_default(task, new)
    return entry(new, target)


def export_file(name: str, to: str | Path) -> Path:
    """Copy a model to a file for someone else, every hash checked; nothing is executed on either side."""
    source, to = find_model(name), Path(to)
    read_model_file(source)
    to = to / f"{Path(source).name}" if to.is_dir() else to
    if to.exists():
        raise OutputRefused(f"{to} exists already; choose another file")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, to)
    except OSError as e:
        raise OutputRefused(f"cannot write {to} ({e.strerror or e}); choose a folder that can be written") from e
    read_model_file(to)
    return to


def parent_of(child: Entry, among: list[Entry] | None = None) -> Entry | None:
    """The entry whose id, or at least whose hash, the child's lineage names; None if it is not here.

    among: the known models, where they have been read already.
    """
    wanted = child.header.lineage.parent if child.header else None
    if not wanted:
        return None
    models = [m for m in (list_models() if among is None else among) if m.model_id]
    exact = [m for m in models if m.model_id == wanted]
    same_hash = [m for m in models if m.model_id and m.model_id.split("@")[-1] == wanted.split("@")[-1]]
    return next(iter(exact or same_hash), None)


def tree() -> list[tuple[int, Entry]]:
    """Every model with its depth in the lineage, parents before children, bundled first."""
    models = list_models()
    parents = {m.name: parent_of(m, models) for m in models}
    out: list[tuple[int, Entry]] = []

    def add(node: Entry, depth: int) -> None:
        out.append((depth, node))
        for child in models:
            parent = parents[child.name]
            if parent is not None and parent.name == node.name and child.name != node.name:
                add(child, depth + 1)

    for root in models:
        if parents[root.name] is None:
            add(root, 0)
    return out


def history() -> dict[str, list[str]]:
    """Task -> former defaults, oldest first; '' stands for the bundled model."""
    try:
        raw = parse_json((user_folder() / HISTORY).read_text(encoding="utf-8"))
        return {str(t): [str(n) for n in names] for t, names in raw.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _save_history(past: dict[str, list[str]]) -> None:
    write_atomic(user_folder() / HISTORY, json.dumps({t: n[-50:] for t, n in past.items()}, indent=1).encode())


def _present(task: str) -> str:
    return defaults().get(task, "")


def _own(name: str) -> Path:
    path = user_folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        raise ModelFileError(f"'{name}' is not one of your models; bundled models keep their names")
    return path
