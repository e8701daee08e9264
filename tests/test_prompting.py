"""The prompted student's training: what it is taught on, who its users are, and that the run makes a usable file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from napari_tinymig.training.prompting.batches import PromptBatches
from napari_tinymig.training.prompting.network import PromptNetwork, border_dice
from napari_tinymig.training.prompting.objects import ObjectFrames, load_frames
from napari_tinymig.training.prompting.run import simulate, step_input
from napari_tinymig.training.prompting.save import CHANNELS, export_prompted, load_prompted
from napari_tinymig.training.prompting.train import starting_network, train
from napari_tinymig.training.prompting.users import Marks, correct, deep_point, loose_box, stroke
from PIL import Image

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.models.file import read_model_file
from napari_tinymig.models.registry import find_model
from napari_tinymig.prompts.network import PromptedStudent
from napari_tinymig.recipes.prompted import is_prompt_recipe, load_prompt_recipe
from napari_tinymig.recipes.student import shipped_recipes

TINY = {
    "student.widths": [8, 8, 16, 16],
    "student.decoder": 8,
    "frame_side": 96,
    "batch": 4,
    "stages": [{"size": 64, "minutes": 0.02}],
}


@pytest.fixture
def folder(tmp_path):
    """A domain folder of three drawn photographs with a nested object, and one without a label."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "drawn" / part).mkdir(parents=True)
    y, x = np.ogrid[:100, :140]
    for i in range(4):
        far = np.hypot(y - 50, x - 60 - 5 * i)
        labels = (far < 30).astype(np.uint8) + (far < 14)
        image = (60 + 60 * labels[..., None] + rng.normal(0, 5, (100, 140, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "drawn" / "images" / f"{i}.png")
        if i < 3:
            Image.fromarray(labels).save(tmp_path / "drawn" / "labels" / f"{i}.png")
    return tmp_path / "drawn"


def test_frames_hold_every_nested_object_and_natural_regions(folder):
    frames, hashes = load_frames([folder], load_prompt_recipe("prompt", TINY))
    assert len(hashes) == 3
    assert frames.images.shape[1:] == (96, 96, 3)
    assert frames.is_object.sum() >= 6
    assert (~frames.is_object).sum() == 4
    areas = (frames.regions[frames.is_object] > 0).mean((1, 2))
    assert ((areas > 0.01) & (areas < 0.3)).all()


def some_batches(size: int = 64, batch: int = 8) -> PromptBatches:
    images = np.random.default_rng(0).integers(0, 255, (6, 96, 96, 3), dtype=np.uint8)
    regions = np.zeros((6, 96, 96), np.uint8)
    regions[:, 30:60, 40:70] = 1
    return PromptBatches(ObjectFrames(images, regions, np.arange(6) < 4), size, batch, seed=1)


def test_batches_are_the_same_for_the_same_seed_and_hold_an_object_each():
    one, other = some_batches().draw(), some_batches().draw()
    torch.testing.assert_close(one.images, other.images)
    np.testing.assert_array_equal(one.start, other.start)
    assert one.images.shape == (8, 3, 64, 64)
    assert one.truth.shape == (8, 1, 64, 64)
    assert (one.truth.sum((1, 2, 3)) > 20).float().mean() > 0.8
    assert set(one.truth.unique().tolist()) <= {0.0, 1.0}


def test_users_prompt_where_mask_and_truth_differ():
    truth, mask = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    truth[10:40, 10:40] = True
    mask[10:40, 10:30] = True
    seen = []
    for seed in range(20):
        marks = Marks()
        correct(marks, mask, truth, np.random.default_rng(seed))
        seen += [(p, True) for p in marks.positive] + [(p, False) for p in marks.negative]
    right = [add and 8 <= y <= 42 and 28 <= x <= 42 for (y, x), add in seen]
    assert np.mean(right) > 0.9
    y0, _x0, y1, x1 = loose_box(truth, np.random.default_rng(0))
    assert abs(y0 - 10) <= 3
    assert abs(x1 - 39) <= 3
    assert y1 > y0
    assert all(truth[round(y), round(x)] for y, x in stroke(truth, np.random.default_rng(0))[:3])


def test_rounds_of_simulated_users_end_with_the_networks_own_masks():
    network = PromptNetwork(load_prompt_recipe("prompt", TINY).student)
    batches = some_batches()
    batch = batches.draw()
    marks, masks = simulate(network, batch, 1, batches.rng)
    x = step_input(batch, marks, masks)
    assert x.shape == (8, CHANNELS, 64, 64)
    assert network.training
    given = torch.tensor([float(m is not None) for m in masks])
    torch.testing.assert_close(x[:, 7].amax((1, 2)), given)


def test_the_loss_falls_from_wrong_to_right_and_counts_the_border_threefold():
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:24, 8:24] = 1
    right, wrong = (truth * 2 - 1) * 10, (1 - truth * 2) * 10
    assert border_dice(right, truth) < 0.01
    assert border_dice(wrong, truth) > 5
    at_border, far = right.clone(), right.clone()
    at_border[..., 7, 10:14], far[..., 0, 10:14] = 10, 10
    assert border_dice(at_border, truth) > border_dice(far, truth)


def test_a_run_writes_a_file_whose_onnx_answers_as_its_weights_do(folder, tmp_path):
    recipe = load_prompt_recipe("prompt", TINY)
    messages = list(train(recipe, [folder], tmp_path / "run"))
    assert [messages[0].kind, messages[-1].kind] == ["started", "done"]
    path = tmp_path / "run" / "best.safetensors"
    model = read_model_file(path)
    assert model.header.kind == "prompted"
    assert model.header.input.size == 64
    assert model.header.lineage.domains == ("drawn",)
    assert len(model.header.lineage.data_hashes) == 3
    x = np.random.default_rng(0).normal(0, 1, (2, CHANNELS, 64, 64)).astype(np.float32)
    ours = PromptedStudent(path, threads=1).run(x)
    with torch.no_grad():
        theirs = load_prompted(model)(torch.from_numpy(x))[:, 0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * max(1, np.abs(theirs).max()))
    assert export_prompted(model, "onnx", tmp_path / "p.onnx").path.stat().st_size > 1000
    with pytest.raises(ValueError, match="expected onnx"):
        export_prompted(model, "bundle", tmp_path / "b")


def test_a_run_that_is_stopped_keeps_its_student(folder, tmp_path):
    recipe = load_prompt_recipe("prompt", TINY | {"stages": [{"size": 64, "minutes": 5}]})
    *_, last = train(recipe, [folder], tmp_path / "run", stop=lambda: True)
    assert last.kind == "stopped"
    assert read_model_file(tmp_path / "run" / "best.safetensors").header.kind == "prompted"


def test_a_run_folder_that_cannot_be_written_is_a_sentence(folder, tmp_path):
    recipe = load_prompt_recipe("prompt", TINY | {"stages": [{"size": 64, "minutes": 0.01}]})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputRefused, match="cannot write the run folder .*choose a folder that can be written"):
        list(train(recipe, [folder], tmp_path / "file" / "run"))
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    with pytest.raises(OutputRefused, match=r"cannot write .*log.jsonl.*mend that, then train again"):
        list(train(recipe, [folder], tmp_path / "run"))


def test_a_run_goes_on_from_a_prompted_student_and_its_file_tells_no_path(folder, tmp_path):
    first = tmp_path / "first" / "best.safetensors"
    list(train(load_prompt_recipe("prompt", TINY), [folder], first.parent))
    begun = starting_network(load_prompt_recipe("prompt", TINY | {"student.init_weights": str(first)}))
    for name, value in load_prompted(read_model_file(first)).state_dict().items():
        torch.testing.assert_close(begun.state_dict()[name], value)
    later = load_prompt_recipe("prompt", TINY | {"student.init_weights": str(first)})
    *_, last = train(later, [folder], tmp_path / "later")
    header = read_model_file(tmp_path / "later" / "best.safetensors").header
    assert last.kind == "done"
    assert header.extra["encoder_start"] == f"the student {read_model_file(first).model_id}"
    assert str(tmp_path) not in header.model_dump_json()


@pytest.mark.parametrize(("start", "found"), [("optic", "kind segmenter"), ("prompt", "32, 64, 128, 192")])
def test_another_kind_or_shape_is_no_start(start, found):
    with pytest.raises(ValueError, match=found):
        starting_network(load_prompt_recipe("prompt", TINY | {"student.init_weights": start}))


def test_users_click_mostly_in_the_middle_and_sometimes_beside_the_border():
    region = np.zeros((64, 64), bool)
    region[4:60, 4:60] = True
    rng = np.random.default_rng(0)
    y, x = np.array([deep_point(region, rng) for _ in range(2000)]).T
    to_border = np.minimum.reduce([y - 4, 60 - y, x - 4, 60 - x])
    # by the square of the depth 4 % lie within 8 pixels of the border, evenly 49 %: 0.7 and 0.3 of these are 17 %
    assert 0.12 < (to_border < 8).mean() < 0.23


def test_the_recipe_is_told_from_those_of_one_task():
    assert is_prompt_recipe("prompt")
    assert not is_prompt_recipe("optic")
    assert "prompt" not in shipped_recipes()
    with pytest.raises(ValueError, match="batsh"):
        load_prompt_recipe("prompt", {"batsh": 3})


def test_the_shipped_prompted_student_is_small_and_is_no_tasks_default():
    model = read_model_file(find_model("prompt"))
    assert sum(v.size for v in model.weights().values()) <= 3_000_000
    assert model.path.stat().st_size <= 8_000_000
    assert model.header.task is None
    assert model.header.kind == "prompted"
