"""L = CE(P+, y) + lambda * sign * D(P+, P-), with the plain branch detached (MoVL; the form of D is chosen)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_tinymig.recipes.classify import DiscrepancySpec


@dataclass
class ClassifierOutput:
    """What a classifier says of a batch: logits (B, C) and the pooled features (B, F) they were made from."""

    logits: Tensor
    features: Tensor

    def detached(self) -> ClassifierOutput:
        """The same numbers without a graph."""
        return ClassifierOutput(self.logits.detach(), self.features.detach())


def discrepancy(term: str, prompted: ClassifierOutput, plain: ClassifierOutput) -> Tensor:
    """How far prompted answers are from plain ones, mean over the batch; `plain` is detached here [known].

    kl: KL(P- || P+); ce: -sum P- log P+ (kl plus the constant entropy of P-); mse, l1: sum over classes of squared,
    absolute differences of probabilities; feature_mse: mean squared difference of features.
    """
    plain = plain.detached()
    if term == "feature_mse":
        return F.mse_loss(prompted.features, plain.features)
    log_plus, log_minus = prompted.logits.log_softmax(1), plain.logits.log_softmax(1)
    if term == "kl":
        return F.kl_div(log_plus, log_minus, reduction="batchmean", log_target=True)
    if term == "ce":
        return -(log_minus.exp() * log_plus).sum(1).mean()
    difference = log_plus.exp() - log_minus.exp()
    if term == "mse":
        return difference.square().sum(1).mean()
    if term == "l1":
        return difference.abs().sum(1).mean()
    raise ValueError(f"unknown discrepancy '{term}'; expected kl, ce, mse, l1 or feature_mse")


def movl_loss(
    prompted: ClassifierOutput,
    plain: ClassifierOutput | None,
    labels: Tensor,
    spec: DiscrepancySpec,
    class_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch and its two terms by name. `plain` is not needed, and not used, when lambda is 0.

    labels: int64 (B,). class_weights: (C,), mean one over the training images, or None.
    """
    ce = F.cross_entropy(prompted.logits, labels, weight=class_weights)
    if spec.weight == 0 or plain is None:
        return ce, {"ce": float(ce.detach()), "discrepancy": 0.0}
    gap = discrepancy(spec.term, prompted, plain)
    return ce + spec.weight * spec.sign * gap, {"ce": float(ce.detach()), "discrepancy": float(gap.detach())}


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (C,) inversely proportional to the class counts, mean one over the images; absent classes weigh 0."""
    counts = torch.bincount(labels, minlength=classes).float()
    present = counts > 0
    weights = torch.zeros(classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights
