"""Light, colour, sharpness, noise and frame of photographs; also the parts that scans share."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from .parts import Part, View, chosen, light, on_each_of_some, on_some, per_image, uniform


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
    gamma = per_image(torch.exp(torch.randn(n, generator=g) * 0.25 * strength), x)
    gain = per_image(torch.exp(torch.randn(n, generator=g) * 0.2 * strength), x)
    offset = per_image(torch.randn(n, generator=g) * 0.05 * strength, x)
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast = per_image(torch.exp(torch.randn(n, generator=g) * 0.2 * strength), x)
    return (((x.clamp_min(1e-4) ** gamma - mean) * contrast + mean) * gain + offset).clamp(0, 1)


def grey_world(x: Tensor, g: Generator, probability: float = 0.15) -> Tensor:
    """Some images with each channel scaled to the same mean (another white balance)."""

    def balanced(some: Tensor) -> Tensor:
        means = some.mean((2, 3), keepdim=True).clamp_min(0.02)
        return (some * (means.mean(1, keepdim=True) / means)).clamp(0, 1)

    return on_some(x, probability, g, balanced)


def blur(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Gaussian blur of some images, down-and-up sampling of others (a 256-pixel photograph enlarged)."""
    probability = min(0.3 * strength, 0.9)
    x = on_some(x, probability, g, lambda some: gaussian(some, uniform(len(some), 0.4, 2.5, g)))
    return on_some(x, probability, g, lambda some: _coarse(some, uniform(len(some), 1.3, 5.0, g)))


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """Each image blurred with its own sigma (B,), pixels; 11 taps per axis."""
    b, c, h, w = x.shape
    taps = torch.arange(-5, 6, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(x.device, x.dtype)
    weight = kernel.repeat_interleave(c, 0)  # (B C, 11)
    flat = F.pad(x.reshape(1, b * c, h, w), (5, 5, 5, 5), mode="replicate")
    flat = F.conv2d(flat, weight[:, None, :, None], groups=len(weight))
    flat = F.conv2d(flat, weight[:, None, None, :], groups=len(weight))
    return flat.view(b, c, h, w)


def _coarse(x: Tensor, factors: Tensor) -> Tensor:
    """Each image made smaller by its own factor (B,) and enlarged again."""
    out = torch.empty_like(x)
    for row, factor in enumerate(factors.tolist()):
        small = F.interpolate(x[row : row + 1], scale_factor=1 / factor, mode="bilinear", antialias=True)
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

    def grainy(some: Tensor) -> Tensor:
        sd = uniform(len(some), 0.005, 0.05 * strength, g)
        return some + torch.randn(some.shape, generator=g).to(x.device) * per_image(sd, x)

    def blocky(some: Tensor) -> Tensor:
        return jpeg(some, uniform(len(some), 0.01, 0.06 * strength, g))

    x = on_some(x, min(0.3 * strength, 0.9), g, grainy)
    return on_some(x, min(0.25 * strength, 0.9), g, blocky).clamp(0, 1)


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
    size = x.shape[-1]

    def uneven(some: Tensor) -> Tensor:
        return some * light_field(len(some), size, 0.25 * strength, g).to(x.device)

    def vignetted(some: Tensor) -> Tensor:
        centre = uniform(2 * len(some), -0.5, 0.5, g).view(-1, 2)
        deepest = 0.35 * min(strength, 2)
        return vignette(some, centre, uniform(len(some), min(0.05, deepest), deepest, g))

    return on_some(on_some(x, 0.5, g, uneven), 0.3, g, vignetted).clamp(0, 1)


def vignette(x: Tensor, centre: Tensor, depth: Tensor) -> Tensor:
    """Light that falls off with the square of the distance: times 1 - depth r^2, at least 0.05.

    centre: (B, 2) row and column in -1..1. depth: (B,), what is lost at r = 1, half a frame away.
    """
    axis = torch.linspace(-1, 1, x.shape[-1])
    r2 = (axis[None, :, None] - centre[:, 0, None, None]) ** 2 + (axis[None, None] - centre[:, 1, None, None]) ** 2
    return x * (1 - depth[:, None, None] * r2).clamp(0.05, 1)[:, None].to(x.device)


def fourier_mix(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Low-frequency amplitude exchanged with another image of the batch (FDA / AmpMix within the source)."""

    def mixed(some: Tensor) -> Tensor:
        partner = torch.randperm(len(x), generator=g)[: len(some)]
        share = per_image(uniform(len(some), 0.0, 1.0, g), x)
        return exchange_amplitude(some, x[partner], share)

    return on_some(x, probability, g, mixed)


def exchange_amplitude(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """x with `share` (B, 1, 1, 1) of the other image's amplitude in its lowest 2 % of frequencies; its phase stays."""
    spectrum, theirs = torch.fft.rfft2(x.float()), torch.fft.rfft2(other.float()).abs()
    amplitude, phase = spectrum.abs(), spectrum.angle()
    k = max(1, int(x.shape[-1] * 0.02))
    changed = amplitude.clone()
    for part in (slice(0, k), slice(-k, None)):
        changed[:, :, part, :k] = amplitude[:, :, part, :k] * (1 - share) + theirs[:, :, part, :k] * share
    return torch.fft.irfft2(torch.polar(changed, phase), s=x.shape[-2:]).to(x.dtype).clamp(0, 1)


def random_convolution(x: Tensor, probability: float, g: Generator) -> Tensor:
    """RandConv (Xu et al., ICLR 2021): a random 1-7 pixel convolution, mixed with the image, same mean and spread."""

    def convolved(one: Tensor) -> Tensor:
        k = int(torch.randint(0, 4, (1,), generator=g)) * 2 + 1
        weight = torch.randn(3, 3, k, k, generator=g).to(x.device) / math.sqrt(3 * k * k)
        share = float(torch.rand(1, generator=g))
        return _like(F.conv2d(one, weight, padding=k // 2), one, share)

    return on_each_of_some(x, probability, g, convolved).clamp(0, 1)


def gin(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Global intensity non-linear augmentation (GIN, Ouyang et al., TMI 2022): a shallow random network, mixed."""

    def networked(one: Tensor) -> Tensor:
        y = one
        for layer, (i, o) in enumerate(itertools.pairwise((3, 2, 2, 3))):
            k = int(torch.randint(0, 2, (1,), generator=g)) * 2 + 1
            weight, bias = torch.randn(o, i, k, k, generator=g), torch.randn(o, generator=g)
            y = F.conv2d(y, weight.to(x.device), bias.to(x.device), padding=k // 2)
            y = y if layer == 2 else F.leaky_relu(y)
        return _like(y, one, float(torch.rand(1, generator=g)))

    return on_each_of_some(x, probability, g, networked).clamp(0, 1)


def _like(y: Tensor, x: Tensor, share: float) -> Tensor:
    """`share` of y brought to x's mean and deviation, the rest x."""
    y = (y - y.mean((2, 3), keepdim=True)) / y.std((2, 3), keepdim=True).clamp_min(1e-4)
    y = y * x.std((2, 3), keepdim=True) + x.mean((2, 3), keepdim=True)
    return share * y + (1 - share) * x


def occlude(x: Tensor, probability: float, g: Generator) -> Tensor:
    """Pasted boxes: glare, burned-in text stripes, instruments, black corners."""
    size = x.shape[-1]

    def pasted(one: Tensor) -> Tensor:
        one = one.clone()
        for _ in range(int(torch.randint(1, 5, (1,), generator=g))):
            h, w = (int(v) for v in (uniform(2, 0.02, 0.2, g) * size))
            y0, x0 = (int(v) for v in (torch.rand(2, generator=g) * (size - 8)))
            fill = (
                torch.rand(3, 1, 1, generator=g)
                if torch.rand(1, generator=g) < 0.4
                else (torch.rand(1, 1, 1, generator=g) > 0.4).float()
            )
            one[0, :, y0 : y0 + h + 2, x0 : x0 + w + 2] = fill.to(x.device)
        return one

    return on_each_of_some(x, probability, g, pasted)


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


def _colour_and_balance(x: Tensor, strength: float, g: Generator) -> Tensor:
    """Grey world goes with colour, in as many images whatever the strength; at 0 it is off too."""
    return grey_world(colour(x, strength, g), g, 0.15 if strength else 0.0)


def _framed(view: View, probability: float, g: Generator) -> View:
    inside = tight_frame(view.inside, view.target, probability, g)
    return View(view.x, view.target * inside, inside)


STYLES = (light("fourier", fourier_mix), light("randconv", random_convolution), light("gin", gin))
LIGHT = (light("illumination", illumination),)
CAMERA = (light("colour", _colour_and_balance), light("blur", blur))
SENSOR = (light("cutout", occlude), light("noise", noise))
FRAME = (Part("frame", _framed),)
