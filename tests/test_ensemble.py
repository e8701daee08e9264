"""Students taught by an ensemble: the loss by hand, members that never change, and what the model file tells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import tune_drawn as drawn
from drawn import fundus_domain
from napari_tinymig.training.augmentation.apply import Batch
from napari_tinymig.training.losses.segmentation import region_probabilities
from napari_tinymig.training.networks.saved import load_student
from napari_tinymig.training.networks.student import Student
from napari_tinymig.training.objectives.build import build_objective
from napari_tinymig.training.objectives.ensemble import EnsembleObjective, answer_loss
from napari_tinymig.training.run.train import train

from napari_tinymig.models.file import read_model_file
from napari_tinymig.recipes.train import EnsembleSpec, TeacherSpec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    first = drawn.tiny_model(folder / "one.safetensors", "one")
    second = drawn.tiny_model(folder / "two.safetensors", "two")
    return first, second


def recipe_of(*paths, weight=1.0):
    recipe = drawn.tiny_recipe("taught")
    return recipe.model_copy(update={"ensemble": EnsembleSpec(members=tuple(map(str, paths)), weight=weight)})


def batch_of(size=64):
    g = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, size, size, generator=g)
    target = (torch.rand(2, 2, size, size, generator=g) > 0.5).float()
    blank = torch.ones(2, 1, size, size)
    return Batch(**dict.fromkeys(Batch.__dataclass_fields__) | {"image": image, "target": target, "known": blank})


def test_the_answer_loss_is_a_mean_bernoulli_kl_and_zero_where_both_agree():
    p, q = torch.tensor([[[[0.9, 0.2]]]]), torch.tensor([[[[0.6, 0.5]]]])
    by_hand = (
        0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4) + 0.2 * math.log(0.2 / 0.5) + 0.8 * math.log(0.8 / 0.5)
    ) / 2
    assert answer_loss(q, p).item() == pytest.approx(by_hand, rel=1e-5)
    assert answer_loss(p, p).item() == pytest.approx(0, abs=1e-7)
    assert answer_loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).isfinite()


def test_the_ensemble_answers_with_the_mean_of_its_members_and_its_term_is_added(members):
    paths = [m.path for m in members]
    recipe = recipe_of(*paths, weight=3.0)
    objective = build_objective(recipe, Student(recipe.student, 2), CPU)
    assert isinstance(objective, EnsembleObjective)
    batch = batch_of()
    single = [region_probabilities(load_student(m)(batch.image).logits, recipe.task, "sigmoid") for m in members]
    assert torch.allclose(objective.answers(batch.image), (single[0] + single[1]) / 2, atol=1e-6)
    student = load_student(members[0]).eval()
    terms = objective(student, batch, 0.0)
    plain = objective.terms(student(batch.image), batch)["loss"]
    assert terms["loss"].item() == pytest.approx((plain + 3 * terms["answer_loss"]).item(), rel=1e-5)
    alone = build_objective(recipe_of(paths[0]), student, CPU)
    assert alone(student, batch, 0.0)["answer_loss"].item() == pytest.approx(0, abs=1e-6)


def test_members_stay_in_evaluation_and_are_not_trained(members):
    recipe = recipe_of(members[0].path)
    objective = build_objective(recipe, Student(recipe.student, 2), CPU)
    objective.train()
    assert not any(m.training for m in objective.members.modules())
    assert list(objective.parameters()) == []
    assert not any(p.requires_grad for p in objective.members.parameters())
    student = Student(recipe.student, 2)
    objective(student, batch_of(), 0.0)["loss"].backward()
    assert all(p.grad is None for p in objective.members.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())


def test_members_that_cannot_answer_are_refused_with_the_reason(members, tmp_path):
    gland = drawn.tiny_gland_model(tmp_path / "gland.safetensors")
    recipe = recipe_of(gland.path)
    with pytest.raises(ValueError, match="segmenter of prostate; expected segmenters of optic"):
        build_objective(recipe, Student(recipe.student, 2), CPU)
    recipe = recipe_of(members[0].path)
    recipe = recipe.model_copy(update={"input": recipe.input.model_copy(update={"size": 96})})
    with pytest.raises(ValueError, match="reads size 64; 'taught' reads size 96"):
        build_objective(recipe, Student(recipe.student, 2), CPU)
    recipe = recipe_of(members[0].path).model_copy(update={"teacher": TeacherSpec(name="self")})
    with pytest.raises(ValueError, match="a teacher and an ensemble"):
        build_objective(recipe, Student(recipe.student, 2), CPU)


def test_a_taught_run_leaves_a_student_that_names_its_members_and_holds_none_of_them(members, tmp_path):
    before = [m.path.read_bytes() for m in members]
    recipe = recipe_of(*(m.path for m in members))
    recipe = recipe.model_copy(
        update={"optim": recipe.optim.model_copy(update={"epochs": 2, "iterations_per_epoch": 3})}
    )
    messages = list(train(recipe, [fundus_domain(tmp_path / "eyes", 6)], out=tmp_path / "run", device="cpu"))
    assert messages[-1].kind == "done"
    steps = [m for m in messages if m.kind == "step"]
    assert steps
    assert all(m.values["answer_loss"] > 0 for m in steps)
    model = read_model_file(tmp_path / "run" / "best.safetensors")
    assert model.header.extra["taught_by"] == [m.model_id for m in members]
    assert str(tmp_path) not in model.header.model_dump_json()
    assert "ensemble" not in {k for k, v in model.header.lineage.recipe.items() if v}
    assert set(model.weights()) == set(members[0].weights())
    assert [m.path.read_bytes() for m in members] == before
    assert np.isfinite(model.header.scores["validation"]["best"])
