"""Cups of other sizes, pallor and patches: what moves, what must not, and that pixels and targets move together."""

from __future__ import annotations

import pytest
import torch
from napari_tinymig.training.augmentation.apply import Augmenter
from napari_tinymig.training.augmentation.fundus import pallor, patches
from napari_tinymig.training.augmentation.inner_region import moved_along, rays_of, resized_inside, source_radius
from napari_tinymig.training.augmentation.parts import View
from torch import Tensor

from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.recipes.train import AugmentSpec

SIDE = 256
STILL = {
    "flip": False,
    "rotate_deg": 0,
    "scale": (1.0, 1.0),
    "shift": 0,
    "elastic": 0,
    "aspect": 0,
    "colour": 0,
    "blur": 0,
    "noise": 0,
    "illumination": 0,
}


def eye(cup: float = 0.5, radius: float = 0.25, x: float = 0.0) -> Tensor:
    """(1, 5, c, c): grey, disc of `radius` (half sides) and a cup of `cup` disc radii at (x, 0), brighter inside."""
    axis = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    disc = (axis[:, None] ** 2 + axis[None] ** 2).sqrt() < radius
    inner = (axis[:, None] ** 2 + (axis[None] - x) ** 2).sqrt() < radius * cup
    grey = 0.2 + 0.3 * disc.float() + 0.3 * inner.float()
    return torch.stack([grey, grey, grey, disc.float(), inner.float()])[None]


def seen(cache: Tensor, **changes: object) -> tuple[Tensor, Tensor]:
    """Image in 0..1 and target of one augmented view of the whole cache."""
    spec = AugmentSpec(**(STILL | changes))  # type: ignore[arg-type]
    augment = Augmenter(spec, InputSpec(size=SIDE), volume=False, regions=2)
    made = augment(cache, torch.ones(1), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), torch.Generator())
    return (made.image + 1) / 2, made.target


def height(mask: Tensor) -> int:
    rows = torch.nonzero((mask > 0.5).any(1))[:, 0]
    return int(rows.max() - rows.min() + 1)


@pytest.mark.parametrize("wanted", [0.2, 0.35, 0.5, 0.65, 0.85])
def test_a_cup_gets_the_ratio_that_was_asked_for_and_the_disc_stays(wanted: float) -> None:
    _, target = seen(eye(0.5), inner=1.0, inner_ratio=(wanted, wanted + 1e-6))
    assert height(target[0, 1]) / height(target[0, 0]) == pytest.approx(
        wanted, abs=0.07
    )  # softened borders give way a little
    assert height(target[0, 0]) == pytest.approx(height(eye()[0, 3]), abs=2)


def test_pixels_move_with_their_cup() -> None:
    image, target = seen(eye(0.5, x=0.04), inner=1.0, inner_ratio=(0.7, 0.7001))
    cup, rim = target[0, 1] > 0.9, (target[0, 0] > 0.9) & (target[0, 1] < 0.1)
    assert float(image[0, 0][cup].mean()) == pytest.approx(0.8, abs=0.02)
    assert float(image[0, 0][rim].mean()) == pytest.approx(0.5, abs=0.02)


def test_beyond_the_disc_nothing_moves() -> None:
    cache = eye(0.5)
    cache[:, :3] = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    plain, _ = seen(cache)
    moved, _ = seen(cache, inner=1.0, inner_ratio=(0.3, 0.3001))
    axis = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    beyond = (axis[:, None] ** 2 + axis[None] ** 2).sqrt() > 0.25 * 1.25
    torch.testing.assert_close(plain[0][:, beyond], moved[0][:, beyond])
    assert (plain - moved).abs().max() > 0.1


def test_positions_never_fold_over() -> None:
    rho = torch.linspace(0, 1.3, 400)
    for share in (0.1, 0.5, 0.9):
        for wished in (0.06, 0.3, 0.94):
            source = source_radius(rho, torch.tensor(share), torch.tensor(wished))
            assert (source.diff() > 0).all()
            assert float(
                source_radius(torch.tensor(wished), torch.tensor(share), torch.tensor(wished))
            ) == pytest.approx(share)


def test_an_eye_without_a_cup_and_a_probability_of_nothing_leave_the_grid_alone() -> None:
    grid = torch.rand(1, 8, 8, 2)
    without = eye(0.0)[:, 3:]
    assert rays_of(without[0]) is None
    g = torch.Generator()
    assert resized_inside(grid, without, 1.0, (0.2, 0.8), g).equal(grid)
    assert resized_inside(grid, eye()[:, 3:], 0.0, (0.2, 0.8), g).equal(grid)
    rays = rays_of(eye()[0, 3:])
    assert rays is not None
    torch.testing.assert_close(moved_along(grid, rays, rays.ratio), grid, atol=2e-3, rtol=0)


def test_pallor_changes_the_cup_alone() -> None:
    cache = eye(0.5)
    view = View(cache[:, :3], cache[:, 3:], torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool))
    changed = pallor(view, 1.0, torch.Generator().manual_seed(4)).x
    far = torch.nn.functional.max_pool2d(cache[:, 4:], 11, 1, 5) == 0
    assert changed[far.expand_as(changed)].equal(view.x[far.expand_as(changed)])
    assert (changed - view.x).abs().max() > 0.02


def test_patches_are_pasted_under_the_disc_and_never_over_it() -> None:
    cache = eye(0.5)
    view = View(cache[:, :3], cache[:, 3:], torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool))
    for seed in range(8):
        changed = patches(view, 1.0, torch.Generator().manual_seed(seed)).x
        disc = (cache[:, 3:4] == 1).expand_as(changed)
        assert changed[disc].equal(view.x[disc])
        assert (changed - view.x).abs().max() > 0.02
