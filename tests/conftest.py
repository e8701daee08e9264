"""Fixtures that several test files use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Windows and torch meet in one process here, in any order; see napari_tinymig/jobs/beside_window.py.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


LONG = ("docs", "cli_finetune", "finetune", "exports", "benchmark", "cli_shift", "cli_segment", "cli_probe",
        "gpu_benchmark", "cluster", "round_trips", "examples", "train", "reliability", "adapting")  # fmt: skip
"""Test files of half a minute and more, beside those that open windows."""


def pytest_collection_modifyitems(items):
    """Long files first: of two processes none is left waiting for the other's last file."""
    items.sort(key=lambda item: not item.path.stem.startswith(("test_viewer", *(f"test_{name}" for name in LONG))))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: TINYMIG_DATA, or ../shared/data beside the repository; skips where it is absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("TINYMIG_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set TINYMIG_DATA to the data folder")
    return folder


@pytest.fixture
def make_model(tmp_path):
    """A function that writes a tiny but real model file: a region is where the image is brighter than a level.

    make_model(name, task, levels, **header fields) -> ModelFile. levels: per region, in units of the normalised input
    (channel mean); logits = 20 (brightness - level). Stage moments are those of the input's channels.
    """
    from threshold_model import threshold_graph

    from napari_tinymig.models.file import write_model_file
    from napari_tinymig.recipes.student import ModelHeader

    def make(name, task, levels, folder=None, **header):
        weights = {"levels": np.float32(levels)}
        path = (folder or tmp_path) / f"{name}.safetensors"
        return write_model_file(path, ModelHeader(name=name, task=task, **header), weights, threshold_graph(levels))

    return make


@pytest.fixture(scope="session")
def warm():
    """A function that runs `tinymig ARGUMENTS` in a process forked from one that has imported what most commands need.

    warm(arguments, cwd, env) -> CompletedProcess.
    """
    from warm_tinymig import COMMON, Warm

    def start(arguments, cwd, env):
        command = [sys.executable, "-W", "ignore", "-m", "napari_tinymig", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=240)

    if not sys.platform.startswith("linux"):
        yield start
        return
    process = Warm(COMMON)
    yield process.run
    process.close()


@pytest.fixture
def tinymig(tmp_path, make_model, warm):
    """A function that runs `tinymig ARGS` in a process of its own (see `warm`), with toy models in TINYMIG_HOME.

    tinymig(*args, code=None) -> CompletedProcess. A traceback fails the test, and so does an exit code other than
    `code`. tinymig.env: the environment of such a process.
    """
    from napari_tinymig.recipes.student import InputSpec
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.tasks.polyp import POLYP
    from napari_tinymig.tasks.prostate import PROSTATE

    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    z = {"normalisation": "percentile_z"}
    for name, task, levels, spec, kind in (
        ("finder", OPTIC, (0.0, 0.5), {}, "locator"),
        ("toy-optic", OPTIC, (0.0, 0.5), {"roi_scale": 2.2, "locator": "finder"}, "segmenter"),
        ("toy-prostate", PROSTATE, (1.0,), z, "segmenter"),
        ("toy-polyp", POLYP, (0.2,), {}, "segmenter"),
    ):
        make_model(name, task, levels, folder=home / "models", kind=kind, input=InputSpec(size=128, **spec))
    defaults = {"optic": "toy-optic", "prostate": "toy-prostate", "polyp": "toy-polyp"}
    (home / "models" / "defaults.json").write_text(json.dumps(defaults))
    env = os.environ | {"TINYMIG_HOME": str(home), "COLUMNS": "200"}

    def run(*args, code=None):
        done = warm(args, tmp_path, env)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        if code is not None:
            assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    run.env = env
    return run


@pytest.fixture(scope="session")
def dicom_series_maker():
    """A function that writes a DICOM series of its own making, one file per slice, in shuffled order.

    make(folder, values (slice, row, column), direction (3, 3) LPS columns, spacing (column, row, slice) mm,
    origin LPS, seed, change) -> the files. `change(dataset, k)` may alter a slice's dataset before it is written.
    """
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    def make(folder, values, direction, spacing, origin, seed=0, change=None):
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        series, study, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
        files = []
        for name, k in enumerate(rng.permutation(len(values))):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = MRImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
            ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
            ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = series, study, frame_of_reference
            ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 4, int(k) + 1
            ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "made-up", "Made^Up", "", "O"
            ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "000000", ""
            ds.ReferringPhysicianName, ds.Manufacturer, ds.PositionReferenceIndicator = "", "none", ""
            ds.Rows, ds.Columns = values.shape[1:]
            ds.ImageOrientationPatient = [f"{v:.12g}"[:16] for v in direction[:, :2].T.ravel()]
            position = np.asarray(origin) + direction[:, 2] * spacing[2] * k
            ds.ImagePositionPatient = [f"{v:.12g}"[:16] for v in position]
            ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
            ds.SliceThickness = float(spacing[2])
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated = ds.BitsStored = 16
            ds.HighBit, ds.PixelRepresentation = 15, int(values.dtype.kind == "i")
            ds.PixelData = np.ascontiguousarray(values[k]).tobytes()
            if change is not None:
                change(ds, int(k))
            files.append(folder / f"{name:04d}.dcm")
            pydicom.dcmwrite(files[-1], ds, enforce_file_format=True)
        return files

    return make


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory, monkeypatch):
    """Journals of painted strokes go to a folder of the test, never to the user's."""
    if "TINYMIG_STATE" not in os.environ:
        monkeypatch.setenv("TINYMIG_STATE", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def one_thread():
    """One thread for torch: tiny networks are slower on several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def backbone_file(tmp_path_factory):
    """Random weights of timm's test_resnet as a file: the same backbone again and again, without a hub."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def backbone(backbone_file):
    """That backbone, open; its fingerprint must stay as it is."""
    from napari_tinymig.training.classifier.backbone import open_backbone

    from napari_tinymig.recipes.classify import BackboneSpec

    return open_backbone(BackboneSpec(name="test_resnet", weights=str(backbone_file), size=64))


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    """Two domains, 'here' and 'there', of two classes told apart by the direction of stripes; there it is darker."""
    from PIL import Image

    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for domain, gain in (("here", 1.0), ("there", 0.6)):
        for label, name in enumerate(("across", "along")):
            (root / domain / name).mkdir(parents=True)
            for i in range(20):
                wave = 0.5 + 0.4 * np.sin(np.arange(64) / rng.uniform(1.5, 3))
                picture = np.broadcast_to(wave if label else wave[:, None], (64, 64)) + rng.normal(0, 0.1, (64, 64))
                pixels = (picture.clip(0, 1) * 255 * gain).astype(np.uint8)
                Image.fromarray(pixels).save(root / domain / name / f"p{i // 2}{name}_{i}.png")
    return root


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A real napari window of this test's own."""
    return make_napari_viewer_proxy()


@pytest.fixture(scope="session")
def parent(tmp_path_factory):
    """A tiny model of disc and cup that was taught drawn eyes (`tune_drawn`); nobody writes into its file."""
    import tune_drawn

    return tune_drawn.tiny_model(tmp_path_factory.mktemp("model") / "optic.safetensors")


@pytest.fixture
def series(tmp_path, dicom_series_maker):
    """A function that makes a series of `dicom_parts.VALUES` in tmp_path/name and returns (folder, files)."""
    from dicom_parts import AXIAL, ORIGIN, SPACING, VALUES

    def make(name="axial", values=VALUES, direction=AXIAL, **kwargs):
        folder = tmp_path / name
        return folder, dicom_series_maker(folder, values, direction, SPACING, ORIGIN, **kwargs)

    return make


@pytest.fixture
def model_folder(tmp_path, monkeypatch):
    """An empty user folder of models for this test alone (TINYMIG_HOME/models); no model stays open across tests."""
    from napari_tinymig.batch import one_input as batch_job
    from napari_tinymig.predict.predictor import kept_predictor
    from napari_tinymig.viewer.parts.predicting import forget_models

    def forget():
        forget_models()
        for cached in (kept_predictor, batch_job.gate, batch_job.model_id_of):
            cached.cache_clear()

    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "home"))
    forget()
    yield folder
    forget()


@pytest.fixture
def models(make_model, model_folder):
    """Two small models in that folder: optic and prostate."""
    from viewer_parts import add_models

    add_models(make_model, model_folder)
    return model_folder
