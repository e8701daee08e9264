"""Drawn looks of other endoscopes, and of other scanners: what each changes, what it must leave alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from napari_tinymig.training.augmentation import endoscopy
from napari_tinymig.training.augmentation.parts import View
from napari_tinymig.training.augmentation.scans import display_window, sharpen
from napari_tinymig.training.data.batches import how_often
from napari_tinymig.training.losses.segmentation import border_weights
from torch import Generator


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def grey(value: float = 0.5, n: int = 4, size: int = 64) -> torch.Tensor:
    return torch.full((n, 3, size, size), value)


def with_object(n: int = 12, size: int = 64) -> View:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(0.3, 0.7, (n, 3, 1, 1)).astype(np.float32)).expand(n, 3, size, size).clone()
    target = torch.zeros(n, 1, size, size)
    target[:, :, 20:40, 20:40] = 1
    return View(x, target, torch.ones(n, 1, size, size, dtype=torch.bool))


def test_half_a_turn_of_the_hue_makes_red_greenish_blue_and_keeps_its_luminance():
    red = torch.tensor([0.6, 0.3, 0.3])
    turned = endoscopy.hue_rotation(torch.tensor([math.pi]))[0] @ red
    weights = endoscopy.YIQ[0]
    assert turned[0] < turned[1]
    assert turned[0] < turned[2]
    assert float(weights @ turned) == pytest.approx(float(weights @ red), abs=1e-4)


def test_turning_the_hue_leaves_greys_alone_and_a_full_turn_leaves_all_alone():
    angles = torch.tensor([0.3, 2.0, -1.0])
    level = torch.full((3,), 0.4)
    torch.testing.assert_close(endoscopy.hue_rotation(angles) @ level, level.expand(3, 3), atol=2e-3, rtol=0)
    torch.testing.assert_close(endoscopy.hue_rotation(torch.tensor([2 * math.pi]))[0], torch.eye(3), atol=1e-4, rtol=0)


def test_glints_are_small_and_brighten():
    out = endoscopy.glints(grey(0.4, 8), 1.0, generator())
    change = out - 0.4
    assert float(change.min()) > -1e-5
    covered = (change.mean(1) > 0.2).float().mean()
    assert 0.002 < float(covered) < 0.2


def test_glints_spare_what_no_lamp_reaches():
    assert torch.equal(endoscopy.glints(grey(0.05), 1.0, generator()), grey(0.05))


def test_dye_is_blue_and_mostly_spares_the_object():
    view = with_object(40)
    out = endoscopy.dye(view, 1.0, generator())
    change = (out.x - view.x).abs().mean(1)
    inside, outside = change[:, 25:35, 25:35].mean((1, 2)), change[:, :, :15].mean((1, 2))
    dyed = outside > 0.05
    assert dyed.sum() > 10
    assert float((inside[dyed] < 0.01).float().mean()) > 0.5
    blueness = (out.x[:, 2] - out.x[:, 0]) - (view.x[:, 2] - view.x[:, 0])
    assert float(blueness[:, :, :15].mean()) > 0.05
    assert torch.equal(out.target, view.target)


def test_an_instrument_comes_from_the_rim_and_is_narrow():
    out = endoscopy.instrument(grey(0.5, 6), 1.0, generator(3))
    changed = ((out - 0.5).abs().amax(1) > 1e-3).float()
    for one in changed:
        rim = torch.cat([one[0], one[-1], one[:, 0], one[:, -1]])
        assert rim.any()
        assert 0 < float(one.mean()) < 0.3


def test_text_and_insets_cover_a_part_and_never_all():
    out = endoscopy.overlay(grey(0.5, 8), 1.0, generator())
    covered = ((out - 0.5).abs().amax(1) > 1e-3).float().mean((1, 2))
    assert float(covered.min()) > 0
    assert float(covered.max()) < 0.5


def test_a_scope_border_keeps_most_of_the_object_and_darkens_the_rest():
    view = with_object(20)
    out = endoscopy.scope_border(view, 1.0, generator())
    kept = out.target.sum((1, 2, 3)) / view.target.sum((1, 2, 3))
    assert float(kept.min()) > 0.85
    dark = out.x.amax(1) < 0.04
    assert dark[:, 0, 0].float().mean() > 0.5
    assert not (dark & (out.target[:, 0] > 0)).any()


def test_sharpening_leaves_flat_images_alone_and_steepens_edges():
    step = torch.full((6, 3, 64, 64), 0.4)
    step[..., 32:] = 0.6
    out = sharpen(step, 1.0, generator())
    touched = (out - step).abs().amax((1, 2, 3)) > 1e-3
    assert touched.any()
    assert not touched.all()
    assert float(out[touched].amax()) > 0.62
    torch.testing.assert_close(sharpen(grey(0.5, 6), 1.0, generator()), grey(0.5, 6))


def test_a_display_window_saturates_within_nought_and_one():
    ramp = torch.linspace(0, 1, 64).expand(12, 3, 64, 64)
    out = display_window(ramp, 1.0, generator())
    touched = (out - ramp).abs().amax((1, 2, 3)) > 1e-3
    assert touched.any()
    assert float(out.min()) >= 0
    assert float(out[touched].max()) == pytest.approx(1, abs=0.25)
    assert (out.diff(dim=-1) >= -1e-6).all()  # the order of the greys stays


def test_border_weights_by_hand():
    target = torch.zeros(1, 1, 352, 352)
    target[..., 176:] = 1
    weights = border_weights(target, 5.0)[0, 0, 100]
    assert float(weights[0]) == 1
    assert float(weights[-1]) == 1
    # at column 176 the window of 31 holds columns 161..191: 16 of 31 are object, so the mean is 16/31
    assert float(weights[176]) == pytest.approx(1 + 5 * (1 - 16 / 31), abs=1e-4)


def test_slices_at_the_ends_of_the_gland_are_drawn_more_often():
    from types import SimpleNamespace

    targets = np.zeros((9, 1, 4, 4), np.uint8)
    targets[2:8, 0, 1, 1] = 255  # the gland is in slices 2 to 7
    data = SimpleNamespace(targets=targets, cases=["a"] * 9)
    assert how_often(data).tolist() == [1, 3, 3, 3, 2, 2, 3, 3, 3]
