"""The visual prompt: its size, where it acts, what it does to the image."""

from __future__ import annotations

import pytest
import torch
from napari_tinymig.training.classifier.visual_prompt import Prompt

from napari_tinymig.recipes.classify import PromptSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_padding_prompt_of_30_at_224_has_69840_parameters():
    assert Prompt(PromptSpec(width=30), 224).values.numel() == 69_840 == 3 * (224**2 - 164**2)


def test_the_width_is_scaled_with_the_input():
    assert Prompt(PromptSpec(width=30), 112).values.numel() == 3 * (112**2 - 82**2)
    assert Prompt(PromptSpec(kind="full"), 112).values.numel() == 3 * 112**2
    assert Prompt(PromptSpec(kind="patch", width=28), 112).values.numel() == 3 * 14**2


def test_the_prompt_acts_in_the_frame_and_nowhere_else():
    prompt = Prompt(PromptSpec(width=56, init="normal"), 64)  # 56 at 224 = 16 at 64
    x = torch.randn(2, 3, 64, 64)
    changed = (prompt(x) - x).detach()
    assert changed[:, :, 16:48, 16:48].abs().max() == 0
    assert (changed[:, :, :16] != 0).all()
    assert torch.allclose(changed[0], changed[1], atol=1e-6)


def test_replace_hides_the_image_under_the_frame_and_shrink_keeps_all_of_it():
    x = torch.ones(1, 3, 64, 64)
    replaced = Prompt(PromptSpec(width=56, mode="replace"), 64)(x)
    assert replaced[0, 0].sum() == 32 * 32
    shrunk = Prompt(PromptSpec(width=56, mode="shrink"), 64)(x)
    assert torch.allclose(shrunk[0, 0, 16:48, 16:48], torch.ones(32, 32))
    assert shrunk[0, 0, :16].abs().max() == 0


def test_impossible_prompts_are_refused():
    with pytest.raises(ValueError, match="leaves no image"):
        PromptSpec(kind="full", mode="replace")
    with pytest.raises(ValueError, match="use a smaller width"):
        Prompt(PromptSpec(width=120), 224)
