"""Probes from images to scores: every method and strategy, trials, stopping, caches, volumes, the worker's way in."""

from __future__ import annotations

import copy
import csv

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from napari_tinymig.training.classifier.classify import Classifier
from napari_tinymig.training.classifier.images import Item, load_pixels
from napari_tinymig.training.classifier.linear_probe import fit_linear_probe
from napari_tinymig.training.classifier.movl import pool_slices
from napari_tinymig.training.classifier.probe import probe, run_job
from napari_tinymig.training.classifier.visual_prompt import Prompt
from probe_parts import item, recipe, run
from safetensors.torch import load_file

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.models.classifier_file import read_classifier, read_classifier_card
from napari_tinymig.recipes.classify import PromptSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_linear_probe_is_the_minimiser():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    y = (x[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(np.int64)
    found = fit_linear_probe(x, y, 2, 0.1)
    z = torch.from_numpy((x - found.mean) / found.std).double()
    w = torch.from_numpy(found.weight).double().requires_grad_(True)
    loss = F.cross_entropy(z @ w.T + torch.from_numpy(found.bias).double(), torch.from_numpy(y)) + 0.05 * (w**2).sum()
    loss.backward()
    assert w.grad.abs().max() < 1e-3


def test_pooling_of_slices_by_mean_and_by_the_largest():
    rows = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0], [7.0, 9.0]])
    owner = torch.tensor([0, 0, 0, 1])
    assert pool_slices(rows, owner, 2, "mean", 2).tolist() == [[3.0, 2.0], [7.0, 9.0]]
    assert pool_slices(rows, owner, 2, "top_k", 2).tolist() == [[4.0, 3.0], [7.0, 9.0]]


def test_a_frozen_zero_prompt_on_a_fitted_probe_is_the_linear_probe_exactly(backbone_file, stripes, tmp_path):
    run(recipe(backbone_file, method="lp", **{"prompt.kind": "none"}), stripes, tmp_path / "lp")
    frozen = {"strategy": "lp_then_vp", "optim.lr_prompt": 0.0, "optim.lr_head": 0.0}
    run(recipe(backbone_file, **frozen), stripes, tmp_path / "frozen")
    lp, zero = (Classifier.open(tmp_path / n / "classifier.safetensors", str(backbone_file)) for n in ("lp", "frozen"))
    items = [Item(p.name, 0, p.name, path=p) for p in sorted((stripes / "there" / "along").iterdir())]
    pixels = load_pixels(items, 64)
    first, second = (np.stack([a.probabilities for a in c.answer(pixels)]) for c in (lp, zero))
    assert np.array_equal(first, second)
    assert np.abs(zero.prompt_picture()).max() == 0


@pytest.mark.parametrize(
    "overrides",
    [
        {"strategy": "joint"},
        {"strategy": "lp_then_vp"},
        {"strategy": "lp_then_both", "discrepancy.term": "feature_mse"},
        {"method": "vp"},
        {"method": "ff"},
        {"strategy": "joint", "optim.flip": True, "prompt.kind": "full"},
    ],
    ids=["joint", "lp_then_vp", "lp_then_both", "vp", "ff", "flip"],
)
def test_every_method_learns_stripes_and_leaves_a_classifier_that_reads_back(
    backbone_file, stripes, tmp_path, overrides
):
    before = backbone_file.read_bytes()
    messages = run(recipe(backbone_file, **overrides), stripes, tmp_path)
    assert messages[-1].kind == "done"
    assert backbone_file.read_bytes() == before
    for name in ("classifier.safetensors", "scores.json", "scores.md", "predictions.csv", "report.png", "config.toml"):
        assert (tmp_path / name).stat().st_size > 0
    header, card = read_classifier_card(tmp_path / "classifier.safetensors")
    assert header.classes == ("across", "along")
    assert card.backbone.name == "test_resnet"
    if "method" not in overrides:
        assert header.scores["source test"]["auroc"] > 0.9
    if overrides.get("method") == "ff":
        tensors = read_classifier(tmp_path / "classifier.safetensors").tensors
        assert np.abs(tensors["backbone.conv1.0.weight"] - load_file(backbone_file)["conv1.0.weight"].numpy()).max() > 0
    answer = next(Classifier.open(tmp_path / "classifier.safetensors", str(backbone_file)).classify([item(stripes)]))
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert 0 <= answer.shift_score <= 100


def test_trainable_parameters_are_counted(backbone_file, stripes, tmp_path):
    run(recipe(backbone_file), stripes, tmp_path)
    card = read_classifier_card(tmp_path / "classifier.safetensors")[1]
    prompt = Prompt(PromptSpec(width=30), 64).values.numel()
    assert card.trained_parameters == prompt + 2 * card.backbone.features + 2
    assert (tmp_path / "classifier.safetensors").stat().st_size < 4 * card.trained_parameters + 20_000


def test_trials_choose_on_source_validation_and_every_method_gets_as_many(backbone_file, stripes, tmp_path):
    for method in ("lp", "movl"):
        said = {"method": method, "optim.trials": 3, "optim.trial_epochs": 1, "optim.epochs": 1}
        messages = run(recipe(backbone_file, **said), stripes, tmp_path / method, targets=())
        assert len([m for m in messages if m.text.startswith(("Trial", "Linear probe with"))]) == 3


def test_stopping_keeps_the_best_so_far(backbone_file, stripes, tmp_path):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    messages = list(
        probe(
            recipe(backbone_file, **{"optim.epochs": 50}), stripes / "here", (), tmp_path, "cpu", stop, tmp_path / "c"
        )
    )
    assert messages[-1].kind == "stopped"
    assert read_classifier(tmp_path / "classifier.safetensors").classes == ("across", "along")


def test_a_finished_run_is_not_overwritten(backbone_file, stripes, tmp_path):
    run(recipe(backbone_file, method="lp"), stripes, tmp_path)
    with pytest.raises(OutputRefused, match="already holds a classifier"):
        run(recipe(backbone_file, method="lp"), stripes, tmp_path)


def test_cached_features_need_no_backbone(backbone_file, stripes, tmp_path, monkeypatch):
    run(recipe(backbone_file, method="lp"), stripes, tmp_path / "first")
    monkeypatch.setattr("napari_tinymig.training.classifier.lazy_backbone.open_backbone", None)
    (tmp_path / "second").mkdir()
    cache = tmp_path / "first" / "cache"
    targets = [stripes / "there"]
    said = list(
        probe(recipe(backbone_file, method="lp"), stripes / "here", targets, tmp_path / "second", "cpu", cache=cache)
    )
    assert said[-1].kind == "done"
    scores = [(tmp_path / n / "predictions.csv").read_text() for n in ("first", "second")]
    assert scores[0] == scores[1]


def test_a_target_without_one_class_is_scored_and_said(backbone_file, stripes, tmp_path):
    import shutil

    shutil.copytree(stripes / "there" / "along", tmp_path / "half" / "along")
    messages = list(
        probe(
            recipe(backbone_file, method="lp"),
            stripes / "here",
            [tmp_path / "half"],
            tmp_path / "run",
            "cpu",
            cache=None,
        )
    )
    assert any("no image of class across" in m.text for m in messages)
    assert messages[-1].kind == "done"


def test_a_target_that_is_not_there_is_said_before_anything_is_trained(backbone_file, stripes, tmp_path):
    messages = probe(
        recipe(backbone_file), stripes / "here", [stripes / "there", tmp_path / "nope"], tmp_path / "run", "cpu"
    )
    seen = []
    with pytest.raises(ValueError, match=r"nope: expected a folder"):
        seen.extend(messages)
    assert not [m for m in seen if m.kind in ("epoch", "saved", "validation")]
    assert not (tmp_path / "run" / "classifier.safetensors").exists()


@pytest.mark.parametrize("method", ["lp", "movl"])
def test_images_that_cannot_be_read_are_counted_and_written_down(backbone_file, stripes, tmp_path, method):
    import shutil

    shutil.copytree(stripes / "there", tmp_path / "there")
    first = sorted((tmp_path / "there" / "across").iterdir())[0]
    (tmp_path / "there" / "along" / first.name).write_bytes(b"not a picture")
    (tmp_path / "ruin" / "along").mkdir(parents=True)
    (tmp_path / "ruin" / "along" / "x.png").write_bytes(b"not a picture")
    targets = [tmp_path / "there", tmp_path / "ruin"]
    chosen = recipe(backbone_file, method=method, **{"optim.epochs": 1})
    messages = list(probe(chosen, stripes / "here", targets, tmp_path / "run", "cpu", cache=tmp_path / "cache"))
    assert messages[-1].kind == "done"
    assert messages[-1].values["failed"] == 2
    with (tmp_path / "run" / "failed.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["set"], r["file"]) for r in rows] == [("target there", first.name), ("target ruin", "x.png")]
    text = (tmp_path / "run" / "scores.md").read_text()
    assert "target there (there) | 40 |" in text  # its namesake of the other class is still there
    assert "target ruin" not in text
    assert "| truth \\ answer | across | along |" in text
    assert "| across | " in text


def test_volumes_are_classified_by_their_slices(backbone_file, tmp_path):
    import nibabel

    rng = np.random.default_rng(0)
    for label, name in enumerate(("across", "along")):
        (tmp_path / "volumes" / name).mkdir(parents=True)
        for i in range(10):
            wave = np.sin(np.arange(48) / rng.uniform(1.5, 3))
            plane = np.broadcast_to(wave if label else wave[:, None], (48, 48))
            volume = np.repeat(plane[..., None], 5, 2) + rng.normal(0, 0.1, (48, 48, 5))
            image = nibabel.Nifti1Image(volume.astype(np.float32), np.diag([1, 1, 3, 1]))
            nibabel.save(image, tmp_path / "volumes" / name / f"{name}{i}.nii.gz")
    chosen = recipe(backbone_file, **{"method": "lp", "data.pooling": "top_k", "data.case_pattern": None})
    messages = list(probe(chosen, tmp_path / "volumes", (), tmp_path / "run", "cpu", cache=tmp_path / "cache"))
    assert messages[-1].kind == "done"
    assert messages[-1].values["auroc"] > 0.9


def test_the_worker_runs_a_probe_from_plain_settings(backbone_file, stripes, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_CACHE", str(tmp_path / "cache"))
    settings = {
        "source": str(stripes / "here"),
        "out": str(tmp_path / "run"),
        "recipe": "probe_linear",
        "device": "cpu",
        "overrides": {"backbone.name": "test_resnet", "backbone.weights": str(backbone_file), "backbone.size": 64},
    }
    settings = copy.deepcopy(settings)
    assert list(run_job(settings, lambda: False))[-1].kind == "done"
