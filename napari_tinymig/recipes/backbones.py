"""Backbones that the Classify panel offers first: models that came along, then timm's names."""

from __future__ import annotations

CAME_ALONG = ("tinymig:optic-sdg", "tinymig:polyp", "tinymig:prostate")
"""Encoders of bundled students: they need no download."""
OF_TIMM = (
    "resnet18",
    "resnet50",
    "mobilenetv2_100",
    "convnext_tiny",
    "vit_base_patch16_clip_224.openai",
    "resnet50_clip.openai",
    "vit_small_patch14_dinov2",
)
OFFERED = (*CAME_ALONG, *OF_TIMM)
"""In this order; the first is chosen where nothing else is said. Every name of timm can be typed."""
