"""Segmentation losses: region and class targets, Dice, cross-entropy, weighted borders.

B = images, R = regions (output channels), (H, W) = the grid of the network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_tinymig.tasks.task import Task

IGNORE_LABEL = 255


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
    side = 2 * half + 1  # rows, then columns: the mean of a window, in a tenth of its time
    around = F.avg_pool2d(targets, (side, 1), 1, (half, 0), count_include_pad=False)
    around = F.avg_pool2d(around, (1, side), 1, (0, half), count_include_pad=False)
    return 1 + amount * (around - targets).abs().amax(dim=1, keepdim=True)
