"""Models by name: those bundled in the package, those the user added, and the default of each task."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import ModelFileError, OutputRefused, UnknownName, did_you_mean
from ..base.plain_json import parse_json
from ..base.safe_files import sweep, write_atomic
from ..recipes.student import ModelHeader
from .file import ModelFile, read_header, read_model_file

BUNDLED = Path(__file__).parent
SUFFIX = ".safetensors"
DEFAULTS = "defaults.json"


@dataclass(frozen=True)
class Entry:
    """One known model. header and model_id are None, and `problem` a sentence, where the file cannot be read."""

    name: str
    path: Path
    bundled: bool
    header: ModelHeader | None
    model_id: str | None
    problem: str = ""

    @property
    def task(self) -> str:
        """Name of the task, or what the model is if it has none."""
        if self.header is None:
            return "?"
        return self.header.task.name if self.header.task else self.header.kind


def user_folder() -> Path:
    """Folder of the user's models: TINYMIG_HOME/models if that variable is set, else the platform's data folder."""
    home = os.environ.get("TINYMIG_HOME")
    if home:
        return Path(home).expanduser() / "models"
    from platformdirs import user_data_dir

    return Path(user_data_dir("napari-tinymig", appauthor=False)) / "models"


def model_paths() -> dict[str, Path]:
    """Path by name; a user's model hides a bundled one of the same name."""
    paths = {p.stem: p for p in sorted(BUNDLED.glob(f"*{SUFFIX}"))}
    folder = user_folder()
    if folder.is_dir():
        paths |= {p.stem: p for p in sorted(folder.glob(f"*{SUFFIX}")) if not p.name.startswith(".")}
    return paths


def entry(name: str, path: Path) -> Entry:
    """What is known of one model file without checking its tensors."""
    bundled = path.parent == BUNDLED
    try:
        header, model_id = read_header(path)
    except ModelFileError as e:
        return Entry(name, path, bundled, None, None, str(e))
    return Entry(name, path, bundled, header, model_id)


def list_models() -> list[Entry]:
    """Every bundled and user model, damaged ones with their problem."""
    return [entry(name, path) for name, path in model_paths().items()]


def find_model(name_or_path: str | Path) -> Path:
    """Path of a model given by name, by name@id or by file.

    Raises UnknownName with the nearest known name, ModelFileError where the model of that name has another id.
    """
    text = str(name_or_path)
    path = Path(text).expanduser()
    if path.suffix == SUFFIX or path.is_file():
        if not path.is_file():
            raise ModelFileError(f"no model file at {path}; expected a name ({', '.join(model_paths())}) or a file.")
        return path
    known = model_paths()
    name, _, wanted = text.partition("@")
    if name in known:
        found = entry(name, known[name]).model_id if wanted else None
        if found and found.split("@")[-1] != wanted:
            raise ModelFileError(
                f"the model '{name}' here is {found}; expected {text}; ask for '{name}' to take it as it is, or for "
                f"the file of the other one."
            )
        return known[name]
    hint = did_you_mean(name, known, f"known models: {', '.join(known) or 'none'}")
    raise UnknownName(f"no model named '{text}'; expected a known name or a .safetensors file; {hint}")


def open_model(name_or_path: str | Path) -> ModelFile:
    """A model by name or file, with every hash checked. Raises ModelFileError."""
    return read_model_file(find_model(name_or_path))


def defaults() -> dict[str, str]:
    """Task -> model name, as the user has set it; tasks without a choice use the bundled model of their own name."""
    try:
        raw = parse_json((user_folder() / DEFAULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in raw.items()} if isinstance(raw, dict) else {}


def set_default(task: str, name: str | None) -> None:
    """Make `name` the default model of a task; None returns to the bundled one. Raises ModelFileError."""
    chosen = defaults()
    if name is None:
        chosen.pop(task, None)
    else:
        find_model(name)
        chosen[task] = name
    write_atomic(user_folder() / DEFAULTS, json.dumps(chosen, indent=1).encode())


def default_model(task: str) -> str:
    """Name of the model used for a task when none is given. Raises ModelFileError if there is none."""
    known = model_paths()
    chosen = defaults().get(task)
    if chosen in known:
        return str(chosen)
    if task in known:
        return task
    for name, path in known.items():
        header = entry(name, path).header
        if header is not None and header.kind == "segmenter" and header.task and header.task.name == task:
            return name
    raise UnknownName(
        f"no model for task '{task}'; known models: {', '.join(known) or 'none'}; "
        "add one with: tinymig models add FILE, or name one with --model."
    )


def add_model(path: str | Path, name: str | None = None) -> Entry:
    """Copy a verified model file into the user's folder; a taken name is refused (OutputRefused)."""
    model = open_model(path)
    name = name or model.header.name
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"'{name}' cannot be a model's name; expected a plain word such as optic-mine.")
    target = user_folder() / f"{name}{SUFFIX}"
    if name in model_paths():
        raise OutputRefused(f"a model named '{name}' exists already; give another with --name, or remove it first.")
    sweep(target.parent)  # what a killed import left half written
    write_atomic(target, model.path.read_bytes())
    return entry(name, target)


def remove_model(name: str) -> Path:
    """Delete a user's model. Raises ModelFileError for an unknown name, ValueError for a bundled model."""
    path = user_folder() / f"{name}{SUFFIX}"
    if not path.is_file():
        if find_model(name).parent == BUNDLED:
            raise ValueError(f"'{name}' is part of the package and cannot be removed; only your own models can.")
        raise ModelFileError(f"'{name}' is not one of your models in {user_folder()}; see: tinymig models list.")
    path.unlink()
    for task, chosen in defaults().items():
        if chosen == name:
            set_default(task, None)
    return path
