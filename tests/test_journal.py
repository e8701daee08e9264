"""Painted strokes survive crashes: real files, real kills."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_tinymig.annotations.journal import COMPACT_AFTER, Journal, encode_diff, read_journal, recoverable
from napari_tinymig.base.errors import OutputRefused, UnreadableInput

PAINTER = """
import sys, time
from pathlib import Path
import numpy as np
from napari_tinymig.annotations.journal import Journal
labels = np.zeros((64, 64), np.uint8)
journal = Journal(labels, {"layer": "mask"}, Path(sys.argv[1]), every_s=0.05)
print("ready", flush=True)
for stroke in range(1, 4000):
    labels.ravel()[stroke] = 1 + stroke % 2
    journal.record(labels)
    print(stroke, time.monotonic(), flush=True)
    time.sleep(0.003)
"""


def test_a_closed_session_leaves_nothing_to_recover(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    journal = Journal(labels, {"layer": "mask"}, tmp_path)
    labels[2:4, 2:4] = 1
    assert journal.record(labels)
    journal.close(discard=True)
    assert recoverable(tmp_path) == []
    assert not list(tmp_path.glob("*"))


def test_strokes_that_were_not_saved_come_back(tmp_path):
    labels = np.zeros((4, 8, 8), np.uint8)
    journal = Journal(labels, {"layer": "mask", "source": "eye.png"}, tmp_path, every_s=0)
    labels[1, 2:4, 2:4] = 1
    journal.record(labels)
    labels[3, 0, 0] = 2
    journal.record(labels)
    journal.close(discard=False)  # what the end of a process does
    (found,) = recoverable(tmp_path)
    assert np.array_equal(found.labels, labels)
    assert found.about["source"] == "eye.png"
    assert found.strokes == 2
    found.discard()
    assert recoverable(tmp_path) == []


def test_a_running_session_is_not_offered_for_recovery(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    journal = Journal(labels, {}, tmp_path, every_s=0)
    labels[0, 0] = 1
    journal.record(labels)
    assert recoverable(tmp_path) == []
    journal.close(discard=False)
    assert len(recoverable(tmp_path)) == 1


def test_writes_are_spaced_but_a_forced_one_is_immediate(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    journal = Journal(labels, {}, tmp_path, every_s=60)
    labels[0, 0] = 1
    assert journal.record(labels)
    labels[0, 1] = 1
    assert not journal.record(labels)
    assert journal.record(labels, force=True)
    assert not journal.record(labels, force=True), "nothing changed"
    journal.close(discard=True)


def test_setting_the_clock_changes_nothing(tmp_path, monkeypatch):
    labels = np.zeros((8, 8), np.uint8)
    journal = Journal(labels, {}, tmp_path, every_s=0)
    for hour, value in ((0.0, 1), (-3.6e6, 2), (9e9, 1), (1.0, 2)):
        monkeypatch.setattr(time, "time", lambda hour=hour: hour)
        labels[3, 3] = value
        labels[value, 0] += 1
        assert journal.record(labels)
    journal.close(discard=False)
    assert np.array_equal(recoverable(tmp_path)[0].labels, labels)


def test_a_small_stroke_makes_a_small_record():
    old = np.zeros((30, 400, 400), np.uint8)
    new = old.copy()
    new[10, 100:120, 100:120] = 1
    assert len(encode_diff(old, new)) < 600


def test_the_file_is_rewritten_before_it_grows_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_tinymig.annotations.journal.COMPACT_AFTER", 20_000)
    rng = np.random.default_rng(0)
    labels = np.zeros((64, 64), np.uint8)
    journal = Journal(labels, {}, tmp_path, every_s=0)
    sizes = []
    for _ in range(40):
        labels = rng.integers(0, 3, (64, 64)).astype(np.uint8)
        journal.record(labels)
        sizes.append(journal.path.stat().st_size)
    journal.close(discard=False)
    assert max(sizes) < 40_000 < COMPACT_AFTER
    assert np.array_equal(recoverable(tmp_path)[0].labels, labels)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_a_file_cut_anywhere_gives_a_state_that_once_was(tmp_path, cut, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (7, 9)).astype(np.uint8)
    journal = Journal(labels, {}, tmp_path / str(rng.integers(1 << 60)), every_s=0)
    states = [labels.copy()]
    for _ in range(5):
        labels[rng.integers(0, 7, 3), rng.integers(0, 9, 3)] = rng.integers(0, 3)
        journal.record(labels)
        states.append(labels.copy())
    journal.close(discard=False)
    raw = journal.path.read_bytes()
    journal.path.write_bytes(raw[: int(cut * len(raw))])
    try:
        found = read_journal(journal.path).labels
    except UnreadableInput:
        assert cut < 0.9
    else:
        assert any(np.array_equal(found, s) for s in states)
        if cut == 1:
            assert np.array_equal(found, states[-1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 0.999), seed=st.integers(0, 10**6))
def test_a_flipped_byte_never_gives_a_state_that_never_was(tmp_path, where, seed):
    rng = np.random.default_rng(seed)
    labels = np.zeros((6, 6), np.uint8)
    journal = Journal(labels, {}, tmp_path / str(rng.integers(1 << 60)), every_s=0)
    states = [labels.copy()]
    for i in range(4):
        labels[i, :] = i + 1
        journal.record(labels)
        states.append(labels.copy())
    journal.close(discard=False)
    raw = bytearray(journal.path.read_bytes())
    start = raw.index(b"\n") + 1
    raw[start + int(where * (len(raw) - start))] ^= 0xFF
    journal.path.write_bytes(raw)
    try:
        found = read_journal(journal.path).labels
    except UnreadableInput:
        return
    assert any(np.array_equal(found, s) for s in states)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_kill_9_at_random_moments_loses_no_more_than_the_interval(tmp_path):
    """Every stroke painted longer ago than the interval (0.05 s here, plus one write) is there afterwards."""
    rng = random.Random(0)
    lost = []
    for trial in range(12):
        folder = tmp_path / str(trial)
        child = subprocess.Popen([sys.executable, "-c", PAINTER, str(folder)], stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        time.sleep(0.15 + rng.random() * 0.5)
        child.kill()
        lines = [line.split() for line in child.stdout.read().splitlines() if line.count(" ") == 1]
        child.stdout.close()
        child.wait()
        (found,) = recoverable(folder)
        restored = int(np.count_nonzero(found.labels))
        expected = np.zeros(64 * 64, np.uint8)
        expected[1 : restored + 1] = 1 + np.arange(1, restored + 1) % 2
        assert np.array_equal(found.labels.ravel(), expected), "restored strokes are a prefix, none damaged"
        painted = {int(n): float(t) for n, t in lines}
        lost.append(max(painted.values()) - painted.get(restored + 1, max(painted.values())))
    assert max(lost) < 1.0


@pytest.mark.skipif(not Path("/dev/full").exists() or os.name == "nt", reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path, monkeypatch):
    labels = np.zeros((8, 8), np.uint8)
    journal = Journal(labels, {}, tmp_path, every_s=0)
    labels[0, 0] = 1
    journal.record(labels)
    good = journal.stream
    journal.stream = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
    labels[0, 1] = 1
    with pytest.raises(OutputRefused, match="save your labels, make room"):
        journal.record(labels)
    journal.stream.close()
    journal.stream = good
    journal.record(labels)
    journal.close(discard=False)
    assert np.array_equal(recoverable(tmp_path)[0].labels, labels)


def test_labels_of_another_shape_are_refused(tmp_path):
    journal = Journal(np.zeros((4, 4), np.uint8), {}, tmp_path, every_s=0)
    with pytest.raises(ValueError, match=r"shape \(5, 4\).*begun with \(4, 4\)"):
        journal.record(np.zeros((5, 4), np.uint8))
    journal.close(discard=True)
