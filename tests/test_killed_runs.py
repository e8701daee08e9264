"""A run that was killed, or met a full disk, is finished by the same command as if nothing had been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_parts import photograph, rows_of
from PIL import Image

from napari_tinymig.base.errors import OutputRefused
from napari_tinymig.base.safe_files import FolderLock, sweep, write_atomic
from napari_tinymig.formats.folder_ledger import Ledger, left_by_a_killed_run, note_mask, read_ledger

INTERRUPTED = Path(__file__).parents[1] / "benchmarks" / "reliability" / "interrupted.py"


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_a_run_killed_or_refused_at_its_writes_is_healed_by_the_same_command(tinymig):
    """At six writes each, drawn at random; all of them: docs/RELIABILITY.md."""
    command = [sys.executable, str(INTERRUPTED), "segment", "--what", "kill", "ENOSPC", "--photographs", "1"]
    done = subprocess.run([*command, "--most", "6"], env=tinymig.env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("6 times, 6 healed by the same command, 0 tracebacks") == 2


def test_a_folder_run_killed_at_a_random_moment_ends_as_if_never_killed(tinymig, tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(5):
        photograph(tmp_path / "in" / f"{i}.png", seed=i)
    command = ("segment", "in", "--task", "optic", "--overlay", "-o")
    tinymig(*command, "whole", code=0)
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_tinymig", *command, "out"],
        env=tinymig.env,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and len(list((tmp_path / "out").glob("*_mask.png"))) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    tinymig(*command, "out", code=0)
    names = {p.name for p in (tmp_path / "whole").iterdir()}
    assert {p.name for p in (tmp_path / "out").iterdir()} - {".tinymig-lock"} == names - {".tinymig-lock"}
    for i in range(5):
        for ending in ("mask", "overlay"):
            there, here = (np.asarray(Image.open(tmp_path / o / f"{i}_{ending}.png")) for o in ("whole", "out"))
            np.testing.assert_array_equal(there, here)
    numbers = [
        [(r["file"], r["vcdr"], r["disc_area_px"], r["error"]) for r in rows_of(tmp_path / o)] for o in ("whole", "out")
    ]
    assert numbers[0] == numbers[1]


def test_a_missing_overlay_is_drawn_and_a_mended_mask_stays_with_its_own_numbers(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    command = ("segment", "eye.png", "-o", "out", "--task", "optic")
    tinymig(*command, code=0)
    [made] = rows_of(tmp_path / "out")
    mask, labels = tmp_path / "out" / "eye_mask.png", np.zeros((300, 400), np.uint8)
    predicted = mask.read_bytes()
    labels[100:200, 100:200], labels[120:170, 120:170] = 1, 2
    Image.fromarray(labels).save(mask)
    tinymig(*command, code=0)
    [row] = rows_of(tmp_path / "out")
    numbers = ("status", "mask", "model", "vcdr", "disc_area_px", "shift_score", "uncertainty")
    assert [row[k] for k in numbers] == ["skipped", "eye_mask.png", "as given", "0.5", "10000", "", ""]
    tinymig(*command, "--overlay", code=0)
    assert (tmp_path / "out" / "eye_overlay.png").is_file()
    np.testing.assert_array_equal(np.asarray(Image.open(mask)), labels)
    [row] = rows_of(tmp_path / "out")
    assert [row[k] for k in numbers] == ["ok", "eye_mask.png", "as given", "0.5", "10000", "", ""]
    mask.write_bytes(predicted)
    tinymig(*command, code=0)
    [row] = rows_of(tmp_path / "out")
    assert [row[k] for k in numbers[2:]] == [made[k] for k in numbers[2:]]


def test_a_mask_that_is_not_overwritten_keeps_its_numbers_in_the_table(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    command = ("segment", "eye.png", "-o", "out", "--task", "optic")
    tinymig(*command, code=0)
    [before] = rows_of(tmp_path / "out")
    tinymig(*command, "--uncertainty", code=1)  # other options, so that it is refused
    [row] = rows_of(tmp_path / "out")
    assert "it was made with other options" in row["error"]
    numbers = ("mask", "task", "model", "vcdr", "disc_area_px", "cup_area_px", "shift_score", "shift_level")
    assert [row[k] for k in numbers] == [before[k] for k in numbers]
    assert float(row["vcdr"]) > 0
    labels = np.zeros((300, 400), np.uint8)
    labels[100:200, 100:200] = 1
    labels[120:170, 120:170] = 2
    Image.fromarray(labels).save(tmp_path / "out" / "eye_mask.png")  # mended since
    tinymig(*command, "--uncertainty", code=1)
    [row] = rows_of(tmp_path / "out")
    assert (row["model"], row["vcdr"], row["disc_area_px"]) == ("as given", "0.5", "10000")
    photograph(tmp_path / "eye.png", seed=5)  # another image of that name: the mask's numbers are not its own
    tinymig(*command, code=1)
    [row] = rows_of(tmp_path / "out")
    assert "it belongs to another input" in row["error"]
    assert (row["vcdr"], row["mask"]) == ("", "")


def test_a_mask_mended_after_a_kill_is_not_taken_for_the_killed_runs(tmp_path):
    mask = tmp_path / "eye_mask.png"
    note_mask(mask, b"as predicted")
    mask.write_bytes(b"as predicted")
    assert left_by_a_killed_run(mask)
    mask.write_bytes(b"as mended by hand")
    assert not left_by_a_killed_run(mask)


def test_two_runs_do_not_write_into_one_folder(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    (tmp_path / "out").mkdir()
    lock = FolderLock(tmp_path / "out", what="this folder of results")
    said = tinymig("segment", "eye.png", "-o", "out", "--task", "optic", code=2).stderr
    assert "is open in another napari or command" in said
    lock.release()
    tinymig("segment", "eye.png", "-o", "out", "--task", "optic", code=0)


def test_a_torn_or_foreign_line_of_the_ledger_hides_no_other(tmp_path):
    line = b'{"mask": "a_mask.png", "status": "ok", "content": "0"}\n'
    foreign = b"\xff\xfe\n[1]\n" + b"[" * 100_000 + b'\n{"mask": ["a"]}\n{"mask": "b_mask.png", "status": "begun"}\n'
    (tmp_path / "details.jsonl").write_bytes(foreign + line + b'{"mask": "torn_ma')
    with Ledger(tmp_path) as ledger:
        ledger.add({"mask": "c_mask.png", "status": "not_found"})
    assert set(read_ledger(tmp_path)) == {"a_mask.png", "c_mask.png"}


def test_temporary_files_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path):
    dead = [tmp_path / name for name in (".a_mask.png.0123456789ab.tmp", ".last.4711.tmp", ".a.0123456789ab.part")]
    for path in (*dead, tmp_path / ".mine.tmp", tmp_path / "a.tmp"):
        path.write_bytes(b"half")
    living = tmp_path / ".b.ba9876543210.tmp"
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX); "
    code += "print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, living], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        sweep(tmp_path)
        writer.kill()
    assert {p.name for p in tmp_path.iterdir()} == {".mine.tmp", "a.tmp", living.name}


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputRefused, match="No space left"):
        write_atomic(tmp_path / "a.png", b"1")
    assert list(tmp_path.iterdir()) == []


def test_a_table_begun_afresh_forgets_its_rows_without_removing_the_file_first(tmp_path):
    from napari_tinymig.measures.csv_table import Table

    for name, afresh in (("old", False), ("new", True)):
        table = Table(tmp_path / "t.csv", ("file",), afresh=afresh)
        assert (tmp_path / "t.csv").exists() == (name == "new")
        table.put({"file": name})
        table.write()
    assert Table(tmp_path / "t.csv", ("file",)).rows == [{"file": "new"}]
