"""Frozen backbones: opened, folded, recognised by their weights, and refused with a reason."""

from __future__ import annotations

import pytest
import torch
from napari_tinymig.training.classifier.backbone import folded, open_backbone, reopen_backbone
from napari_tinymig.training.networks.weights import create_pretrained
from safetensors.torch import save_file
from torch import nn

from napari_tinymig.base.errors import HubUnreachable, ModelFileError
from napari_tinymig.recipes.classify import BackboneSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_folding_batch_norm_keeps_the_answers(backbone):
    x = torch.randn(3, 3, 64, 64)
    fast = folded(backbone)
    assert fast is not backbone
    left = [sum(isinstance(m, nn.BatchNorm2d) for m in b.modules()) for b in (backbone, fast)]
    assert left[1] < left[0] / 2
    assert torch.allclose(fast(x), backbone(x), atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_other_families_fit_too(name):
    found = open_backbone(BackboneSpec(name=name, weights="random"))
    fast = folded(found)
    x = torch.randn(2, 3, found.card.size, found.card.size)
    assert fast(x).shape == (2, found.card.features)
    assert torch.allclose(fast(x), found(x), atol=1e-3)


def test_the_normalisation_is_the_models_own_and_can_be_overruled(backbone_file):
    assert open_backbone(BackboneSpec(name="test_resnet", weights=str(backbone_file))).card.mean == (0.5, 0.5, 0.5)
    other = BackboneSpec(name="test_resnet", weights=str(backbone_file), mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
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


@pytest.mark.parametrize("said", ["[0.4, 0.5, 0.6]", "(0.4, 0.5, 0.6)", "0.4,0.5,0.6"])
def test_both_notations_of_a_mean_are_understood_by_backbone_and_teacher_alike(tmp_path, said):
    import timm

    path = tmp_path / "said.safetensors"
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file(state, path, metadata={"input_mean": said, "input_size": "[3, 96, 96]"})
    card = open_backbone(BackboneSpec(name="test_resnet", weights=str(path))).card
    assert card.mean == (0.4, 0.5, 0.6)
    assert card.size == 96
    assert create_pretrained("test_resnet", path).pretrained_cfg["mean"] == (0.4, 0.5, 0.6)


@pytest.mark.parametrize(
    ("key", "said"),
    [("input_mean", "imagenet"), ("input_mean", "[0.4, 0.5]"), ("input_std", "[nan, 1, 1]"), ("input_std", "0, 1, 1")],
)
def test_a_mean_or_std_that_cannot_be_used_is_a_sentence_for_backbone_and_teacher_alike(tmp_path, key, said):
    import timm

    path = tmp_path / "said.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path, metadata={key: said})
    for used in (lambda: open_backbone(BackboneSpec(name="test_resnet", weights=str(path))),
                 lambda: create_pretrained("test_resnet", path)):  # fmt: skip
        with pytest.raises(ModelFileError, match=rf"'{key}' is .*; expected"):
            used()


def test_a_folder_of_weights_is_honoured_and_a_file_of_ones_own_wins(backbone_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_WEIGHTS", str(backbone_file.parent))
    found = open_backbone(BackboneSpec(name="test_resnet"))
    assert found.card.weights == backbone_file.name
    again = reopen_backbone(found.card, None)  # a classifier finds its backbone there too
    assert again.fingerprint() == found.fingerprint()
    monkeypatch.setenv("TINYMIG_WEIGHTS", str(tmp_path))
    (tmp_path / "test_resnet.safetensors").write_bytes(b"rubbish")
    assert (
        open_backbone(BackboneSpec(name="test_resnet", weights=str(backbone_file))).card.weights == backbone_file.name
    )
    with pytest.raises(ModelFileError, match="not a readable"):
        open_backbone(BackboneSpec(name="test_resnet"))


def test_another_backbone_is_refused_with_both_hashes(backbone, tmp_path):
    torch.manual_seed(99)
    changed = {k: v + 0.1 if v.is_floating_point() else v for k, v in backbone.body.state_dict().items()}
    path = tmp_path / "other.safetensors"
    save_file(changed, path)
    with pytest.raises(ModelFileError, match=rf"{backbone.card.weights_sha256[:8]}.*the weights found are"):
        reopen_backbone(backbone.card, str(path))


def test_weights_of_another_network_are_refused(backbone_file):
    with pytest.raises(ModelFileError, match="test_convnext"):
        open_backbone(BackboneSpec(name="test_convnext", weights=str(backbone_file)))


def test_a_misspelt_model_gets_its_right_name():
    with pytest.raises(ValueError, match="did you mean"):
        open_backbone(BackboneSpec(name="resnet5O", weights="random"))


def test_an_unreachable_hub_is_said_at_once_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("napari_tinymig.training.networks.weights.HUB_TIMEOUT_S", 1.0)
    with pytest.raises(HubUnreachable, match=r"test_resnet.*--weights FILE"):
        open_backbone(BackboneSpec(name="test_resnet"))


def test_a_fine_tune_starts_without_timm_and_timm_prints_no_warning_of_another_library():
    import subprocess
    import sys

    code = (
        "import sys, napari_tinymig.training.finetune.pipeline, napari_tinymig.training.networks.weights\n"
        "assert 'timm' not in sys.modules and 'torchvision' not in sys.modules\n"
        "import timm"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch.jit.interface" not in done.stderr
