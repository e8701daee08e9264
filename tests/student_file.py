"""A tiny but real student in a model file: random weights, and BatchNorm that has seen something."""

from __future__ import annotations

from pathlib import Path

import torch
from napari_tinymig.training.networks.export import save_model
from napari_tinymig.training.networks.student import Student

from napari_tinymig.models.file import ModelFile
from napari_tinymig.recipes.student import InputSpec, ModelHeader, StudentSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.task import Task

SMALL = StudentSpec(widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), decoder=8)


def student_file(path: Path, task: Task = OPTIC, seed: int = 0, size: int = 64, **input_spec: object) -> ModelFile:
    """Written at `path`; another seed gives other weights, so other answers."""
    torch.manual_seed(seed)
    student = Student(SMALL, len(task.regions))
    with torch.no_grad():
        for _ in range(3):
            student(torch.randn(4, 3, size, size))
    header = ModelHeader(name=path.stem, task=task, input=InputSpec(size=size, **input_spec), student=SMALL)
    return save_model(path, header, student.eval())
