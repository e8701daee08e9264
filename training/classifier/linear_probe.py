"""The linear probe, fitted in seconds: multinomial logistic regression on cached features by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor, nn

L2_GRID = (1e-2, 1e-1, 1e-3, 1.0, 1e-4, 10.0, 1e-5, 100.0)
"""Penalties in the order in which a growing budget of trials tries them."""


@dataclass(frozen=True)
class LinearProbe:
    """Logits = ((f - mean) / std) W^T + b. weight: (C, F); bias: (C,); mean, std: (F,), of the training features."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    l2: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) of features (N, F)."""
        return np.asarray(((features - self.mean) / self.std) @ self.weight.T + self.bias, np.float32)


def feature_moments(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each feature; a feature that never changes gets deviation 1."""
    std = features.std(0)
    return features.mean(0).astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32)


def fit_linear_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    l2: float,
    class_weight: NDArray[np.float32] | None = None,
) -> LinearProbe:
    """The minimiser of weighted cross-entropy + l2/2 |W|^2 on standardised features; the same for the same data.

    features: (N, F); labels: (N,) in 0..classes-1; class_weight: (classes,) or None.
    """
    mean, std = feature_moments(features)
    x = ((features - mean) / std).astype(np.float64)
    sample = np.ones(len(x)) if class_weight is None else class_weight[labels].astype(np.float64)
    sample = sample / sample.sum()
    target = np.eye(classes)[labels]  # (N, C)
    size = classes * x.shape[1]

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = flat[:size].reshape(classes, -1), flat[size:]
        log_p = log_softmax(x @ weight.T + bias, axis=1)
        loss = -(sample * (target * log_p).sum(1)).sum() + 0.5 * l2 * float((weight**2).sum())
        residual = (np.exp(log_p) - target) * sample[:, None]  # (N, C)
        return loss, np.concatenate([(residual.T @ x + l2 * weight).ravel(), residual.sum(0)])

    best = minimize(objective, np.zeros(size + classes), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    weight, bias = best.x[:size].reshape(classes, -1), best.x[size:]
    return LinearProbe(weight.astype(np.float32), bias.astype(np.float32), mean, std, l2)


def mean_cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean over the classes present of the mean cross-entropy of their images (every class counts alike)."""
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return float(np.mean([losses[labels == c].mean() for c in np.unique(labels)]))


def choose_linear_probe(
    train: tuple[NDArray[np.float32], NDArray[np.int64]],
    validation: tuple[NDArray[np.float32], NDArray[np.int64]],
    classes: int,
    penalties: tuple[float, ...],
    class_weight: NDArray[np.float32] | None = None,
) -> tuple[LinearProbe, dict[float, float]]:
    """The probe whose penalty has the lowest validation cross-entropy, and the loss of every penalty tried."""
    fits = {l2: fit_linear_probe(*train, classes, l2, class_weight) for l2 in penalties}
    losses = {l2: mean_cross_entropy(fit.logits(validation[0]), validation[1]) for l2, fit in fits.items()}
    return fits[min(losses, key=lambda l2: losses[l2])], losses


class FeatureHead(nn.Module):
    """h: features (N, F) -> logits (N, C), linear on features standardised with the source's moments (buffers)."""

    def __init__(self, features: int, classes: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear((features - self.mean) / self.std)

    def take(self, probe: LinearProbe) -> None:
        """Become a fitted linear probe."""
        with torch.no_grad():
            for mine, theirs in (
                (self.mean, probe.mean),
                (self.std, probe.std),
                (self.linear.weight, probe.weight),
                (self.linear.bias, probe.bias),
            ):
                mine.copy_(torch.from_numpy(theirs))
