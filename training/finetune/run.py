"""`finetune`: a model and a few mended masks become a better model, with proof, inside a time budget.

Parts, each resumable to the bit on CPU: two folds (train on one half of the cases, score on the other), then the run
on everything. What the folds show decides how far the child may go from its parent, its thresholds, and whether the
child is accepted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from napari_tinymig.annotations.run_folders import BEST, is_finished, refuse_used
from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.base.records import Message
from napari_tinymig.models.file import ModelFile, read_header
from napari_tinymig.recipes.finetune import FineTuneSpec
from napari_tinymig.recipes.read import validate

from ..run.train import never
from .pipeline import Tuning


def finetune(
    model: str | Path | ModelFile,
    data: str | Path,
    out: str | Path,
    minutes: float = 1.0,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = never,
    before_s: float = 0.0,
    **settings: Any,
) -> Iterator[Message]:
    """Fine-tune a model on an annotation set (or a domain folder); messages as it goes.

    Writes out/{best.safetensors, gate.json, preview.png, log.jsonl, plan.json}. 'validation' messages carry held-out
    Dice, 'preview' the path of a picture, 'saved' the model, and the last message ('done', 'stopped') whether it is
    accepted, with values {'keep': 1 or 0}. `stop()` ends the training soon and keeps what is there. resume: go on with
    the run in `out`; a finished one is only told. before_s: passed since the user asked; a run that takes clearly
    longer than `minutes` says how long and why. settings: the other fields of `FineTuneSpec`. Raises ValueError for
    data that cannot teach, OutputRefused for a folder that cannot be written or holds a run, ModelFileError for a
    damaged checkpoint.
    """
    spec = validate(FineTuneSpec, {"minutes": minutes} | settings, "fine-tuning settings")
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume:
            refuse_used(out)
        elif is_finished(out):
            yield from _finished(out)
            return
        log = (out / "log.jsonl").open("a" if resume else "w", encoding="utf-8")
    except OSError as e:
        raise OutputRefused(f"cannot write the run folder {out} ({e.strerror or e}); choose another folder") from e
    with log:
        for message in Tuning(model, Path(data), out, spec, resume, stop, before_s).messages():
            log.write(message.to_json() + "\n")
            log.flush()
            yield message


def _finished(out: Path) -> Iterator[Message]:
    """What a resumed run says that has nothing left to do."""
    path = out / BEST
    record = read_header(path)[0].scores.get("finetune") or {}
    yield Message("saved", text=str(path))
    values = {name: float(bool(record.get(name))) for name in ("keep", "measured")}
    yield Message("done", values=values, text=f"The run in {out} is finished already; its model is {path}.")


def run_job(settings: dict[str, Any], stop: Callable[[], bool]) -> Iterator[Message]:
    """`finetune` as a job of the worker; its folder is the working directory.

    settings: {"model", "data", "resume", "asked": when the user asked, as time.time(), "spec": {...}}.
    """
    now = time.time()
    return finetune(
        settings["model"],
        settings["data"],
        Path.cwd(),
        resume=bool(settings.get("resume")),
        stop=stop,
        before_s=max(0.0, now - float(settings.get("asked", now))),
        **settings.get("spec", {}),
    )
