"""What to know before choosing a teacher: licence, size on disk, memory, input side. Plain facts, no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TeacherCard:
    """A teacher that the recipes are written for.

    weights_mb: fp32 on disk. peak_mb: rise of resident memory by building it and asking it about one image of its own
    side (`size`, pixels), CPU, fp32, one thread; measured by benchmarks/teacher_memory.py.
    """

    title: str
    licence: str
    weights_mb: int
    peak_mb: int
    size: int
    note: str


DINOV3_LICENCE = "DINOv3 licence (not open source; read it)"
RECOMMENDED: dict[str, TeacherCard] = {
    "vit_small_patch14_dinov2": TeacherCard("DINOv2 ViT-S/14", "Apache-2.0", 88, 180, 518, "first choice on a laptop"),
    "vit_base_patch14_dinov2": TeacherCard("DINOv2 ViT-B/14", "Apache-2.0", 346, 505, 518, "first choice on a GPU"),
    "vit_small_patch16_dinov3": TeacherCard("DINOv3 ViT-S/16", DINOV3_LICENCE, 86, 123, 256, "rotary positions"),
    "vit_base_patch16_dinov3": TeacherCard("DINOv3 ViT-B/16", DINOV3_LICENCE, 343, 401, 256, "rotary positions"),
    "samvit_base_patch16": TeacherCard(
        "SAM ViT-B/16", "Apache-2.0", 359, 2263, 1024, "edges; slow: give a smaller teacher.size"
    ),
    "vit_base_patch16_clip_224": TeacherCard(
        "CLIP ViT-B/16", "Apache-2.0", 345, 394, 224, "LAION-2B, then fine-tuned on ImageNet (timm's default)"
    ),
    "litemedsam": TeacherCard(
        "LiteMedSAM", "Apache-2.0", 39, 339, 256, "fundus, MRI, endoscopy: 1.5 M medical images; extra [medsam]; slow"
    ),
    "mobilenetv2_100": TeacherCard("MobileNetV2", "Apache-2.0", 14, 43, 224, "a small CNN, not a foundation model"),
}
"""By timm name, LiteMedSAM by its own; sizes are timm's."""
