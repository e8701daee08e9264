"""The sum of TinyMIG's terms: its weights, its switches, its schedule, and what of it belongs to the student."""

import pytest
import torch
from napari_tinymig.training.losses.distribution import spatial_moments
from napari_tinymig.training.networks.student import Student, StudentOutput
from napari_tinymig.training.networks.teacher import Teacher
from napari_tinymig.training.objectives.tinymig_terms import Distillation

from napari_tinymig.recipes.student import recipe_from_dict

SMALL = {"widths": [16, 16, 32, 32], "blocks": [0, 0, 0, 0], "decoder": 16}


class DrawnTeacher(Teacher):
    """A teacher of one random convolution per stride, for arithmetic alone."""

    def __init__(self, channels=(8, 8, 12, 12)):
        network = torch.nn.ModuleList(torch.nn.Conv2d(3, c, s, s) for c, s in zip(channels, (4, 8, 16, 32)))
        super().__init__(network, (4, 8, 16, 32), channels, None)

    def maps(self, x, enlarge=1.0):
        return [layer(x) for layer in self.network]


def recipe(**loss):
    lambdas = loss.pop("lambdas", [1, 1, 0.5, 0.5, 0.5])
    return recipe_from_dict(
        {
            "name": "t",
            "task": "optic",
            "input": {"size": 64},
            "student": SMALL,
            "teacher": {"name": "resnet18", "weights": "random"},
            "loss": {"lambdas": lambdas, **loss},
            "optim": {"epochs": 10},
        }
    )


def setting(**loss):
    torch.manual_seed(0)
    r = recipe(**loss)
    student, teacher = Student(r.student, 2), DrawnTeacher()
    return r, student, teacher, Distillation(r, student, teacher)


def test_the_total_weighs_the_terms_as_printed():
    _, student, teacher, distillation = setting()
    x, targets = torch.randn(2, 3, 64, 64), torch.rand(2, 2, 64, 64).round()
    terms = distillation.terms(student(x), None, teacher.features(x), targets)
    assert set(terms) == {"dice", "ce", "gdc", "sem", "gen"}
    by_hand = terms["dice"] + terms["ce"] + 0.5 * (terms["gdc"] + terms["sem"] + terms["gen"])
    torch.testing.assert_close(distillation.total(terms), by_hand)


def test_the_other_lambda_map_splits_gdc_into_means_and_deviations():
    _, student, teacher, one = setting(lambdas=[1, 1, 1, 1, 1])
    _, _, _, two = setting(lambdas=[1, 2, 3, 4, 5], lambda_map="seg_mu_sigma_sem_gen")
    two.load_state_dict(one.state_dict())
    x, targets = torch.randn(2, 3, 64, 64), torch.zeros(2, 2, 64, 64)
    out, maps = student(x), teacher.features(x)
    a, b = one.terms(out, None, maps, targets), two.terms(out, None, maps, targets)
    assert set(b) == {"dice", "ce", "mu", "sigma", "sem", "gen"}
    torch.testing.assert_close(b["mu"] + b["sigma"], a["gdc"])
    by_hand = b["dice"] + b["ce"] + 2 * b["mu"] + 3 * b["sigma"] + 4 * b["sem"] + 5 * b["gen"]
    torch.testing.assert_close(two.total(b), by_hand)


@pytest.mark.parametrize("gdc", ["kl", "moments", "prior", "cwd", "w2"])
@pytest.mark.parametrize("switches", [{}, {"gdc_direction": "sym", "gdc_moments": "batch", "sem": "prototype"}])
def test_every_switch_gives_a_finite_gradient_at_the_student_and_none_at_the_teacher(gdc, switches):
    _, student, teacher, distillation = setting(gdc=gdc, **switches)
    x, targets = torch.randn(2, 3, 64, 64), torch.rand(2, 2, 64, 64).round()
    terms = distillation.terms(student(x), None, teacher.features(x), targets)
    distillation.total(terms).backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)
    assert sum(p.grad.abs().sum() for p in student.encoder.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_the_clean_view_is_asked_for_only_where_gdc_looks_at_it():
    _, student, teacher, distillation = setting(gdc_view="clean")
    assert distillation.needs_clean()
    assert not setting()[3].needs_clean()
    x, targets = torch.randn(2, 3, 64, 64), torch.zeros(2, 2, 64, 64)
    with pytest.raises(ValueError, match="clean view"):
        distillation.terms(student(x), None, teacher.features(x), targets)
    terms = distillation.terms(student(x + 1), student(x), teacher.features(x), targets)
    assert torch.isfinite(distillation.total(terms))


def test_distil_first_distils_then_segments():
    _, _, _, distillation = setting(schedule="distil_first", distil_fraction=0.3)
    assert distillation.distil_epochs == 3
    first, later = distillation.weights(2), distillation.weights(3)
    assert (first["dice"], first["ce"]) == (0, 0)
    assert (first["gdc"], first["sem"], first["gen"]) == (0.5, 0.5, 0.5)
    assert (later["gdc"], later["sem"], later["gen"]) == (0, 0, 0)
    assert (later["dice"], later["ce"]) == (1, 1)
    assert distillation.needs_teacher(0)
    assert not distillation.needs_teacher(3)


def test_the_running_prior_is_the_teachers_moments_when_they_do_not_change():
    _, _, teacher, distillation = setting(gdc="prior")
    maps = teacher.features(torch.randn(4, 3, 64, 64))
    for _ in range(3):
        mean, deviation = distillation.prior_moments(0, maps[0])
    torch.testing.assert_close((mean, deviation), spatial_moments(maps[0], "batch"), atol=1e-4, rtol=1e-4)


def test_gradient_norms_tell_the_student_from_the_projector():
    _, student, teacher, distillation = setting()
    x, targets = torch.randn(2, 3, 64, 64), torch.rand(2, 2, 64, 64).round()
    terms = distillation.terms(student(x), None, teacher.features(x), targets)
    values = distillation.gradient_norms(terms, student)
    assert values["grad_gen"] > 0
    assert values["grad_gen_projector"] == 0  # LRA_gen has no projector
    assert 0 < values["projector_share_gdc"] < 1
    assert "projector_share_dice" not in values
    distillation.total(terms).backward()  # the graph is still there


def test_the_projector_is_no_part_of_the_student():
    _, student, _, distillation = setting()
    before = set(student.state_dict())
    assert len(distillation.projectors) == 4
    assert not [k for k in before if "project" in k]
    assert not {id(p) for p in student.parameters()} & {id(p) for p in distillation.parameters()}
    assert isinstance(student(torch.zeros(1, 3, 64, 64)), StudentOutput)


def test_weights_without_a_teacher_are_refused_and_weights_of_zero_need_none():
    r = recipe()
    with pytest.raises(ValueError, match="no teacher"):
        Distillation(r, Student(r.student, 2), None)
    erm = recipe(lambdas=[1, 1, 0, 0, 0])
    plain = Distillation(erm, Student(erm.student, 2), None)
    assert not plain.needs_teacher()
    assert list(plain.parameters()) == []
    bad = recipe(gdc="cwd", lambda_map="seg_mu_sigma_sem_gen")
    with pytest.raises(ValueError, match="cwd"):
        Distillation(bad, Student(bad.student, 2), DrawnTeacher())
