"""Teachers are frozen, normalised as they were trained, tapped where the recipe says, and never silently random."""

import logging
from pathlib import Path

import pytest
import timm
import torch
from napari_tinymig.training.augmentation.apply import Batch
from napari_tinymig.training.networks.student import Student
from napari_tinymig.training.networks.teacher import build_teacher, state_hash, unit_range, vit_layers
from napari_tinymig.training.objectives.tinymig import TinyMIGObjective, build_distillation
from napari_tinymig.training.run.loop import build_optimiser
from safetensors.torch import save_file

from napari_tinymig.base.errors import HubUnreachable, ModelFileError
from napari_tinymig.recipes.student import StudentSpec, recipe_from_dict
from napari_tinymig.recipes.teachers import RECOMMENDED
from napari_tinymig.recipes.train import TeacherSpec

SMALL = StudentSpec(widths=(16, 16, 32, 32), blocks=(0, 0, 0, 0), decoder=16)


def random_teacher(name, size=None, **more):
    return build_teacher(TeacherSpec(name=name, weights="random", size=size, **more))


def batch_of(n=2, size=64):
    g = torch.Generator().manual_seed(0)
    image = torch.rand(n, 3, size, size, generator=g) * 2 - 1
    target = (torch.rand(n, 2, size, size, generator=g) > 0.5).float()
    ones = torch.ones(n, 1, size, size)
    return Batch(image, image * 0.9, target, ones.bool(), ones, torch.arange(n), torch.eye(2, 3).expand(n, 2, 3))


def test_a_vit_is_tapped_at_blocks_3_6_9_12_without_its_cls_token():
    teacher = random_teacher("vit_tiny_patch16_224", size=96)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    maps = teacher.features(x)
    assert teacher.layers == (3, 6, 9, 12)
    assert [tuple(m.shape) for m in maps] == [(2, 192, 6, 6)] * 4
    ours = torch.nn.functional.interpolate(x * 0.5 + 0.5, (96, 96), mode="bicubic", antialias=True).clamp(0, 1)
    cfg = teacher.network.pretrained_cfg
    ours = (ours - torch.tensor(cfg["mean"]).view(3, 1, 1)) / torch.tensor(cfg["std"]).view(3, 1, 1)
    after_block_3 = teacher.network.forward_intermediates(ours, indices=[2], norm=False, intermediates_only=True)[0]
    expected = torch.nn.functional.layer_norm(after_block_3.permute(0, 2, 3, 1), (192,), eps=1e-6).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps[0], expected, atol=1e-4, rtol=1e-4)


def test_a_cnn_is_tapped_at_strides_4_8_16_32():
    teacher = random_teacher("resnet18", size=64)
    maps = teacher.features(torch.rand(1, 3, 64, 64))
    assert teacher.layers == (4, 8, 16, 32)
    assert [tuple(m.shape) for m in maps] == [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4), (1, 512, 2, 2)]


@pytest.mark.parametrize(
    "depth, expected", [(12, (3, 6, 9, 12)), (24, (6, 12, 18, 24)), (6, (2, 3, 4, 6)), (32, (8, 16, 24, 32))]
)
def test_other_depths_take_the_same_fractions_and_say_so(depth, expected):
    indices, layers, messages = vit_layers(TeacherSpec(name="x"), depth)
    assert layers == expected
    assert indices == [x - 1 for x in expected]
    assert bool(messages) == (depth != 12)
    if messages:
        assert str(expected) in messages[0]


def test_a_layer_beyond_twelve_is_refused():
    with pytest.raises(ValueError, match="1 to 12"):
        vit_layers(TeacherSpec(name="x", layers=(3, 24)), 24)


def test_a_side_that_is_no_multiple_of_the_patch_is_rounded_and_said():
    teacher = random_teacher("vit_small_patch14_dinov2", size=100)
    assert teacher.size == 98
    assert any("multiple of its patch 14" in m for m in teacher.messages)
    assert teacher.features(torch.rand(1, 3, 64, 64))[0].shape[-2:] == (7, 7)


def test_tokens_are_layernormed():
    for m in random_teacher("resnet18", size=64).features(torch.rand(2, 3, 64, 64)):
        torch.testing.assert_close(m.mean(dim=1), torch.zeros_like(m[:, 0]), atol=1e-4, rtol=0)


def test_a_random_teacher_is_loud(caplog):
    with caplog.at_level(logging.WARNING):
        teacher = random_teacher("resnet18", size=64)
    assert "RANDOM TEACHER" in caplog.text
    assert any("RANDOM TEACHER" in m for m in teacher.messages)


@pytest.mark.parametrize("normalisation", ["rgb_half", "percentile_z"])
def test_the_teacher_sees_pixels_in_its_own_range(normalisation):
    pixels = torch.rand(2, 3, 8, 8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = 0.0, 1.0
    seen = pixels * 2 - 1 if normalisation == "rgb_half" else (pixels - 0.4) / 0.3
    torch.testing.assert_close(unit_range(seen, normalisation), pixels, atol=1e-5, rtol=0)


def test_teacher_bytes_are_unchanged_after_training_and_nothing_of_it_is_trained():
    recipe = recipe_from_dict(
        {
            "name": "t",
            "task": "optic",
            "input": {"size": 64},
            "student": SMALL.model_dump(),
            "teacher": {"name": "mobilenetv2_100", "weights": "random", "size": 64, "cache": "none"},
            "loss": {"lambdas": [1, 1, 0.5, 0.5, 0.5]},
            "optim": {"epochs": 2, "lr": 0.01},
        }
    )
    torch.manual_seed(0)
    student = Student(recipe.student, 2)
    objective = build_distillation(recipe, student, torch.device("cpu"))
    teacher = objective.distillation.teacher
    before, projector = state_hash(teacher.network), objective.distillation.projectors[0].weight.detach().clone()
    objective.train()
    teacher.train()  # asking for train mode changes nothing
    optimiser = build_optimiser(student, objective, recipe.optim)
    for step in range(3):
        loss = objective(student, batch_of(), step / 3)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert state_hash(teacher.network) == before
    assert not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in teacher.parameters()}
    assert not torch.equal(objective.distillation.projectors[0].weight, projector), "projectors are trained"
    assert not [k for k in objective.state_dict() if "network" in k], "a resume state carries no teacher"


def test_the_objective_logs_gradient_norms_and_presence():
    recipe = recipe_from_dict(
        {
            "name": "t",
            "task": "optic",
            "input": {"size": 64},
            "student": SMALL.model_dump() | {"presence": True},
            "teacher": {"name": "resnet18", "weights": "random", "size": 64, "cache": "none"},
            "loss": {"lambdas": [1, 1, 0.5, 0.5, 0.5]},
            "optim": {"epochs": 40},
        }
    )
    student = Student(recipe.student, 2)
    objective = build_distillation(recipe, student, torch.device("cpu"))
    assert isinstance(objective, TinyMIGObjective)
    first, second = objective(student, batch_of(), 0.0), objective(student, batch_of(), 1 / 40)
    assert {"dice_loss", "ce_loss", "gdc", "sem", "gen", "presence_loss", "loss"} <= set(first)
    assert {"grad_gdc", "grad_gdc_projector", "projector_share_gdc"} <= set(first)
    assert "grad_gdc" not in second  # measured in one epoch of four here


def test_the_self_teacher_is_a_frozen_copy():
    student = Student(SMALL, 2)
    teacher = build_teacher(TeacherSpec(name="self"), student=student)
    x = torch.rand(1, 3, 64, 64)
    before = teacher.features(x)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1)
    for a, b in zip(before, teacher.features(x), strict=True):
        torch.testing.assert_close(a, b)
    assert teacher.channels == (16, 16, 32, 32)
    with pytest.raises(ValueError, match="parent student"):
        build_teacher(TeacherSpec(name="self"))


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_come_from_a_local_file(tmp_path, ending):
    original = timm.create_model("resnet18", pretrained=False)
    path = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save({"state_dict": original.state_dict()}, path)
    else:
        save_file(original.state_dict(), path)
    teacher = build_teacher(TeacherSpec(name="resnet18", weights=str(path), size=64))
    torch.testing.assert_close(teacher.network.state_dict()["conv1.weight"], original.conv1.weight)
    other = random_teacher("resnet18", size=64)
    assert teacher.identity != other.identity


def test_weights_are_found_by_name_in_the_folder_of_the_environment(tmp_path, monkeypatch):
    original = timm.create_model("resnet18", pretrained=False)
    save_file(original.state_dict(), tmp_path / "resnet18.imagenet.safetensors")
    monkeypatch.setenv("TINYMIG_WEIGHTS", str(tmp_path))
    teacher = build_teacher(TeacherSpec(name="resnet18", size=64))
    torch.testing.assert_close(teacher.network.state_dict()["conv1.weight"], original.conv1.weight)


def test_the_metadata_of_a_file_sets_mean_std_and_padding(tmp_path):
    original = timm.create_model("mobilenetv2_100", pretrained=False)
    meta = {"input_mean": "[0.5, 0.5, 0.5]", "input_std": "[0.25, 0.25, 0.25]", "pad_type": "same"}
    save_file(original.state_dict(), tmp_path / "m.safetensors", metadata=meta)
    teacher = build_teacher(TeacherSpec(name="mobilenetv2_100", weights=str(tmp_path / "m.safetensors"), size=64))
    assert teacher.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert teacher.std.flatten().tolist() == [0.25, 0.25, 0.25]
    assert type(teacher.network.conv_stem).__name__ == "Conv2dSame"


class RunsCode:
    def __reduce__(self):
        return (print, ("a pickle that runs code",))


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(ModelFileError, match="weights_only"):
        build_teacher(TeacherSpec(name="resnet18", weights=str(tmp_path / "evil.pth")))
    assert "runs code" not in capsys.readouterr().out


def test_files_that_cannot_be_used_are_sentences(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing of the kind")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name, word in (("damaged", "not a readable"), ("other", "does not fit"), ("absent", "no weights file")):
        with pytest.raises(ModelFileError, match=word):
            build_teacher(TeacherSpec(name="resnet18", weights=str(tmp_path / f"{name}.safetensors")))
    with pytest.raises(ValueError, match="timm has no model"):
        build_teacher(TeacherSpec(name="resnot18"))


def test_an_unreachable_hub_names_the_model_the_file_and_the_way_out(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYMIG_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)
    with pytest.raises(HubUnreachable) as caught:
        build_teacher(TeacherSpec(name="vit_small_patch14_dinov2"))
    for word in ("vit_small_patch14_dinov2", "model.safetensors", "teacher.weights", "TINYMIG_WEIGHTS"):
        assert word in str(caught.value)


def test_every_recommended_teacher_is_known_to_timm_with_its_size():
    for name, card in RECOMMENDED.items():
        if name != "litemedsam":  # tested by itself in test_litemedsam
            assert timm.is_model(name), name
            assert timm.get_pretrained_cfg(name).input_size[-1] == card.size
        assert card.licence
        assert card.weights_mb > 0
        assert card.peak_mb > card.weights_mb  # measured: the weights and what one image needs


def test_the_command_line_lists_every_teacher_with_its_memory_without_torch(capsys):
    from napari_tinymig.cli.models import teachers

    teachers()
    shown = capsys.readouterr().out
    for name, card in RECOMMENDED.items():
        line = next(s for s in shown.splitlines() if name in s)
        assert card.licence.split(" (")[0] in line
        assert f"{card.peak_mb} MB" in line


def test_the_page_on_benchmarks_shows_the_same_facts():
    page = (Path(__file__).parent.parent / "docs" / "BENCHMARK.md").read_text(encoding="utf-8")
    for name, card in RECOMMENDED.items():
        facts = (name, card.title, card.licence, card.weights_mb, card.peak_mb, card.size, card.note)
        assert f"| {' | '.join(map(str, facts))} |" in page


def test_the_shared_imagenet_file_gives_a_teacher_that_tells_images_apart(data_folder):
    path = data_folder.parent / "weights" / "mobilenetv2_100.imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"no weights at {path}")
    teacher = build_teacher(TeacherSpec(name="mobilenetv2_100", weights=str(path)))
    assert teacher.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert teacher.size == 224
    maps = teacher.features(torch.rand(2, 3, 224, 224) * 2 - 1)
    assert [m.shape[-1] for m in maps] == [56, 28, 14, 7]
