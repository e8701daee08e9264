"""Fine-tuning end to end with a tiny student that is really trained: gain, guard, budget, stop, resume, bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import tune_drawn as drawn

from napari_tinymig import jobs
from napari_tinymig.annotations.annotation_set import AnnotationSet
from napari_tinymig.base.errors import ModelFileError, OutputRefused, UnreadableInput
from napari_tinymig.models.file import read_model_file
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.finetune import folds_of, settings_for
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return drawn.write_domain(tmp_path_factory.mktemp("second"), range(100, 105))


def tune(*args, **settings):
    from napari_tinymig.training.finetune.run import finetune

    return list(finetune(*args, **settings))


def dice_on(model, camera, seeds):
    from napari_tinymig.training.finetune.acceptance import region_dice

    predictor = Predictor(model, "cpu", threads=1)
    pairs = [drawn.eye(s, camera) for s in seeds]
    scores = [region_dice(predictor.predict(scan).labels, labels, OPTIC) for scan, labels in pairs]
    return {k: float(np.mean([s[k] for s in scores])) for k in ("disc", "cup")}


@pytest.fixture(scope="module")
def tuned(parent, second, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return tune(parent.path, second, out, steps=40, lr=3e-3, school=False), out  # what training itself does


def test_the_child_is_better_on_images_it_never_saw_and_keeps_the_first_camera(parent, tuned):
    _, out = tuned
    child = out / "best.safetensors"
    before, after = dice_on(parent.path, "second", range(200, 212)), dice_on(child, "second", range(200, 212))
    assert after["cup"] > before["cup"] + 0.03
    source = dice_on(parent.path, "first", range(300, 310)), dice_on(child, "first", range(300, 310))
    assert source[1]["disc"] > source[0]["disc"] - 0.05


def test_the_messages_tell_the_whole_story(tuned):
    messages, out = tuned
    kinds = [m.kind for m in messages]
    assert kinds[0] == "started"
    assert kinds[-2:] == ["saved", "done"]
    assert {"step", "epoch", "preview", "validation"} <= set(kinds)
    step = next(m for m in messages if m.kind == "step")
    assert step.total == 3 * 40, "two folds and the whole"
    written = json.loads((out / "gate.json").read_text())
    assert (
        messages[-1].values["keep"]
        == float(written["keep"])
        == float(not written["reasons"][0].startswith(("Refused", "Not made")))
    )
    lines = (out / "log.jsonl").read_text().splitlines()
    assert len(lines) == len(messages)
    assert (out / "preview.png").stat().st_size > 1000


def test_the_gate_file_says_who_was_held_out_and_what_changed(tuned):
    _, out = tuned
    gate = json.loads((out / "gate.json").read_text())
    assert sorted(gate["names"]) == [f"second_{i}" for i in range(100, 105)]
    assert [g["name"] for g in gate["gains"]] == ["disc", "cup"]
    assert gate["gains"][1]["gain"] == pytest.approx(
        np.mean(np.subtract(gate["gains"][1]["after"], gate["gains"][1]["before"])), abs=1e-4
    )
    assert 0.5 < gate["proxy"]["drawn pictures"] <= 1


def test_the_child_knows_its_parent_its_data_and_its_settings(parent, tuned):
    header = read_model_file(tuned[1] / "best.safetensors").header
    assert header.lineage.parent == parent.model_id
    assert len(header.lineage.data_hashes) == 5
    assert header.lineage.domains[0] == "first camera"
    assert header.name == "optic-tuned"
    assert header.extra["finetune"]["guard"] is True


def test_plain_fine_tuning_forgets_more_than_the_guarded_one(parent, second, tmp_path, tuned):
    tune(parent.path, second, tmp_path / "plain", steps=40, lr=3e-3, guard=False, school=False)
    plain = dice_on(tmp_path / "plain" / "best.safetensors", "first", range(300, 310))
    guarded = dice_on(tuned[1] / "best.safetensors", "first", range(300, 310))
    assert np.mean(list(guarded.values())) > np.mean(list(plain.values())) + 0.01  # .023 and .03 seen


def test_one_image_gives_a_model_but_no_promise(parent, tmp_path):
    data = drawn.write_domain(tmp_path / "one", range(100, 101))
    messages = tune(parent.path, data, tmp_path / "run", steps=10)
    assert (messages[-1].values["keep"], messages[-1].values["measured"]) == (0.0, 0.0)
    assert "annotate a second one" in messages[-1].text
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_no_image_is_refused_with_what_to_do(parent, tmp_path):
    AnnotationSet(tmp_path / "set", OPTIC).close()
    with pytest.raises(ValueError, match=r"no usable annotated image.*mended mask"):
        tune(parent.path, tmp_path / "set", tmp_path / "run", steps=5)


def test_a_wrong_mask_is_left_out_and_named(parent, second, tmp_path):
    from PIL import Image

    data = tmp_path / "set"
    shutil.copytree(second, data)
    Image.fromarray(np.full((96, 96), 7, np.uint8)).save(data / "labels" / "second_100.png")
    Image.fromarray(np.ones((90, 96), np.uint8)).save(data / "labels" / "second_101.png")
    messages = tune(parent.path, data, tmp_path / "run", steps=5)
    warnings = " ".join(m.text for m in messages if m.kind == "warning")
    assert "second_100" in warnings
    assert "values [7]" in warnings
    assert "second_101.png has 90 x 96 pixels and its image second_101 96 x 96" in warnings
    assert messages[-1].kind == "done"


def test_a_reference_folder_that_cannot_be_read_is_said_at_once_and_keeps_the_gate_shut(parent, second, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "eye.png").write_bytes(b"no picture")
    messages = tune(parent.path, second, tmp_path / "run", steps=10, reference=str(tmp_path / "old"))
    assert messages[0].kind == "warning"
    assert "reference folder: no image of" in messages[0].text
    assert "reference folder: no image of" in messages[-1].text
    assert messages[-1].values["keep"] == 0


def test_a_run_that_takes_clearly_longer_than_asked_says_how_long_and_why():
    from napari_tinymig.base.stopwatch import over_budget

    values = {"asked_s": 60.0, "spent: training": 50.0, "spent: scoring": 26.0}
    assert over_budget(values) == ""
    values["spent: scoring"] = 31.0
    assert over_budget(values) == "It took 81 s, asked were 60 s: training 50 s, scoring 31 s."
    values["spent: training"] = 240.0
    assert over_budget(values) == "It took 4.5 min, asked were 60 s: training 4.0 min, scoring 31 s."


def test_slices_of_one_volume_are_held_out_and_the_verdict_says_so(tmp_path):
    model = drawn.tiny_gland_model(tmp_path / "model" / "prostate.safetensors")
    scan, labels = drawn.gland()
    with AnnotationSet(tmp_path / "set", PROSTATE) as project:
        project.add(scan, labels)
    messages = tune(model.path, tmp_path / "set", tmp_path / "run", steps=10)
    assert messages[-1].kind == "done"
    assert "blocks of slices" in messages[-1].text
    assert "of the same case" in messages[-1].text


def test_sparse_labels_teach_only_where_they_are(parent, tmp_path):
    with AnnotationSet(tmp_path / "set", OPTIC) as project:
        for seed in (100, 101):
            scan, labels = drawn.eye(seed, "second")
            sparse = np.full_like(labels, 255)
            sparse[40:56] = labels[40:56]
            project.add(scan, sparse)
    messages = tune(parent.path, tmp_path / "set", tmp_path / "run", steps=40, lr=3e-3, guard=False)
    assert messages[-1].kind == "done"
    after = dice_on(tmp_path / "run" / "best.safetensors", "second", range(200, 206))
    assert after["cup"] > 0.8, "the sixteen rows that are labelled teach the cup (.53 before)"
    assert after["disc"] > 0.9, "read as background, the other rows would take the disc away (.57)"


def test_validation_cases_are_held_out_of_every_part(parent, tmp_path):
    with AnnotationSet(tmp_path / "set", OPTIC) as project:
        for seed, role in ((100, "auto"), (101, "val"), (102, "train")):
            project.add(*drawn.eye(seed, "second"), role=role)
    messages = tune(parent.path, tmp_path / "set", tmp_path / "run", steps=10)
    assert messages[-1].kind == "done"
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["folds"] == [[[0, 2], [1]]]
    with AnnotationSet(tmp_path / "set", OPTIC) as project:
        for case in project.cases:
            project.update(case.stem, role="val")
    with pytest.raises(ValueError, match="expected at least one to train on"):
        tune(parent.path, tmp_path / "set", tmp_path / "again", steps=10)


def test_the_decoder_alone_learns_too_and_leaves_the_encoder_as_it_was(parent, second, tmp_path):
    tune(parent.path, second, tmp_path / "run", steps=40, lr=3e-3, scope="decoder", school=False)
    old, new = parent.weights(), read_model_file(tmp_path / "run" / "best.safetensors").weights()
    assert all(np.array_equal(old[k], new[k]) for k in old if k.startswith("encoder."))
    assert any(not np.array_equal(old[k], new[k]) for k in old if k.startswith("decoder."))
    before, after = (
        dice_on(p, "second", range(200, 208)) for p in (parent.path, tmp_path / "run" / "best.safetensors")
    )
    assert after["cup"] > before["cup"]


def test_a_run_folder_in_use_is_refused(parent, second, tuned):
    with pytest.raises(OutputRefused, match="already holds a run"):
        tune(parent.path, second, tuned[1], steps=5)


def test_a_folder_without_masks_is_refused(parent, tmp_path):
    with pytest.raises(UnreadableInput, match="no annotation set"):
        tune(parent.path, tmp_path, tmp_path / "run", steps=5)


def test_settings_that_do_not_exist_name_the_nearest(parent, second, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'minutes'"):
        tune(parent.path, second, tmp_path / "run", minuts=2)


def test_few_shot_settings_grow_with_the_number_of_images():
    steps = [settings_for(n).most_steps for n in (1, 2, 3, 5, 10, 50, 500)]
    assert steps == sorted(steps)
    assert settings_for(4) == settings_for(3)
    with pytest.raises(ValueError, match="no annotated image"):
        settings_for(0)


def test_folds_are_by_case_and_cover_everything():
    names = ["a", "a", "b", "c", "d", "d"]
    for kind, parts in (("two", 2), ("each", 4)):
        folds = folds_of(names, kind)
        assert len(folds) == parts
        assert sorted(i for _, held in folds for i in held) == list(range(6)), "every case is held out once"
        for train, held in folds:
            assert sorted(train + held) == list(range(6))
            assert not {names[i] for i in train} & {names[i] for i in held}
    assert folds_of(["a", "a"]) == []
    assert folds_of(names, "none") == []


def test_leaving_each_case_out_scores_every_case_and_no_folds_know_nothing(parent, second, tmp_path):
    each = tune(parent.path, second, tmp_path / "each", steps=5, folds="each")
    gains = [m for m in each if m.kind == "validation"]
    record = json.loads((tmp_path / "each" / "gate.json").read_text())
    assert len(gains) == 2
    assert all(len(g["before"]) == 5 for g in record["gains"])
    assert {m.values["part"] for m in each if m.kind == "epoch"} == {0, 1, 2, 3, 4, 5}
    none = tune(parent.path, second, tmp_path / "none", steps=5, folds="none")
    assert none[-1].values["measured"] == 0
    assert none[-1].values["keep"] == 0


def test_a_foundation_model_can_be_the_teacher_and_stays_out_of_the_file(parent, second, tmp_path):
    weights = {"teacher": "resnet18", "teacher_weights": "random"}
    messages = tune(parent.path, second, tmp_path / "run", steps=5, folds="none", **weights)
    terms = {k for m in messages if m.kind == "step" for k in m.values}
    assert {"gdc", "sem", "gen"} <= terms
    child, old = (read_model_file(p) for p in (tmp_path / "run" / "best.safetensors", parent.path))
    assert set(child.weights()) == set(old.weights())
    assert child.header.lineage.recipe["teacher"] | {"weights": None} == child.header.lineage.recipe["teacher"]
    with pytest.raises(ValueError, match="scope = 'decoder' leaves as it is"):
        tune(parent.path, second, tmp_path / "no", steps=5, scope="decoder", **weights)


def start(parent, second, folder, **spec):
    job = {"model": str(parent.path), "data": str(second), "resume": (folder / "plan.json").exists(), "spec": spec}
    return jobs.start("finetune", job, folder, threads=1)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_run_killed_by_the_system_goes_on_to_the_same_bits(parent, second, tmp_path):
    killed = start(parent, second, tmp_path / "killed", steps=10)
    for message in killed.messages():
        if message.kind == "epoch" and message.step >= 15:  # in the second fold
            os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(30).status == "failed"
    assert not (tmp_path / "killed" / "best.safetensors").exists()
    with pytest.raises(OutputRefused, match="not finished; go on with --resume"):
        tune(parent.path, second, tmp_path / "killed", steps=10)
    checkpoint = tmp_path / "killed" / "part1" / "last.safetensors"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"part1.last\.safetensors is damaged .*delete this file"):
        tune(parent.path, second, tmp_path / "killed", steps=10, resume=True)
    checkpoint.write_bytes(whole)
    left = checkpoint.with_name(".last.4711.tmp")  # of a run that was killed while it wrote
    left.write_bytes(whole[:99])
    tune(parent.path, second, tmp_path / "killed", steps=10, resume=True)
    assert not left.exists()
    tune(parent.path, second, tmp_path / "whole", steps=10)
    a, b = (read_model_file(tmp_path / n / "best.safetensors").weights() for n in ("whole", "killed"))
    assert all(np.array_equal(a[k], b[k]) for k in a)


def test_a_finished_run_is_not_trained_again(parent, second, tuned):
    before = (tuned[1] / "best.safetensors").stat().st_mtime_ns
    messages = tune(parent.path, second, tuned[1], steps=40, lr=3e-3, resume=True)
    assert [m.kind for m in messages] == ["saved", "done"]
    assert f"finished already; its model is {tuned[1] / 'best.safetensors'}" in messages[-1].text
    assert (tuned[1] / "best.safetensors").stat().st_mtime_ns == before


def test_stop_and_keep_best_leaves_a_usable_model(parent, second, tmp_path):
    run = start(parent, second, tmp_path / "run", steps=5000)
    for message in run.messages():
        if message.kind == "epoch":
            begin = time.monotonic()
            run.stop()
            break
    outcome = run.wait(30)
    assert outcome.status == "stopped"
    assert outcome.saved == [tmp_path / "run" / "best.safetensors"]
    assert time.monotonic() - begin < 28  # two seconds on a quiet machine; beyond 30 the worker would be killed
    assert read_model_file(tmp_path / "run" / "best.safetensors").header.lineage.parent == parent.model_id


def test_a_damaged_plan_is_said_in_a_sentence(tmp_path):
    from napari_tinymig.training.finetune.plan import load_plan

    (tmp_path / "plan.json").write_text('{"scope": "who')
    with pytest.raises(ModelFileError, match="plan.json is damaged.*start a new run"):
        load_plan(tmp_path, "optic@1", [])
