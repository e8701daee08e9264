"""Folders of fine-tuning runs: where those of a set lie, which are used or finished, and what nobody has looked at."""

from __future__ import annotations

import datetime
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import ModelFileError, OutputRefused
from ..base.plain_json import parse_json
from ..models.file import read_header
from ..models.registry import list_models, user_folder

BEST = "best.safetensors"
PLAN = "plan.json"
SEEN = ".looked-at"
"""A run's folder with this file was shown to its user."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnseenModel:
    """A model that a run left behind. path: of best.safetensors. finished: local time, 'HH:MM', before today with the
    date in front.
    """

    path: Path
    finished: str


def runs_folder(data: Path) -> Path:
    """Where runs on a set begin: inside it, or beside the user's models where the set cannot be written."""
    home = data if os.access(data, os.W_OK) else user_folder().parent
    return home / "runs"


def refuse_used(out: Path) -> None:
    """Raise OutputRefused for a folder that holds a run, finished or not: a new one would discard it."""
    if (out / BEST).exists():
        raise OutputRefused(f"{out} already holds a run; choose another folder, or go on with --resume")
    if (out / PLAN).exists():
        raise OutputRefused(
            f"{out} holds a run that was not finished; go on with --resume, or choose another folder for a new one"
        )


def is_finished(out: Path) -> bool:
    """True if the run of this folder came to its end by itself, and its model is there."""
    try:
        last = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
        return parse_json(last)["kind"] == "done" and (out / BEST).is_file()
    except (OSError, ValueError, LookupError, TypeError):
        return False


def unseen_model(data: Path) -> UnseenModel | None:
    """The model of a set's newest run, if it was neither shown nor kept; None otherwise.

    Runs without a model do not count. Files that cannot be read are no model.
    """
    folder = runs_folder(data)
    try:
        runs = sorted((p.parent for p in folder.glob(f"*/{BEST}")), key=lambda p: p.name)
    except OSError:
        return None
    if folder.parent != data:  # the runs of every set that cannot be written lie here
        runs = [run for run in runs if _taught_by(run) == data.resolve()]
    if not runs or (runs[-1] / SEEN).exists():
        return None
    path = runs[-1] / BEST
    try:
        header, model_id = read_header(path)
    except ModelFileError as e:
        log.info("a run's model is not offered: %s", e)
        return None
    if "finetune" not in header.scores or _content(model_id) in {_content(m.model_id or "") for m in list_models()}:
        return None
    return UnseenModel(path, _local_time(header.lineage.created))


def mark_seen(path: Path) -> None:
    """Remember beside a run's best.safetensors that it was shown; where this cannot be written, it is offered again."""
    try:
        (path.parent / SEEN).touch()
    except OSError as e:
        log.info("cannot note that %s was looked at: %s", path, e)


def _taught_by(run: Path) -> Path | None:
    """The set that a run's job names."""
    try:
        return Path(parse_json((run / "job.json").read_text(encoding="utf-8"))["settings"]["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _content(model_id: str) -> str:
    """The part of a model's id that does not depend on its name."""
    return model_id.split("@")[-1]


def _local_time(created: str) -> str:
    """'HH:MM' of today, 'YYYY-MM-DD HH:MM' of earlier days; '' if unknown."""
    try:
        when = datetime.datetime.fromisoformat(created).astimezone()
    except ValueError:
        return ""
    today = when.date() == datetime.datetime.now().astimezone().date()
    return when.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
