"""One input of a batch to its mask, row and overlay, unless an earlier run has done it; failures become rows."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..base.errors import TinyMIGError, UnreadableInput
from ..base.findings import Findings
from ..base.records import Prediction
from ..formats import READ_FROM_BYTES, InputItem, MaskFile, ScanFile, open_input, open_mask, write_atomically
from ..formats.folder_ledger import bytes_hash, left_by_a_killed_run, note_mask
from ..formats.write_masks import mask_bytes
from ..measures.clinical import measure
from ..measures.csv_table import diameters, row_of, table_columns
from ..measures.declared import cells
from ..measures.plausible import implausible
from ..models.registry import default_model, find_model, open_model
from ..network.run import OpenOnGpu
from ..predict.colour_match import ColourMatch
from ..predict.predictor import kept_predictor
from ..predict.task_guess import TaskGate, scan_for_task
from ..tasks.task import Task

OVERLAY = "_overlay.png"
KEPT_BYTES = 256_000_000
"""Largest input whose bytes are kept between hashing and decoding (chosen); a larger one is read twice."""


@dataclass(frozen=True)
class Options:
    """What a mask depends on besides its input.

    task: 'auto' or a task's name. model: name or file, None = the task's default. roi: 'auto' or 'full'. format:
    same, png, nifti or dicomseg. overlay: also write a picture. psa_ng_ml: for PSA density. overwrite: replace masks
    that exist. threads: of the network in each worker. match: test-time help, see `colour_match.match_to_source`.
    cup_offset: cups drawn by another school, see `cup_school.redraw_cup`; None = the model's own. on_gpu: see
    `Predictor`; a function of a module, because it travels to the workers of a cluster.
    """

    task: str = "auto"
    model: str | None = None
    roi: str = "auto"
    device: str = "auto"
    format: str = "same"
    overlay: bool = False
    overwrite: bool = False
    psa_ng_ml: float | None = None
    uncertainty: bool = False
    threads: int | None = None
    match: ColourMatch = "none"
    cup_offset: float | None = None
    drawn: bool = False
    on_gpu: OpenOnGpu | None = None

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a mask to count as done."""
        always = {k: getattr(self, k) for k in ("roi", "format", "psa_ng_ml", "uncertainty", "match")}
        return always | ({} if self.cup_offset is None else {"cup_offset": self.cup_offset})


@dataclass(frozen=True)
class Job:
    """One input and where its results go."""

    item: InputItem
    mask: Path
    options: Options
    done: dict[str, Any] | None = None


@dataclass
class Outcome:
    """What became of one input: its row, everything measured, and the sentences for the user."""

    job: Job
    row: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_and_hash(item: InputItem) -> tuple[str, dict[Path, bytes]]:
    """First 16 hex digits of the SHA-256 over the files of an input, '' if they cannot be read; and the bytes that
    `open_input` need not read again."""
    digest, kept = hashlib.sha256(), {}
    files = item.files or (item.path,)
    try:
        keep = item.format in READ_FROM_BYTES and sum(path.stat().st_size for path in files) <= KEPT_BYTES
        for path in files:
            with path.open("rb") as stream:
                if keep:
                    kept[path] = stream.read()
                    digest.update(kept[path])
                    continue
                while block := stream.read(1 << 20):
                    digest.update(block)
    except OSError:
        return "", {}
    return digest.hexdigest()[:16], kept


@lru_cache(maxsize=1)
def gate() -> TaskGate:
    """The task gate, opened once per process."""
    return TaskGate()


def run_job(job: Job) -> Outcome:
    """Read, predict, write one input. Never raises for what the input or the disk did: that is a row 'failed'."""
    start = time.perf_counter()
    row: dict[str, Any] = {"file": str(job.item.path), "mask": "", "status": "failed"}
    try:
        outcome = _finish(job, row)
    except (TinyMIGError, ValueError, OSError, MemoryError) as e:
        text = str(e) or type(e).__name__
        if isinstance(e, MemoryError):
            text = f"{job.item.name} does not fit into memory; crop or shrink it first."
        outcome = Outcome(job, row | {"error": text})
    outcome.row.setdefault("seconds", round(time.perf_counter() - start, 4))
    return outcome


def _finish(job: Job, row: dict[str, Any]) -> Outcome:
    """The part of `run_job` that may fail."""
    if job.item.problem:
        raise UnreadableInput(job.item.problem)
    options, (digest, contents) = job.options, read_and_hash(job.item)
    if _is_done(job, digest):
        return Outcome(job, _skipped(job, contents))
    scan_file = open_input(job.item, contents)
    del contents
    task = options.task
    if task == "auto" and options.model is None:
        task = gate().task_of(scan_file.scan, scan_file.metadata)
    row["task"] = task if task != "auto" else ""
    name = str(options.model or default_model(task))
    predictor = kept_predictor(name, options.device, options.threads, options.match, options.cup_offset, options.on_gpu)
    row |= {"task": predictor.task.name, "model": predictor.model_id}
    if why := _why_kept(job, digest, predictor.model_id):
        return Outcome(job, row | _numbers_there(job, digest, scan_file, predictor.task) | {"error": why})
    scan = replace(scan_for_task(scan_file.scan, predictor.task.input), drawn=options.drawn)
    prediction = predictor.predict(
        scan,
        roi="full" if options.roi == "full" else "auto",
        uncertainty=options.uncertainty,
        psa_ng_ml=options.psa_ng_ml,
    )
    content = mask_bytes(prediction.labels, scan_file, job.mask, predictor.task)
    row |= row_of(prediction) | {"mask": job.mask.name}
    notes = [*scan_file.notes, *prediction.notes]
    own = {"input": digest, "options": options.fingerprint(), "content": bytes_hash(content)}
    details = _details(row, prediction, notes) | own
    if not _write_mask(job, content, digest, predictor.model_id):
        prediction, row = _as_mended(job, scan_file, predictor.task, prediction, row)
    if options.overlay:
        from ..reports.overlay import overlay_of, save_overlay

        save_overlay(overlay_of(scan, prediction, predictor.task), _overlay_path(job.mask))
    return Outcome(job, row, details, notes)


def _write_mask(job: Job, content: bytes, digest: str, model_id: str) -> bool:
    """The mask on the disk, after a note that says it is this run's. One that is there already from the same input,
    model and options stays as it is, because it may have been mended since: False where it was."""
    replaced = job.options.overwrite or left_by_a_killed_run(job.mask)
    if not replaced and job.mask.exists() and _same_work(job, digest, model_id):
        return _as_made(job)
    note_mask(job.mask, content)
    write_atomically(job.mask, content, overwrite=replaced)
    return True


def _as_mended(
    job: Job, scan_file: ScanFile, task: Task, prediction: Prediction, row: dict[str, Any]
) -> tuple[Prediction, dict[str, Any]]:
    """A prediction and its row with the labels and numbers of the mask that stays on the disk."""
    mask = open_mask(job.mask, allowed=task.class_names, like=scan_file)
    found = measure(mask.labels, task, mask.spacing_mm, job.options.psa_ng_ml)
    labels = mask.labels.reshape(prediction.labels.shape)
    mended = replace(prediction, labels=labels, measures=found, uncertainty=None, shift_score=None, findings=Findings())
    return mended, row | row_of(mended) | _cells_of(job, mask, task)


def _overlay_path(mask: Path) -> Path:
    name = mask.name.split("_mask.")[0] if "_mask." in mask.name else mask.stem
    return mask.with_name(name + OVERLAY)


def _same_work(job: Job, digest: str, model_id: str) -> bool:
    """Whether the ledger knows the mask as made from the same input, model and options."""
    done = job.done or {}
    same = done.get("input") == digest and done.get("model") == model_id
    return bool(digest) and same and done.get("options") == job.options.fingerprint()


def _is_done(job: Job, digest: str) -> bool:
    """Whether the mask of an input (and its overlay, if one is wanted) is there already, from the same input, model
    and options."""
    done, options = job.done, job.options
    if options.overwrite or done is None or not job.mask.exists() or left_by_a_killed_run(job.mask):
        return False
    if options.overlay and not _overlay_path(job.mask).exists():
        return False
    if options.task not in ("auto", done.get("task")):
        return False
    wanted = options.model or default_model(str(done.get("task")))
    return _same_work(job, digest, model_id_of(str(wanted)))


def _as_made(job: Job) -> bool:
    """Whether the mask on the disk is, byte for byte, the one of the ledger: nobody mended it."""
    return (job.done or {}).get("content") == bytes_hash(job.mask.read_bytes())


def _skipped(job: Job, contents: dict[Path, bytes]) -> dict[str, Any]:
    """The row of an input whose mask is there already: as the ledger has it, or, where the mask was mended since, with
    the numbers of the mask on the disk. Raises UnreadableInput or UnsupportedInput for one that cannot be read."""
    done, options = job.done or {}, job.options
    own = {"file": str(job.item.path), "status": "skipped"}
    if _as_made(job):
        return {k: done.get(k) for k in table_columns(psa=True)} | own
    task = open_model(str(options.model or default_model(str(done.get("task"))))).header.task
    if task is None:
        return own | {"mask": job.mask.name}
    mask = open_mask(job.mask, allowed=task.class_names, like=open_input(job.item, contents))
    return own | {"task": task.name} | _cells_of(job, mask, task)


@lru_cache(maxsize=16)
def model_id_of(name: str) -> str:
    """name@hash of a model by name or file, read once."""
    from ..models.file import read_header

    return read_header(find_model(name))[1]


def _why_kept(job: Job, digest: str, model_id: str) -> str:
    """Why a mask that exists is not replaced, before any work is done; '' where there is none, or it may be."""
    if job.options.overwrite or not job.mask.exists() or left_by_a_killed_run(job.mask):
        return ""
    if _same_work(job, digest, model_id):
        return ""
    done = job.done or {}
    if not done:
        why = "it was not made by an earlier run recorded here"
    elif done.get("input") != digest:
        why = "it belongs to another input of that name"
    elif done.get("model") != model_id:
        why = f"it was made by {done.get('model')}"
    else:
        why = "it was made with other options"
    return f"{job.mask} exists ({why}) and is not overwritten; add --overwrite or choose another folder."


def _numbers_there(job: Job, digest: str, scan_file: ScanFile, task: Task) -> dict[str, Any]:
    """The cells of a mask that stays: as the ledger has them where it made that very mask of this input, measured
    where it is another's; none of another input's mask, or of one that cannot be read on this image."""
    done = job.done or {}
    if done and done.get("input") != digest:
        return {}
    try:
        if _as_made(job):
            told = {k: done.get(k) for k in table_columns(psa=True)}
            return told | {"file": str(job.item.path), "status": "failed"}
        return _cells_of(job, open_mask(job.mask, allowed=task.class_names, like=scan_file), task)
    except (TinyMIGError, OSError):
        return {}


def _cells_of(job: Job, mask: MaskFile, task: Task) -> dict[str, Any]:
    """The cells of a mask that somebody else made or mended."""
    found = measure(mask.labels, task, mask.spacing_mm, job.options.psa_ng_ml)
    doubts = " ".join(implausible(mask.labels, task, found))
    given = {"mask": job.mask.name, "model": "as given", "doubts": doubts}
    return given | cells(found) | {"diameters_mm": diameters(found)}


def _details(row: dict[str, Any], prediction: Prediction, notes: list[str]) -> dict[str, Any]:
    """One line of the ledger: strict JSON, NaN as null."""
    measures = {k: (round(v, 5) if math.isfinite(v) else None) for k, v in prediction.measures.items()}
    clean = {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in row.items()}
    return clean | {
        "measures": measures,
        "notes": notes,
        "shift_reason": prediction.shift_reason,
        "extra": prediction.extra,
    }
