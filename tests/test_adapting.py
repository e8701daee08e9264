"""A model adapted to a folder: the folder's BatchNorm statistics, the old weights otherwise, said in every row."""

from __future__ import annotations

import numpy as np
import pytest
import tune_drawn as drawn

from napari_tinymig.base.records import Scan
from napari_tinymig.jobs.adapting import adapt_to, teaching_frames
from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return drawn.write_domain(tmp_path_factory.mktemp("second"), range(100, 106))


def test_only_the_running_statistics_move_and_the_same_images_give_the_same_model(parent, second, tmp_path):
    model = adapt_to(parent.path, [second / "images"], tmp_path / "a")
    ours, theirs = model.weights(), read_model_file(parent.path).weights()
    moved = {k for k in theirs if not np.array_equal(ours[k], theirs[k])}
    assert moved
    assert all("running" in k for k in moved)
    assert model.header.extra["batchnorm_adapted_frames"] == 6
    assert adapt_to(parent.path, [second / "images"], tmp_path / "b").model_id == model.model_id


def test_too_few_images_are_refused(parent, second, tmp_path):
    images = sorted((second / "images").iterdir())[:3]
    with pytest.raises(ValueError, match="only 3 of 3 images"):
        adapt_to(parent.path, images, tmp_path)


def test_a_folder_is_segmented_by_its_adapted_model_and_again_nothing_is_left_to_do(tinymig, parent, second, tmp_path):
    arguments = ("segment", second / "images", "-o", tmp_path / "out", "--model", parent.path, "--adapt")
    tinymig(*arguments, code=0)
    table = (tmp_path / "out" / "measurements.csv").read_text()
    assert table.count("optic-bn@") == 6
    assert (tmp_path / "out" / "adapted.safetensors").exists()
    assert "6 skipped" in tinymig(*arguments, code=0).stdout


def test_the_folder_panel_s_run_adapts_first_and_says_so(parent, second, tmp_path):
    from napari_tinymig.batch.one_input import Options
    from napari_tinymig.viewer.batch_run import BatchRequest, run_batch

    told = []
    options = Options(task="optic", model=str(parent.path), device="cpu", threads=1)
    counts = run_batch(BatchRequest(second / "images", tmp_path / "out", options, adapt=True), told.append)
    assert sum(counts.values()) == 6
    assert [t for t in told if isinstance(t, str)][-1].startswith("Adapted to 6 frames: optic-bn@")
    assert told.index(6) > 1
    assert {r["model"].split("@")[0] for r in told if isinstance(r, dict)} == {"optic-bn"}


def test_without_a_model_or_task_the_adaptation_asks_for_one(tinymig, second, tmp_path):
    asked = tinymig("segment", second / "images", "-o", tmp_path / "out", "--adapt", code=2)
    assert "name it with --model" in asked.stderr


def test_a_photograph_without_a_disc_teaches_nothing(make_model):
    finder = make_model("finder", OPTIC, (0.0, 0.5), kind="locator", input=InputSpec(size=128))
    spec = InputSpec(size=128, roi_scale=2.2)
    model = make_model("toy", OPTIC, (0.0, 0.5), input=spec, statistics={"version": 1})
    predictor = Predictor(model, "cpu", locator=Predictor(finder, "cpu"))
    y, x = np.mgrid[:300, :300] - 150
    ground = np.full((300, 300, 3), 40, np.uint8)
    eye = np.where((np.hypot(y, x) < 40)[..., None], np.uint8(200), ground)
    assert len(teaching_frames(predictor, Scan(eye))) == 1
    assert teaching_frames(predictor, Scan(ground + np.uint8(np.abs(x) // 40)[..., None])) == []
