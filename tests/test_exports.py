"""Exports that run elsewhere: each is opened in a fresh process, and one that answers otherwise is refused."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from napari_tinymig.training.exports import written
from napari_tinymig.training.exports.bundle import check_bundle, write_sample
from napari_tinymig.training.exports.written import export_model
from napari_tinymig.training.networks.export import ExportFailed
from napari_tinymig.training.networks.saved import load_student
from student_file import student_file

from napari_tinymig.batch.folder import plan, run_all
from napari_tinymig.batch.one_input import Options
from napari_tinymig.formats import open_mask
from napari_tinymig.recipes.student import ModelHeader
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE

BUNDLE_KEYS = (
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("task", "description", "authors", "copyright", "network_data_format"),
)
"""What the schema of MONAI bundles (July 2024) requires."""
TENSOR_KEYS = ("type", "format", "num_channels", "spatial_shape", "dtype", "value_range")


@pytest.fixture(scope="module")
def photograph_bundle(tmp_path_factory):
    """(model, bundle folder) of a student of photographs."""
    folder = tmp_path_factory.mktemp("polyp")
    model = student_file(folder / "own-polyp.safetensors", POLYP)
    return model, export_model(model, "bundle", folder / "bundle").path


def test_an_exported_graph_is_the_models_own_and_a_script_answers_like_it(tmp_path):
    model = student_file(tmp_path / "m.safetensors")
    assert onnx.load(export_model(model, "onnx", tmp_path / "m.onnx").path).graph.output[0].name == "logits"
    assert export_model(model, "torchscript", tmp_path / "m.ts").path.is_file()


def test_a_script_of_other_weights_is_refused(tmp_path, monkeypatch):
    model, other = (student_file(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1))
    monkeypatch.setattr(written, "load_student", lambda _: load_student(other))
    with pytest.raises(ExportFailed, match=r"differs from the product by .* do not use it"):
        export_model(model, "torchscript", tmp_path / "m.ts")


def test_an_unknown_format_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="'coreml'; expected onnx, torchscript, bundle"):
        export_model(student_file(tmp_path / "m.safetensors"), "coreml", tmp_path / "x")


def test_only_a_segmenter_becomes_a_bundle(tmp_path):
    model = student_file(tmp_path / "m.safetensors")
    header = ModelHeader(kind="locator", name="finder", task=model.header.task)
    with pytest.raises(ValueError, match="'finder' is a locator; a bundle holds a segmenter"):
        export_model(type(model)(model.path, header, model.onnx, model.model_id), "bundle", tmp_path / "b")


def test_a_bundle_of_other_weights_is_refused(tmp_path, photograph_bundle):
    model, bundle = photograph_bundle
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    student_file(copy / "models" / "model.safetensors", POLYP, seed=3)
    with pytest.raises(ExportFailed, match=r"other labels than the product for \d+ of \d+ pixels"):
        check_bundle(model, copy)


def test_the_bundles_own_command_writes_the_products_masks_of_photographs(tmp_path, photograph_bundle):
    pytest.importorskip("fire", reason="the extra 'export' is not installed")
    model, bundle = photograph_bundle
    images = tmp_path / "images"
    images.mkdir()
    write_sample(model, images)
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--meta_file", "configs/metadata.json", "--dataset_dir", images, "--output_dir", tmp_path / "masks"]
    subprocess.run(list(map(str, command)), cwd=bundle, check=True, capture_output=True, timeout=200)
    done = list(run_all(plan([images], tmp_path / "ours", Options(model=str(model.path))), tmp_path / "ours"))
    assert [o.row["status"] for o in done] == ["ok"]
    assert (tmp_path / "masks" / "sample_mask.png").read_bytes() == done[0].job.mask.read_bytes()


def test_a_bundle_of_volumes_keeps_the_inputs_grid(tmp_path):
    model = student_file(tmp_path / "own-gland.safetensors", PROSTATE, normalisation="percentile_z", fov_mm=96.0)
    bundle = export_model(model, "bundle", tmp_path / "bundle").path  # compares the labels of a volume, or raises
    images = tmp_path / "images"
    images.mkdir()
    write_sample(model, images)
    (images / "torn.nii.gz").write_bytes(b"no volume")
    code = (
        "from monai.bundle import run\n"
        f"run(config_file='configs/inference.json', dataset_dir={str(images)!r}, output_dir={str(tmp_path / 'm')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=bundle, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "1 of 2 images failed: torn" in done.stderr
    assert open_mask(tmp_path / "m" / "sample_mask.nii.gz").labels.shape == (6, 192, 192)


def test_the_metadata_hold_what_the_schema_requires_and_the_network_is_what_they_say(photograph_bundle):
    _, bundle = photograph_bundle
    from monai.bundle import verify_metadata, verify_net_in_out

    data = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert set(BUNDLE_KEYS) <= set(data)
    tensors = [t for side in data["network_data_format"].values() for t in side.values()]
    assert all(set(TENSOR_KEYS) <= set(t) for t in tensors)
    assert data["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "polyp"}
    assert all(isinstance(v, str) for v in data["required_packages_version"].values())
    schema = bundle / "schema.json"  # lies there, so that nothing is fetched
    tensor = {"type": "object", "required": list(TENSOR_KEYS)}
    sides = {s: {"type": "object", "patternProperties": {"^.+$": tensor}} for s in data["network_data_format"]}
    formats = {"network_data_format": {"type": "object", "properties": sides}}
    schema.write_text(json.dumps({"type": "object", "required": list(BUNDLE_KEYS), "properties": formats}))
    meta, config = str(bundle / "configs" / "metadata.json"), str(bundle / "configs" / "inference.json")
    verify_metadata(meta_file=meta, filepath=str(schema))
    verify_net_in_out("network_def", meta_file=meta, config_file=config, device="cpu", bundle_root=str(bundle))


def test_the_state_dictionary_of_a_bundle_opens_without_code(photograph_bundle):
    import torch

    model, bundle = photograph_bundle
    state = torch.load(bundle / "models" / "model.pt", weights_only=True)
    for name, value in load_student(model).state_dict().items():
        assert np.array_equal(state[name].numpy(), value.numpy())
