"""Classifier files and probe recipes: small, read back, refused if damaged; and what a classifier says of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from napari_tinymig.training.classifier.backbone import Backbone
from napari_tinymig.training.classifier.classify import Classifier
from napari_tinymig.training.classifier.save import training_hashes
from napari_tinymig.training.classifier.visual_prompt import Prompt
from PIL import Image
from probe_parts import item, recipe, run
from torch import nn

from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.models.classifier_file import ClassifierFile, read_classifier, write_classifier
from napari_tinymig.recipes.classify import (
    BackboneCard,
    ClassifierCard,
    PromptSpec,
    load_probe_recipe,
    recipe_toml,
    shipped_probes,
)
from napari_tinymig.recipes.student import Lineage, ModelHeader

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_classifier_from_a_changed_file_is_refused(backbone_file, stripes, tmp_path):
    run(recipe(backbone_file, method="lp"), stripes, tmp_path, targets=())
    path = tmp_path / "classifier.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-20] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(raw)
    with pytest.raises(ModelFileError):
        read_classifier(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(("kind", "limit"), [("padding", 400_000), ("full", 700_000)])
def test_a_classifier_for_a_resnet50_at_224_is_small(tmp_path, kind, limit):
    options = {"name": "resnet50", "weights_sha256": "0" * 64, "size": 224, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    card = BackboneCard(**options, features=2048)
    spec = PromptSpec(kind=kind)
    rng = np.random.default_rng(0)
    tensors = {
        "prompt": rng.normal(size=Prompt(spec, 224).values.numel()).astype(np.float32),
        "head.weight": np.zeros((2, 2048), np.float32),
        "head.bias": np.zeros(2, np.float32),
        "feature_mean": np.zeros(2048, np.float32),
        "feature_std": np.ones(2048, np.float32),
    }
    distances = tuple(float(v) for v in rng.random(101))
    said = ClassifierCard(backbone=card, prompt=spec, method="movl", strategy="joint", distance_percentiles=distances)
    lineage = Lineage(data_hashes=training_hashes([f"{i:064d}" for i in range(1000)]))
    header = ModelHeader(name="x", classes=("a", "b"), lineage=lineage)
    write_classifier(tmp_path / "x.safetensors", header, said, tensors)
    assert (tmp_path / "x.safetensors").stat().st_size < limit
    assert read_classifier(tmp_path / "x.safetensors").card == said
    assert len(training_hashes([f"{i:064d}" for i in range(5000)])) == 1


def test_a_recipe_survives_its_own_file(backbone_file, tmp_path):
    said = recipe(backbone_file, **{"backbone.options": {"pad_type": "same"}})
    (tmp_path / "r.toml").write_text(recipe_toml(said), encoding="utf-8")
    assert load_probe_recipe(tmp_path / "r.toml") == said


def test_shipped_probe_recipes_load_and_a_wrong_key_names_the_right_one(tmp_path):
    assert {"probe", "probe_linear", "probe_full"} <= set(shipped_probes())
    for name in shipped_probes():
        assert load_probe_recipe(name).name == name
    with pytest.raises(ValueError, match="did you mean 'weight'"):
        load_probe_recipe("probe", {"discrepancy.wieght": 1})
    with pytest.raises(ValueError, match="'seed' is the value 0, not a table of keys"):
        load_probe_recipe("probe", {"seed": 0, "seed.split": 1})


class TwoHalves(nn.Module):
    """Features: mean brightness of the left and of the right half."""

    def forward(self, x):
        return torch.stack([x[..., :32].mean((1, 2, 3)), x[..., 32:].mean((1, 2, 3))], 1)


def test_the_attribution_lies_on_the_picture_where_the_evidence_is():
    card = BackboneCard(name="two halves", weights_sha256="", size=64, mean=(0, 0, 0), std=(1, 1, 1), features=2)
    tensors = {
        "prompt": np.zeros(0, np.float32),
        "head.weight": np.float32([[0, 0], [0, 8]]),
        "head.bias": np.zeros(2, np.float32),
        "feature_mean": np.zeros(2, np.float32),
        "feature_std": np.ones(2, np.float32),
    }
    said = ClassifierCard(backbone=card, prompt=PromptSpec(kind="none"), method="lp", strategy="joint")
    file = ClassifierFile(Path("x"), ModelHeader(name="x", classes=("dark", "bright")), said, tensors, "x@0")
    used = Classifier(file, Backbone(TwoHalves(), card), torch.device("cpu"))
    image = np.zeros((40, 90, 3), np.uint8)
    image[:, 60:] = 255
    for how in ("occlusion", "gradient"):
        where = used.attribution(image, 1, how)
        assert where.shape == (40, 90)
        assert where.max() == pytest.approx(1.0)
        assert np.abs(where[:, :35]).max() < 0.1
        assert where[:, 65:85].min() > 0.2
    with pytest.raises(ValueError, match="expected 'occlusion' or 'gradient'"):
        used.attribution(image, 1, "guess")


def test_a_question_about_one_image_is_answered_with_plain_arrays_in_its_frame(backbone_file, stripes, tmp_path):
    from napari_tinymig.training.classifier.one_image_job import run_job as ask

    run(recipe(backbone_file, strategy="lp_then_both"), stripes, tmp_path / "run", targets=())
    picture = np.asarray(Image.open(item(stripes).path))[:, :50]
    np.save(tmp_path / "image.npy", picture[None])
    said = {
        "classifier": str(tmp_path / "run" / "classifier.safetensors"),
        "weights": str(backbone_file),
        "image": str(tmp_path / "image.npy"),
        "out": str(tmp_path / "look.npz"),
    }
    assert list(ask(said, lambda: False))[-1].kind == "done"
    found = np.load(tmp_path / "look.npz")
    assert found["classes"].tolist() == ["across", "along"]
    assert found["probabilities"].sum() == pytest.approx(1, abs=1e-5)
    assert found["prompt"].shape == found["prompted"].shape == (64, 50, 3)
    assert list(ask(said | {"label": 1, "index": 0, "how": "occlusion"}, lambda: False))[-1].kind == "done"
    assert np.load(tmp_path / "look.npz")["evidence"].shape == (64, 50)
    assert [m.kind for m in ask(said, lambda: True)] == ["started", "stopped"]
