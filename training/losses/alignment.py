"""Localised representation alignment (LRA): tokens mean what the teacher's do (sem), and are as alike as they (gen).

What the paper prints is marked [known]; what this project chose to fill a gap is marked [chosen]. B = images, C =
channels of a feature map, (h, w) = its grid, T = h * w tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST_AFFINITY_GRID = 32


def token_cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """LRA_sem, form 'token': mean over tokens of 1 - cos(student, teacher), both (B, C, h, w) [form chosen]."""
    return (1 - F.cosine_similarity(student, teacher, dim=1, eps=1e-6)).mean()


def class_prototypes(features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean token of every class, by masked average pooling.

    features: (B, C, h, w); classes: (B, K, h, w) weights in 0..1. Returns prototypes (B, K, C), weights (B, K).
    """
    weight = classes.sum(dim=(2, 3))  # (B, K)
    total = torch.einsum("bchw,bkhw->bkc", features, classes)
    return total / weight.clamp_min(1e-6)[..., None], weight


def prototype_loss(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    """LRA_sem, form 'prototype': mean of 1 - cos over the classes that are present in an image [chosen].

    student, teacher: (B, C, h, w); classes: (B, K, H, W), averaged down to the grid. A class counts as present from
    half a token on.
    """
    weights = F.adaptive_avg_pool2d(classes, (student.shape[-2], student.shape[-1]))
    ours, amount = class_prototypes(student, weights)
    theirs, _ = class_prototypes(teacher, weights)
    distance = 1 - F.cosine_similarity(ours, theirs, dim=-1, eps=1e-6)  # (B, K)
    present = (amount >= 0.5).float()
    return (distance * present).sum() / present.sum().clamp_min(1)


def affinity(features: Tensor) -> Tensor:
    """Cosine between every two tokens of (B, C, h, w): (B, T, T). Unchanged by orthogonal rotations of channels."""
    tokens = F.normalize(features.flatten(2), dim=1, eps=1e-6)  # (B, C, T)
    return tokens.transpose(1, 2) @ tokens


def affinity_grid(student: Tensor, teacher: Tensor, largest: int = LARGEST_AFFINITY_GRID) -> tuple[int, int]:
    """The coarser of the two grids, at most `largest` on a side: affinities are compared where both have tokens."""
    (hs, ws), (ht, wt) = student.shape[-2:], teacher.shape[-2:]
    return min(hs, ht, largest), min(ws, wt, largest)


def affinity_loss(student: Tensor, teacher: Tensor, largest: int = LARGEST_AFFINITY_GRID) -> Tensor:
    """LRA_gen: mean | A(student) - A(teacher) | on a grid of at most 32 x 32, without a projector [form chosen].

    student: (B, C_l, ., .) of the style-augmented view; teacher: (B, C_R, ., .) of the clean view. That the two views
    differ is the signal: the student is to keep the relations of the clean image under any style.
    """
    grid = affinity_grid(student, teacher, largest)
    return (affinity(resize_map(student, grid)) - affinity(resize_map(teacher, grid))).abs().mean()


def resize_map(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, C, h, w) on another grid: area averages where it shrinks, bilinear where it grows."""
    if features.shape[-2:] == grid:
        return features
    if features.shape[-2] >= grid[0] and features.shape[-1] >= grid[1]:
        return F.adaptive_avg_pool2d(features, grid)
    return F.interpolate(features, size=grid, mode="bilinear", align_corners=False)
