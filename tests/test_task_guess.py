"""--task auto and the Segment panel's 'auto': a colour picture is never an MRI, and what shows nothing is nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from napari_tinymig.base.errors import TaskRefused
from napari_tinymig.base.records import Scan
from napari_tinymig.models.registry import open_model
from napari_tinymig.predict.task_guess import TaskGate
from napari_tinymig.samples.drawn import fundus_sample

EYE = fundus_sample().scan.pixels


@pytest.fixture(scope="module")
def gate():
    return TaskGate()


UNKNOWN = {
    "black": (np.zeros((300, 300, 3), np.uint8), "every pixel is the same"),
    "black and grey": (np.zeros((1, 300, 300), np.int16), "every pixel is the same"),
    "NaN": (np.full((1, 300, 300), np.nan, np.float32), "NaN everywhere"),
    "crop": (np.ascontiguousarray(EYE[500:520, 500:520]), "20 x 20 pixels, too small"),
    "grey fundus": (EYE[None, ..., 1], "perhaps one channel of a fundus photograph"),
    "colours as slices": (np.moveaxis(EYE, -1, 0).copy(), "looks like none of them"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_can_recognise_is_refused_with_a_hint(gate, name):
    pixels, why = UNKNOWN[name]
    with pytest.raises(TaskRefused) as refused:
        gate.task_of(Scan(pixels, None, name))
    assert why in str(refused.value)
    assert "--task optic, prostate or polyp" in str(refused.value)


class Says:
    """A network with one answer."""

    def __init__(self, logit):
        self.logit, self.classes = logit, open_model("gate").header.classes

    def run(self, frames):
        logits = np.zeros((2, len(self.classes)))
        logits[:, self.classes.index("prostate")] = self.logit
        return SimpleNamespace(logits=logits)


def test_a_network_that_calls_everything_prostate_is_not_believed_in_colour():
    sure = TaskGate(open_model("gate"), Says(50))
    with pytest.raises(TaskRefused, match="looks like none of them"):
        sure.task_of(Scan(EYE))
    grey = np.repeat(np.random.default_rng(0).integers(0, 255, (200, 200, 1), np.uint8), 3, axis=2)
    assert sure.task_of(Scan(grey)) == "prostate"  # a slice saved as RGB is one still
    assert sure.task_of(Scan(grey[None, ..., 0])) == "prostate"


def test_a_grey_picture_of_unknown_size_must_look_much_like_an_mri():
    temperature = open_model("gate").header.temperature
    grey = np.random.default_rng(0).integers(0, 255, (1, 200, 200), np.uint8)
    doubtful = TaskGate(open_model("gate"), Says(2.5 * temperature))  # e^2.5 of e^2.5 + 3: 0.80
    with pytest.raises(TaskRefused, match="unclear .prostate at 80%"):
        doubtful.task_of(Scan(grey))
    assert doubtful.task_of(Scan(np.repeat(grey, 4, axis=0), (3.0, 0.5, 0.5))) == "prostate"  # its size is known


def test_the_command_line_refuses_them_too_and_does_the_others(tinymig, tmp_path):
    Image.fromarray(EYE).save(tmp_path / "eye.png")
    Image.fromarray(EYE[500:530, 500:530]).save(tmp_path / "crop.png")
    Image.fromarray(EYE[..., 1]).save(tmp_path / "grey.png")
    done = tinymig("segment", "eye.png", "crop.png", "grey.png", "-o", "out", code=1)
    assert (tmp_path / "out" / "eye_mask.png").exists()
    assert "crop is 30 x 30 pixels, too small to recognise" in done.stdout + done.stderr
    assert not (tmp_path / "out" / "grey_mask.png").exists()
