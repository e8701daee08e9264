"""MoVL: what learns, what does not, and that the loss is what it says."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from napari_tinymig.training import backbone as backbones
from napari_tinymig.training.backbone import Backbone, folded, open_backbone, reopen_backbone
from napari_tinymig.training.classify import Classifier
from napari_tinymig.training.classify_data import Item, load_pixels
from napari_tinymig.training.linear_probe import fit_linear_probe
from napari_tinymig.training.movl import FeatureHead, PromptedClassifier, pool_slices
from napari_tinymig.training.probe import probe, run_job, training_hashes
from napari_tinymig.training.probe_losses import Answer, class_weights, discrepancy, movl_loss
from napari_tinymig.training.prompt import Prompt
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from napari_tinymig.engine.classifier_file import (
    ClassifierFile,
    read_classifier,
    read_classifier_card,
    write_classifier,
)
from napari_tinymig.engine.config import Lineage, ModelHeader
from napari_tinymig.engine.errors import HubUnreachable, ModelFileError, OutputRefused
from napari_tinymig.engine.probe_config import (
    BackboneCard,
    BackboneSpec,
    ClassifierCard,
    DiscrepancySpec,
    ProbeDataSpec,
    PromptSpec,
    load_probe_recipe,
    recipe_toml,
    shipped_probes,
)

SMALL = {"optim.epochs": 2, "optim.batch": 8, "optim.lr_prompt": 0.05, "backbone.size": 64}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny networks are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of a small timm network, as a file: the same backbone again and again, without a hub."""
    import timm

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def tiny(weights):
    return open_backbone(BackboneSpec(name="test_resnet", weights=str(weights), size=64))


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Two domains, classes told apart by the direction of stripes; the second domain is darker."""
    root = tmp_path_factory.mktemp("domains")
    rng = np.random.default_rng(0)
    for domain, gain in (("here", 1.0), ("there", 0.6)):
        for label, name in enumerate(("across", "along")):
            (root / domain / name).mkdir(parents=True)
            for i in range(20):
                wave = 0.5 + 0.4 * np.sin(np.arange(64) / rng.uniform(1.5, 3))
                picture = np.broadcast_to(wave if label else wave[:, None], (64, 64)) + rng.normal(0, 0.1, (64, 64))
                pixels = (picture.clip(0, 1) * 255 * gain).astype(np.uint8)
                Image.fromarray(pixels).save(root / domain / name / f"p{i // 2}{name}_{i}.png")
    return root


def recipe(weights, **overrides):
    said = SMALL | {"backbone.name": "test_resnet", "backbone.weights": str(weights)}
    return load_probe_recipe("probe", said | {"data.case_pattern": r"^(p\d+[a-z]+)"} | overrides)


def run(recipe_, domains, out, targets=("there",)):
    return list(probe(recipe_, domains / "here", [domains / t for t in targets], out, "cpu", cache=out / "cache"))


def classifier(tiny, kind="padding", width=30, mode="add", init="normal"):
    torch.manual_seed(0)
    prompt = Prompt(PromptSpec(kind=kind, width=width, mode=mode, init=init), 64)
    return PromptedClassifier(tiny, prompt, FeatureHead(tiny.card.features, 2), ProbeDataSpec())


# the prompt


def test_a_padding_prompt_of_30_at_224_has_69840_parameters():
    assert Prompt(PromptSpec(width=30), 224).values.numel() == 69_840 == 3 * (224**2 - 164**2)


def test_the_width_is_scaled_with_the_input():
    assert Prompt(PromptSpec(width=30), 112).values.numel() == 3 * (112**2 - 82**2)
    assert Prompt(PromptSpec(kind="full"), 112).values.numel() == 3 * 112**2
    assert Prompt(PromptSpec(kind="patch", width=28), 112).values.numel() == 3 * 14**2


def test_the_prompt_acts_in_the_frame_and_nowhere_else():
    prompt = Prompt(PromptSpec(width=56, init="normal"), 64)  # 56 at 224 = 16 at 64
    x = torch.randn(2, 3, 64, 64)
    changed = (prompt(x) - x).detach()
    assert changed[:, :, 16:48, 16:48].abs().max() == 0
    assert (changed[:, :, :16] != 0).all()
    assert torch.allclose(changed[0], changed[1], atol=1e-6)


def test_replace_hides_the_image_under_the_frame_and_shrink_keeps_all_of_it():
    x = torch.ones(1, 3, 64, 64)
    replaced = Prompt(PromptSpec(width=56, mode="replace"), 64)(x)
    assert replaced[0, 0].sum() == 32 * 32
    shrunk = Prompt(PromptSpec(width=56, mode="shrink"), 64)(x)
    assert torch.allclose(shrunk[0, 0, 16:48, 16:48], torch.ones(32, 32))
    assert shrunk[0, 0, :16].abs().max() == 0


def test_impossible_prompts_are_refused():
    with pytest.raises(ValueError, match="leaves no image"):
        PromptSpec(kind="full", mode="replace")
    with pytest.raises(ValueError, match="use a smaller width"):
        Prompt(PromptSpec(width=120), 224)


# the loss


def test_with_lambda_zero_the_loss_is_the_cross_entropy():
    torch.manual_seed(0)
    prompted, plain = (Answer(torch.randn(5, 3), torch.randn(5, 4)) for _ in range(2))
    labels = torch.tensor([0, 1, 2, 0, 1])
    loss, _ = movl_loss(prompted, plain, labels, DiscrepancySpec(weight=0))
    assert torch.equal(loss, F.cross_entropy(prompted.logits, labels))


@pytest.mark.parametrize("term", ["kl", "ce", "mse", "l1", "feature_mse"])
def test_the_plain_branch_receives_no_gradient(term):
    leaves = [torch.randn(4, 3, requires_grad=True) for _ in range(2)]
    features = [torch.randn(4, 6, requires_grad=True) for _ in range(2)]
    prompted, plain = Answer(leaves[0], features[0]), Answer(leaves[1], features[1])
    movl_loss(prompted, plain, torch.tensor([0, 1, 2, 0]), DiscrepancySpec(term=term, weight=1.0))[0].backward()
    assert leaves[1].grad is None
    assert features[1].grad is None
    assert leaves[0].grad is not None


def test_discrepancies_of_known_probabilities():
    half, sure = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.75, 0.25]]))
    zero = torch.zeros(1, 2)
    plus, minus = Answer(sure, zero + 3), Answer(half, zero + 1)
    assert discrepancy("kl", plus, minus) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert discrepancy("ce", plus, minus) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert discrepancy("mse", plus, minus) == pytest.approx(2 * 0.25**2)
    assert discrepancy("l1", plus, minus) == pytest.approx(0.5)
    assert discrepancy("feature_mse", plus, minus) == pytest.approx(4.0)
    for term in ("kl", "mse", "l1", "feature_mse"):
        assert discrepancy(term, plus, plus) == pytest.approx(0.0, abs=1e-6)


def test_the_sign_turns_the_discrepancy_round():
    plus, minus = Answer(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 1)), Answer(torch.zeros(1, 2), torch.zeros(1, 1))
    labels = torch.tensor([0])
    ce = F.cross_entropy(plus.logits, labels)
    for sign in (1, -1):
        loss, terms = movl_loss(plus, minus, labels, DiscrepancySpec(weight=0.5, sign=sign))
        assert loss == pytest.approx(float(ce) + sign * 0.5 * terms["discrepancy"])


def test_class_weights_make_classes_equal_and_average_one():
    weights = class_weights(torch.tensor([0] * 9 + [1]), 2)
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 2])
    assert (weights[torch.tensor([0] * 9 + [1])]).mean() == pytest.approx(1.0)


def test_prompt_and_head_learn_and_the_backbone_does_not(tiny):
    model = classifier(tiny)
    before = tiny.fingerprint()
    x = torch.randn(4, 3, 64, 64)
    owner = torch.arange(4)
    plain = model.answer(x, owner, 4, prompted=False)
    movl_loss(model.answer(x, owner, 4), plain, torch.tensor([0, 1, 0, 1]), DiscrepancySpec())[0].backward()
    assert model.prompt.values.grad.abs().max() > 0
    assert model.head.linear.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in tiny.parameters())
    assert tiny.fingerprint() == before


def test_a_zero_head_gives_the_prompt_no_gradient(tiny):
    model = classifier(tiny, init="zero")
    nn.init.zeros_(model.head.linear.weight)
    x = torch.randn(2, 3, 64, 64)
    F.cross_entropy(model.answer(x, torch.arange(2), 2).logits, torch.tensor([0, 1])).backward()
    assert model.prompt.values.grad.abs().max() == 0


# the backbone


def test_train_mode_does_not_reach_the_backbone(tiny):
    model = classifier(tiny)
    model.train()
    before = tiny.fingerprint()
    model.answer(torch.randn(4, 3, 64, 64), torch.arange(4), 4)
    assert not any(m.training for m in tiny.body.modules())
    assert tiny.fingerprint() == before


def test_folding_batch_norm_keeps_the_answers(tiny):
    x = torch.randn(3, 3, 64, 64)
    fast = folded(tiny)
    assert fast is not tiny
    left = [sum(isinstance(m, nn.BatchNorm2d) for m in b.modules()) for b in (tiny, fast)]
    assert left[1] < left[0] / 2
    assert torch.allclose(fast(x), tiny(x), atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_other_families_fit_too(name):
    found = open_backbone(BackboneSpec(name=name, weights="random"))
    fast = folded(found)
    x = torch.randn(2, 3, found.card.size, found.card.size)
    assert fast(x).shape == (2, found.card.features)
    assert torch.allclose(fast(x), found(x), atol=1e-3)


def test_the_normalisation_is_the_models_own_and_can_be_overruled(weights):
    assert open_backbone(BackboneSpec(name="test_resnet", weights=str(weights))).card.mean == (0.5, 0.5, 0.5)
    other = BackboneSpec(name="test_resnet", weights=str(weights), mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    pixels = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    assert open_backbone(other).normalise(pixels)[0, :, 0, 0].tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_a_weights_file_may_say_its_own_padding_and_normalisation(tmp_path):
    import timm

    model = timm.create_model("test_efficientnet", pretrained=False, pad_type="same")
    path = tmp_path / "said.safetensors"
    save_file(model.state_dict(), path, metadata={"pad_type": "same", "input_mean": "[0.4, 0.4, 0.4]"})
    found = open_backbone(BackboneSpec(name="test_efficientnet", weights=str(path)))
    assert found.card.options == {"pad_type": "same"}
    assert found.card.mean == (0.4, 0.4, 0.4)
    assert any("Same" in type(m).__name__ for m in found.modules())


def test_another_backbone_is_refused_with_both_hashes(tiny, tmp_path):
    torch.manual_seed(99)
    changed = {k: v + 0.1 if v.is_floating_point() else v for k, v in tiny.body.state_dict().items()}
    path = tmp_path / "other.safetensors"
    save_file(changed, path)
    with pytest.raises(ModelFileError, match=rf"{tiny.card.weights_sha256[:8]}.*the weights found are"):
        reopen_backbone(tiny.card, str(path))


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(ModelFileError, match="test_convnext"):
        open_backbone(BackboneSpec(name="test_convnext", weights=str(weights)))


def test_a_misspelt_model_gets_its_right_name():
    with pytest.raises(ValueError, match="did you mean"):
        open_backbone(BackboneSpec(name="resnet5O", weights="random"))


def test_an_unreachable_hub_is_said_at_once_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(backbones, "HUB_TIMEOUT_S", 1.0)
    with pytest.raises(HubUnreachable, match=r"test_resnet.*--weights FILE"):
        open_backbone(BackboneSpec(name="test_resnet"))


# fitting


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


def test_a_frozen_zero_prompt_on_a_fitted_probe_is_the_linear_probe_exactly(weights, domains, tmp_path):
    run(recipe(weights, method="lp", **{"prompt.kind": "none"}), domains, tmp_path / "lp")
    frozen = {"strategy": "lp_then_vp", "optim.lr_prompt": 0.0, "optim.lr_head": 0.0}
    run(recipe(weights, **frozen), domains, tmp_path / "frozen")
    lp, zero = (Classifier.open(tmp_path / n / "classifier.safetensors", str(weights)) for n in ("lp", "frozen"))
    items = [Item(p.name, 0, p.name, path=p) for p in sorted((domains / "there" / "along").iterdir())]
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
def test_every_method_learns_stripes_and_leaves_a_classifier_that_reads_back(weights, domains, tmp_path, overrides):
    before = weights.read_bytes()
    messages = run(recipe(weights, **overrides), domains, tmp_path)
    assert messages[-1].kind == "done"
    assert weights.read_bytes() == before
    for name in ("classifier.safetensors", "scores.json", "scores.md", "predictions.csv", "report.png", "config.toml"):
        assert (tmp_path / name).stat().st_size > 0
    header, card = read_classifier_card(tmp_path / "classifier.safetensors")
    assert header.classes == ("across", "along")
    assert card.backbone.name == "test_resnet"
    if "method" not in overrides:
        assert header.scores["source test"]["auroc"] > 0.9
    if overrides.get("method") == "ff":
        tensors = read_classifier(tmp_path / "classifier.safetensors").tensors
        assert np.abs(tensors["backbone.conv1.0.weight"] - load_file(weights)["conv1.0.weight"].numpy()).max() > 0
    answer = next(Classifier.open(tmp_path / "classifier.safetensors", str(weights)).classify([item(domains)]))
    assert answer.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert 0 <= answer.shift_score <= 100


def item(domains, domain="here", label="along"):
    path = sorted((domains / domain / label).iterdir())[0]
    return Item(path.name, 0, path.name, path=path)


def test_trainable_parameters_are_counted(weights, domains, tmp_path):
    run(recipe(weights), domains, tmp_path)
    card = read_classifier_card(tmp_path / "classifier.safetensors")[1]
    prompt = Prompt(PromptSpec(width=30), 64).values.numel()
    assert card.trained_parameters == prompt + 2 * card.backbone.features + 2
    assert (tmp_path / "classifier.safetensors").stat().st_size < 4 * card.trained_parameters + 20_000


def test_trials_choose_on_source_validation_and_every_method_gets_as_many(weights, domains, tmp_path):
    for method in ("lp", "movl"):
        said = {"method": method, "optim.trials": 3, "optim.trial_epochs": 1, "optim.epochs": 1}
        messages = run(recipe(weights, **said), domains, tmp_path / method, targets=())
        assert len([m for m in messages if m.text.startswith(("Trial", "Linear probe with"))]) == 3


def test_stopping_keeps_the_best_so_far(weights, domains, tmp_path):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    messages = list(
        probe(recipe(weights, **{"optim.epochs": 50}), domains / "here", (), tmp_path, "cpu", stop, tmp_path / "c")
    )
    assert messages[-1].kind == "stopped"
    assert read_classifier(tmp_path / "classifier.safetensors").classes == ("across", "along")


def test_a_finished_run_is_not_overwritten(weights, domains, tmp_path):
    run(recipe(weights, method="lp"), domains, tmp_path)
    with pytest.raises(OutputRefused, match="already holds a classifier"):
        run(recipe(weights, method="lp"), domains, tmp_path)


def test_cached_features_need_no_backbone(weights, domains, tmp_path, monkeypatch):
    run(recipe(weights, method="lp"), domains, tmp_path / "first")
    monkeypatch.setattr("napari_tinymig.training.probe_methods.open_backbone", None)
    (tmp_path / "second").mkdir()
    cache = tmp_path / "first" / "cache"
    targets = [domains / "there"]
    said = list(probe(recipe(weights, method="lp"), domains / "here", targets, tmp_path / "second", "cpu", cache=cache))
    assert said[-1].kind == "done"
    scores = [(tmp_path / n / "predictions.csv").read_text() for n in ("first", "second")]
    assert scores[0] == scores[1]


def test_zero_shot_compares_with_given_text_embeddings(weights, domains, tmp_path):
    import timm

    dimensions = timm.create_model("test_resnet").num_classes
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "texts.npz", across=rng.normal(size=dimensions), along=rng.normal(size=(4, dimensions)))
    said = {"method": "zero_shot", "text_embeddings": str(tmp_path / "texts.npz")}
    messages = run(recipe(weights, **said), domains, tmp_path / "run")
    assert messages[-1].kind == "done"
    np.savez(tmp_path / "texts.npz", across=np.ones(7), along=np.ones(7))
    with pytest.raises(ValueError, match="the text embeddings have 7 numbers"):
        run(recipe(weights, **said), domains, tmp_path / "run2")
    with pytest.raises(ValueError, match="zero_shot needs text_embeddings"):
        run(recipe(weights, method="zero_shot"), domains, tmp_path / "run3")


def test_a_target_without_one_class_is_scored_and_said(weights, domains, tmp_path):
    import shutil

    shutil.copytree(domains / "there" / "along", tmp_path / "half" / "along")
    messages = list(
        probe(recipe(weights, method="lp"), domains / "here", [tmp_path / "half"], tmp_path / "run", "cpu", cache=None)
    )
    assert any("no image of class across" in m.text for m in messages)
    assert messages[-1].kind == "done"


def test_volumes_are_classified_by_their_slices(weights, tmp_path):
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
    chosen = recipe(weights, **{"method": "lp", "data.pooling": "top_k", "data.case_pattern": None})
    messages = list(probe(chosen, tmp_path / "volumes", (), tmp_path / "run", "cpu", cache=tmp_path / "cache"))
    assert messages[-1].kind == "done"
    assert messages[-1].values["auroc"] > 0.9


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


# files and settings


def test_a_classifier_from_a_changed_file_is_refused(weights, domains, tmp_path):
    run(recipe(weights, method="lp"), domains, tmp_path, targets=())
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


def test_a_recipe_survives_its_own_file(weights, tmp_path):
    said = recipe(weights, **{"backbone.options": {"pad_type": "same"}})
    (tmp_path / "r.toml").write_text(recipe_toml(said), encoding="utf-8")
    assert load_probe_recipe(tmp_path / "r.toml") == said


def test_shipped_probe_recipes_load_and_a_wrong_key_names_the_right_one(tmp_path):
    assert {"probe", "probe_linear", "probe_full"} <= set(shipped_probes())
    for name in shipped_probes():
        assert load_probe_recipe(name).name == name
    with pytest.raises(ValueError, match="did you mean 'weight'"):
        load_probe_recipe("probe", {"discrepancy.wieght": 1})


def test_the_worker_runs_a_probe_from_plain_settings(weights, domains, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_CACHE", str(tmp_path / "cache"))
    settings = {
        "source": str(domains / "here"),
        "out": str(tmp_path / "run"),
        "recipe": "probe_linear",
        "device": "cpu",
        "overrides": {"backbone.name": "test_resnet", "backbone.weights": str(weights), "backbone.size": 64},
    }
    settings = copy.deepcopy(settings)
    assert list(run_job(settings, lambda: False))[-1].kind == "done"


def test_a_question_about_one_image_is_answered_with_plain_arrays_in_its_frame(weights, domains, tmp_path):
    from napari_tinymig.training.classify_job import run_job as ask

    run(recipe(weights, strategy="lp_then_both"), domains, tmp_path / "run", targets=())
    picture = np.asarray(Image.open(item(domains).path))[:, :50]
    np.save(tmp_path / "image.npy", picture[None])
    said = {
        "classifier": str(tmp_path / "run" / "classifier.safetensors"),
        "weights": str(weights),
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
