"""`train`: a recipe and a source folder become a run folder with the best student, its curve and its statistics."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import nn

from napari_tinymig.base.errors import ModelFileError, OutputRefused, TinyMIGError
from napari_tinymig.base.records import Message, MessageKind
from napari_tinymig.base.safe_files import FolderLock, refused_writes
from napari_tinymig.models.file import ModelFile, read_model_file
from napari_tinymig.models.registry import model_paths, open_model
from napari_tinymig.recipes.student import Lineage, ModelHeader, Recipe

from ..data.batches import Batches
from ..data.cases import Case, find_cases, split_cases
from ..data.image_set import ImageSet, concatenate, load_set
from ..data.negatives import empty_frames
from ..machine.replicas import join, own_folder, rank
from ..networks.baselines import build_network
from ..networks.export import save_model
from ..networks.feature_style import attach_feature_style
from ..objectives.build import build_objective
from .curve import draw_curve
from .loop import Run, fit
from .source_statistics import source_statistics
from .validation import GridValidation


def never() -> bool:
    """The `stop` of a run that nobody stops."""
    return False


def train(
    recipe: Recipe,
    source: Path | Sequence[Path],
    targets: Sequence[Path] = (),
    out: Path = Path("run"),
    device: str = "auto",
    resume: bool = False,
    stop: Callable[[], bool] = never,
) -> Iterator[Message]:
    """Train on the source domain(s); messages as it goes, 'done' (or 'stopped') last, with the best model's path.

    Writes out/{config.toml, log.jsonl, metrics.csv, curve.png, best.safetensors, last.safetensors}. The checkpoint is
    chosen on held-out source cases only; `targets` are scored once, after the end. `stop()` is asked after every
    step; the best so far is then exported. Raises ValueError and the errors of reading for what cannot be trained on.
    """
    where = join(pick_device(device), recipe.optim.batch)
    out = own_folder(Path(out))
    _open_run(out, recipe, resume)
    lock = FolderLock(out, what="this run")
    try:
        with refused_writes(out, "go on with --resume"), (out / "log.jsonl").open("a", encoding="utf-8") as log:
            for message in _train(recipe, _folders(source), list(targets), out, where, resume, stop):
                log.write(message.to_json() + "\n")
                log.flush()
                yield message
    finally:
        lock.release()


def _folders(source: Path | Sequence[Path]) -> list[Path]:
    return [Path(source)] if isinstance(source, str | Path) else [Path(s) for s in source]


def _open_run(out: Path, recipe: Recipe, resume: bool) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not resume and any((out / name).exists() for name in ("best.safetensors", "last.safetensors")):
            raise OutputRefused(f"{out} already holds a run; choose another folder, or go on with --resume")
        if not resume:
            (out / "config.toml").write_text(to_toml(recipe.model_dump(exclude_none=True)), encoding="utf-8")
            (out / "log.jsonl").unlink(missing_ok=True)
            (out / "metrics.csv").unlink(missing_ok=True)
    except OSError as e:
        raise OutputRefused(
            f"cannot write the run folder {out} ({e.strerror}); choose a folder that can be written"
        ) from e


def to_toml(values: dict[str, object], prefix: str = "") -> str:
    """Nested plain values as TOML text; lists of tables become [[name]] blocks."""
    plain, tables = [], []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            tables.append(f"\n[{name}]\n" + to_toml({str(k): v for k, v in value.items()}, name + "."))
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            tables.extend(f"\n[[{name}]]\n" + to_toml(row, name + ".") for row in value)
        else:
            plain.append(f"{key} = {json.dumps(value)}")
    return "\n".join(plain) + ("\n" if plain else "") + "".join(tables)


def pick_device(want: str) -> torch.device:
    """'auto': CUDA, then MPS, then CPU. Raises ValueError where the wished one is not there."""
    if want == "auto":
        want = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(want.split(":")[0], False):
        raise ValueError(
            f"device '{want}' cannot be used here; available: {', '.join(k for k, v in there.items() if v)}"
        )
    return torch.device(want)


def _train(
    recipe: Recipe,
    sources: list[Path],
    targets: list[Path],
    out: Path,
    device: torch.device,
    resume: bool,
    stop: Callable[[], bool],
) -> Iterator[Message]:
    cases = [c for folder in sources for c in find_cases(folder, recipe.data)]
    train_cases, held = (cases, []) if recipe.protocol == "benchmark" else split_cases(cases, recipe.data, recipe.seed)
    if not train_cases:
        raise ValueError(f"{len(cases)} case(s) in {sources[0]}: none left to train on; give more, or val_fraction = 0")
    for folder in targets:  # a misspelt target is found before the training, not after it
        find_cases(folder)
    where = f"{device.type.upper()}, {torch.get_num_threads()} thread(s)"
    text = f"{len(train_cases)} images to train on, {len(held)} held back, on {where}"
    yield Message("started", 0, recipe.optim.epochs, {"train": len(train_cases), "held": len(held)}, text)
    if not held and recipe.protocol == "house":
        text = "No case is left to choose the checkpoint by; the last epoch is kept. Give more cases to hold some back."
        yield Message("warning", text=text)
    data, held_data, negatives = _load(train_cases, held, recipe)
    run = _new_run(data, held_data, negatives, recipe, out, device)
    if resume:
        run.load_last()
    for message in fit(run, stop):
        if message.kind == "epoch":
            _append_metrics(out / "metrics.csv", message)
        yield message
    if rank():
        yield Message("done", run.progress.epoch, recipe.optim.epochs, {}, f"process {rank()}: the first one exports")
        return
    if run.best_state is None:
        yield Message("stopped", 0, recipe.optim.epochs, {}, "stopped before the first epoch was over; nothing to keep")
        return
    yield Message("log", text="exporting the best student and checking ONNX against torch")
    path = keep_best(run, recipe, cases, data if negatives is None else None, held_data, train_cases)
    draw_curve(out / "metrics.csv", out / "curve.png", recipe.name)
    yield Message("saved", run.progress.epoch, recipe.optim.epochs, {"best": run.progress.best}, str(path))
    for folder in targets:
        yield _score_target(path, Path(folder), run.progress.epoch, recipe.optim.epochs)
    kind: MessageKind = "stopped" if stop() else "done"
    yield Message(kind, run.progress.epoch, recipe.optim.epochs, {"best": run.progress.best}, str(path))


def _load(
    train_cases: list[Case], held: list[Case], recipe: Recipe
) -> tuple[ImageSet, ImageSet | None, NDArray[np.int64] | None]:
    """Images to train on and held back, with empty frames where the recipe asks for them, and where those stand."""
    data = load_set(train_cases, recipe)
    held_data = load_set(held, recipe) if held else None
    if not recipe.augment.negatives:
        return data, held_data, None
    extra = empty_frames(data, recipe)
    negatives = np.arange(len(data), len(data) + len(extra))
    held_data = concatenate(held_data, empty_frames(held_data, recipe)) if held_data else None
    return concatenate(data, extra), held_data, negatives


def _new_run(
    data: ImageSet,
    held: ImageSet | None,
    negatives: NDArray[np.int64] | None,
    recipe: Recipe,
    out: Path,
    device: torch.device,
) -> Run:
    """A seeded student with what it learns from and how it is validated, before the first epoch."""
    torch.manual_seed(recipe.seed)
    student = build_student(recipe).to(device)
    attach_feature_style(student, recipe.augment)
    objective = build_objective(recipe, student, device)
    batches = Batches(data, recipe, device, negatives)
    validate = None if held is None else GridValidation(held, recipe, device)
    return Run(student, objective, batches, validate, recipe, out, device)


def _score_target(model: Path, folder: Path, epoch: int, epochs: int) -> Message:
    """The 'validation' message of one target domain; a 'warning' where it cannot be scored."""
    from .evaluate import evaluate_folder

    try:
        return Message("validation", epoch, epochs, evaluate_folder(model, folder), folder.name)
    except TinyMIGError as e:
        return Message("warning", epoch, epochs, {}, f"{folder.name} was not scored: {e}")


def build_student(recipe: Recipe) -> nn.Module:
    """The network that a recipe trains: the student, or a baseline. Where `init_weights` is a model of this project, by
    name or file, every tensor of equal name and shape starts from it."""
    outputs = len(recipe.task.regions) + (recipe.loss.head == "softmax")
    start = recipe.student.init_weights
    parent = _own_model(start) if start and recipe.network == "student" else None
    if parent is None:
        return build_network(recipe.network, recipe.student, outputs)
    student = build_network("student", recipe.student.model_copy(update={"init_weights": None}), outputs)
    own = student.state_dict()
    stored = {k: torch.from_numpy(np.array(v)) for k, v in parent.weights().items() if k in own}
    fitting = {k: v.to(own[k].dtype) for k, v in stored.items() if v.shape == own[k].shape}
    student.load_state_dict(own | fitting)
    return student


def _own_model(start: str) -> ModelFile | None:
    """The model that `init_weights` names, by name or by file; None for 'imagenet' and for other programs' weights."""
    path = Path(start)
    if not path.exists() and start.partition("@")[0] in model_paths():
        return open_model(start)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    with safe_open(path, "np") as stored:
        return read_model_file(path) if "tinymig" in (stored.metadata() or {}) else None


def keep_best(
    run: Run,
    recipe: Recipe,
    cases: Sequence[Case],
    data: ImageSet | None,
    held: ImageSet | None,
    train_cases: Sequence[Case],
) -> Path:
    """best.safetensors of a run: rounded, exported, parity-checked, with source statistics and lineage."""
    if run.best_state is None:
        raise ModelFileError(f"{run.out} has no finished epoch; nothing can be kept")
    student = build_student(recipe.without_paths())
    student.load_state_dict({k: v.cpu() for k, v in run.best_state.items()})
    data = load_set(train_cases, recipe) if data is None else data
    header = make_header(recipe, cases, run, data)
    path = run.out / "best.safetensors"
    model = save_model(path, header, student)
    statistics, scores = source_statistics(model, data, held, recipe)
    header = header.model_copy(update={"statistics": statistics, "scores": header.scores | scores})
    save_model(path, header, student)
    return path


def make_header(recipe: Recipe, cases: Sequence[Case], run: Run, data: ImageSet) -> ModelHeader:
    """The header of a finished run, statistics still empty."""
    clean = recipe.without_paths()
    constants = {}
    if "cup_disc" in recipe.task.measures:
        constants["mean_vertical_cup_disc_ratio"] = mean_vertical_ratio(data)
    start = recipe.student.init_weights
    return ModelHeader(
        kind="locator" if recipe.task.name == "locator" else "segmenter",
        name=recipe.name,
        task=recipe.task,
        input=recipe.input,
        student=clean.student,
        network=recipe.network,
        head=recipe.loss.head,
        constants=constants,
        scores={"validation": {"best": run.progress.best, "epoch": run.progress.best_epoch, "seed": recipe.seed}},
        lineage=Lineage(
            data_hashes=tuple(c.content_hash() for c in cases),
            domains=tuple(sorted({c.domain for c in cases})),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            software=importlib.metadata.version("napari-tinymig"),
            recipe=clean.model_dump(mode="json"),
        ),
        extra={
            "encoder_start": _start_of(start),
            "train_seconds": run.progress.seconds,
        }
        | taught_by(recipe),
    )


def taught_by(recipe: Recipe) -> dict[str, list[str]]:
    """The model ids of the ensemble that taught, {} without one."""
    return {"taught_by": [open_model(m).model_id for m in recipe.ensemble.members]} if recipe.ensemble else {}


def _start_of(init_weights: str | None) -> str:
    """Where the first weights came from, in words."""
    if not init_weights:
        return "random"
    parent = _own_model(init_weights)
    return f"the student {parent.model_id}" if parent else "ImageNet (mobilenetv2_100)"


def mean_vertical_ratio(data: ImageSet) -> float:
    """Mean vertical cup-to-disc ratio of the training labels (the table row 'constant cup')."""
    ratios = []
    for target in data.targets:
        heights = [np.flatnonzero((region > 127).any(1)) for region in target[:2]]
        if len(heights[0]) and len(heights[1]):
            ratios.append((np.ptp(heights[1]) + 1) / (np.ptp(heights[0]) + 1))
    return round(float(np.mean(ratios)), 4) if ratios else 0.0


def _append_metrics(path: Path, message: Message) -> None:
    """One line of metrics.csv per epoch; the first writes the names."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["epoch", *message.values], extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({"epoch": message.step} | message.values)
