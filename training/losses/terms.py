"""The losses of TinyMIG as functions of tensors: segmentation, GDC, LRA-sem, LRA-gen.

What the paper prints is marked [known]; what this project chose to fill a gap is marked [chosen]. Everywhere
B = images, R = regions (output channels), C = channels of a feature map, (h, w) = its grid, T = h * w tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_tinymig.tasks.task import Task

IGNORE_LABEL = 255
SMALLEST_DEVIATION = 1e-3  # spatial standard deviations are clamped here, so that a flat channel costs a finite sum
LARGEST_AFFINITY_GRID = 32


# --------------------------------------------------------------------------------------------- segmentation


def region_targets(labels: Tensor, task: Task) -> tuple[Tensor, Tensor]:
    """Region masks of a label map, and where they are known.

    labels: (B, H, W) integers; 255 = not annotated. Returns targets (B, R, H, W) in {0, 1} and valid (B, 1, H, W).
    """
    targets = torch.stack(
        [torch.isin(labels, torch.tensor(r.labels, device=labels.device)) for r in task.regions], dim=1
    )  # (B, R, H, W)
    valid = (labels != IGNORE_LABEL)[:, None]
    return targets.float(), valid.float()


def exclusive_classes(targets: Tensor, task: Task) -> Tensor:
    """Class probabilities (B, R + 1, H, W), background first, from nested region targets (B, R, H, W).

    A region's class is the region less the regions directly inside it: rim = disc - cup.
    """
    names = [r.name for r in task.regions]
    classes = []
    for i in range(len(names)):
        children = [j for j, other in enumerate(task.regions) if other.inside == names[i]]
        rest = targets[:, i] - sum((targets[:, j] for j in children), torch.zeros_like(targets[:, i]))
        classes.append(rest.clamp(0, 1))
    background = (1 - sum(classes, torch.zeros_like(targets[:, 0]))).clamp(0, 1)
    return torch.stack([background, *classes], dim=1)


def region_probabilities(logits: Tensor, task: Task, head: str) -> Tensor:
    """Probabilities (B, R, H, W) of the nested regions, from the logits of either head.

    sigmoid: logits (B, R, H, W), one per region. softmax: logits (B, R + 1, H, W), background first; a region is the
    sum of its own class and of everything inside it.
    """
    if head == "sigmoid":
        return logits.sigmoid()
    classes = logits.softmax(dim=1)[:, 1:]  # (B, R, H, W)
    names = [r.name for r in task.regions]
    inside = {r.name: r.inside for r in task.regions}

    def within(name: str | None, outer: str) -> bool:
        while name is not None:
            if name == outer:
                return True
            name = inside[name]
        return False

    members = [[j for j, n in enumerate(names) if within(n, outer)] for outer in names]
    return torch.stack([classes[:, m].sum(dim=1) for m in members], dim=1)


def dice_loss(probabilities: Tensor, targets: Tensor, valid: Tensor | None = None, smooth: float = 1.0) -> Tensor:
    """1 - soft Dice, mean over images and regions, counted where valid.

    probabilities, targets: (B, R, H, W) in 0..1; valid: (B, 1, H, W) weights, 0 = not counted, None = everywhere.
    smooth = 1 keeps an empty target with an empty answer at loss 0 [chosen].
    """
    weight = torch.ones_like(targets[:, :1]) if valid is None else valid
    overlap = (probabilities * targets * weight).sum(dim=(2, 3))  # (B, R)
    size = ((probabilities + targets) * weight).sum(dim=(2, 3))
    return (1 - (2 * overlap + smooth) / (size + smooth)).mean()


def cross_entropy_loss(logits: Tensor, targets: Tensor, valid: Tensor | None, task: Task, head: str) -> Tensor:
    """Pixel cross-entropy, mean over valid pixels: BCE per region (sigmoid), or CE over the classes (softmax).

    targets: (B, R, H, W), soft values allowed; valid: (B, 1, H, W) weights, None =
    everywhere. Zero, with a gradient of zero, if nothing is valid.
    """
    if head == "sigmoid":
        per_pixel = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1, keepdim=True)
    else:
        per_pixel = -(exclusive_classes(targets, task) * logits.log_softmax(dim=1)).sum(dim=1, keepdim=True)
    if valid is None:
        return per_pixel.mean()
    return (per_pixel * valid).sum() / valid.sum().clamp_min(1)


BORDER_WINDOW = 31 / 352
"""Side of the window of `border_weights` in parts of the frame: 31 pixels of 352 [known: PraNet, MICCAI 2020]."""


def border_weights(targets: Tensor, amount: float) -> Tensor:
    """(B, 1, H, W) from 1 up to 1 + amount: how unlike its surroundings each pixel's target (B, R, H, W) is.

    PraNet's weights: |mean of the target in a window - target|, here the largest over regions; 5 is its amount [known].
    """
    half = round(targets.shape[-1] * BORDER_WINDOW) // 2
    around = F.avg_pool2d(targets, 2 * half + 1, 1, half, count_include_pad=False)
    return 1 + amount * (around - targets).abs().amax(dim=1, keepdim=True)


# ------------------------------------------------------------------------------- global distribution consistency


def normalise_tokens(features: Tensor) -> Tensor:
    """Affine-free LayerNorm over the channels of each token of (B, C, h, w) [chosen].

    Raw tokens of foundation models have a few huge channels; without it they would own every moment and cosine.
    """
    mean = features.mean(dim=1, keepdim=True)
    variance = features.var(dim=1, keepdim=True, unbiased=False)
    return (features - mean) / (variance + 1e-6).sqrt()


def spatial_moments(features: Tensor, pool: str = "instance") -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the grid of (B, C, h, w): each (B, C), or (1, C) pooled over the batch.

    The deviation is clamped at 1e-3; the clamp acts on the variance, so that a flat channel has no NaN gradient.
    """
    dims = (2, 3) if pool == "instance" else (0, 2, 3)
    mean = features.mean(dim=dims)
    variance = features.var(dim=dims, unbiased=False)
    deviation = variance.clamp_min(SMALLEST_DEVIATION**2).sqrt()
    return (mean, deviation) if pool == "instance" else (mean[None], deviation[None])


Moments = tuple[Tensor, Tensor]


def gaussian_kl(q: Moments, r: Moments) -> tuple[Tensor, Tensor]:
    """KL(N_q || N_r) of channel-wise Gaussians, as its two parts per channel (B, C): means' part, deviations' part.

    KL = (mu_q - mu_r)^2 / (2 s_r^2)  +  log(s_r / s_q) + s_q^2 / (2 s_r^2) - 1/2   (closed form).
    """
    (mu_q, s_q), (mu_r, s_r) = q, r
    of_means = (mu_q - mu_r) ** 2 / (2 * s_r**2)
    of_deviations = torch.log(s_r / s_q) + s_q**2 / (2 * s_r**2) - 0.5
    return of_means, of_deviations


def gdc_parts(student: Moments, teacher: Moments, form: str, direction: str) -> tuple[Tensor, Tensor]:
    """GDC of one layer as (part of the means, part of the deviations), two scalars, means over images and channels.

    The paper mimics the prior distributions of the foundation model layer by layer [known]; the distance is [chosen]:
    kl, prior: KL of channel-wise Gaussians, SR = KL(student || teacher), RS the reverse, sym their mean;
    moments: |mu - mu'| and |s - s'|; w2: squares of the same, the squared 2-Wasserstein distance.
    """
    if form in ("kl", "prior"):
        forward, backward = gaussian_kl(student, teacher), gaussian_kl(teacher, student)
        a, b = {
            "SR": forward,
            "RS": backward,
            "sym": ((forward[0] + backward[0]) / 2, (forward[1] + backward[1]) / 2),
        }[direction]
        return a.mean(), b.mean()
    mean_gap, deviation_gap = student[0] - teacher[0], student[1] - teacher[1]
    if form == "moments":
        return mean_gap.abs().mean(), deviation_gap.abs().mean()
    if form == "w2":
        return (mean_gap**2).mean(), (deviation_gap**2).mean()
    raise ValueError(f"GDC form is '{form}'; expected kl, prior, moments or w2 (cwd has a function of its own).")


def channel_wise_divergence(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """CWD (Shu et al., ICCV 2021) of two maps (B, C, h, w): mean over channels of KL(teacher || student).

    Each channel is a softmax over the grid at the temperature; the sum is multiplied by temperature^2 as published.
    """
    t = (teacher.flatten(2) / temperature).softmax(dim=-1)  # (B, C, T)
    log_s = (student.flatten(2) / temperature).log_softmax(dim=-1)
    return temperature**2 * F.kl_div(log_s, t, reduction="none").sum(dim=-1).mean()


# ------------------------------------------------------------------------ localised representation alignment


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
