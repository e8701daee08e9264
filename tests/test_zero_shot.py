"""Zero-shot: images against one vector per class name from a file; nothing is trained and nothing is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from napari_tinymig.training.classifier.backbone import open_backbone
from napari_tinymig.training.classifier.images import load_pixels, read_image_set
from napari_tinymig.training.classifier.probe import probe
from napari_tinymig.training.classifier.zero_shot import text_embeddings, zero_shot_logits
from probe_parts import recipe, run
from safetensors.torch import save_file

from napari_tinymig.recipes.classify import BackboneSpec

pytestmark = pytest.mark.usefixtures("one_thread")
TOWER = "vit_xsmall_patch16_clip_224"  # timm's smallest image tower of a CLIP; its head is the projection, 512 numbers


def test_logits_are_a_hundred_times_the_cosine():
    images = np.array([[3.0, 4.0]], np.float32)
    texts = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, -4.0]], np.float32)
    np.testing.assert_allclose(zero_shot_logits(images, texts), [[60, 80, -100]], rtol=1e-6)


def test_sentences_of_a_class_are_averaged_at_length_one(tmp_path):
    np.savez(tmp_path / "t.npz", ill=np.array([[3.0, 0.0], [0.0, 1.0]]), well=np.array([0.0, 5.0]), other=np.ones(2))
    found = text_embeddings(str(tmp_path / "t.npz"), ("well", "ill"))
    np.testing.assert_allclose(found, [[0, 1], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"well": np.ones(4)}, "embeddings for well; expected one for each of well, ill"),
        ({"well": np.ones(4), "ill": np.ones(5)}, "one F for all"),
        ({"well": np.ones(4), "ill": np.full(4, np.nan)}, "finite"),
    ],
    ids=["a class is absent", "lengths differ", "not a number"],
)
def test_files_that_do_not_fit_are_refused(tmp_path, arrays, sentence):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=sentence):
        text_embeddings(str(tmp_path / "t.npz"), ("well", "ill"))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="cannot be read as an .npz"):
        text_embeddings(str(tmp_path / "t.npz"), ("well", "ill"))


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """Random weights of a CLIP image tower, projection included, at 64 px."""
    import timm

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("tower") / f"{TOWER}.safetensors"
    save_file(timm.create_model(TOWER, pretrained=False, img_size=64).state_dict(), path)
    return path


def texts_of(tower, images):
    """In place of a text tower: the direction of the tower's space that tells the classes apart, and its opposite."""
    backbone = open_backbone(BackboneSpec(**tower), keep_head=True)
    assert backbone.card.features == 512
    pixels = load_pixels(images.items, 64)
    with torch.no_grad():
        features = backbone(backbone.normalise(torch.from_numpy(pixels.values))).numpy()
    mean = features.mean(0)
    away = np.linalg.lstsq(features - mean, np.where(pixels.labels == 0, 1.0, -1.0), rcond=1e-4)[0]
    away -= mean * (away @ mean) / (mean @ mean)  # the cosine has no offset of its own
    return dict(zip(images.classes, (away, -away), strict=True))


def test_a_clip_tower_tells_the_classes_apart_by_their_texts(tower, stripes, tmp_path):
    options = {"name": TOWER, "weights": str(tower), "size": 64, "options": {"img_size": 64}}
    texts = texts_of(options, read_image_set(stripes / "there"))
    said = {f"backbone.{k}": v for k, v in options.items()} | {"text_embeddings": str(tmp_path / "texts.npz")}
    accuracy = []
    for name, vectors in (("right", texts), ("swapped", {"across": texts["along"], "along": texts["across"]})):
        np.savez(tmp_path / "texts.npz", **vectors)
        messages = run(recipe(tower, method="zero_shot", **said), stripes, tmp_path / name)
        assert messages[-1].kind == "done"
        assert "zero-shot scored" in messages[-1].text
        scores = json.loads((tmp_path / name / "scores.json").read_text())
        accuracy.append(scores["sets"]["target there"]["accuracy"])
    assert scores["trained_parameters"] == 0
    assert not (tmp_path / "right" / "classifier.safetensors").exists()
    assert accuracy[0] > 0.9
    assert accuracy[1] == pytest.approx(1 - accuracy[0])


def test_texts_are_asked_for_before_an_image_is_read(backbone_file, stripes, tmp_path):
    messages = probe(recipe(backbone_file, method="zero_shot"), stripes / "here", (), tmp_path / "run", "cpu")
    with pytest.raises(ValueError, match="zero_shot needs text_embeddings"):
        list(messages)


def test_texts_of_another_model_are_refused_with_both_lengths(backbone_file, stripes, tmp_path):
    np.savez(tmp_path / "texts.npz", across=np.ones(7), along=np.ones(7))
    said = {"method": "zero_shot", "text_embeddings": str(tmp_path / "texts.npz")}
    with pytest.raises(ValueError, match="the text embeddings have 7 numbers"):
        run(recipe(backbone_file, **said), stripes, tmp_path / "run")
