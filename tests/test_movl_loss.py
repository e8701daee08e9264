"""The loss of MoVL is what it says, and its gradient reaches prompt and head alone."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from napari_tinymig.training.classifier.linear_probe import FeatureHead
from napari_tinymig.training.classifier.losses import ClassifierOutput, class_weights, discrepancy, movl_loss
from napari_tinymig.training.classifier.movl import PromptedClassifier
from napari_tinymig.training.classifier.visual_prompt import Prompt
from torch import nn

from napari_tinymig.recipes.classify import DiscrepancySpec, ProbeDataSpec, PromptSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_with_lambda_zero_the_loss_is_the_cross_entropy():
    torch.manual_seed(0)
    prompted, plain = (ClassifierOutput(torch.randn(5, 3), torch.randn(5, 4)) for _ in range(2))
    labels = torch.tensor([0, 1, 2, 0, 1])
    loss, _ = movl_loss(prompted, plain, labels, DiscrepancySpec(weight=0))
    assert torch.equal(loss, F.cross_entropy(prompted.logits, labels))


@pytest.mark.parametrize("term", ["kl", "ce", "mse", "l1", "feature_mse"])
def test_the_plain_branch_receives_no_gradient(term):
    leaves = [torch.randn(4, 3, requires_grad=True) for _ in range(2)]
    features = [torch.randn(4, 6, requires_grad=True) for _ in range(2)]
    prompted, plain = ClassifierOutput(leaves[0], features[0]), ClassifierOutput(leaves[1], features[1])
    movl_loss(prompted, plain, torch.tensor([0, 1, 2, 0]), DiscrepancySpec(term=term, weight=1.0))[0].backward()
    assert leaves[1].grad is None
    assert features[1].grad is None
    assert leaves[0].grad is not None


def test_discrepancies_of_known_probabilities():
    half, sure = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.75, 0.25]]))
    zero = torch.zeros(1, 2)
    plus, minus = ClassifierOutput(sure, zero + 3), ClassifierOutput(half, zero + 1)
    assert discrepancy("kl", plus, minus) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert discrepancy("ce", plus, minus) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert discrepancy("mse", plus, minus) == pytest.approx(2 * 0.25**2)
    assert discrepancy("l1", plus, minus) == pytest.approx(0.5)
    assert discrepancy("feature_mse", plus, minus) == pytest.approx(4.0)
    for term in ("kl", "mse", "l1", "feature_mse"):
        assert discrepancy(term, plus, plus) == pytest.approx(0.0, abs=1e-6)


def test_the_sign_turns_the_discrepancy_round():
    plus, minus = (
        ClassifierOutput(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 1)),
        ClassifierOutput(torch.zeros(1, 2), torch.zeros(1, 1)),
    )
    labels = torch.tensor([0])
    ce = F.cross_entropy(plus.logits, labels)
    for sign in (1, -1):
        loss, terms = movl_loss(plus, minus, labels, DiscrepancySpec(weight=0.5, sign=sign))
        assert loss == pytest.approx(float(ce) + sign * 0.5 * terms["discrepancy"])


def test_class_weights_make_classes_equal_and_average_one():
    weights = class_weights(torch.tensor([0] * 9 + [1]), 2)
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 2])
    assert (weights[torch.tensor([0] * 9 + [1])]).mean() == pytest.approx(1.0)


def classifier(backbone, kind="padding", width=30, mode="add", init="normal"):
    torch.manual_seed(0)
    prompt = Prompt(PromptSpec(kind=kind, width=width, mode=mode, init=init), 64)
    return PromptedClassifier(backbone, prompt, FeatureHead(backbone.card.features, 2), ProbeDataSpec())


def test_prompt_and_head_learn_and_the_backbone_does_not(backbone):
    model = classifier(backbone)
    before = backbone.fingerprint()
    x = torch.randn(4, 3, 64, 64)
    owner = torch.arange(4)
    plain = model.answer(x, owner, 4, prompted=False)
    movl_loss(model.answer(x, owner, 4), plain, torch.tensor([0, 1, 0, 1]), DiscrepancySpec())[0].backward()
    assert model.prompt.values.grad.abs().max() > 0
    assert model.head.linear.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in backbone.parameters())
    assert backbone.fingerprint() == before


def test_a_zero_head_gives_the_prompt_no_gradient(backbone):
    model = classifier(backbone, init="zero")
    nn.init.zeros_(model.head.linear.weight)
    x = torch.randn(2, 3, 64, 64)
    F.cross_entropy(model.answer(x, torch.arange(2), 2).logits, torch.tensor([0, 1])).backward()
    assert model.prompt.values.grad.abs().max() == 0


def test_train_mode_does_not_reach_the_backbone(backbone):
    model = classifier(backbone)
    model.train()
    before = backbone.fingerprint()
    model.answer(torch.randn(4, 3, 64, 64), torch.arange(4), 4)
    assert not any(m.training for m in backbone.body.modules())
    assert backbone.fingerprint() == before
