"""Augmentation: what moves with what, what stays, and that equal seeds give equal views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_tinymig.training.augmentation import photographs as photo
from napari_tinymig.training.augmentation import scans as scan
from napari_tinymig.training.augmentation.apply import (
    Augmenter,
    draw_theta,
    normalise_batch,
    sampling_grid,
)
from torch import Generator

from napari_tinymig.network.normalise import normalise
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.recipes.train import AugmentSpec

PLAIN = AugmentSpec(flip=False, rotate_deg=0, scale=(1, 1), shift=0, colour=0, blur=0, noise=0, illumination=0)
STRONG = AugmentSpec(elastic=0.4, fourier=1, randconv=0.5, gin=0.5, cutout=1, frame=1, aspect=0.2)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int = 3, size: int = 96) -> torch.Tensor:
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.random((n, 3, 12, 12), dtype=np.float32))
    return torch.nn.functional.interpolate(small, (size, size), mode="bilinear")


def view(n: int, value: float = 1.0) -> torch.Tensor:
    return torch.full((n,), value)


def run(spec: AugmentSpec, cache: torch.Tensor, volume: bool = False, seed: int = 0, size: int = 96, regions: int = 1):
    kind = InputSpec(size=size, normalisation="percentile_z" if volume else "rgb_half")
    n = len(cache)
    return Augmenter(spec, kind, volume, regions)(
        cache, view(n), torch.zeros(n, 2), torch.arange(n), generator(seed), want_clean=True
    )


def test_with_every_part_off_the_view_is_the_cache_itself():
    cache = torch.cat([pictures(), torch.ones(3, 1, 96, 96)], 1)
    batch = run(PLAIN, cache)
    torch.testing.assert_close(batch.image, cache[:, :3] * 2 - 1, atol=1e-4, rtol=0)
    torch.testing.assert_close(batch.image, batch.clean)
    assert bool(batch.inside.all())


def test_image_and_target_move_together():
    target = torch.zeros(4, 1, 96, 96)
    target[:, :, 30:60, 40:70] = 1
    cache = torch.cat([target.expand(-1, 3, -1, -1), target], 1)
    spec = PLAIN.model_copy(
        update={"rotate_deg": 40.0, "scale": (0.6, 1.6), "shift": 0.2, "elastic": 0.5, "flip": True}
    )
    batch = run(spec, cache)
    torch.testing.assert_close((batch.image[:, :1] + 1) / 2, batch.target, atol=1e-5, rtol=0)


@pytest.mark.parametrize("volume", [False, True])
def test_equal_seeds_give_equal_views_and_others_do_not(volume):
    cache = torch.cat([pictures(), torch.ones(3, 1, 96, 96)], 1)
    spec = STRONG.model_copy(update={"coil": 1.0, "drop_neighbours": 0.5})
    a, b, c = (run(spec, cache, volume, seed) for seed in (1, 1, 2))
    assert torch.equal(a.image, b.image)
    assert not torch.equal(a.image, c.image)
    assert torch.isfinite(a.image).all()


def test_photometric_parts_leave_range_and_shape_alone():
    x = pictures()
    for part in (photo.colour, photo.blur, photo.noise, photo.illumination, photo.fourier_mix, photo.gin,
                 photo.random_convolution, photo.occlude):  # fmt: skip
        y = part(x, 1.0, generator())
        assert y.shape == x.shape
        assert y.min() >= -1e-5
        assert y.max() <= 1 + 1e-5
        assert not torch.equal(x, y)


def test_a_strength_of_nothing_changes_nothing():
    x = pictures()
    torch.testing.assert_close(photo.colour(x, 0.0, generator()), x, atol=1e-3, rtol=0)
    torch.testing.assert_close(photo.blur(x, 0.0, generator()), x)
    torch.testing.assert_close(photo.fourier_mix(x, 0.0, generator()), x)


def test_jpeg_of_an_infinitely_fine_step_is_the_image():
    x = pictures()
    torch.testing.assert_close(photo.jpeg(x, torch.full((3,), 1e-6)), x, atol=1e-4, rtol=0)
    assert (photo.jpeg(x, torch.full((3,), 0.2)) - x).abs().max() > 0.01


def test_zooming_in_keeps_the_object_where_it_was_in_view():
    centre = torch.tensor([[0.5, -0.4]])
    spec = PLAIN.model_copy(update={"scale": (4.0, 4.0)})
    theta = draw_theta(view(1), centre, spec, generator())
    at = theta[0, :, :2].inverse() @ (centre[0] - theta[0, :, 2])  # where the object lies on the grid
    torch.testing.assert_close(at, centre[0])


def test_a_field_of_view_in_mm_is_reached_whatever_the_cache_shows():
    spec = PLAIN.model_copy(update={"fov_mm": (150.0, 150.0)})
    cutter = Augmenter(spec, InputSpec(size=64, normalisation="percentile_z"), True, 1)
    drawn = cutter.drawn_view(view(2), torch.tensor([200.0, float("nan")]), generator())
    torch.testing.assert_close(drawn, torch.tensor([0.75, 1.0]))


def test_normalisation_in_torch_equals_the_engines():
    rng = np.random.default_rng(3)
    grid = rng.gamma(2, 100, (64, 64, 3)).astype(np.float32)
    inside = np.ones((64, 64), bool)
    inside[:10] = False
    spec = InputSpec(size=64, normalisation="percentile_z")
    ours = normalise_batch(
        torch.from_numpy(grid).permute(2, 0, 1)[None].contiguous(), spec, torch.from_numpy(inside)[None, None]
    )
    np.testing.assert_allclose(ours[0].numpy(), normalise(grid, spec, inside), atol=0.02)


def test_the_coil_is_dark_inside_bright_at_its_rim_and_lies_behind_the_gland():
    target = torch.zeros(1, 1, 96, 96)
    target[:, :, 30:50, 35:60] = 1
    x = torch.full((1, 3, 96, 96), 0.4)
    image, label = scan.endorectal_coil(x, target, 1.0, generator(4))
    column = image[0, 1, :, 47]
    inside_balloon = int(column[50:80].argmin()) + 50
    assert column[50:].max() > 2 * column[35]
    assert column[inside_balloon] < 0.1
    rows = torch.nonzero(label[0, 0].amax(1) > 0.5)
    assert int(rows.max()) < inside_balloon


def test_pasted_frames_keep_nine_tenths_of_the_object():
    target = torch.zeros(20, 1, 96, 96)
    target[:, :, 40:60, 40:60] = 1
    inside = photo.tight_frame(torch.ones(20, 1, 96, 96, dtype=torch.bool), target, 1.0, generator())
    kept = (target * inside).sum((1, 2, 3)) / target.sum((1, 2, 3))
    assert kept.min() >= 0.9
    assert inside.float().mean() < 0.95


def test_dropped_neighbours_leave_three_equal_channels():
    spec = AugmentSpec(colour=0, blur=0, noise=0, illumination=0, drop_neighbours=1.0)
    cache = torch.cat([pictures(), torch.ones(3, 1, 96, 96)], 1)
    batch = run(spec, cache, volume=True)
    assert torch.equal(batch.image[:, 0], batch.image[:, 2])


def test_the_plain_view_is_the_middle_of_the_cache():
    half = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])  # a view of half the side, unmoved
    grid = sampling_grid(half, 4)
    torch.testing.assert_close(grid[0, 0, :, 0], torch.tensor([-0.375, -0.125, 0.125, 0.375]))
