"""A student follows a frozen teacher of yours: any timm model, its weights from a local file. Needs the extra [train].

    python examples/own_teacher.py [WEIGHTS.safetensors] [OUT]

Without a file the teacher's weights are random: that shows the mechanics and teaches nothing.
"""

import sys
from pathlib import Path

from napari_tinymig.training.run.train import train
from PIL import Image

from napari_tinymig.recipes.student import load_recipe
from napari_tinymig.samples.drawn import fundus_sample


def main(weights: str, out: Path) -> Path:
    """Trains for two short epochs on drawn eyes; returns the student's file."""
    for part in ("images", "labels"):
        (out / "eyes" / part).mkdir(parents=True, exist_ok=True)
    for seed in range(8):
        drawn = fundus_sample(side=160, seed=seed)
        Image.fromarray(drawn.scan.pixels).save(out / "eyes" / "images" / f"{seed}.png")
        Image.fromarray(drawn.truth).save(out / "eyes" / "labels" / f"{seed}.png")
    recipe = load_recipe(
        "tinymig",
        {
            "teacher.name": "mobilenetv2_100",
            "teacher.weights": weights,
            "teacher.size": 96,
            "input.size": 96,
            "optim.epochs": 2,
        },
    )
    for message in train(recipe, out / "eyes", out=out / "run", device="cpu"):
        sys.stdout.write(f"{message.text}\n" if message.text else "")
    return out / "run" / "best.safetensors"


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else "random", Path(given[1] if len(given) > 1 else "example_output/own_teacher"))
