"""Every part of the augmentation by itself, against figures worked out by hand; strength 0 is the identity of all."""

from __future__ import annotations

import math

import pytest
import torch
from napari_tinymig.training.augmentation import photographs as photo
from napari_tinymig.training.augmentation import scans as scan
from napari_tinymig.training.augmentation.apply import Augmenter
from napari_tinymig.training.augmentation.order import PHOTOGRAPH_PARTS
from napari_tinymig.training.augmentation.parts import View
from torch import Generator, Tensor

from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.recipes.train import AugmentSpec

SIDE = 64


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int = 4, low: float = 0.3, high: float = 0.7) -> Tensor:
    """Smooth colour pictures within low..high, far enough from 0 and 1 that nothing is clipped."""
    coarse = torch.rand(n, 3, 8, 8, generator=generator(5)) * (high - low) + low
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


def fine_energy(x: Tensor) -> Tensor:
    """(B,) energy above a quarter of the sampling rate in either direction."""
    power = torch.fft.fft2(x).abs() ** 2
    frequency = torch.fft.fftfreq(x.shape[-1]).abs()
    fine = torch.maximum(frequency[:, None], frequency[None]) > 0.25
    return power[..., fine].sum((1, 2))


@pytest.mark.parametrize("part", [*PHOTOGRAPH_PARTS, *scan.SCAN_PARTS], ids=lambda p: p.strength)
def test_strength_zero_is_the_identity_of_every_part(part):
    x, target = pictures(16, 0, 1), torch.zeros(16, 1, SIDE, SIDE)
    target[:, :, 20:40, 20:40] = 1
    before = View(x, target, torch.ones(16, 1, SIDE, SIDE, dtype=torch.bool))
    after = part.change(before, 0.0, generator())
    torch.testing.assert_close(after.x, x, atol=2e-4, rtol=0)  # curves lift exact black to 1e-4
    assert torch.equal(after.target, target)
    assert torch.equal(after.inside, before.inside)


def test_gaussian_blur_damps_a_wave_as_its_transfer_function_says():
    wave = 0.5 + 0.4 * torch.cos(2 * math.pi * torch.arange(SIDE) / 8)
    x = wave.expand(1, 3, SIDE, SIDE)
    y = photo.gaussian(x, torch.tensor([1.0]))
    damped = (y[0, 0, 32, 16:48] - 0.5).abs().max() / 0.4
    assert float(damped) == pytest.approx(
        math.exp(-2 * (math.pi / 8) ** 2), abs=2e-3
    )  # exp(-2 pi^2 sigma^2 / period^2)


def test_blur_takes_fine_detail_from_every_image_it_touches_and_adds_none():
    x = torch.rand(12, 3, SIDE, SIDE, generator=generator())
    y = photo.blur(x, 3.0, generator(1))
    touched = (y != x).flatten(1).any(1)
    assert touched.sum() >= 10
    assert (fine_energy(y)[touched] < 0.6 * fine_energy(x)[touched]).all()
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), atol=0.03, rtol=0)


def test_jpeg_rounds_the_mean_of_a_flat_block_to_the_step():
    x = torch.full((1, 3, 16, 24), 0.3)
    y = photo.jpeg(x, torch.tensor([0.5]))
    torch.testing.assert_close(y, torch.full_like(x, 0.3125))  # 8 * 0.3 = 2.4 -> 5 steps of 0.5 -> 2.5 / 8


def test_jpeg_works_in_blocks_of_eight_by_eight():
    x = pictures(1)
    other = x.clone()
    other[0, 0, 19, 42] += 0.3  # in the block of rows 16-23 and columns 40-47
    step = torch.tensor([0.02])
    changed = (photo.jpeg(x, step) - photo.jpeg(other, step)).abs()[0, 0] > 1e-6
    assert changed[16:24, 40:48].any()
    changed[16:24, 40:48] = False
    assert not changed.any()


def test_noise_and_jpeg_stay_in_range_and_keep_the_mean():
    x = pictures(12)
    y = photo.noise(x, 2.0, generator())
    assert y.shape == x.shape
    assert y.min() >= 0
    assert y.max() <= 1
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), atol=0.03, rtol=0)


def test_vignetting_at_the_corner_and_in_the_middle_by_hand():
    x = torch.full((1, 3, 65, 65), 0.5)
    y = photo.vignette(x, torch.zeros(1, 2), torch.tensor([0.3]))
    assert float(y[0, 0, 32, 32]) == pytest.approx(0.5)
    assert float(y[0, 0, 32, 64]) == pytest.approx(0.5 * 0.7)
    assert float(y[0, 0, 0, 0]) == pytest.approx(0.5 * 0.4)  # r^2 = 2
    moved = photo.vignette(x, torch.tensor([[-0.5, 0.0]]), torch.tensor([0.3]))
    assert moved[0, 0].argmax() // 65 == 16  # a quarter down


@pytest.mark.parametrize("part", [photo.illumination, scan.bias_field], ids=["photograph", "scan"])
def test_uneven_light_is_smooth_positive_and_multiplicative(part):
    x = torch.full((8, 3, SIDE, SIDE), 0.2)
    field = part(x, 1.0, generator()) / x
    assert (field > 0).all()
    assert torch.equal(field[:, 0], field[:, 2])  # light has no colour
    assert (field - 1).abs().max() > 0.05
    for axis in (2, 3):
        assert field.log().diff(dim=axis).abs().max() < 0.12
    half = part(x / 2, 1.0, generator())
    torch.testing.assert_close(half, x / 2 * field)


def test_grey_world_gives_the_channels_one_mean_and_keeps_the_brightness():
    x = pictures() * torch.tensor([1.2, 0.9, 0.6])[None, :, None, None]
    y = photo.grey_world(x, generator(), probability=1.0)
    means = y.mean((2, 3))
    torch.testing.assert_close(means, x.mean((1, 2, 3))[:, None].expand(-1, 3))


def test_fourier_mixing_takes_the_low_amplitude_of_the_other_and_keeps_the_phase():
    x, other = pictures()[:1], pictures()[1:2] * 0.8
    y = photo.exchange_amplitude(x, other, torch.ones(1, 1, 1, 1))
    before, after, theirs = (torch.fft.rfft2(v) for v in (x, y, other))
    torch.testing.assert_close(after[..., 0, 0].abs(), theirs[..., 0, 0].abs())
    torch.testing.assert_close(y.mean((2, 3)), other.mean((2, 3)))  # frequency zero is the mean
    high = torch.ones(SIDE, SIDE // 2 + 1, dtype=torch.bool)
    high[[0, 1, -1], 0] = False
    torch.testing.assert_close(after[..., high], before[..., high], atol=1e-3, rtol=1e-3)
    turned = (after * before.conj())[..., before.abs()[0, 0] > 0.5].angle()
    assert turned.abs().max() < 0.02
    half = photo.exchange_amplitude(x, other, torch.full((1, 1, 1, 1), 0.5))
    torch.testing.assert_close(half.mean((2, 3)), (x.mean((2, 3)) + other.mean((2, 3))) / 2)


def test_random_convolution_scales_with_the_image_and_keeps_each_mean():
    x = pictures(6, 0.45, 0.55)
    y = photo.random_convolution(x, 1.0, generator(2))
    assert y.shape == x.shape
    assert (y != x).flatten(1).any(1).all()
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), atol=2e-3, rtol=0)
    half = photo.random_convolution(x / 2, 1.0, generator(2))
    torch.testing.assert_close(half, y / 2, atol=1e-3, rtol=0)  # convolution is linear, mean and spread follow it
    strong = photo.random_convolution(pictures(6, 0, 1), 1.0, generator(2))
    assert strong.min() >= 0
    assert strong.max() <= 1


def test_gin_is_not_linear_and_keeps_each_mean():
    x = pictures(6, 0.45, 0.55)
    y = photo.gin(x, 1.0, generator(3))
    assert y.shape == x.shape
    torch.testing.assert_close(y.mean((2, 3)), x.mean((2, 3)), atol=2e-3, rtol=0)
    assert (photo.gin(x / 2, 1.0, generator(3)) - y / 2).abs().max() > 1e-3


def test_magnitude_noise_is_rayleigh_where_there_is_no_signal():
    dark = torch.zeros(24, 3, SIDE, SIDE)
    y = scan.rician(dark, 1.8, generator())
    noisy = y[(y > 0).flatten(1).any(1)]
    assert len(noisy) >= 15
    assert (noisy >= 0).all()
    ratio = noisy.mean((1, 2, 3)) / noisy.std((1, 2, 3))
    expected = math.sqrt(math.pi / 2) / math.sqrt(2 - math.pi / 2)  # 1.913, whatever the deviation
    torch.testing.assert_close(ratio, torch.full_like(ratio, expected), atol=0.05, rtol=0)


def test_magnitude_noise_hardly_lifts_a_strong_signal():
    y = scan.rician(torch.ones(12, 3, SIDE, SIDE), 1.0, generator())
    assert (y.mean((1, 2, 3)) - 1).abs().max() < 0.06**2  # sqrt(1 + sd^2) - 1 and steps of 1/255


def test_intensity_curves_of_scans_are_monotone_and_keep_the_ends():
    ramp = torch.linspace(0, 0.999, SIDE * SIDE).view(1, 1, SIDE, SIDE).expand(16, 3, -1, -1).contiguous()
    y = scan.intensity(ramp, 2.0, generator()).flatten(2)
    assert (y.diff(dim=2) >= -1e-6).all()
    assert y[:, :, 0].max() < 0.4
    torch.testing.assert_close(y[:, :, -1], torch.ones(16, 3), atol=0.02, rtol=0)


def test_occluders_cover_pixels_and_leave_the_labels_alone():
    target = torch.zeros(6, 1, SIDE, SIDE)
    target[:, :, 20:40, 20:40] = 1
    cache = torch.cat([pictures(6), target], 1)
    off = AugmentSpec(flip=False, rotate_deg=0, scale=(1, 1), shift=0, colour=0, blur=0, noise=0, illumination=0)
    batch = Augmenter(off.model_copy(update={"cutout": 1.0}), InputSpec(size=SIDE), False, 1)(
        cache, torch.ones(6), torch.zeros(6, 2), torch.arange(6), generator(), want_clean=True
    )
    torch.testing.assert_close(batch.target, target, atol=1e-5, rtol=0)
    covered = (batch.image != batch.clean).any(1).flatten(1).float().mean(1)
    assert (covered > 0).all()
    assert (covered < 4 * 0.25**2).all()  # at most four boxes of a fifth of the side


def test_the_coil_is_brightest_beside_itself_and_falls_off_away_from_it():
    target = torch.zeros(1, 1, 96, 96)
    target[:, :, 30:50, 35:60] = 1
    image, _ = scan.endorectal_coil(torch.full((1, 3, 96, 96), 0.4), target, 1.0, generator(4))
    column = image[0, 1, :, 47]
    balloon = torch.nonzero(column < 0.03)[:, 0]
    brightest = int(column.argmax())
    assert min(abs(brightest - int(balloon[0])), abs(brightest - int(balloon[-1]))) <= 4  # at one of its walls
    forward = column[: int(balloon[0]) - 6]  # from the front of the body to the gland
    assert (forward.diff() >= -1e-6).all()
    assert float(forward[-1]) > 5 * float(forward[0])
