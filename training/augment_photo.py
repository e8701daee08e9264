"""Light, colour, sharpness, noise and frame of photographs; also the parts that scans share."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_tinymig.engine.config import AugmentSpec


def uniform(n: int, low: float, high: float, g: Generator) -> Tensor:
    """(n,) numbers drawn evenly from low..high."""
    return torch.rand(n, generator=g) * (high - low) + low


def chosen(n: int, probability: float, g: Generator) -> Tensor:
    """Rows of a batch that a part applies to: each with `probability`."""
    return torch.nonzero(torch.rand(n, generator=g) < probability)[:, 0]


def _per_image(values: Tensor, x: Tensor) -> Tensor:
    return values.to(x.device, x.dtype).view(len(values), -1, 1, 1)


def colour(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Channel gains, a random near-identity colour mix (hue and saturation), gamma, brightness and contrast."""
    n = len(x)
    gains = torch.exp(torch.randn(n, 3, generator=g) * 0.12 * strength)
    saturation = torch.exp(torch.randn(n, generator=g) * 0.25 * strength).clamp(0, 2.5)
    mix = torch.eye(3).expand(n, 3, 3) + torch.randn(n, 3, 3, generator=g) * 0.06 * strength
    grey = torch.full((3, 3), 1 / 3)
    mix = mix * saturation[:, None, None] + grey * (1 - saturation)[:, None, None]
    mix = mix / mix.sum(2, keepdim=True).clamp_min(0.2) * gains[:, :, None]
    x = torch.einsum("bij,bjhw->bihw", mix.to(x.device, x.dtype), x).clamp(0, 1)
    gamma = _per_image(torch.exp(torch.randn(n, generator=g) * 0.25 * strength), x)
    gain = _per_image(torch.exp(torch.randn(n, generator=g) * 0.2 * strength), x)
    offset = _per_image(torch.randn(n, generator=g) * 0.05 * strength, x)
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast = _per_image(torch.exp(torch.randn(n, generator=g) * 0.2 * strength), x)
    return (((x.clamp_min(1e-4) ** gamma - mean) * contrast + mean) * gain + offset).clamp(0, 1)


def grey_world(x: Tensor, g: Generator, probability: float = 0.15) -> Tensor:
    """Some images with each channel scaled to the same mean (another white balance)."""
    rows = chosen(len(x), probability, g)
    if not len(rows):
        return x
    out, some = x.clone(), x[rows]
    means = some.mean((2, 3), keepdim=True).clamp_min(0.02)
    out[rows] = (some * (means.mean(1, keepdim=True) / means)).clamp(0, 1)
    return out


def blur(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Gaussian blur of some images, down-and-up sampling of others (a 256-pixel photograph enlarged)."""
    n, out = len(x), x
    rows = chosen(n, min(0.3 * strength, 0.9), g)
    if len(rows):
        sigma = uniform(len(rows), 0.4, 2.5, g)
        taps = torch.arange(-5, 6, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (taps[None] / sigma[:, None]) ** 2)
        kernel = (kernel / kernel.sum(1, keepdim=True)).to(x.device, x.dtype)
        c = x.shape[1]
        flat = F.pad(out[rows].reshape(1, len(rows) * c, *x.shape[2:]), (5, 5, 5, 5), mode="replicate")
        weight = kernel.repeat_interleave(c, 0)  # (b C, 11)
        flat = F.conv2d(flat, weight[:, None, :, None], groups=len(weight))
        flat = F.conv2d(flat, weight[:, None, None, :], groups=len(weight))
        out = out.clone()
        out[rows] = flat.view(len(rows), c, *x.shape[2:])
    rows = chosen(n, min(0.3 * strength, 0.9), g)
    if len(rows):
        out = out.clone()
        for row, factor in zip(rows.tolist(), uniform(len(rows), 1.3, 5.0, g).tolist()):
            small = F.interpolate(out[row : row + 1], scale_factor=1 / factor, mode="bilinear", antialias=True)
            out[row] = F.interpolate(small, x.shape[2:], mode="bilinear")[0]
    return out


_COSINE = torch.tensor(
    [
        [math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * (2 * i + 1) * k / 16) for i in range(8)]
        for k in range(8)
    ]
)


def jpeg(x: Tensor, quality_step: Tensor) -> Tensor:
    """Block artefacts: 8 x 8 cosine coefficients rounded to steps that grow with frequency; quality_step (B,)."""
    b, c, h, w = x.shape
    d = _COSINE.to(x.device, x.dtype)
    blocks = x.reshape(b, c, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)  # (B, C, h/8, w/8, 8, 8)
    coefficients = d @ blocks @ d.T
    frequency = torch.arange(8, device=x.device, dtype=x.dtype)
    step = (1 + frequency[:, None] + frequency[None]) * quality_step.to(x.device, x.dtype).view(b, 1, 1, 1, 1, 1)
    coefficients = torch.round(coefficients / step) * step
    return (d.T @ coefficients @ d).permute(0, 1, 2, 4, 3, 5).reshape(b, c, h, w)


def noise(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Sensor noise in some images, JPEG artefacts in others."""
    n, out = len(x), x
    rows = chosen(n, min(0.3 * strength, 0.9), g)
    if len(rows):
        sd = uniform(len(rows), 0.005, 0.05 * strength, g)
        out = out.clone()
        out[rows] += torch.randn(len(rows), *x.shape[1:], generator=g).to(x.device) * _per_image(sd, x)
    rows = chosen(n, min(0.25 * strength, 0.9), g)
    if len(rows):
        out = out.clone()
        out[rows] = jpeg(out[rows], uniform(len(rows), 0.01, 0.06 * strength, g))
    return out.clamp(0, 1)


def light_field(n: int, size: int, sd: float, g: Generator) -> Tensor:
    """(n, 1, size, size) smooth multiplicative field, exp of a random 4 x 4 lattice of deviation `sd`."""
    coarse = torch.randn(n, 1, 4, 4, generator=g) * sd
    return torch.exp(enlarge(coarse, size))


def enlarge(coarse: Tensor, size: int) -> Tensor:
    """A small lattice (n, C, k, k) as a smooth (n, C, size, size) field: cubic to 24, then linear (cheap)."""
    middle = F.interpolate(coarse, (24, 24), mode="bicubic", align_corners=True)
    return F.interpolate(middle, (size, size), mode="bilinear", align_corners=True)


def illumination(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Uneven light (smooth field) and vignetting around a random centre."""
    n, size = len(x), x.shape[-1]
    out = x
    rows = chosen(n, 0.5, g)
    if len(rows):
        out = out.clone()
        out[rows] = out[rows] * light_field(len(rows), size, 0.25 * strength, g).to(x.device)
    rows = chosen(n, 0.3, g)
    if len(rows):
        axis = torch.linspace(-1, 1, size)
        centre = uniform(2 * len(rows), -0.5, 0.5, g).view(-1, 2)
        far = (axis[None, :, None] - centre[:, 0, None, None]) ** 2 + (axis[None, None] - centre[:, 1, None, None]) ** 2
        dark = 1 - uniform(len(rows), 0.05, 0.35 * min(strength, 2), g)[:, None, None] * far
        out = out.clone()
        out[rows] = out[rows] * dark.clamp(0.05, 1)[:, None].to(x.device)
    return out.clamp(0, 1)


def fourier_mix(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Low-frequency amplitude exchanged with another image of the batch (FDA / AmpMix within the source)."""
    rows = chosen(len(x), probability, g)
    if not len(rows):
        return x
    partner = torch.randperm(len(x), generator=g)[: len(rows)]
    ratio = uniform(len(rows), 0.0, 1.0, g)
    spectrum, other = torch.fft.rfft2(x[rows].float()), torch.fft.rfft2(x[partner].float()).abs()
    amplitude, phase = spectrum.abs(), spectrum.angle()
    k = max(1, int(x.shape[-1] * 0.02))
    share = _per_image(ratio, x)
    mixed = amplitude.clone()
    for part in (slice(0, k), slice(-k, None)):
        mixed[:, :, part, :k] = amplitude[:, :, part, :k] * (1 - share) + other[:, :, part, :k] * share
    out = x.clone()
    out[rows] = torch.fft.irfft2(torch.polar(mixed, phase), s=x.shape[-2:]).to(x.dtype).clamp(0, 1)
    return out


def random_convolution(x: Tensor, probability: float, g: Generator) -> Tensor:
    """RandConv (Xu et al., ICLR 2021): a random 1-7 pixel convolution, mixed with the image, same mean and spread."""
    rows = chosen(len(x), probability, g)
    out = x.clone() if len(rows) else x
    for row in rows.tolist():
        k = int(torch.randint(0, 4, (1,), generator=g)) * 2 + 1
        weight = torch.randn(3, 3, k, k, generator=g).to(x.device) / math.sqrt(3 * k * k)
        share = float(torch.rand(1, generator=g))
        out[row] = _like(F.conv2d(x[row : row + 1], weight, padding=k // 2), x[row : row + 1], share)[0]
    return out.clamp(0, 1)


def gin(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Global intensity non-linear augmentation (GIN, Ouyang et al., TMI 2022): a shallow random network, mixed."""
    rows = chosen(len(x), probability, g)
    out = x.clone() if len(rows) else x
    for row in rows.tolist():
        y, widths = x[row : row + 1], (3, 2, 2, 3)
        for layer, (i, o) in enumerate(itertools.pairwise(widths)):
            k = int(torch.randint(0, 2, (1,), generator=g)) * 2 + 1
            weight, bias = torch.randn(o, i, k, k, generator=g), torch.randn(o, generator=g)
            y = F.conv2d(y, weight.to(x.device), bias.to(x.device), padding=k // 2)
            y = y if layer == 2 else F.leaky_relu(y)
        out[row] = _like(y, x[row : row + 1], float(torch.rand(1, generator=g)))[0]
    return out.clamp(0, 1)


def _like(y: Tensor, x: Tensor, share: float) -> Tensor:
    """`share` of y brought to x's mean and deviation, the rest x."""
    y = (y - y.mean((2, 3), keepdim=True)) / y.std((2, 3), keepdim=True).clamp_min(1e-4)
    y = y * x.std((2, 3), keepdim=True) + x.mean((2, 3), keepdim=True)
    return share * y + (1 - share) * x


def occlude(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Pasted boxes: glare, burned-in text stripes, instruments, black corners."""
    rows = chosen(len(x), probability, g)
    out, size = (x.clone() if len(rows) else x), x.shape[-1]
    for row in rows.tolist():
        for _ in range(int(torch.randint(1, 5, (1,), generator=g))):
            h, w = (int(v) for v in (uniform(2, 0.02, 0.2, g) * size))
            y0, x0 = (int(v) for v in (torch.rand(2, generator=g) * (size - 8)))
            fill = (
                torch.rand(3, 1, 1, generator=g)
                if torch.rand(1, generator=g) < 0.4
                else (torch.rand(1, 1, 1, generator=g) > 0.4).float()
            )
            out[row, :, y0 : y0 + h + 2, x0 : x0 + w + 2] = fill.to(x.device)
    return out


def tight_frame(inside: Tensor, target: Tensor, probability: float, g: Generator) -> Tensor:
    """Some photographs end inside the grid: everything beyond a random rectangle (or circle) around the object is out.

    Up to a tenth of the outermost region may be cut off, as at the edge of a real photograph.
    """
    rows = chosen(len(inside), probability, g)
    out, size = (inside.clone() if len(rows) else inside), inside.shape[-1]
    axis = torch.linspace(-1, 1, size)
    for row in rows.tolist():
        edge = uniform(4, 0.35, 1.1, g)
        if torch.rand(1, generator=g) < 0.75:
            keep_y, keep_x = (axis > -edge[0]) & (axis < edge[1]), (axis > -edge[2]) & (axis < edge[3])
            keep = keep_y[:, None] & keep_x[None]
        else:
            centre = (edge[:2] - 0.7) * 0.6
            keep = (axis[:, None] - centre[0]) ** 2 + (axis[None] - centre[1]) ** 2 < (edge[2] + 0.2) ** 2
        keep = keep.to(inside.device)
        whole = (target[row, 0] > 0.5).sum()
        if whole == 0 or ((target[row, 0] > 0.5) & keep).sum() > 0.9 * whole:
            out[row, 0] &= keep
    return out


Part = tuple[Tensor, Tensor, Tensor]


def _style(x: Tensor, target: Tensor, inside: Tensor, spec: AugmentSpec, g: Generator) -> Part:
    if spec.fourier:
        x = fourier_mix(x, spec.fourier, g)
    if spec.randconv:
        x = random_convolution(x, spec.randconv, g)
    if spec.gin:
        x = gin(x, spec.gin, g)
    return x, target, inside


def _light_and_colour(x: Tensor, target: Tensor, inside: Tensor, spec: AugmentSpec, g: Generator) -> Part:
    if spec.illumination:
        x = illumination(x, spec.illumination, g)
    if spec.colour:
        x = grey_world(colour(x, spec.colour, g), g)
    return x, target, inside


def _sharpness(x: Tensor, target: Tensor, inside: Tensor, spec: AugmentSpec, g: Generator) -> Part:
    if spec.blur:
        x = blur(x, spec.blur, g)
    if spec.cutout:
        x = occlude(x, spec.cutout, g)
    if spec.noise:
        x = noise(x, spec.noise, g)
    return x, target, inside


def _frame(x: Tensor, target: Tensor, inside: Tensor, spec: AugmentSpec, g: Generator) -> Part:
    if spec.frame:
        inside = tight_frame(inside, target, spec.frame, g)
        target = target * inside
    return x, target, inside


PHOTOGRAPH_PARTS = (_style, _light_and_colour, _sharpness, _frame)
