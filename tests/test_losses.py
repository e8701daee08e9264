"""The formulas of TinyMIG, by hand and by property."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from napari_tinymig.training.losses.alignment import (
    affinity,
    affinity_loss,
    class_prototypes,
    prototype_loss,
    resize_map,
    token_cosine_loss,
)
from napari_tinymig.training.losses.distribution import (
    channel_wise_divergence,
    gaussian_kl,
    gdc_parts,
    normalise_tokens,
    spatial_moments,
)
from napari_tinymig.training.losses.segmentation import (
    cross_entropy_loss,
    dice_loss,
    exclusive_classes,
    region_probabilities,
    region_targets,
)
from napari_tinymig.training.objectives.tinymig_terms import Projector

from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP


def random_orthogonal(n, seed):
    return torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]


# ------------------------------------------------------------------------------------------ segmentation


def test_dice_and_cross_entropy_by_hand():
    probabilities = torch.tensor([[[[0.5, 0.5], [0.0, 1.0]]]])
    targets = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    # overlap 1.5, sizes 2 and 2: (3 + 1) / (4 + 1)
    assert dice_loss(probabilities, targets).item() == pytest.approx(1 - 4 / 5)
    logits = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]]]])
    assert cross_entropy_loss(logits, targets, None, POLYP, "sigmoid").item() == pytest.approx(math.log(2))


def test_pixels_that_nobody_annotated_count_for_nothing():
    labels = torch.tensor([[[0, 1], [2, 255]]])
    targets, valid = region_targets(labels, OPTIC)
    assert targets[0].tolist() == [[[0, 1], [1, 0]], [[0, 0], [1, 0]]]
    assert valid[0, 0].tolist() == [[1, 1], [1, 0]]
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = cross_entropy_loss(logits, targets, valid, OPTIC, "sigmoid") + dice_loss(logits.sigmoid(), targets, valid)
    loss.backward()
    assert logits.grad[0, :, 1, 1].tolist() == [0, 0]
    nothing = torch.zeros(1, 1, 2, 2)
    assert cross_entropy_loss(logits, targets, nothing, OPTIC, "sigmoid").item() == 0


def test_an_empty_answer_to_an_empty_frame_is_right():
    assert dice_loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)).item() == 0


def test_softmax_head_and_nested_regions_agree():
    targets = torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])
    nested = torch.stack(targets).view(1, 2, 1, 3)
    classes = exclusive_classes(nested, OPTIC)
    assert classes[0, :, 0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    logits = torch.log(classes.clamp_min(1e-12))
    torch.testing.assert_close(region_probabilities(logits, OPTIC, "softmax"), nested)
    assert cross_entropy_loss(logits, nested, None, OPTIC, "softmax").item() == pytest.approx(0, abs=1e-6)


# ------------------------------------------------------------------------------------------ GDC


def test_gdc_equals_the_closed_form_kl_computed_by_hand():
    q, r = (torch.tensor([[1.0]]), torch.tensor([[2.0]])), (torch.tensor([[3.0]]), torch.tensor([[4.0]]))
    by_hand = math.log(4 / 2) + (2**2 + (1 - 3) ** 2) / (2 * 4**2) - 0.5  # 0.443147
    assert sum(gaussian_kl(q, r)).item() == pytest.approx(by_hand)
    exact = torch.distributions.kl_divergence(torch.distributions.Normal(1, 2), torch.distributions.Normal(3, 4))
    assert by_hand == pytest.approx(exact.item())
    reverse = math.log(2 / 4) + (4**2 + (1 - 3) ** 2) / (2 * 2**2) - 0.5
    for direction, value in (("SR", by_hand), ("RS", reverse), ("sym", (by_hand + reverse) / 2)):
        assert sum(gdc_parts(q, r, "kl", direction)).item() == pytest.approx(value)
    assert [v.item() for v in gdc_parts(q, r, "moments", "SR")] == [2, 2]
    assert [v.item() for v in gdc_parts(q, r, "w2", "SR")] == [4, 4]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), gap=st.floats(0.01, 3), which=st.sampled_from(["mean", "deviation"]))
@pytest.mark.parametrize("form", ["kl", "moments", "w2"])
def test_gdc_is_zero_if_and_only_if_the_clamped_moments_match(form, seed, gap, which):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 4, 4, generator=g, dtype=torch.float64)
    shuffled = x.flatten(2)[:, :, torch.randperm(16, generator=g)].view_as(x)  # other map, same moments
    same = gdc_parts(spatial_moments(x), spatial_moments(shuffled), form, "SR")
    assert sum(same).item() == pytest.approx(0, abs=1e-12)
    other = x.clone()
    if which == "mean":
        other[:, 0] += gap
    else:
        mean = other[:, 0].mean(dim=(1, 2), keepdim=True)
        other[:, 0] = mean + (other[:, 0] - mean) * (1 + gap)
    for direction in ("SR", "RS", "sym"):
        assert sum(gdc_parts(spatial_moments(other), spatial_moments(x), form, direction)).item() > 1e-6


def test_a_flat_channel_costs_a_finite_sum_and_has_a_finite_gradient():
    flat = torch.zeros(1, 2, 4, 4, requires_grad=True)
    teacher = torch.randn(1, 2, 4, 4)
    loss = sum(gdc_parts(spatial_moments(flat), spatial_moments(teacher), "kl", "SR"))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(flat.grad).all()
    twice = gdc_parts(spatial_moments(flat), spatial_moments(torch.zeros(1, 2, 4, 4) + 1e-9), "kl", "sym")
    assert sum(twice).item() == pytest.approx(0, abs=1e-9)  # both below the clamp


def test_gdc_cannot_be_satisfied_by_the_projector_alone():
    """Moments per image: one projector cannot serve many images unless the student tells them apart."""
    torch.manual_seed(0)
    scale = torch.rand(16, 12, 1, 1) * 2 + 0.2
    teacher = normalise_tokens(torch.randn(16, 12, 8, 8) * scale + torch.randn(16, 12, 1, 1))
    goal = spatial_moments(teacher)

    def best(stage, projector, parameters, steps=300):
        optimiser = torch.optim.Adam(parameters, lr=0.03)
        for _ in range(steps):
            loss = sum(gdc_parts(spatial_moments(projector(stage)), goal, "kl", "SR"))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.item()

    student = torch.randn(16, 8, 8, 8).relu()  # knows nothing of the teacher's images
    projector = Projector(8, 12)
    alone = best(student, projector, list(projector.parameters()))
    moving = torch.nn.Parameter(student.clone())
    together = best(moving, projector, [moving])
    assert alone > 0.3
    assert together < alone / 5


def test_a_flat_student_cannot_be_saved_by_any_projector():
    teacher = normalise_tokens(torch.randn(2, 12, 6, 6))
    stage = torch.ones(2, 8, 6, 6)
    for seed in range(5):
        torch.manual_seed(seed)
        loss = sum(gdc_parts(spatial_moments(Projector(8, 12)(stage)), spatial_moments(teacher), "kl", "SR"))
        assert loss > 3  # log(s_R / 1e-3) alone


def test_projector_rows_have_unit_norm_no_bias_and_layernormed_tokens():
    projector = Projector(8, 12)
    assert [n for n, _ in projector.named_parameters()] == ["weight"]
    out = projector(torch.randn(2, 8, 5, 5))
    torch.testing.assert_close(out.mean(dim=1), torch.zeros(2, 5, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(dim=1, unbiased=False), torch.ones(2, 5, 5), atol=1e-3, rtol=0)
    scaled = Projector(8, 12)
    scaled.load_state_dict({"weight": projector.weight * 7})
    x = torch.randn(1, 8, 3, 3)
    torch.testing.assert_close(projector(x), scaled(x))


def test_channel_wise_divergence_is_zero_for_equal_maps_and_follows_a_constant_shift():
    x = torch.randn(2, 3, 4, 4)
    assert channel_wise_divergence(x, x).item() == pytest.approx(0, abs=1e-6)
    assert channel_wise_divergence(x + 5, x).item() == pytest.approx(0, abs=1e-5)
    assert channel_wise_divergence(x.flip(-1), x).item() > 0.01


# ------------------------------------------------------------------------------------------ LRA


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), channels=st.integers(2, 24), grid=st.integers(2, 7))
def test_affinity_is_unchanged_by_any_orthogonal_rotation_of_channels(seed, channels, grid):
    g = torch.Generator().manual_seed(seed)
    student = torch.randn(2, channels, grid, grid, generator=g, dtype=torch.float64)
    teacher = torch.randn(2, channels + 3, grid, grid, generator=g, dtype=torch.float64)
    turned = torch.einsum("ij,bjhw->bihw", random_orthogonal(channels, seed), student)
    turned_teacher = torch.einsum("ij,bjhw->bihw", random_orthogonal(channels + 3, seed + 1), teacher)
    torch.testing.assert_close(affinity(turned), affinity(student))
    torch.testing.assert_close(affinity_loss(turned, turned_teacher), affinity_loss(student, teacher))
    torch.testing.assert_close(affinity_loss(student * 3, teacher), affinity_loss(student, teacher))


def test_affinity_by_hand_and_on_a_bounded_grid():
    x = torch.tensor([[[[1.0, 0.0, 2.0]], [[0.0, 3.0, 2.0]]]])  # tokens (1,0), (0,3), (2,2)
    root = 1 / math.sqrt(2)
    torch.testing.assert_close(affinity(x)[0], torch.tensor([[1, 0, root], [0, 1, root], [root, root, 1]]))
    assert affinity_loss(torch.randn(1, 4, 64, 64), torch.randn(1, 4, 96, 96)).ndim == 0
    assert affinity(resize_map(torch.randn(1, 4, 64, 64), (32, 32))).shape == (1, 1024, 1024)


def test_semantic_losses_by_hand():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    b = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    assert token_cosine_loss(a, a).item() == pytest.approx(0)
    assert token_cosine_loss(a, b).item() == pytest.approx(1)
    assert token_cosine_loss(a, -a).item() == pytest.approx(2)
    features = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    classes = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]])
    prototypes, weight = class_prototypes(features, classes)
    assert prototypes.flatten().tolist() == [2, 7]
    assert weight.tolist() == [[2, 1]]
    maps = torch.randn(2, 6, 4, 4)
    one_class = torch.zeros(2, 3, 16, 16)
    one_class[:, 0] = 1
    assert prototype_loss(maps, maps, one_class).item() == pytest.approx(0, abs=1e-6)
    assert prototype_loss(-maps, maps, one_class).item() == pytest.approx(2, abs=1e-5)
