"""`probe`: two folders of images become a classifier of a few kilobytes on a frozen backbone, with honest scores."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_tinymig.engine.classification_metrics import ClassificationScores, score_classification
from napari_tinymig.engine.classifier_file import BACKBONE_PREFIX, write_classifier
from napari_tinymig.engine.config import Lineage, ModelHeader
from napari_tinymig.engine.errors import OutputRefused
from napari_tinymig.engine.probe_config import ClassifierCard, ProbeRecipe, load_probe_recipe, recipe_toml
from napari_tinymig.engine.records import Message, MessageKind

from .classify_data import ImageSet, Item, Pixels, load_pixels, read_image_set
from .classify_splits import Split, colour_notes, split_by_case
from .movl import infer, pick_device, softmax
from .probe_features import FeatureCache, FeatureRows, cache_folder, feature_rows
from .probe_methods import Fitted, Ground, LazyBackbone, fit, zero_shot_logits
from .probe_report import SetResult, write_report

CLASSIFIER = "classifier.safetensors"
MOST_HASHES = 1000


def probe(
    recipe: ProbeRecipe,
    source: str | Path,
    targets: Sequence[str | Path] = (),
    out: str | Path = "run",
    device: str = "auto",
    stop: Callable[[], bool] = lambda: False,
    cache: Path | None = None,
    overwrite: bool = False,
) -> Iterator[Message]:
    """Train a classifier on the source, score it on held-out source persons and on every target; 'done' comes last.

    source, targets: a folder per class, a CSV (file,label) or a MedMNIST .npz. Writes out/{classifier.safetensors,
    config.toml, log.jsonl, metrics.csv, scores.json, scores.md, predictions.csv, report.png}. Everything is chosen on
    source validation; targets are scored once, after the end. cache: folder of features, None = the user's own.
    Raises ValueError and TinyMIGError with a sentence for what cannot be used.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / CLASSIFIER).exists() and not overwrite:
            raise OutputRefused(f"{out} already holds a classifier; choose another folder, or say --overwrite")
        (out / "config.toml").write_text(recipe_toml(recipe), encoding="utf-8")
        stream = (out / "log.jsonl").open("w", encoding="utf-8")
    except OSError as e:
        raise OutputRefused(f"cannot write the run folder {out} ({e.strerror}); choose a folder of yours") from e
    features = FeatureCache(cache or cache_folder())
    with stream:
        for message in _probe(recipe, source, targets, out, pick_device(device), stop, features):
            stream.write(message.to_json() + "\n")
            stream.flush()
            yield message


def run_job(settings: dict[str, Any], stop: Callable[[], bool]) -> Iterator[Message]:
    """A probe as a job of the worker. settings: source, targets, out, device, recipe (name or file), overrides."""
    recipe = load_probe_recipe(settings.get("recipe", "probe"), settings.get("overrides"))
    return probe(
        recipe,
        settings["source"],
        settings.get("targets", ()),
        settings.get("out", "."),
        settings.get("device", "auto"),
        stop,
        overwrite=True,
    )


def _probe(
    recipe: ProbeRecipe,
    source: str | Path,
    targets: Sequence[str | Path],
    out: Path,
    device: torch.device,
    stop: Callable[[], bool],
    cache: FeatureCache,
) -> Iterator[Message]:
    begun = time.perf_counter()
    images = read_image_set(source, case_pattern=recipe.data.case_pattern)
    split = split_by_case(images, recipe.data, recipe.seed)
    yield _started(images, split, recipe)
    for note in (*images.notes, *split.notes):
        yield Message("warning", text=note)
    backbone = LazyBackbone(recipe.backbone, cache, device, keep_head=recipe.method == "zero_shot")
    card = backbone.card
    yield Message(
        "log", text=f"Backbone {card.name}, {card.size} px, weights {card.weights_sha256[:8]} ({card.weights})"
    )
    ground = _ground(recipe, images, split, backbone, device, stop, cache)
    yield from _said_of(ground.rows, images.classes, split)
    fitted: Fitted = yield from fit(ground)
    for note in fitted.notes:
        yield Message("log", text=note)
    seconds = time.perf_counter() - begun
    results = {"source validation": _score(ground, fitted, ground.rows, ground.val, images.name)}
    test = np.setdiff1d(np.arange(len(ground.rows.items)), np.concatenate([ground.train, ground.val]))
    if len(test):
        results["source test"] = _score(ground, fitted, ground.rows, test, images.name)
        yield _scored("source test", results["source test"].scores)
    if fitted.model is not None:
        path = out / CLASSIFIER
        model_id = _save(path, ground, fitted, images, results, seconds)
        kilobytes = path.stat().st_size / 1000
        yield Message("saved", values={"kilobytes": kilobytes, "train_seconds": seconds}, text=str(path))
    else:
        model_id = "zero-shot"
    for target in targets:
        result = yield from _score_target(ground, fitted, target, images, cache)
        results[f"target {result.name}"] = result
        yield _scored(f"target {result.name}", result.scores)
    facts: dict[str, Any] = {"trained_parameters": fitted.trained_parameters, "train_seconds": round(seconds, 1)}
    facts |= {"validation_loss": fitted.val_loss, "settings": fitted.settings}
    write_report(out, recipe, images.classes, results, facts, _prompt_picture(fitted))
    yield Message("saved", text=str(out / "report.png"))
    headline = results.get("source test", results["source validation"]).scores
    values = {"seconds": time.perf_counter() - begun, "auroc": headline.auroc, "accuracy": headline.accuracy}
    kind: MessageKind = "stopped" if stop() else "done"
    yield Message(kind, values=values, text=f"{model_id}: {out / CLASSIFIER}" if fitted.model else "zero-shot scored")


def _started(images: ImageSet, split: Split, recipe: ProbeRecipe) -> Message:
    said = ", ".join(f"{name}: {count}" for name, count in images.counts.items())
    method = f"{recipe.method} ({recipe.strategy})" if recipe.method == "movl" else recipe.method
    persons = len({i.case for i in images.items})
    values = {"train": float(len(split.train)), "val": float(len(split.val)), "test": float(len(split.test))}
    return Message("started", values=values, text=f"{method} on {images.name} ({said}; {persons} persons)")


def _ground(
    recipe: ProbeRecipe,
    images: ImageSet,
    split: Split,
    backbone: LazyBackbone,
    device: torch.device,
    stop: Callable[[], bool],
    cache: FeatureCache,
) -> Ground:
    items = [*split.train, *split.val, *split.test]
    rows = feature_rows(items, backbone.card, recipe.data, cache, _computer(backbone, recipe))
    part = {id(i): 0 for i in split.train} | {id(i): 1 for i in split.val}
    where = np.array([part.get(id(i), 2) for i in rows.items])
    for number, name in ((0, "training"), (1, "validation")):
        for label, class_name in enumerate(images.classes):
            if not ((where == number) & (rows.labels == label)).any():
                reason = next(iter(rows.failed.values()), "no reason known")
                raise ValueError(
                    f"no readable {name} image of class '{class_name}' is left; the first failure: {reason}"
                )
    needs_pixels = recipe.method in ("movl", "vp", "ff")
    pixels = load_pixels(rows.items, backbone.card.size, recipe.data.max_slices) if needs_pixels else None
    return Ground(
        recipe,
        images.classes,
        rows,
        np.flatnonzero(where == 0),
        np.flatnonzero(where == 1),
        backbone,
        device,
        stop,
        pixels,
    )


def _computer(backbone: LazyBackbone, recipe: ProbeRecipe) -> Callable[[Pixels], NDArray[np.float32]]:
    return lambda pixels: backbone.features(pixels, recipe.optim.precision, recipe.data)


def _said_of(rows: FeatureRows, classes: Sequence[str], split: Split) -> Iterator[Message]:
    total = len(split.train) + len(split.val) + len(split.test)
    yield Message("log", values={"computed": float(rows.computed)}, text=f"{len(rows.items)} of {total} images read")
    for name, reason in list(rows.failed.items())[:20]:
        yield Message("warning", text=f"{name} left out: {reason}")
    for note in colour_notes(rows.kinds, rows.labels.tolist(), classes):
        yield Message("warning", text=note)


def _answers(
    ground: Ground, fitted: Fitted, rows: FeatureRows, items: NDArray[np.int64], pixels: Pixels | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities (n, C) and the features (n, F) they were made from."""
    if fitted.zero_shot is not None:
        features = rows.values[items]
        return softmax(zero_shot_logits(features, fitted.zero_shot)), features
    if fitted.model is None:
        raise ValueError("nothing was fitted; expected a model or zero-shot weights")
    if pixels is None:  # a linear probe: the cached features are all it needs
        features = rows.values[items]
        with torch.no_grad():
            return softmax(fitted.model.head(torch.from_numpy(features)).numpy()), features
    logits, features = infer(
        fitted.model, pixels, items, ground.backbone.fast().normalise, ground.recipe.optim.precision
    )
    return softmax(logits), features


def _score(
    ground: Ground,
    fitted: Fitted,
    rows: FeatureRows,
    items: NDArray[np.int64],
    name: str,
    pixels: Pixels | None = None,
) -> SetResult:
    pixels = pixels if pixels is not None else ground.pixels
    probabilities, features = _answers(ground, fitted, rows, items, pixels)
    chosen = [rows.items[i] for i in items]
    scores = score_classification(probabilities, rows.labels[items], ground.classes, [i.case for i in chosen])
    return SetResult(name, scores, probabilities, rows.labels[items], chosen, features)


def _score_target(
    ground: Ground, fitted: Fitted, target: str | Path, images: ImageSet, cache: FeatureCache
) -> Generator[Message, None, SetResult]:
    recipe = ground.recipe
    found = read_image_set(target, images.classes, recipe.data.case_pattern)
    for note in found.notes:
        yield Message("warning", text=note)
    absent = [name for name, count in found.counts.items() if count == 0]
    if absent:
        yield Message(
            "warning",
            text=f"{found.name} has no image of class {', '.join(absent)}: AUROC and balanced accuracy leave it out.",
        )
    if ground.pixels is None:
        rows = feature_rows(found.items, ground.backbone.card, recipe.data, cache, _computer(ground.backbone, recipe))
        pixels = None
    else:
        pixels = load_pixels(found.items, ground.backbone.card.size, recipe.data.max_slices)
        kept: list[Item] = [i for i in found.items if i.name not in pixels.failed]
        rows = FeatureRows(kept, np.zeros((len(kept), 0), np.float32), pixels.hashes, pixels.kinds, pixels.failed)
    for name, reason in list(rows.failed.items())[:20]:
        yield Message("warning", text=f"{name} left out: {reason}")
    if not rows.items:
        raise ValueError(
            f"no image of {target} could be read; the first reason: {next(iter(rows.failed.values()), '')}"
        )
    return _score(ground, fitted, rows, np.arange(len(rows.items)), found.name, pixels)


def _scored(name: str, scores: ClassificationScores) -> Message:
    low, high = scores.intervals["auroc"]
    values = {"accuracy": scores.accuracy, "balanced_accuracy": scores.balanced_accuracy, "auroc": scores.auroc}
    values |= {"auroc_low": low, "auroc_high": high, "ece": scores.ece, "n": float(scores.n)}
    return Message("validation", values=values, text=name)


def _save(
    path: Path, ground: Ground, fitted: Fitted, images: ImageSet, results: dict[str, SetResult], seconds: float
) -> str:
    """Prompt, head, header; a fine-tuned backbone goes in too, because it exists nowhere else."""
    model, recipe = fitted.model, ground.recipe
    if model is None:
        raise ValueError("a zero-shot answer has nothing to save; expected a fitted classifier")
    state = model.head.state_dict()
    tensors = {
        "prompt": model.prompt.values.detach().cpu().numpy(),
        "head.weight": state["linear.weight"].cpu().numpy(),
        "head.bias": state["linear.bias"].cpu().numpy(),
        "feature_mean": state["mean"].cpu().numpy(),
        "feature_std": state["std"].cpu().numpy(),
    }
    if fitted.fine_tuned:
        tensors |= {BACKBONE_PREFIX + k: v.cpu().numpy() for k, v in model.backbone.state_dict().items()}
    distances = feature_distances(
        results["source validation"].features, tensors["feature_mean"], tensors["feature_std"]
    )
    card = ClassifierCard(
        backbone=ground.backbone.card,
        prompt=model.prompt.spec,
        method=recipe.method,
        strategy=recipe.strategy,
        pooling=recipe.data.pooling,
        top_k=recipe.data.top_k,
        max_slices=recipe.data.max_slices,
        trained_parameters=fitted.trained_parameters,
        distance_percentiles=tuple(float(v) for v in np.percentile(distances, range(101))),
    )
    header = ModelHeader(
        kind="classifier",
        name=recipe.name,
        classes=images.classes,
        scores={name: r.scores.as_dict() for name, r in results.items()} | {"train_seconds": seconds},
        lineage=Lineage(
            data_hashes=training_hashes([ground.rows.hashes[i] for i in ground.train]),
            domains=(images.name,),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            software=importlib.metadata.version("napari-tinymig"),
            recipe=recipe.model_dump(mode="json"),
        ),
    )
    return write_classifier(path, header, card, tensors)


def training_hashes(hashes: Sequence[str]) -> tuple[str, ...]:
    """16 digits of each image's hash; above MOST_HASHES images one hash of all, so that the file stays small."""
    if len(hashes) <= MOST_HASHES:
        return tuple(h[:16] for h in hashes)
    return (hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()[:16],)


def feature_distances(
    features: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(N,) root mean squared distance of features from the source's mean, in the source's standard deviations."""
    return np.sqrt((((features - mean) / std).astype(np.float64) ** 2).mean(1))


def _prompt_picture(fitted: Fitted) -> NDArray[np.float32] | None:
    """(S, S, 3) of the learned prompt, or None where there is none."""
    if fitted.model is None or fitted.model.prompt.values.numel() == 0:
        return None
    return fitted.model.prompt.image().detach().cpu().numpy().transpose(1, 2, 0)
