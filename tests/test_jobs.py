"""Training processes: real worker processes, real pipes, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_tinymig import jobs
from napari_tinymig.base.errors import OutputRefused, WorkerFailed
from napari_tinymig.base.records import Message


def self_test(folder: Path, **settings) -> jobs.WorkerRun:
    return jobs.start("self_test", settings, folder)


def first_step(run: jobs.WorkerRun) -> Message:
    for message in run.messages():
        if message.kind == "step":
            return message
    raise RuntimeError(f"no step came: {run.wait(5)}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2] if Path("/proc").exists() else True


def test_messages_arrive_in_order_and_the_run_ends_done(tmp_path):
    run = self_test(tmp_path / "run", steps=3)
    kinds = [m.kind for m in run.messages()]
    assert kinds == ["started", "step", "step", "step", "done"]
    assert run.wait(5).status == "done"
    assert run.wait(5).last["loss"] == pytest.approx(1 / 3)


def test_prints_of_careless_libraries_do_not_corrupt_messages(tmp_path):
    run = self_test(tmp_path / "run", steps=5, noise='{"kind": "done"')
    assert [m.kind for m in run.messages()].count("step") == 5
    assert run.wait(5).status == "done"


def test_a_flood_of_noise_does_not_fill_the_pipe_and_block(tmp_path):
    run = self_test(tmp_path / "run", steps=50, noise="x" * 20_000)
    assert run.wait(30).status == "done"


def test_callbacks_get_the_same_messages_and_one_that_raises_does_not_block(tmp_path):
    seen, ends = [], []

    def listen(message):
        seen.append(message.kind)
        raise RuntimeError("a listener with a mistake")

    run = jobs.start("self_test", {"steps": 2}, tmp_path / "run", on_message=listen, on_end=ends.append)
    outcome = run.wait(20)
    for _ in range(100):
        if ends:
            break
        time.sleep(0.01)
    assert seen == ["started", "step", "step", "done"]
    assert ends == [outcome]


def test_stop_keeps_and_is_acknowledged_at_once(tmp_path):
    run = self_test(tmp_path / "run", steps=10_000, step_s=0.02)
    first_step(run)
    begin = time.monotonic()
    run.stop()
    outcome = run.wait(5)
    assert time.monotonic() - begin < 2.0
    assert run.acknowledged_s < 0.2
    assert outcome.status == "stopped"
    assert (tmp_path / "run").exists()


def test_a_run_that_saves_after_a_stop_is_heard_to_the_end(tmp_path):
    run = self_test(tmp_path / "run", steps=10_000, step_s=0.02, farewell_s=2.5)
    first_step(run)
    run.stop()
    outcome = run.wait(20)
    assert outcome.status == "stopped"
    assert outcome.saved == [tmp_path / "run" / "job.json"]


def test_a_run_that_does_not_look_at_stop_is_closed_within_two_seconds(tmp_path):
    run = self_test(tmp_path / "run", steps=10_000, step_s=0.02, listens=False)
    first_step(run)
    begin = time.monotonic()
    run.stop()
    assert run.wait(5).status == "stopped"
    assert time.monotonic() - begin < 2.0


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of one process is POSIX")
def test_an_interrupt_that_reaches_the_worker_does_not_end_it(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell hands down 'ignore'
    try:
        run = self_test(tmp_path / "run", steps=20, step_s=0.02)
    finally:
        signal.signal(signal.SIGINT, before)
    first_step(run)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait(20).status == "done"


def test_discard_ends_a_hanging_run_within_two_seconds_and_removes_its_folder(tmp_path):
    run = self_test(tmp_path / "run", steps=1, ending="hang")
    first_step(run)
    begin = time.monotonic()
    run.discard()
    assert run.wait(5).status == "discarded"
    assert time.monotonic() - begin < 2.0
    assert not (tmp_path / "run").exists()


def test_discard_leaves_a_folder_that_was_there_before(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    run = self_test(tmp_path, steps=1, ending="hang")
    first_step(run)
    run.discard()
    assert "left alone" in run.wait(5).text
    assert (tmp_path / "mine.txt").exists()


def test_discard_during_the_start_of_the_interpreter_leaves_nothing(tmp_path):
    run = self_test(tmp_path / "run", steps=1, ending="hang")
    run.discard()
    assert run.wait(10).status == "discarded"
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is the only way to freeze a whole process in a test")
def test_a_frozen_worker_is_killed_two_seconds_after_stop(tmp_path):
    run = self_test(tmp_path / "run", steps=10_000, step_s=0.02)
    first_step(run)
    os.kill(run.pid, signal.SIGSTOP)
    begin = time.monotonic()
    run.stop()
    outcome = run.wait(10)
    assert 1.5 < time.monotonic() - begin < 4.0
    assert "did not answer" in outcome.text
    assert "Nothing was saved" in outcome.text
    assert not alive(run.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_killed_by_the_system_is_told_as_lack_of_memory(tmp_path):
    run = self_test(tmp_path / "run", steps=10_000, step_s=0.02)
    first_step(run)
    os.kill(run.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"signal 9.*memory ran out.*Nothing was saved"):
        run.result(10)


def test_a_crash_is_told_with_its_exit_code(tmp_path):
    with pytest.raises(WorkerFailed, match=r"crashed \(exit code 11\)"):
        self_test(tmp_path / "run", steps=1, ending="crash").result(20)


def test_a_full_disk_is_told_with_the_folder_and_what_to_do(tmp_path):
    with pytest.raises(WorkerFailed, match=r"disk of .*run is full \(.* MB free\)\. Make room and resume"):
        self_test(tmp_path / "run", steps=1, ending="disk_full").result(20)


def test_lack_of_memory_inside_the_run_is_told(tmp_path):
    with pytest.raises(WorkerFailed, match=r"Memory ran out \(tried to allocate 64\.00 GiB\)"):
        self_test(tmp_path / "run", steps=1, ending="memory").result(20)


def test_an_unknown_kind_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(WorkerFailed, match=r"'trian'; expected one of .*finetune"):
        jobs.start("trian", {}, tmp_path / "run").result(20)


def test_a_folder_that_is_a_file_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputRefused, match="choose a writable folder"):
        self_test(tmp_path / "run")


def test_the_worker_ends_when_its_starter_is_killed(tmp_path):
    """A killed viewer must not leave a training process behind."""
    code = (
        "import sys, time\n"
        "from napari_tinymig import jobs\n"
        "run = jobs.start('self_test', {'steps': 100000, 'step_s': 0.02}, sys.argv[1])\n"
        "next(m for m in run.messages() if m.kind == 'step')\n"
        "print(run.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not alive(pid):
            break
        time.sleep(0.05)
    assert not alive(pid)


def test_threads_leave_one_core_for_the_interface():
    assert [jobs.training_threads(n) for n in (1, 2, 4, 16)] == [1, 1, 3, 15]


def test_the_job_file_names_kind_settings_and_threads(tmp_path):
    self_test(tmp_path / "run", steps=1).wait(20)
    job = json.loads((tmp_path / "run" / "job.json").read_text())
    assert job["kind"] == "self_test"
    assert job["settings"] == {"steps": 1}
    assert job["threads"] == jobs.training_threads()


def test_a_second_run_in_a_folder_where_one_is_at_work_is_refused(tmp_path):
    first = self_test(tmp_path / "run", steps=400, step_s=0.05)
    first_step(first)
    with pytest.raises(WorkerFailed, match="run's folder .* is open in another napari or command.*close it there"):
        self_test(tmp_path / "run", steps=1).result(60)
    assert first.running
    first.discard()
    assert first.wait(30).status == "discarded"


def test_a_stop_before_the_training_began_has_nothing_to_keep(tmp_path, monkeypatch):
    from napari_tinymig.training import __main__ as worker

    class Wire:
        stopped_at = 1.0
        sent: list[Message] = []

        def send(self, message):
            self.sent.append(message)

    begun = []
    monkeypatch.setattr(worker, "read_job", lambda path: (lambda *_: begun.append(1), {"settings": {}}))
    assert worker.run(Wire(), tmp_path / "job.json") == 0
    assert [(m.kind, "nothing to keep" in m.text) for m in Wire.sent] == [("stopped", True)]
    assert not begun
