"""The Python interface, and the parts of prediction that steady a mask."""

import json
import subprocess
import sys

import numpy as np
import pytest

import napari_tinymig
from napari_tinymig.base.errors import ModelFileError, TaskRefused
from napari_tinymig.base.geometry import whole_box
from napari_tinymig.base.records import Scan
from napari_tinymig.measures.ellipse import Ellipse, draw_ellipse
from napari_tinymig.network.run import OnnxNetwork
from napari_tinymig.network.several_looks import NEARER_LOOK, averaged_logits
from napari_tinymig.predict.disc_cup_shape import drawn_to_ellipse
from napari_tinymig.predict.disc_locator import LOCATOR_SQUARES, best_candidate, look_box
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.task_guess import TaskGate, task_by_metadata
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, json, napari_tinymig\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'torch', 'napari', 'scipy'})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_an_unknown_name_of_the_package_lists_what_there_is():
    with pytest.raises(AttributeError, match="it offers .*segment"):
        napari_tinymig.segmant  # noqa: B018


@pytest.fixture
def polyp(make_model):
    return make_model("toy", POLYP, (0.2,), input=InputSpec(size=64))


@pytest.mark.parametrize(
    "convert",
    [lambda a: a, lambda a: np.dstack([a, np.full(a.shape[:2], 255, np.uint8)]), lambda a: a.astype(np.uint16) * 257],
    ids=["RGB", "RGBA", "16 bit"],
)
def test_segment_takes_photographs_of_any_depth_and_an_opened_model(polyp, convert):
    pixels = np.full((90, 120, 3), 40, np.uint8)
    pixels[30:60, 40:80] = 230
    prediction = napari_tinymig.segment(convert(pixels), model=Predictor(polyp, "cpu"))
    assert prediction.labels.shape == (90, 120)
    assert prediction.measures["area_px"] == pytest.approx(1200, rel=0.05)
    assert napari_tinymig.load_model(polyp.path, "cpu").model_id == prediction.model_id


def test_segment_takes_a_grey_slice_and_a_volume_with_spacing(make_model):
    model = make_model("toy", PROSTATE, (1.0,), input=InputSpec(size=64, normalisation="percentile_z"))
    slice_ = np.random.default_rng(0).normal(100, 3, (64, 64))
    slice_[20:40, 20:40] += 300
    one = napari_tinymig.segment(slice_, model=model.path)
    assert one.labels.shape == (64, 64)
    many = napari_tinymig.segment(np.stack([slice_] * 4), spacing=(3, 1, 1), model=model.path)
    assert many.measures["volume_ml"] == pytest.approx(4 * 400 * 3 / 1000, rel=0.1)


def test_wrong_arguments_are_said_in_a_sentence(polyp):
    with pytest.raises(ValueError, match="give one at a time"):
        napari_tinymig.segment(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="does 'polyp', not 'optic'"):
        napari_tinymig.segment(np.zeros((30, 30, 3), np.uint8), task="optic", model=Predictor(polyp, "cpu"))
    with pytest.raises(ModelFileError, match="no model named 'nothing-like-it'"):
        napari_tinymig.segment(np.zeros((30, 30, 3), np.uint8), model="nothing-like-it")


@pytest.mark.parametrize(
    "metadata, shape, task",
    [
        ({"modality": "MR"}, (5, 20, 20), "prostate"),
        ({"modality": "MR", "body_part": "PROSTATE"}, (1, 20, 20), "prostate"),
        ({}, (5, 20, 20), "prostate"),
        ({}, (1, 20, 20), None),
    ],
)
def test_metadata_and_shape_settle_the_task_where_they_can(metadata, shape, task):
    assert task_by_metadata(Scan(np.zeros(shape, np.int16), (3.0, 0.5, 0.5)), metadata) == task


def test_a_stack_of_unknown_voxel_size_may_be_a_movie_or_colours():
    assert task_by_metadata(Scan(np.zeros((3, 200, 200), np.uint8)), {}) is None


@pytest.mark.parametrize("metadata", [{"modality": "CR"}, {"modality": "CT"}, {"modality": "MR", "body_part": "HEAD"}])
def test_other_modalities_and_body_parts_are_refused_with_advice(metadata):
    with pytest.raises(TaskRefused, match="--task"):
        task_by_metadata(Scan(np.zeros((5, 20, 20), np.int16)), metadata)


def test_the_shipped_gate_knows_drawn_eyes_and_refuses_a_page_of_print():
    from napari_tinymig.samples.drawn import fundus_sample

    gate = TaskGate()
    assert gate.task_of(fundus_sample(400).scan) == "optic"
    assert gate.task_of(fundus_sample(400, seed=2, eye="left").scan) == "optic"
    page = np.full((400, 300, 3), 252, np.uint8)
    page[::14, 20:280] = 30
    assert gate.look(Scan(page))[0] == "none", "a page of print is no image of a known task"


def test_further_looks_agree_with_the_first_where_nothing_changes(make_model):
    predictor = Predictor(make_model("t", OPTIC, (0.0, 0.5), input=InputSpec(size=64)), "cpu")
    pixels = np.full((128, 128, 3), 60, np.uint8)
    pixels[40:90, 30:100] = 220
    frame = predictor.photograph_student().look(pixels, whole_box(pixels.shape))
    mean = averaged_logits(pixels, frame, predictor.network, predictor.header, NEARER_LOOK)
    first = frame.logits
    assert mean.shape == first.shape
    assert ((mean > 0) == (first > 0)).mean() > 0.97
    assert mean[0, 40, 32] == pytest.approx(first[0, 40, 32], abs=0.2)  # inside: the mirrored look sees the same


def test_an_ellipse_stays_itself_and_a_bite_is_partly_filled():
    whole = draw_ellipse((128, 128), Ellipse((64, 64), (40, 30), 20))
    bitten = whole.copy()
    bitten[56:72, 90:110] = False
    same = drawn_to_ellipse(np.where(whole, 4.0, -4.0)[None].astype(np.float32))[0] > 0
    mended = drawn_to_ellipse(np.where(bitten, 4.0, -4.0)[None].astype(np.float32), pull=0.7)[0] > 0
    assert (same != whole).sum() < 0.02 * whole.sum()
    assert bitten.sum() < mended.sum() <= whole.sum() * 1.02
    tiny = np.full((1, 32, 32), -4.0, np.float32)
    tiny[0, 4:6, 4:6] = 4
    np.testing.assert_array_equal(drawn_to_ellipse(tiny), tiny)


def test_a_patch_that_does_not_stand_out_loses_to_one_that_does():
    probability = np.zeros((64, 64))
    y, x = np.mgrid[:64, :64]
    dark, bright = np.hypot(y - 16, x - 16) < 8, np.hypot(y - 46, x - 46) < 7
    probability[dark], probability[bright] = 0.95, 0.85
    centre, _, confidence = best_candidate(probability, lambda mask: 2.0 if mask[46, 46] else -1.0)
    assert centre == pytest.approx((46.5, 46.5))
    assert confidence > 0.75


def test_looks_cover_the_field_its_sides_and_its_surroundings():
    boxes = [look_box((0.0, 0.0, 100.0, 100.0), square) for square in LOCATOR_SQUARES]
    assert boxes[0] == (0, 0, 100, 100)
    assert boxes[1] == pytest.approx((-35, -35, 135, 135))
    assert min(b[1] for b in boxes[2:]) < 0 + 1
    assert max(b[3] for b in boxes[2:]) > 99


def test_a_graph_that_is_no_graph_is_a_model_file_error(tmp_path):
    from napari_tinymig.models.file import write_model_file
    from napari_tinymig.recipes.student import ModelHeader

    model = write_model_file(tmp_path / "m.safetensors", ModelHeader(name="m"), {"a": np.zeros(1, np.float32)}, b"x")
    with pytest.raises(ModelFileError, match="its graph is no ONNX graph"):
        OnnxNetwork(model)


def test_colours_on_the_first_axis_are_colours():
    from napari_tinymig.samples.drawn import fundus_sample

    eye = fundus_sample().scan.pixels
    first = napari_tinymig.segment(np.moveaxis(eye, -1, 0), task="optic")
    assert first.labels.shape == eye.shape[:2]
    np.testing.assert_array_equal(first.labels, napari_tinymig.segment(eye, task="optic").labels)


@pytest.mark.parametrize(
    ("name", "what"), [("gate", "tells the task"), ("locator", "finds the disc"), ("prompt", "answers prompts")]
)
def test_a_model_that_other_parts_ask_is_refused_with_what_it_does(name, what):
    with pytest.raises(ValueError, match=f"'{name}' {what}.* segments nothing by itself"):
        napari_tinymig.load_model(name)
