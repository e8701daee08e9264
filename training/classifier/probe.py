"""`probe`: two folders of images become a classifier of a few kilobytes on a frozen backbone, with honest scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.base.records import Message, MessageKind
from napari_tinymig.measures.classification import ClassificationScores, score_classification
from napari_tinymig.recipes.classify import ProbeRecipe, load_probe_recipe, recipe_toml

from .features import FeatureCache, FeatureRows, cache_folder, feature_rows
from .images import ImageSet, Pixels, load_pixels, read_image_set
from .lazy_backbone import LazyBackbone
from .methods import FitData, Fitted, fit
from .movl import infer, pick_device, softmax
from .report import SetResult, write_failures, write_report
from .save import save_classifier
from .splits import Split, colour_notes, split_by_case
from .zero_shot import text_embeddings, zero_shot_logits

CLASSIFIER = "classifier.safetensors"


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
    config.toml, log.jsonl, metrics.csv, scores.json, scores.md, predictions.csv, report.png}, and failed.csv where an
    image could not be read; 'done' counts them as `failed`. Everything is chosen on source validation; targets are
    looked up before training starts and scored once, after the end. cache: folder of features, None = the user's own.
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
    others = [read_image_set(t, images.classes, recipe.data.case_pattern) for t in targets]  # before hours of training
    data, fitted = yield from _fitted(recipe, images, split, device, stop, cache)
    seconds = time.perf_counter() - begun
    results = _score_source(data, fitted, images.name)
    if "source test" in results:
        yield _scored("source test", results["source test"].scores)
    if fitted.model is not None:
        path = out / CLASSIFIER
        model_id = save_classifier(path, data, fitted, images, results, seconds)
        kilobytes = path.stat().st_size / 1000
        yield Message("saved", values={"kilobytes": kilobytes, "train_seconds": seconds}, text=str(path))
    else:
        model_id = "zero-shot"
    failed = [("source", name, reason) for name, reason in data.rows.failed.items()]
    for other in others:
        result, unread = yield from _score_target(data, fitted, other, cache)
        failed += [(f"target {other.name}", name, reason) for name, reason in unread.items()]
        if result is not None:
            results[f"target {result.name}"] = result
            yield _scored(f"target {result.name}", result.scores)
    facts: dict[str, Any] = {"trained_parameters": fitted.trained_parameters, "train_seconds": round(seconds, 1)}
    facts |= {"validation_loss": fitted.val_loss, "settings": fitted.settings}
    write_report(out, recipe, images.classes, results, facts, _prompt_picture(fitted))
    write_failures(out / "failed.csv", failed)
    yield Message("saved", text=str(out / "report.png"))
    headline = results.get("source test", results["source validation"]).scores
    values = {"seconds": time.perf_counter() - begun, "auroc": headline.auroc, "accuracy": headline.accuracy}
    values["failed"] = float(len(failed))
    kind: MessageKind = "stopped" if stop() else "done"
    yield Message(kind, values=values, text=f"{model_id}: {out / CLASSIFIER}" if fitted.model else "zero-shot scored")


def _fitted(
    recipe: ProbeRecipe,
    images: ImageSet,
    split: Split,
    device: torch.device,
    stop: Callable[[], bool],
    cache: FeatureCache,
) -> Generator[Message, None, tuple[FitData, Fitted]]:
    """Open the backbone, read the source's features, fit the method."""
    if recipe.method == "zero_shot":
        text_embeddings(recipe.text_embeddings, images.classes)
    backbone = LazyBackbone(recipe.backbone, cache, device, keep_head=recipe.method == "zero_shot")
    card = backbone.card
    weights = f"weights {card.weights_sha256[:8]} ({card.weights})"
    yield Message("log", text=f"Backbone {card.name}, {card.size} px, {weights}")
    data = _fit_data(recipe, images, split, backbone, device, stop, cache)
    yield from _reading_notes(data.rows, images.classes, split)
    fitted: Fitted = yield from fit(data)
    for note in fitted.notes:
        yield Message("log", text=note)
    return data, fitted


def _score_source(data: FitData, fitted: Fitted, name: str) -> dict[str, SetResult]:
    """Scores of the source's validation part, and of its test part where there is one."""
    results = {"source validation": _score(data, fitted, data.rows, data.val, name)}
    test = np.setdiff1d(np.arange(len(data.rows.items)), np.concatenate([data.train, data.val]))
    if len(test):
        results["source test"] = _score(data, fitted, data.rows, test, name)
    return results


def _started(images: ImageSet, split: Split, recipe: ProbeRecipe) -> Message:
    said = ", ".join(f"{name}: {count}" for name, count in images.counts.items())
    method = f"{recipe.method} ({recipe.strategy})" if recipe.method == "movl" else recipe.method
    persons = len({i.case for i in images.items})
    values = {"train": float(len(split.train)), "val": float(len(split.val)), "test": float(len(split.test))}
    return Message("started", values=values, text=f"{method} on {images.name} ({said}; {persons} persons)")


def _fit_data(
    recipe: ProbeRecipe,
    images: ImageSet,
    split: Split,
    backbone: LazyBackbone,
    device: torch.device,
    stop: Callable[[], bool],
    cache: FeatureCache,
) -> FitData:
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
    return FitData(
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


def _reading_notes(rows: FeatureRows, classes: Sequence[str], split: Split) -> Iterator[Message]:
    total = len(split.train) + len(split.val) + len(split.test)
    yield Message("log", values={"computed": float(rows.computed)}, text=f"{len(rows.items)} of {total} images read")
    for name, reason in list(rows.failed.items())[:20]:
        yield Message("warning", text=f"{name} left out: {reason}")
    for note in colour_notes(rows.kinds, rows.labels.tolist(), classes):
        yield Message("warning", text=note)


def _answers(
    data: FitData, fitted: Fitted, rows: FeatureRows, items: NDArray[np.int64], pixels: Pixels | None
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
    logits, features = infer(fitted.model, pixels, items, data.backbone.fast().normalise, data.recipe.optim.precision)
    return softmax(logits), features


def _score(
    data: FitData,
    fitted: Fitted,
    rows: FeatureRows,
    items: NDArray[np.int64],
    name: str,
    pixels: Pixels | None = None,
) -> SetResult:
    pixels = pixels if pixels is not None else data.pixels
    probabilities, features = _answers(data, fitted, rows, items, pixels)
    chosen = [rows.items[i] for i in items]
    scores = score_classification(probabilities, rows.labels[items], data.classes, [i.case for i in chosen])
    return SetResult(name, scores, probabilities, rows.labels[items], chosen, features)


def _score_target(
    data: FitData, fitted: Fitted, found: ImageSet, cache: FeatureCache
) -> Generator[Message, None, tuple[SetResult | None, dict[str, str]]]:
    """Scores of a target, None where none of its images could be read; and those that could not, with the reason."""
    recipe = data.recipe
    for note in found.notes:
        yield Message("warning", text=note)
    absent = [name for name, count in found.counts.items() if count == 0]
    if absent:
        yield Message(
            "warning",
            text=f"{found.name} has no image of class {', '.join(absent)}: AUROC and balanced accuracy leave it out.",
        )
    if data.pixels is None:
        rows = feature_rows(found.items, data.backbone.card, recipe.data, cache, _computer(data.backbone, recipe))
        pixels = None
    else:
        pixels = load_pixels(found.items, data.backbone.card.size, recipe.data.max_slices)
        empty = np.zeros((len(pixels), 0), np.float32)
        rows = FeatureRows(pixels.items, empty, pixels.hashes, pixels.kinds, pixels.failed)
    for name, reason in list(rows.failed.items())[:20]:
        yield Message("warning", text=f"{name} left out: {reason}")
    if not rows.items:
        yield Message("warning", text=f"No image of {found.name} could be read; it is not in the scores.")
        return None, rows.failed
    return _score(data, fitted, rows, np.arange(len(rows.items)), found.name, pixels), rows.failed


def _scored(name: str, scores: ClassificationScores) -> Message:
    low, high = scores.intervals["auroc"]
    values = {"accuracy": scores.accuracy, "balanced_accuracy": scores.balanced_accuracy, "auroc": scores.auroc}
    values |= {
        "auroc_low": low,
        "auroc_high": high,
        "ece": scores.ece,
        "n": float(scores.n),
        "cases": float(scores.cases),
    }
    return Message("validation", values=values, text=name)


def _prompt_picture(fitted: Fitted) -> NDArray[np.float32] | None:
    """(S, S, 3) of the learned prompt, or None where there is none."""
    if fitted.model is None or fitted.model.prompt.values.numel() == 0:
        return None
    return fitted.model.prompt.image().detach().cpu().numpy().transpose(1, 2, 0)
