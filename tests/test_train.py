"""Training on drawn images: it learns, resumes to the bit, stops with the best, and says what is wrong."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
import torch
from drawn import fundus_domain, prostate_domain
from napari_tinymig.training.run.loop import learning_rate
from napari_tinymig.training.run.train import build_student, pick_device, to_toml, train
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from napari_tinymig.base.errors import ModelFileError, OutputRefused, UnreadableInput
from napari_tinymig.base.records import Message
from napari_tinymig.base.safe_files import refused_writes
from napari_tinymig.models.file import read_model_file
from napari_tinymig.models.registry import open_model
from napari_tinymig.recipes.student import load_recipe, recipe_from_dict, shipped_recipes
from napari_tinymig.recipes.train import OptimSpec

TINY = {
    "name": "tiny",
    "task": "optic",
    "input": {"size": 64, "roi_scale": 2.2},
    "student": {"widths": [8, 8, 16, 16], "blocks": [0, 0, 1, 0], "decoder": 8},
    "augment": {"colour": 0.5},
    "optim": {"epochs": 3, "batch": 4, "lr": 5e-3, "ema": 0.5, "precision": "fp32"},
    "data": {"val_fraction": 0.25},
}


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    return fundus_domain(tmp_path_factory.mktemp("eyes") / "eyes", 12)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(**changes):
    raw = json.loads(json.dumps(TINY))
    for dotted, value in changes.items():
        node, *rest = dotted.split("__")
        if rest:
            raw.setdefault(node, {})[rest[0]] = value
        else:
            raw[node] = value
    return recipe_from_dict(raw)


def test_a_run_learns_and_leaves_everything_it_promises(eyes, tmp_path):
    long = recipe(optim__epochs=25)
    messages = list(train(long, eyes, [eyes], tmp_path / "run"))
    assert [m.kind for m in messages if m.kind in ("started", "saved", "done")] == ["started", "saved", "done"]
    assert messages[-1].values["best"] > 0.6
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"config.toml", "log.jsonl", "metrics.csv", "curve.png", "best.safetensors", "last.safetensors"} <= names
    logged = [Message.from_json(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [m.kind for m in logged] == [m.kind for m in messages]
    target = next(m for m in messages if m.kind == "validation")
    assert target.text == "eyes"
    header = read_model_file(tmp_path / "run" / "best.safetensors").header
    assert header.lineage.domains == ("eyes",)
    assert len(header.lineage.data_hashes) == 12
    assert header.statistics["version"] == 1
    assert 0.3 < header.constants["mean_vertical_cup_disc_ratio"] < 0.8
    assert recipe_from_dict(tomllib.loads((tmp_path / "run" / "config.toml").read_text())) == long


def state(folder):
    return {k: v for k, v in load_file(folder / "last.safetensors").items() if not k.startswith("best.")}


def test_a_run_that_was_cut_off_continues_to_the_bit(eyes, tmp_path):
    list(train(recipe(), eyes, out=tmp_path / "whole"))
    cut = train(recipe(), eyes, out=tmp_path / "cut")
    for message in cut:
        if message.kind == "step" and message.step > 4:  # inside the third epoch
            break
    cut.close()
    last = list(train(recipe(), eyes, out=tmp_path / "cut", resume=True))[-1]
    assert last.kind == "done"
    whole, resumed = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    ours, theirs = (read_model_file(tmp_path / f / "best.safetensors").header for f in ("whole", "cut"))
    assert ours.weights_sha256 == theirs.weights_sha256


def test_slow_checkpoints_are_written_seldom_but_the_last_epoch_always(eyes, tmp_path, monkeypatch):
    from napari_tinymig.training.run import checkpoint

    saved = []

    def slow(tensors, path, metadata):
        time.sleep(0.3)
        saved.append(json.loads(metadata["progress"])["epoch"])
        save_file(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", slow)
    list(train(recipe(optim__epochs=8), eyes, out=tmp_path / "run"))
    assert saved[0] == 1
    assert saved[-1] == 8
    assert len(saved) < 8


def test_equal_seeds_give_equal_weights_and_another_seed_does_not(eyes, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        list(train(recipe(seed=seed, optim__epochs=1), eyes, out=tmp_path / name))
    a, b, c = (state(tmp_path / n) for n in "abc")
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_stop_keeps_the_best_so_far(eyes, tmp_path):
    asked = False

    def stop() -> bool:
        return asked

    for message in train(recipe(optim__epochs=500), eyes, out=tmp_path / "run", stop=stop):
        if message.kind == "epoch" and message.step == 2:
            asked = True
    assert message.kind == "stopped"
    assert read_model_file(tmp_path / "run" / "best.safetensors").header.name == "tiny"


def test_the_benchmark_protocol_holds_nothing_out_and_keeps_the_epoch_of_lowest_training_loss(eyes, tmp_path):
    still = recipe(protocol="benchmark", optim__epochs=6, optim__lr=1e-9, optim__ema=0.0)  # losses only fluctuate
    messages = list(train(still, eyes, [], tmp_path / "run"))
    assert messages[0].values == {"train": 12, "held": 0}
    epochs = [m.values for m in messages if m.kind == "epoch"]
    assert all("score" not in values for values in epochs)
    losses = [values["train_loss"] for values in epochs]
    lowest = int(np.argmin(losses))
    assert lowest < len(losses) - 1  # else keeping the last epoch would pass as well
    assert epochs[-1]["best_epoch"] == lowest + 1
    assert epochs[-1]["best"] == pytest.approx(-losses[lowest])


def test_a_run_that_was_killed_is_not_overwritten(eyes, tmp_path):
    run = train(recipe(), eyes, out=tmp_path / "run")
    next(m for m in run if m.kind == "epoch")
    run.close()
    written = (tmp_path / "run" / "last.safetensors").read_bytes()
    with pytest.raises(OutputRefused, match="go on with --resume"):
        list(train(recipe(), eyes, out=tmp_path / "run"))
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == written


def test_a_damaged_checkpoint_is_named_with_what_to_do(eyes, tmp_path):
    run = train(recipe(), eyes, out=tmp_path / "run")
    next(m for m in run if m.kind == "epoch")
    run.close()
    path = tmp_path / "run" / "last.safetensors"
    whole = path.read_bytes()
    for damage in (b"", whole[:5000], whole[: len(whole) // 2], b"no tensors at all"):
        path.write_bytes(damage)
        with pytest.raises(ModelFileError, match=r"last\.safetensors is damaged .*delete this file"):
            list(train(recipe(), eyes, out=tmp_path / "run", resume=True))


def test_a_finished_run_says_so_when_it_is_resumed(eyes, tmp_path):
    list(train(recipe(optim__epochs=1), eyes, out=tmp_path / "run"))
    messages = list(train(recipe(optim__epochs=1), eyes, out=tmp_path / "run", resume=True))
    assert any("epoch 1 of 1 is done already" in m.text for m in messages)
    assert not [m for m in messages if m.kind == "step"]


def test_two_runs_do_not_share_a_folder(eyes, tmp_path):
    first = train(recipe(), eyes, out=tmp_path / "run")
    next(first)
    with pytest.raises(OutputRefused, match="open in another"):
        list(train(recipe(), eyes, out=tmp_path / "run"))
    first.close()
    assert list(train(recipe(), eyes, out=tmp_path / "run"))[-1].kind == "done"


def test_a_bundled_student_is_a_start_by_its_name():
    shipped = open_model("optic-sdg")
    spec = shipped.header.student.model_dump() | {"init_weights": "optic-sdg"}
    student = build_student(recipe(**{f"student__{k}": v for k, v in spec.items()}))
    for name, value in shipped.weights().items():
        np.testing.assert_array_equal(student.state_dict()[name].numpy(), np.asarray(value, np.float32), err_msg=name)


def test_a_misspelt_target_is_found_before_the_training(eyes, tmp_path):
    with pytest.raises(UnreadableInput, match="nowhere"):
        list(train(recipe(), eyes, [tmp_path / "nowhere"], tmp_path / "run"))
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_a_run_that_diverges_names_the_learning_rate(eyes, tmp_path):
    with pytest.raises(ValueError, match=r"diverged.*optim.lr \(1e\+30\)"):
        list(train(recipe(optim__lr=1e30, optim__grad_clip=0.0), eyes, out=tmp_path / "run"))


def test_without_a_held_out_case_it_is_said_that_the_last_epoch_is_kept(tmp_path):
    one = fundus_domain(tmp_path / "one", 1)
    messages = list(train(recipe(optim__epochs=1, optim__batch=1), one, out=tmp_path / "run"))
    assert any(m.kind == "warning" and "the last epoch is kept" in m.text for m in messages)


@pytest.mark.parametrize("name", ["metrics.csv", "curve.png"])
def test_a_table_or_curve_that_cannot_be_written_is_a_sentence_with_what_to_do(eyes, tmp_path, name):
    out = tmp_path / "run"

    def in_the_way():
        if not (out / name).is_dir():
            (out / name).unlink(missing_ok=True)
            (out / name).mkdir()
        return False

    with pytest.raises(OutputRefused, match=rf"cannot write .*{name}.*mend that, then go on with --resume"):
        list(train(recipe(), eyes, out=out, stop=in_the_way))
    (out / name).rmdir()
    assert list(train(recipe(), eyes, out=out, resume=True))[-1].kind == "done"


def test_a_failure_that_is_no_write_of_the_run_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), refused_writes(tmp_path / "run", "go on"):
        (tmp_path / "elsewhere.png").read_bytes()
    with pytest.raises(OutputRefused, match="No space left on device"), refused_writes(tmp_path / "run", "go on"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_is_a_sentence_and_leaves_no_half_file(eyes, tmp_path, monkeypatch):
    from napari_tinymig.training.run import checkpoint

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputRefused, match="No space left on device.*make room"):
        list(train(recipe(), eyes, out=tmp_path / "run"))
    assert not list((tmp_path / "run").glob(".last*"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss__lambdas": [1, 1, 0.5, 0, 0]}, "has no teacher"),
        ({"teacher": {"name": "resnet18", "weights": "random"}}, "last three of loss.lambdas are 0"),
        (
            {
                "teacher": {"name": "resnet18", "weights": "random"},
                "loss__lambdas": [1, 1, 1, 0, 0],
                "network": "monai_unet",
            },
            "no stages that could follow a teacher",
        ),
    ],
)
def test_half_a_distillation_is_refused_not_left_out_in_silence(eyes, tmp_path, changes, says):
    with pytest.raises(ValueError, match=says):
        list(train(recipe(**changes), eyes, out=tmp_path / "run"))


def test_volumes_train_with_their_neighbours(tmp_path):
    folder = prostate_domain(tmp_path / "mr", 4)
    raw = dict(TINY, task="prostate", name="mr", optim=dict(TINY["optim"], epochs=2))
    raw["input"] = {"size": 64, "normalisation": "percentile_z", "context_slices": True, "fov_mm": 120.0}
    raw["augment"] = {"coil": 0.5, "fov_mm": [90.0, 200.0], "drop_neighbours": 0.5}
    last = list(train(recipe_from_dict(raw), folder, out=tmp_path / "run"))[-1]
    assert last.kind == "done"
    assert read_model_file(tmp_path / "run" / "best.safetensors").header.input.context_slices


def test_frames_without_the_object_join_a_polyp_run(eyes, tmp_path):
    raw = dict(TINY, task="polyp", name="p", input={"size": 64}, augment={"negatives": 0.5})
    raw["data"] = dict(TINY["data"], label_map={0: 0, 1: 1, 2: 1})  # the drawn cup belongs to the drawn polyp
    raw["student"] = dict(TINY["student"], presence=True)
    messages = list(train(recipe_from_dict(raw), eyes, out=tmp_path / "run"))
    assert messages[-1].kind == "done"
    assert any("presence_loss" in m.values for m in messages)


def test_a_run_folder_is_not_overwritten_and_a_foreign_resume_is_refused(eyes, tmp_path):
    list(train(recipe(optim__epochs=1), eyes, out=tmp_path / "run"))
    with pytest.raises(OutputRefused, match="--resume"):
        list(train(recipe(optim__epochs=1), eyes, out=tmp_path / "run"))
    with pytest.raises(ModelFileError, match="another recipe"):
        list(train(recipe(optim__epochs=2), eyes, out=tmp_path / "run", resume=True))
    with pytest.raises(ModelFileError, match="nothing to resume"):
        list(train(recipe(), eyes, out=tmp_path / "empty", resume=True))


def test_the_rate_follows_the_poly_formula():
    spec = OptimSpec(epochs=100, lr=1e-4, power=0.9)
    for t in (0, 1, 37, 99):
        assert learning_rate(t, spec) == pytest.approx(1e-4 * (1 - t / 100) ** 0.9)


def test_every_shipped_recipe_is_valid_and_names_no_file_of_a_machine():
    for name in shipped_recipes():
        loaded = load_recipe(name)
        assert loaded.name == name
        assert loaded.student.init_weights in (None, "imagenet")
        assert recipe_from_dict(tomllib.loads(to_toml(loaded.model_dump(exclude_none=True)))) == loaded


def test_a_device_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="cpu"):
        pick_device("tpu")


def test_ctrl_c_on_the_command_line_keeps_the_best(eyes, tmp_path):
    config = tmp_path / "slow.toml"
    config.write_text(to_toml(recipe(optim__epochs=100000).model_dump(exclude_none=True)))
    command = [sys.executable, "-m", "napari_tinymig", "train", str(config), "--source", str(eyes),
               "-o", str(tmp_path / "run"), "--threads", "1", "--device", "cpu"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / "last.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 1
    assert "kept" in said
    assert np.isfinite(read_model_file(tmp_path / "run" / "best.safetensors").header.scores["validation"]["best"])
