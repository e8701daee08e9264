"""What the fine-tuning tests share: drawn eyes of two 'cameras', and a tiny student trained on the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from napari_tinymig.training.data.annotations import Annotated, annotated_set
from napari_tinymig.training.data.batches import Batches
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.networks.student import Student
from napari_tinymig.training.objectives.supervised import SupervisedObjective
from napari_tinymig.training.run.loop import Run
from PIL import Image

from napari_tinymig.base.records import Scan
from napari_tinymig.models.file import ModelFile
from napari_tinymig.recipes.student import InputSpec, Lineage, ModelHeader, Recipe, StudentSpec
from napari_tinymig.recipes.train import AugmentSpec, OptimSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE

torch.set_num_threads(1)  # tiny batches: a second thread only waits

GENTLE = AugmentSpec(rotate_deg=10, scale=(0.9, 1.1), shift=0.05, colour=0.1, blur=0.0, noise=0.1, illumination=0.1)


def eye(seed: int, camera: str = "first", side: int = 96) -> tuple[Scan, np.ndarray]:
    """A disc and a cup on a dark ground. The second camera is greener and paler, and its school draws cups larger."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cy, cx = side / 2 + rng.uniform(-6, 6, 2)
    radius = side * rng.uniform(0.22, 0.3)
    r = np.hypot(y - cy, x - cx)
    pale = radius * rng.uniform(0.4, 0.55)
    ground, rim, cup = ((90, 40, 20), (200, 130, 70), (250, 220, 160))
    if camera == "second":
        ground, rim, cup = ((60, 70, 30), (150, 160, 80), (190, 215, 130))
    image = np.where((r < radius)[..., None], rim, ground).astype(float)
    image = np.where((r < pale)[..., None], cup, image) + rng.normal(0, 6, (side, side, 3))
    labels = (r < radius).astype(np.uint8) + (r < pale * (1.25 if camera == "second" else 1.0))
    return Scan(np.clip(image, 0, 255).astype(np.uint8), None, f"{camera}_{seed}"), labels.astype(np.uint8)


def tiny_recipe(name: str = "optic", encoder: str = "dense") -> Recipe:
    return Recipe(
        name=name,
        task=OPTIC,
        input=InputSpec(size=64),
        student=StudentSpec(encoder=encoder, widths=(8, 16, 16, 16), blocks=(1, 1, 1, 1), decoder=8),
        augment=GENTLE,
        optim=OptimSpec(epochs=8, iterations_per_epoch=15, batch=8, lr=5e-3),
    )


def tiny_model(path: Path, name: str = "optic") -> ModelFile:
    """A student of 30,000 parameters that knows the first camera; two seconds."""
    recipe = tiny_recipe(name)
    torch.manual_seed(0)
    student = Student(recipe.student, 2)
    items = [Annotated(f"e{i}", *eye(i)) for i in range(12)]
    data, rows = annotated_set(items, recipe)
    batches = Batches(data, recipe, torch.device("cpu"))
    batches.rows = torch.tensor([r for some in rows for r in some])
    run = Run(student, SupervisedObjective(recipe), batches, None, recipe, path.parent, torch.device("cpu"))
    while run.progress.epoch < recipe.optim.epochs:
        for _ in run.train_epoch(lambda: False):
            pass
        run.progress.epoch += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    lineage = Lineage(domains=("first camera",), recipe=recipe.model_dump(mode="json"))
    header = ModelHeader(name=name, task=OPTIC, input=recipe.input, student=recipe.student, lineage=lineage)
    return save_model(path, header, student)


def tiny_gland_model(path: Path) -> ModelFile:
    """A student for volumes that has seen nothing yet."""
    recipe = tiny_recipe("prostate")
    spec = InputSpec(size=64, normalisation="percentile_z")
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    recipe = recipe.model_copy(update={"task": PROSTATE, "input": spec})
    lineage = Lineage(domains=("nowhere",), recipe=recipe.model_dump(mode="json"))
    header = ModelHeader(name="prostate", task=PROSTATE, input=spec, student=recipe.student, lineage=lineage)
    return save_model(path, header, Student(recipe.student, 1))


def gland(side: int = 64, slices: int = 8) -> tuple[Scan, np.ndarray]:
    """A bright ellipsoid in a dark volume, and its mask."""
    z, y, x = np.mgrid[:slices, :side, :side]
    inside = ((z - slices / 2) / slices) ** 2 + ((y - side / 2) / 16) ** 2 + ((x - side / 2) / 20) ** 2 <= 1
    values = 600 * inside + np.random.default_rng(0).normal(100, 20, inside.shape)
    return Scan(values.astype(np.int16), (3.0, 1.0, 1.0), "scan"), inside.astype(np.uint8)


def write_domain(folder: Path, seeds: range, camera: str = "second") -> Path:
    """images/ and labels/ of drawn eyes."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        scan, labels = eye(seed, camera)
        Image.fromarray(scan.pixels).save(folder / "images" / f"{scan.name}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{scan.name}.png")
    return folder
