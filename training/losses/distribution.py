"""Global distribution consistency (GDC): the student's features are distributed as the teacher's, layer by layer.

What the paper prints is marked [known]; what this project chose to fill a gap is marked [chosen]. B = images, C =
channels of a feature map, (h, w) = its grid, T = h * w tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_DEVIATION = 1e-3  # spatial standard deviations are clamped here, so that a flat channel costs a finite sum


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
