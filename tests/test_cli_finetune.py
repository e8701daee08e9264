"""`tinymig finetune`, `next` and the models commands, as a user types them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tune_drawn as drawn
from PIL import Image

from napari_tinymig.annotations.annotation_set import AnnotationSet
from napari_tinymig.sets.next_image import Candidate, rank
from napari_tinymig.tasks.optic import OPTIC


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    drawn.tiny_model(folder / "models" / "optic.safetensors")
    drawn.write_domain(folder / "set", range(100, 104))
    return folder


def tinymig(home, *words):
    environment = os.environ | {"TINYMIG_HOME": str(home), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "napari_tinymig", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=280,
    )


def test_finetune_keep_tree_and_rollback(home, tmp_path):
    run = tmp_path / "run"
    done = tinymig(
        home, "finetune", "--model", "optic", "--data", home / "set", "-o", run, "--steps", 20,
        "--name", "camera-b", "--keep", "--knowingly",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (run / "best.safetensors").exists()
    assert (run / "gate.json").exists()
    assert "'camera-b' is now the default for optic" in done.stdout
    words = ("finetune", "--model", "optic", "--data", home / "set", "-o", run, "--steps", 20)
    again = tinymig(home, *words, "--resume")
    assert again.returncode == 0
    assert "is finished already" in again.stderr
    assert str(run / "best.safetensors") in again.stdout
    (run / "best.safetensors").unlink()
    refused = tinymig(home, *words)
    assert refused.returncode == 2
    assert "not finished; go on with --resume" in refused.stderr
    tree = tinymig(home, "models", "tree").stdout
    assert "\n  camera-b@" in tree, "the child stands under its parent"
    assert "* camera-b" in tinymig(home, "models", "list").stdout
    assert "'optic' is the default for optic again" in tinymig(home, "models", "rollback", "optic").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="process groups of a terminal are POSIX")
def test_ctrl_c_in_a_terminal_keeps_the_best(home, tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_tinymig", "finetune", "--model", "optic", "--data", str(home / "set"),
         "-o", str(run), "--steps", "4000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TINYMIG_HOME": str(home), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for(lambda: (run / "log.jsonl").is_file() and '"epoch"' in (run / "log.jsonl").read_text())
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to everyone in the group
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    assert "Stopping; the best so far is kept" in stderr
    assert "crashed" not in stderr
    assert (run / "best.safetensors").is_file()
    assert str(run / "best.safetensors") in stdout


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_finetune_says_what_is_wrong_before_it_starts(home, tmp_path):
    AnnotationSet(tmp_path / "empty", OPTIC).close()
    for words, sentence in (
        (("--model", "optik", "--data", home / "set"), "did you mean 'optic'?"),
        (("--model", "optic", "--data", tmp_path / "empty"), "no annotated image"),
        (("--model", "optic", "--data", tmp_path / "nowhere"), "nowhere does not exist"),
        (("--model", "optic", "--data", home / "set", "--reference", tmp_path / "nope"), "nope does not exist"),
        (("--model", "optic", "--data", home / "set", "--reference", tmp_path / "empty"), "holds no image"),
        (("--model", "optic", "--data", home / "set", "--labels", "0-1"), "expected foreign:ours pairs"),
    ):
        done = tinymig(home, "finetune", *words, "-o", tmp_path / "run")
        assert done.returncode == 2
        assert sentence in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_foreign_label_codes_are_read_as_what_the_option_says(home, tmp_path):
    drawn.write_domain(tmp_path / "foreign", range(100, 103))
    for path in (tmp_path / "foreign" / "labels").iterdir():  # REFUGE's codes: 0 cup, 128 rim, 255 background
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.array([255, 128, 0], np.uint8)[labels]).save(path)
    words = ("finetune", "--model", "optic", "--data", tmp_path / "foreign", "--steps", 5)
    done = tinymig(home, *words, "-o", tmp_path / "no")
    assert done.returncode == 2
    assert not (tmp_path / "no").exists(), "no worker was started"
    assert "(--labels) 0:?,128:?,255:?" in done.stderr
    done = tinymig(home, *words, "-o", tmp_path / "yes", "--labels", "0:2,128:1,255:0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "yes" / "best.safetensors").is_file()


def test_next_ranks_a_folder_and_leaves_out_what_is_annotated(home, tmp_path):
    done = tinymig(
        home, "next", home / "set" / "images", "--model", "optic", "--set", home / "set", "-o", tmp_path / "next.csv"
    )
    assert done.returncode == 2
    assert "not in the set yet" in done.stderr
    drawn.write_domain(tmp_path / "more", range(200, 203))
    done = tinymig(
        home, "next", tmp_path / "more" / "images", "--model", "optic", "--set", home / "set",
        "-o", tmp_path / "next.csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1. ")
    assert len((tmp_path / "next.csv").read_text().splitlines()) == 4


def test_next_looks_into_the_images_of_a_folder_with_labels(home, tmp_path):
    drawn.write_domain(tmp_path / "more", range(200, 202))
    done = tinymig(home, "next", tmp_path / "more", "--model", "optic")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "images/second_20" in done.stdout.splitlines()[0].replace("\\", "/")
    (tmp_path / "nothing" / "inside").mkdir(parents=True)
    done = tinymig(home, "next", tmp_path / "nothing", "--model", "optic")
    assert done.returncode == 2
    assert "holds only the folders inside" in done.stderr
    assert done.stdout == ""


def test_next_does_not_rank_what_cannot_be_read(home, tmp_path):
    drawn.write_domain(tmp_path, range(200, 202))
    (tmp_path / "images" / "second_200.png").write_bytes(b"no picture")
    done = tinymig(home, "next", tmp_path, "--model", "optic")
    assert done.returncode == 1
    assert [line[:2] for line in done.stdout.splitlines()] == ["1."]
    assert "second_201" in done.stdout
    assert "second_200.png starts with text" in done.stderr


def test_next_warns_where_the_images_are_of_another_task(home, tmp_path):
    from napari_tinymig.samples.drawn import fundus_sample

    for seed in range(3):
        Image.fromarray(fundus_sample(256, seed).scan.pixels).save(tmp_path / f"{seed}.png")
    done = tinymig(home, "next", tmp_path, "--task", "polyp")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "3 of 3 image(s) looked at seem to be of the task 'optic', not 'polyp'" in told
    assert "use --task optic" in told
    assert "seem to be" not in tinymig(home, "next", tmp_path, "--task", "optic").stderr


def test_the_most_doubtful_and_furthest_image_comes_first():
    sure = Candidate(Path("a"), "a", 0.05, 20.0)
    doubtful = Candidate(Path("b"), "b", 0.30, 90.0, "greener than the source.", shift_level="some shift")
    missing = Candidate(Path("c"), "c", None, 95.0, found=False)
    useless = Candidate(Path("d"), "d", 0.9, 99.0, found=False, usable=False)
    ranking = rank([sure, doubtful, missing, useless])
    assert [r.candidate.name for r in ranking] == ["c", "b", "a", "d"]
    place = "some shift, further than 90 % of the training images (greener than the source)"
    assert ranking[1].reason == f"expected Dice 70 %, {place}"
    assert ranking[-1].value == -1


def test_without_any_score_the_order_is_by_name():
    names = [r.candidate.name for r in rank([Candidate(Path(n), n) for n in "cab"])]
    assert names == ["a", "b", "c"]
    assert np.isfinite([r.value for r in rank([Candidate(Path("x"), "x")])]).all()


def test_a_probability_of_nothing_at_all_is_no_damage():
    import napari_tinymig as tm
    from napari_tinymig.samples.drawn import fundus_sample

    image = fundus_sample(256, 0).scan.pixels  # `polyp` is so sure of one of its looks that float32 says -inf
    found = tm.segment(image, task="polyp", uncertainty=True)
    assert found.status == "not_found"
    assert not found.labels.any()
