"""Several cores give the same bits as one, and never wait for each other."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from napari_tinymig.base.records import Scan
from napari_tinymig.base.threads import in_threads
from napari_tinymig.models.registry import open_model
from napari_tinymig.network import run
from napari_tinymig.network.run import OnnxNetwork, usable_threads
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.samples.drawn import prostate_sample


def test_answers_come_in_the_order_of_the_things():
    assert in_threads(lambda n: n * n, range(20), 3) == [n * n for n in range(20)]


def test_two_threads_work_at_the_same_time():
    both = threading.Barrier(2, timeout=20)  # broken, and so an error, unless two are inside at once
    in_threads(lambda _: both.wait(), range(2), 2)
    assert not both.broken


def test_a_question_within_a_question_is_answered_in_its_own_thread():
    def outer(n):
        here = threading.get_ident()
        return all(t == here for t in in_threads(lambda _: threading.get_ident(), range(4), 2))

    assert in_threads(outer, range(8), 2) == [True] * 8


def test_the_first_error_is_raised():
    def ask(n):
        if n == 3:
            raise ValueError("slice 3")
        return n

    with pytest.raises(ValueError, match="slice 3"):
        in_threads(ask, range(6), 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_answered_too():
    code = """
import os, signal
from napari_tinymig.base.threads import in_threads
in_threads(abs, range(4), 2)
child = os.fork()
if child == 0:
    signal.alarm(20)  # kills a child that waits for threads it does not have
    os._exit(0 if in_threads(abs, range(4), 2) == [0, 1, 2, 3] else 1)
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_has_the_same_bits_on_any_number_of_threads(count):
    model = open_model("prostate")
    batch = np.random.default_rng(0).normal(0, 1, (count, 3, 256, 256)).astype(np.float32)
    one, three = OnnxNetwork(model, 1).run(batch), OnnxNetwork(model, 3).run(batch)
    for a, b in zip(
        [one.logits, *one.stage_means, *one.stage_stds], [three.logits, *three.stage_means, *three.stage_stds]
    ):
        assert np.array_equal(a, b)


def test_a_volume_has_the_same_mask_on_any_number_of_threads():
    sample = prostate_sample(128, 11).scan
    seen = []
    masks = [
        Predictor("prostate", "cpu", threads=n).predict(Scan(sample.pixels, sample.spacing_mm), probabilities=True)
        for n in (1, 2)
    ]
    Predictor("prostate", "cpu", threads=2).predict(
        Scan(sample.pixels, sample.spacing_mm), progress=lambda done, total: seen.append((done, total))
    )
    assert masks[0].labels.any()
    assert np.array_equal(masks[0].labels, masks[1].labels)
    assert np.array_equal(masks[0].probabilities, masks[1].probabilities)
    assert seen == [(8, 11), (11, 11)]


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("?", 4)])
def test_a_containers_quota_of_cpu_time_bounds_the_threads(tmp_path, monkeypatch, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(run, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usable_threads() == cores
