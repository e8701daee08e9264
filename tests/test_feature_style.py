"""MixStyle and TriD change statistics and nothing else, in training and nowhere else."""

import pytest
import torch
from napari_tinymig.training.networks.baselines import build_network
from napari_tinymig.training.networks.feature_style import attach_feature_style, mixstyle, statistics, trid
from napari_tinymig.training.networks.student import Student

from napari_tinymig.recipes.student import StudentSpec, load_recipe, shipped_recipes
from napari_tinymig.recipes.teachers import RECOMMENDED
from napari_tinymig.recipes.train import AugmentSpec

SPEC = StudentSpec(widths=(16, 16, 32, 32), blocks=(0, 0, 0, 0), decoder=16)


@pytest.mark.parametrize("part", [mixstyle, trid])
def test_only_channel_statistics_change(part):
    torch.manual_seed(0)
    x = torch.rand(6, 4, 8, 8)
    y = part(x)
    assert y.shape == x.shape
    assert not torch.allclose(x, y)
    (m1, s1), (m2, s2) = statistics(x), statistics(y)
    torch.testing.assert_close((x - m1) / s1, (y - m2) / s2, atol=0.03, rtol=0)  # deviations near 0 meet the epsilon


def test_mixstyles_new_statistics_lie_between_two_images():
    torch.manual_seed(1)
    x = torch.stack([torch.rand(3, 8, 8) + i for i in range(4)])
    mean, _ = statistics(mixstyle(x))
    low, high = x.mean((2, 3)).amin(0), x.mean((2, 3)).amax(0)
    assert (mean[:, :, 0, 0] >= low - 1e-4).all()
    assert (mean[:, :, 0, 0] <= high + 1e-4).all()


def test_mixstyle_by_hand(monkeypatch):
    x = torch.tensor([[0.0, 2.0], [3.0, 7.0]]).view(2, 1, 1, 2)  # means 1 and 5, deviations 1 and 2
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: torch.full(shape, 0.25))
    monkeypatch.setattr(torch, "randperm", lambda n, device=None: torch.tensor([1, 0]))
    expected = torch.tensor(
        [[4 - 1.75, 4 + 1.75], [2 - 1.25, 2 + 1.25]]
    )  # a quarter of one's own, the rest the other's
    torch.testing.assert_close(mixstyle(x).view(2, 2), expected, atol=1e-4, rtol=0)


def test_trid_by_hand(monkeypatch):
    x = torch.tensor([[0.0, 2.0], [3.0, 7.0]]).view(1, 2, 1, 2)  # two channels
    monkeypatch.setattr(torch, "bernoulli", lambda p: torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    monkeypatch.setattr(torch, "rand", lambda shape: torch.full(shape, 0.25))
    expected = torch.tensor([[0.0, 0.5], [3.0, 7.0]])  # mean 0.25 and deviation 0.25 drawn; the other channel kept
    torch.testing.assert_close(trid(x).view(2, 2), expected, atol=1e-4, rtol=0)


def test_trid_leaves_some_channels_and_randomises_others_within_zero_and_one():
    torch.manual_seed(2)
    x = torch.rand(8, 16, 8, 8) + 5
    mean, _ = statistics(trid(x))
    kept = (mean > 4).float().mean()
    assert 0.2 < kept < 0.8
    changed = mean[mean < 4]
    assert changed.min() >= -1e-3
    assert changed.max() <= 1 + 1e-3


@pytest.mark.parametrize("encoder", ["dense", "mobile"])
@pytest.mark.parametrize("setting", [{"mixstyle": 1.0}, {"trid": 1.0}])
def test_style_moves_in_training_and_never_in_evaluation(encoder, setting):
    torch.manual_seed(0)
    student = Student(SPEC if encoder == "dense" else StudentSpec(encoder="mobile"), 2)
    x = torch.rand(4, 3, 64, 64)
    plain = student.eval()(x).logits
    assert attach_feature_style(student, AugmentSpec(**setting)) == 2
    assert torch.equal(student.eval()(x).logits, plain)
    student.train()
    first, second = student(x).stages[1], student(x).stages[1]
    assert not torch.allclose(first, second)
    with torch.no_grad():
        assert torch.allclose(student(x).stages[1], student(x).stages[1])


def test_without_a_probability_nothing_is_attached_and_other_networks_are_refused():
    student = Student(SPEC, 2)
    assert attach_feature_style(student, AugmentSpec()) == 0
    unet = build_network("monai_unet", SPEC, 2)
    with pytest.raises(ValueError, match="no tapped encoder"):
        attach_feature_style(unet, AugmentSpec(mixstyle=0.5))


@pytest.mark.parametrize("name", sorted(n for n in shipped_recipes() if not n.startswith("probe")))
def test_every_shipped_recipe_loads_and_names_a_recommended_teacher(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    if recipe.teacher is not None:
        assert recipe.teacher.name in RECOMMENDED
        assert recipe.loss.lambdas == (1.0, 1.0, 0.5, 0.5, 0.5)


def test_the_baselines_differ_from_erm_in_one_thing():
    erm = load_recipe("erm")
    for name in ("mixstyle", "trid", "randconv"):
        other = load_recipe(name)
        changed = {k for k in type(erm.augment).model_fields if getattr(erm.augment, k) != getattr(other.augment, k)}
        assert changed == {name}
        assert other.model_copy(update={"name": "erm", "augment": erm.augment}) == erm
    for name in ("resunet34", "nnunet2d"):
        assert load_recipe(name).network == name
        assert load_recipe(name).model_copy(update={"name": "erm", "network": "student"}) == erm


@pytest.mark.parametrize(("size", "instead"), [(64, 256), (288, 256), (320, 256), (352, 384)])
def test_a_size_that_nnu_nets_network_cannot_take_is_refused_with_one_that_it_can(size, instead):
    with pytest.raises(ValueError, match=rf"toml: network .* input.size {size}; expected .* set input.size={instead}$"):
        load_recipe("nnunet2d", {"input.size": size})
    assert load_recipe("nnunet2d", {"input.size": instead}).input.size == instead


def test_nnu_nets_network_trains_at_its_smallest_size():
    network = build_network("nnunet2d", SPEC, 2)
    answer = network.train()(torch.rand(1, 3, 256, 256))
    assert answer.logits.shape == (1, 2, 256, 256)
