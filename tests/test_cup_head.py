"""The cup head: discs unwrapped by their own border, the size that student, head and school give a cup together."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_predict import CUP_LEVEL, DISC_LEVEL, fundus

from napari_tinymig.base.records import Scan
from napari_tinymig.models.file import write_model_file
from napari_tinymig.network.disc_polar import ANGLES, RADII, REACH, border_of, directions, unwrapped, vertical_ratio_of
from napari_tinymig.predict.cup_head import QUANTILE, at_quantile, log_odds
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec, ModelHeader
from napari_tinymig.tasks.optic import OPTIC

BINS = 24


def ellipse(side=256, centre=(120, 140), semi=(60, 45)):
    y, x = np.mgrid[:side, :side] + 0.5
    return ((y - centre[0]) / semi[0]) ** 2 + ((x - centre[1]) / semi[1]) ** 2 <= 1


def constant_head(path, share):
    """A head that sees the cup's border at `share` of the radius in every disc: a real ONNX graph."""
    from onnx import TensorProto, checker, helper, numpy_helper

    place = np.full((1, ANGLES // 2, BINS), 1e-7, np.float32)
    place[..., int(share * BINS)] = 1
    arrays = {
        "place": np.log(place),
        "none": np.float32(0),
        "space": np.int64([1, 2, 3]),
        "shape": np.int64([-1, 1, 1]),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image", "space"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "none"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["column"]),
        helper.make_node("Add", ["column", "place"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, ANGLES, RADII])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", ANGLES // 2, BINS])
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    graph = helper.make_graph(nodes, "constant", [image], [output], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(made)
    header = ModelHeader(kind="cup_head", name=path.stem, input=InputSpec(size=ANGLES), constants={QUANTILE: 0.5})
    return Predictor(write_model_file(path, header, {"share": np.float32([share])}, made.SerializeToString()), "cpu", 1)


@pytest.fixture
def answer_with(make_model, tmp_path):
    """The measured ratio of a drawn eye (true ratio .5) by a student with a cup head and a school's offset."""
    locator = make_model("finder", OPTIC, (DISC_LEVEL, CUP_LEVEL), kind="locator", input=InputSpec(size=128))
    student = make_model("optic-toy", OPTIC, (DISC_LEVEL, CUP_LEVEL), input=InputSpec(size=128, roi_scale=2.2))

    def answer(share=None, offset=None):
        head = None if share is None else constant_head(tmp_path / f"head{share}.safetensors", share)
        finder = Predictor(locator, "cpu")
        predictor = Predictor(student, "cpu", locator=finder, cup_head=head, cup_offset=offset)
        return predictor.predict(Scan(fundus()[0]))

    return answer


def test_a_disc_s_border_is_found_angle_by_angle():
    border = border_of(ellipse())
    assert np.allclose(border.centre, (120 / 128 - 1, 140 / 128 - 1), atol=0.01)
    down, right = directions()
    true = 1 / np.sqrt((down / 60) ** 2 + (right / 45) ** 2) / 128
    assert np.abs(border.radius - true).max() < 0.01
    assert border_of(np.zeros((64, 64), bool)) is None


@pytest.mark.parametrize("semi", [(60, 45), (30, 30), (20, 28)])
def test_discs_of_any_size_and_shape_look_alike_when_unwrapped(semi):
    disc = ellipse(semi=semi)
    polar = unwrapped(disc[..., None].astype(float), border_of(disc))[..., 0]
    rho = (np.arange(RADII) + 0.5) / RADII * REACH
    assert polar[:, rho < 0.93].min() > 0.9
    assert polar[:, rho > 1.08].max() < 0.1


def test_a_cup_that_is_a_smaller_copy_of_the_disc_has_that_ratio():
    border = border_of(ellipse())
    assert vertical_ratio_of(np.full(ANGLES // 2, 0.4), border) == pytest.approx(0.4)


def test_prediction_unwraps_as_training_does():
    from napari_tinymig.training.cup_head.views import positions, radii

    grid = np.random.default_rng(0).random((96, 96, 3)).astype(np.float32)
    border = border_of(ellipse(96, (50, 30), (25, 28)))  # reaches beyond the frame
    centre = torch.tensor([border.centre[::-1]], dtype=torch.float32)
    at = positions(centre, torch.from_numpy(border.radius)[None].float(), radii().expand(1, ANGLES, RADII))
    theirs = F.grid_sample(torch.from_numpy(grid).permute(2, 0, 1)[None], at, align_corners=False)[0]
    assert np.allclose(unwrapped(grid, border), theirs.permute(1, 2, 0).numpy(), atol=1e-4)


def test_the_quantile_cuts_where_the_cup_becomes_less_likely():
    place = np.full((3, BINS), 1 / BINS)
    assert np.allclose(at_quantile(place, 0.5), 0.5)
    assert np.allclose(at_quantile(place, 0.65), 0.35)
    assert np.allclose(at_quantile(np.eye(BINS)[[6]], 0.5), 6.5 / BINS)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_student_and_head_meet_half_way_on_log_odds_inside_the_same_disc(answer_with, share):
    alone, both = answer_with(), answer_with(share)
    head = (int(share * BINS) + 0.5) / BINS
    met = (log_odds(alone.measures["vcdr"]) + log_odds(head)) / 2
    assert log_odds(both.measures["vcdr"]) == pytest.approx(met, abs=0.08)
    assert np.array_equal(both.labels >= 1, alone.labels >= 1)


def test_a_school_adds_its_offset_to_what_student_and_head_agree_on(answer_with):
    both, school = answer_with(0.7), answer_with(0.7, 0.4)
    moved = log_odds(school.measures["vcdr"]) - log_odds(both.measures["vcdr"])
    assert moved == pytest.approx(0.4, abs=0.08)


def test_student_and_head_together_keep_the_size_that_was_promised():
    from napari_tinymig.training.networks.cup_head_network import CupHeadNetwork
    from napari_tinymig.training.networks.student import count_macs, count_parameters

    network = CupHeadNetwork().eval()
    out = network(torch.rand(2, 3, ANGLES, RADII))
    assert out.shape == (2, ANGLES // 2, BINS)
    assert torch.allclose(out.exp().sum(-1), torch.ones(2, ANGLES // 2), atol=1e-5)
    assert count_parameters(network) < 0.16e6  # 1.44 M of the student, 1.6 M in all
    assert count_macs(network, ANGLES) < 0.04e9


def test_a_head_of_another_start_and_width_opens_again_as_itself(tmp_path):
    from napari_tinymig.training.networks.cup_head_network import CupHeadNetwork, HeadShape
    from napari_tinymig.training.networks.export import stored_weights
    from napari_tinymig.training.networks.saved import load_student

    shape = HeadShape("tf_efficientnet_lite0", channels=16, deep=24)
    torch.manual_seed(0)
    network = CupHeadNetwork(shape=shape).eval()
    header = ModelHeader(kind="cup_head", name="other", input=InputSpec(size=ANGLES), extra=shape.facts())
    again = load_student(write_model_file(tmp_path / "other.safetensors", header, stored_weights(network), b"graph"))
    x = torch.rand(1, 3, ANGLES, RADII)
    assert torch.equal(network(x), again(x))
    with pytest.raises(ValueError, match="cannot start from 'resnet18'; expected one of mobilenetv2_100"):
        HeadShape("resnet18")


def test_training_sees_cups_of_every_ratio_in_jittered_borders():
    from napari_tinymig.training.cup_head.eyes import Eyes
    from napari_tinymig.training.cup_head.views import views

    disc, cup = ellipse(), ellipse(semi=(30, 22))
    border = border_of(disc)
    one = (
        torch.full((1, 3, 256, 256), 0.5),
        torch.from_numpy(cup)[None, None].float(),
        torch.tensor([border.centre[::-1]], dtype=torch.float32),
        torch.from_numpy(border.radius)[None].float(),
        torch.ones(1),
    )
    eyes = Eyes(*(v.expand(200, *v.shape[1:]) for v in one))
    x, target, edge = views(eyes, torch.Generator().manual_seed(0), warp=1.0)
    share = target.mean((1, 2))
    assert x.shape == (200, 3, ANGLES, RADII)
    assert share.min() < 0.3
    assert share.max() > 0.75
    assert 0.13 < share.std() < 0.25
    assert 0.02 < (edge.mean(1) / border.radius.mean()).std() < 0.06
    plain = views(eyes, torch.Generator().manual_seed(0), warp=0.0)[1].mean((1, 2))
    assert plain.std() < 0.05


def test_a_fine_tuned_child_asks_no_cup_head(make_model):
    from napari_tinymig.training.finetune.result import child_header

    from napari_tinymig.recipes.finetune import FineTuneSpec
    from napari_tinymig.recipes.student import load_recipe

    parent = make_model("toy", OPTIC, (DISC_LEVEL, CUP_LEVEL), input=InputSpec(size=128, roi_scale=2.2, cup_head="x"))
    plan, cases = SimpleNamespace(recipe=load_recipe("optic-sdg").model_dump()), SimpleNamespace(hashes=[], annotated=1)
    child = child_header(parent, FineTuneSpec(), plan, cases, "mine", SimpleNamespace(threshold=0.5, share=1.0))
    assert child.input == parent.header.input.model_copy(update={"cup_head": None})
