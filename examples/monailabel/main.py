"""A MONAI Label app: our students as models for 3D Slicer and other clients of MONAI Label.

    monailabel start_server --app examples/monailabel --studies FOLDER [--conf tasks prostate,optic,polyp]
        [--conf tinymig /path/to/tinymig]

The app runs the command `tinymig` in a process of its own, so MONAI Label and napari-tinymig may live in environments
of their own (MONAI Label 0.8.5 needs pydicom below 3, napari-tinymig 3 or later). Research use only.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

LABELS = {"prostate": {"gland": 1}, "polyp": {"polyp": 1}, "optic": {"disc rim": 1, "cup": 2}}
DIMENSION = {"prostate": 3, "polyp": 2, "optic": 2}
TEXT_COLUMNS = ("file", "mask", "status", "task", "model", "error")


class StudentInfer(InferTask):
    """One student. Asked with an image, it gives the file of a mask in the image's own grid, and the measures."""

    def __init__(self, task: str, tinymig: str, own_model: Path):
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=LABELS[task],
            dimension=DIMENSION[task],
            description=f"TinyMIG student for {task}; research use only",
            config={"overlay": False},
        )
        self.task, self.tinymig, self.own_model = task, tinymig, own_model

    def is_valid(self) -> bool:
        """Whether the command is there."""
        return shutil.which(self.tinymig) is not None

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """request: 'image', a file or a DICOM folder. Raises RuntimeError with the command's own sentence."""
        with tempfile.TemporaryDirectory() as name:
            command = [self.tinymig, "segment", str(request["image"]), "-o", name, "--task", self.task]
            if self.own_model.is_file():
                command += ["--model", str(self.own_model)]
            done = run(command)
            row = first_row(Path(name) / "measurements.csv")
            if done.returncode or not row.get("mask"):
                raise RuntimeError(row.get("error") or done.stderr.strip() or done.stdout.strip())
            mask = Path(name) / row["mask"]
            kept = Path(tempfile.mkdtemp(prefix="tinymig_")) / mask.name  # MONAI Label deletes it after sending
            shutil.copyfile(mask, kept)
        measures = {key: value for key, value in row.items() if value and key not in TEXT_COLUMNS}
        told = {key: row[key] for key in ("status", "model", "error") if row.get(key)}
        return str(kept), {"label_names": LABELS[self.task], "measures": measures} | told


class TinyMIGApp(MONAILabelApp):
    """conf: tasks (comma-separated), tinymig (the command). A model APP/model/TASK.safetensors, such as a
    fine-tuned one, takes the bundled one's place."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]):
        tasks = [word.strip() for word in conf.get("tasks", "prostate,optic,polyp").split(",")]
        if unknown := [task for task in tasks if task not in LABELS]:
            raise ValueError(f"tasks names {', '.join(unknown)}; expected some of {', '.join(LABELS)}.")
        beside = Path(sys.executable).with_name("tinymig")
        self.tinymig = conf.get("tinymig") or (str(beside) if beside.exists() else "tinymig")
        self.tasks = tasks
        self.models = Path(app_dir) / "model"
        super().__init__(
            app_dir, studies, conf, name="TinyMIG", description="Tiny students; research use only", version="1"
        )

    def init_infers(self) -> dict[str, InferTask]:
        """A student for each task."""
        return {task: StudentInfer(task, self.tinymig, self.model_of(task)) for task in self.tasks}

    def model_of(self, task: str) -> Path:
        """Where a student of one's own is looked for; the bundled one serves until there is one."""
        return self.models / f"{task}.safetensors"


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """The finished command."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def first_row(table: Path) -> dict[str, str]:
    """The first row of measurements.csv; {} where there is none."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as stream:
        return next(csv.DictReader(stream), {})
