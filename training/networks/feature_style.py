"""Style randomised in feature space while training: MixStyle and TriD. Nothing of it is in an exported student."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_tinymig.recipes.train import AugmentSpec

MIXSTYLE_ALPHA = 0.1
"""Of the Beta distribution that mixes two images' statistics (the paper's)."""
TRID_ALPHA = 0.1
"""Of the Beta distribution that says which channels are randomised (the paper's code)."""
STAGES = 2
"""The first stages, where style is; deeper ones carry labels (both papers)."""


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, C, 1, 1) of each channel of each image."""
    return x.mean((2, 3), keepdim=True), (x.var((2, 3), keepdim=True, unbiased=False) + 1e-6).sqrt()


def mixstyle(x: Tensor, alpha: float = MIXSTYLE_ALPHA) -> Tensor:
    """(B, C, h, w) with each image's channel statistics mixed with those of another image of the batch.

    Zhou et al., ICLR 2021: lambda ~ Beta(alpha, alpha) per image; statistics carry no gradient.
    """
    mean, deviation = statistics(x.detach())
    other = torch.randperm(len(x), device=x.device)
    share = torch.distributions.Beta(alpha, alpha).sample((len(x), 1, 1, 1)).to(x)
    new_mean = share * mean + (1 - share) * mean[other]
    new_deviation = share * deviation + (1 - share) * deviation[other]
    return (x - mean) / deviation * new_deviation + new_mean


def trid(x: Tensor, alpha: float = TRID_ALPHA) -> Tensor:
    """(B, C, h, w) with some channels' statistics replaced by random ones, uniform in 0..1.

    TriD (Chen et al., MICCAI 2023): which channels is drawn per image and channel, Bernoulli of a Beta(alpha, alpha).
    """
    mean, deviation = statistics(x.detach())
    shape = mean.shape
    swap = torch.bernoulli(torch.distributions.Beta(alpha, alpha).sample(shape)).to(x)
    new_mean = swap * torch.rand(shape).to(x) + (1 - swap) * mean
    new_deviation = swap * torch.rand(shape).to(x) + (1 - swap) * deviation
    return (x - mean) / deviation * new_deviation + new_mean


def attach_feature_style(student: nn.Module, spec: AugmentSpec) -> int:
    """Let the first stages' outputs be restyled with the probabilities of the spec; returns how many stages.

    Acts in train mode with gradients on alone, on a whole batch at a time (as both papers do), drawing from torch's
    global generator, which the loop seeds per epoch. Networks without tapped stages are refused with ValueError where
    a probability is above zero.
    """
    if not (spec.mixstyle or spec.trid):
        return 0
    taps = _first_stages(student)
    for module in taps:
        module.register_forward_hook(_hook(spec))
    return len(taps)


def _first_stages(student: nn.Module) -> list[nn.Module]:
    encoder = getattr(student, "encoder", None)
    if encoder is None:
        raise ValueError(f"{type(student).__name__} has no tapped encoder; set augment.mixstyle and augment.trid to 0")
    if hasattr(encoder, "stages"):
        return list(encoder.stages)[:STAGES]
    from .student import MOBILE_TAPS

    return [encoder.blocks[i] for i in MOBILE_TAPS[:STAGES]]


def _hook(spec: AugmentSpec):  # type: ignore[no-untyped-def]
    def restyle(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if not (module.training and torch.is_grad_enabled()) or len(output) < 2:
            return output
        if spec.mixstyle and torch.rand(()) < spec.mixstyle:
            output = mixstyle(output)
        if spec.trid and torch.rand(()) < spec.trid:
            output = trid(output)
        return output

    return restyle
