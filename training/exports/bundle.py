"""A model as a MONAI bundle: `python -m monai.bundle run` gives the product's labels, and that is checked first."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from napari_tinymig import __version__
from napari_tinymig.base.records import Scan
from napari_tinymig.base.safe_files import write_atomic
from napari_tinymig.formats import find_inputs, mask_paths, open_input, open_mask
from napari_tinymig.models.file import ModelFile
from napari_tinymig.models.registry import find_model
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.samples.drawn import fundus_sample, prostate_sample
from napari_tinymig.samples.polyp import polyp_sample
from napari_tinymig.tasks.task import Task

from ..networks.export import ExportFailed, check_parity
from ..networks.saved import load_student
from .bundle_run import CUP_HEAD, LOCATOR, MODEL, SCRIPT
from .reopened import run_python
from .torchscript import write_torchscript

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
PARTS = "napari_tinymig.training.exports.bundle_run"
RUN = "from monai.bundle import run; run(config_file='configs/inference.json', meta_file='configs/metadata.json', {})"
"""What `python -m monai.bundle run` calls, without the package that reads its command line."""


def write_bundle(model: ModelFile, folder: Path) -> str:
    """Write configs, models and docs into `folder`, run the bundle in a fresh process, and compare its labels.

    Raises ValueError for a model that segments nothing, ExportFailed where the bundle's labels are not the product's.
    """
    task = model.header.task
    if model.header.kind != "segmenter" or task is None:
        raise ValueError(
            f"model '{model.header.name}' is a {model.header.kind}; a bundle holds a segmenter; use --to onnx."
        )
    _write_models(model, folder / "models")
    _write_json(folder / "configs" / "metadata.json", metadata(model, task))
    _write_json(folder / "configs" / "inference.json", inference(task))
    write_atomic(folder / "docs" / "README.md", readme(model, task).encode())
    write_atomic(folder / "docs" / "license.txt", (model.header.licence + "\n").encode())
    check_bundle(model, folder)
    return "run in a fresh process: the labels of a drawn image are the product's"


def check_bundle(model: ModelFile, folder: Path) -> None:
    """Run the bundle in a fresh process on a drawn image; ExportFailed unless its labels are the product's."""
    with tempfile.TemporaryDirectory() as name:
        images, masks = Path(name) / "images", Path(name) / "masks"
        images.mkdir()
        write_sample(model, images)
        run_python(["-c", RUN.format(f"dataset_dir={str(images)!r}, output_dir={str(masks)!r}")], str(folder), "bundle")
        items = find_inputs([images])
        found = open_mask(mask_paths(masks, items)[0]).labels
        expected = Predictor(model, "cpu").predict(open_input(items[0]).scan).labels
    if not np.array_equal(found, expected):
        raise ExportFailed(
            f"the bundle in {folder} gives other labels than the product for {np.count_nonzero(found != expected)} "
            f"of {expected.size} pixels; expected none; do not use it."
        )


def write_sample(model: ModelFile, folder: Path) -> None:
    """A drawn image of the kind that the model reads, in `folder`."""
    task = model.header.task
    if task is not None and task.input == "volume":
        import nibabel as nib

        scan = prostate_sample(192, 6).scan
        z, y, x = scan.spacing_mm or (1.0, 1.0, 1.0)
        affine = np.diag([-x, -y, z, 1.0])
        nib.save(nib.Nifti1Image(np.ascontiguousarray(scan.pixels.T), affine), folder / "sample.nii.gz")
        return
    drawn: Scan = (fundus_sample(640) if model.header.input.roi_scale else polyp_sample(384)).scan
    Image.fromarray(drawn.pixels).save(folder / "sample.png")


def _write_models(model: ModelFile, folder: Path) -> None:
    """The model file as it is, and what MONAI's tools look for: state dictionary, TorchScript, ONNX."""
    student, size = load_student(model), model.header.input.size
    check_parity(student, model.onnx, size)
    write_atomic(folder / MODEL, model.path.read_bytes())
    write_atomic(folder / "model.onnx", model.onnx)
    torch.save(student.state_dict(), folder / "model.pt")  # opens with weights_only=True: tensors, no code
    write_torchscript(student, size, folder / SCRIPT)
    if model.header.input.locator:
        write_atomic(folder / LOCATOR, find_model(model.header.input.locator).read_bytes())
    if model.header.input.cup_head:
        write_atomic(folder / CUP_HEAD, find_model(model.header.input.cup_head).read_bytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=2).encode())


def inference(task: Task) -> dict[str, Any]:
    """configs/inference.json: the whole path from a folder of images to a folder of masks."""

    def part(name: str, **arguments: Any) -> dict[str, Any]:
        return {"_target_": name if name in ("Compose", "Dataset") else f"{PARTS}.{name}", **arguments}

    models = "$@bundle_root + '/models'"
    return {
        "imports": [f"$import {PARTS} as parts"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "cpu",
        "network_def": part("StudentNetwork", models=models, device="@device"),
        "preprocessing": part("Compose", transforms=[part("ReadScan", keys="image", kind=task.input)]),
        "dataset": part("Dataset", data="$parts.images_in(@dataset_dir, @output_dir)"),
        "inferer": part("StudentInferer", models=models),
        "postprocessing": part("Compose", transforms=[part("WriteMask", keys="pred", models=models)]),
        "evaluator": part(
            "SegmentImages",
            dataset="@dataset",
            network="@network_def",
            inferer="@inferer",
            preprocessing="@preprocessing",
            postprocessing="@postprocessing",
        ),
        "run": ["$@evaluator.run()"],
    }


def metadata(model: ModelFile, task: Task) -> dict[str, Any]:
    """configs/metadata.json, as the schema of MONAI bundles asks for it."""
    header, side = model.header, model.header.input.size
    names = ["image"] * 3 if task.input == "photograph" else ["slice before", "slice", "slice after"]
    names = ["red", "green", "blue"] if task.input == "photograph" else names
    tensor = {"type": "image", "spatial_shape": [side, side], "dtype": "float32", "value_range": []}
    image = tensor | {"format": "magnitude", "num_channels": 3, "channel_def": _numbered(names), "is_patch_data": False}
    logits = tensor | {"format": "segmentation", "num_channels": len(task.regions), "is_patch_data": False}
    classes = {str(k): v for k, v in task.class_names.items()}
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"{model.model_id}, exported by napari-tinymig {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {p: version(p) for p in ("napari-tinymig", "onnxruntime")},
        "name": header.name,
        "task": task.title,
        "description": f"{header.name} ({model.model_id}): a tiny student for {task.title.lower()}, with the product's "
        "own reading, region of interest, looks and decision.",
        "authors": "napari-tinymig contributors",
        "copyright": header.licence,
        "data_source": ", ".join(header.lineage.domains) or "not told by the model file",
        "data_type": "photographs (PNG, JPEG, TIFF)" if task.input == "photograph" else "NIfTI, NRRD, MetaImage, DICOM",
        "pred_classes": ", ".join(f"{k} = {v}" for k, v in classes.items()),
        "eval_metrics": header.scores,
        "intended_use": "Research use only; not a medical device.",
        "supported_apps": {},
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": logits | {"channel_def": _numbered([r.name for r in task.regions])}},
            "post_processed_outputs": {
                "pred": tensor
                | {"format": "segmentation", "num_channels": 1, "spatial_shape": ["*"] * (2 + (task.input == "volume"))}
                | {"dtype": "uint8", "value_range": [0, max(task.class_names)], "channel_def": classes}
            },
        },
    }


def _numbered(names: list[str]) -> dict[str, str]:
    return {str(i): name for i, name in enumerate(names)}


def readme(model: ModelFile, task: Task) -> str:
    """docs/README.md: what it is and the commands that run it."""
    classes = ", ".join(f"{k} = {v}" for k, v in task.class_names.items())
    return f"""# {model.header.name}

{task.title}: {model.model_id}. Labels: {classes}. {model.header.licence}

    pip install 'napari-tinymig[train,export]'

    # every image of a folder to a mask in its own grid
    python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json \\
        --dataset_dir IMAGES --output_dir MASKS

    python -m monai.bundle verify_metadata --meta_file configs/metadata.json --filepath schema.json
    python -m monai.bundle verify_net_in_out network_def --config_file configs/inference.json \\
        --meta_file configs/metadata.json --device cpu

`models/model.safetensors` is the model file of napari-tinymig; `model.pt`, `model.ts` and `model.onnx` hold the same
network. Input of the network: {model.header.input.model_dump_json()}
Reading, region of interest, looks and decision are the product's, so the labels are those of
`tinymig segment`; on another device (`--device cuda:0`) the TorchScript runs and a border pixel may differ.
"""
