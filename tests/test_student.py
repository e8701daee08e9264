"""The student's size, shapes and frozen parts, counted."""

from __future__ import annotations

import pytest
import torch
from napari_tinymig.training.networks.baselines import NETWORKS, build_network
from napari_tinymig.training.networks.student import LocalContrast, PadThenConv, Student, count_macs, count_parameters
from napari_tinymig.training.run.loop import freeze_statistics

from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.recipes.student import StudentSpec, load_recipe, shipped_recipes

STUDENTS = [name for name in shipped_recipes() if load_recipe(name).network == "student"]


@pytest.mark.parametrize("name", STUDENTS)
def test_every_shipped_student_has_at_most_a_million_and_a_half_parameters_and_one_gmac(name):
    recipe = load_recipe(name)
    student = Student(recipe.student.model_copy(update={"init_weights": None}), len(recipe.task.regions))
    assert count_parameters(student) <= 1_500_000
    assert count_macs(student, recipe.input.size) <= 1_000_000_000


def test_the_default_student_stays_below_one_gmac_at_512():
    assert count_macs(Student(StudentSpec(), 2), 512) <= 1_000_000_000


def test_parameters_and_operations_of_a_known_layer_are_counted_by_hand():
    layer = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert count_parameters(layer) == 8 * 3 * 9 + 8
    assert count_macs(layer, 32) == 16 * 16 * 8 * 3 * 9


@pytest.mark.parametrize("encoder", ["dense", "mobile"])
def test_logits_have_the_input_size_and_stages_the_strides_4_8_16_32(encoder):
    student = Student(StudentSpec(encoder=encoder), 2).eval()
    output = student(torch.randn(2, 3, 96, 128))
    assert output.logits.shape == (2, 2, 96, 128)
    assert [s.shape[-2:] for s in output.stages] == [(24, 32), (12, 16), (6, 8), (3, 4)]
    assert tuple(s.shape[1] for s in output.stages) == student.stage_channels
    assert output.presence is None


def test_a_frame_judged_empty_pulls_every_pixel_down():
    student = Student(StudentSpec(presence=True), 1).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        student.presence.bias.fill_(30.0)
        there = student(x).logits
        student.presence.bias.fill_(-30.0)
        absent = student(x)
    assert absent.presence.shape == (1, 1)
    torch.testing.assert_close(there - absent.logits, torch.full_like(there, 30.0), atol=2.0, rtol=0)


def test_fixed_padding_equals_timms_same_padding_for_even_sizes():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    reference = timm.create_model("mobilenetv2_100", pretrained=False, pad_type="same").eval()
    student = Student(StudentSpec(encoder="mobile"), 1).eval()
    stem = student.encoder.stem[0]
    assert isinstance(stem, PadThenConv)
    stem[1].weight = reference.conv_stem.weight
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(stem(x), reference.conv_stem(x))


def test_frozen_blocks_keep_weights_and_running_statistics():
    student = Student(StudentSpec(encoder="mobile", frozen_blocks=2), 1)
    before = {k: v.clone() for k, v in student.encoder.blocks[1].state_dict().items()}
    later = student.encoder.blocks[3].state_dict()
    moved = {k: v.clone() for k, v in later.items() if "running_mean" in k}
    student.train()
    freeze_statistics(student)
    optimiser = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
    student(torch.randn(4, 3, 64, 64)).logits.square().mean().backward()
    optimiser.step()
    after = student.encoder.blocks[1].state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert any(not torch.equal(moved[k], later[k]) for k in moved)


def test_local_contrast_does_not_see_gain_or_offset():
    x = torch.rand(1, 3, 128, 128) * 4
    front = LocalContrast()
    torch.testing.assert_close(front(x), front(5 * x + 2), atol=0.15, rtol=0.05)


def test_baselines_answer_at_input_size_and_an_unknown_name_lists_the_known_ones():
    network = build_network("monai_unet", StudentSpec(), 2).eval()
    assert network(torch.randn(1, 3, 64, 64)).logits.shape == (1, 2, 64, 64)
    with pytest.raises(ValueError, match="monai_unet"):
        build_network("unet", StudentSpec(), 2)
    assert {"student", "resunet34", "nnunet2d", "monai_unet"} <= set(NETWORKS)


def test_a_missing_weights_file_is_named(tmp_path):
    spec = StudentSpec(encoder="mobile", init_weights=str(tmp_path / "no.safetensors"))
    with pytest.raises(ModelFileError, match=r"no\.safetensors"):
        Student(spec, 1)
