"""A task of your own (bright disks), taught from a folder, and segmented with its own model. Needs the extra [train].

python examples/own_task.py [OUT]
"""

import sys
from pathlib import Path

import numpy as np
from napari_tinymig.training.run.train import train
from PIL import Image

import napari_tinymig as tm
from napari_tinymig.recipes.student import Recipe
from napari_tinymig.tasks.task import Region, Task

DISK = Task(
    name="disk",
    title="Bright disk",
    input="photograph",
    regions=(Region(name="disk", labels=(1,), label=1, class_name="disk", colour="#35c2f0"),),
    measures=("area",),
)


def draw(seed: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A picture (side, side, 3) and its labels (side, side)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    labels = (np.hypot(y - rng.uniform(35, 60), x - rng.uniform(35, 60)) < rng.uniform(14, 24)).astype(np.uint8)
    return np.clip(60 + 120 * labels[..., None] + rng.normal(0, 8, (side, side, 3)), 0, 255).astype(np.uint8), labels


def main(out: Path) -> float:
    """Teaches the task on twelve drawings; returns the Dice on a thirteenth."""
    for part in ("images", "labels"):
        (out / "disks" / part).mkdir(parents=True, exist_ok=True)
    for seed in range(12):
        for part, pixels in zip(("images", "labels"), draw(seed), strict=True):
            Image.fromarray(pixels).save(out / "disks" / part / f"{seed}.png")
    settings = {"input": {"size": 96}, "student": {"widths": (16, 16, 32, 32)}, "optim": {"epochs": 15, "lr": 3e-3}}
    recipe = Recipe.model_validate({"name": "disk", "task": DISK, **settings})
    for message in train(recipe, out / "disks", out=out / "run", device="cpu"):
        sys.stdout.write(f"{message.text}\n" if message.text else "")
    image, truth = draw(99)
    mask = tm.segment(image, task="disk", model=out / "run" / "best.safetensors").labels
    dice = 2 * float((mask & truth).sum()) / max(1.0, float(mask.sum() + truth.sum()))
    sys.stdout.write(f"Dice {dice:.3f}\n")
    return dice


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example_output/own_task"))
