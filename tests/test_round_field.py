"""A round field of light is a fundus camera's; other borders, full frames and dark ones are not."""

import numpy as np
import pytest

from napari_tinymig.base.records import Scan
from napari_tinymig.network.run import NetworkOutput
from napari_tinymig.predict.round_field import ROUND, roundness
from napari_tinymig.predict.task_guess import TaskGate


def lit(mask):
    return np.where(mask[..., None], np.uint8((150, 70, 30)), np.uint8(3))


def disc(shape=(600, 800), radius=290, centre=(300, 400)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) < radius


def scope(shape=(600, 800), corner=90):
    """The cut rectangle of a colonoscope."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (y > 30) & (y < 570) & (x > 120) & (x < 700)
    return inside & (np.abs(y - 300) + np.abs(x - 410) < 270 + 290 - corner)


@pytest.mark.parametrize("mask", [disc(), disc(radius=380), disc(centre=(280, 330), radius=320)])
def test_a_circle_whole_or_cut_by_the_frame_is_round(mask):
    assert roundness(lit(mask)) > 0.95


@pytest.mark.parametrize("mask", [scope(), scope(corner=5), np.ones((600, 800), bool), np.zeros((600, 800), bool)])
def test_a_cut_rectangle_a_full_frame_and_a_dark_one_are_not(mask):
    assert roundness(lit(mask)) < ROUND / 2


def test_a_round_field_that_the_network_half_takes_for_a_polyp_is_a_fundus(make_gate):
    likely_polyp = make_gate(optic=0.35, polyp=0.64)
    assert likely_polyp.task_of(Scan(lit(disc()), name="eye")) == "optic"
    assert likely_polyp.task_of(Scan(lit(scope()), name="colon")) == "polyp"


def test_what_is_surely_none_of_the_tasks_stays_refused_however_round(make_gate):
    assert make_gate(optic=0.05, polyp=0.15).look(Scan(lit(disc()), name="moon"))[0] == "none"


@pytest.fixture
def make_gate():
    """make_gate(class=probability, ...): a gate whose network always answers so; the rest goes to 'none'."""
    from napari_tinymig.models.registry import open_model

    class Fixed:
        def __init__(self, p):
            self.logits = np.log([p.get("optic", 1e-6), 1e-6, p.get("polyp", 1e-6), max(1 - sum(p.values()), 1e-6)])

        def run(self, batch):
            return NetworkOutput(np.tile(np.float32(self.logits), (len(batch), 1)), (), ())

    return lambda **p: TaskGate(open_model("gate"), Fixed(p))
