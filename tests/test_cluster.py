"""`--cluster` on a real scheduler with real workers, of which one is killed, or the scheduler itself."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_parts import photograph

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")


class Machine:
    """A scheduler and two workers as processes of their own."""

    def __init__(self, folder: Path, env: dict[str, str]):
        file = folder / "scheduler.json"
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
        self.scheduler = self._start([*dask, "--no-dashboard", "--scheduler-file", str(file)], folder, env)
        while not file.is_file():
            assert self.scheduler.poll() is None, "the scheduler did not start"
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny"]
        worker += ["--no-dashboard", "--death-timeout", "5"]
        self.workers = [self._start(worker, folder, env) for _ in range(2)]

    @staticmethod
    def _start(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=folder, env=env, stdout=quiet, stderr=quiet)

    def stop(self) -> None:
        """End what still runs."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def machine(tinymig, tmp_path):
    """A `Machine` whose workers see the toy models; forty photographs lie in tmp_path/eyes."""
    (tmp_path / "eyes").mkdir()
    for i in range(40):
        photograph(tmp_path / "eyes" / f"{i:02}.png", seed=i % 3)
    here = Machine(tmp_path, tinymig.env)
    yield here
    here.stop()


def begun(tinymig, tmp_path, machine) -> subprocess.Popen:
    """A running `tinymig segment --cluster` of which three masks are there."""
    command = [sys.executable, "-m", "napari_tinymig", "segment", "eyes", "-o", "far", "--task", "optic"]
    command += ["--cluster", machine.address]
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, cwd=tmp_path, env=tinymig.env, stdout=pipe, stderr=pipe, text=True)
    while len(list((tmp_path / "far").glob("*_mask.png"))) < 3:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    return running


def rows(folder: Path) -> list[dict[str, str]]:
    """measurements.csv of a folder."""
    with (folder / "measurements.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def same_masks(a: Path, b: Path) -> bool:
    """Forty masks in each folder, of the same bytes."""
    names = sorted(p.name for p in a.glob("*_mask.png"))
    return len(names) == 40 and all((a / n).read_bytes() == (b / n).read_bytes() for n in names)


def test_a_killed_worker_costs_no_row_and_no_order_and_no_byte(tinymig, tmp_path, machine):
    running = begun(tinymig, tmp_path, machine)
    machine.workers[0].kill()
    out, err = running.communicate(timeout=200)
    assert running.returncode == 0, out + err
    tinymig("segment", "eyes", "-o", "near", "--task", "optic", code=0)
    assert same_masks(tmp_path / "far", tmp_path / "near")
    assert [Path(r["file"]).name for r in rows(tmp_path / "far")] == [f"{i:02}.png" for i in range(40)]
    assert {r["status"] for r in rows(tmp_path / "far")} == {"ok"}


def test_a_stopped_scheduler_is_said_and_the_same_command_goes_on(tinymig, tmp_path, machine):
    running = begun(tinymig, tmp_path, machine)
    machine.scheduler.kill()
    out, err = running.communicate(timeout=200)
    assert running.returncode == 1
    assert f"The dask scheduler at {machine.address} stopped answering for 10 s" in err
    assert "of 40; run the same command again to go on." in err
    assert "Traceback" not in out + err
    assert {r["status"] for r in rows(tmp_path / "far")} <= {"ok"}
    machine.stop()
    tinymig("segment", "eyes", "-o", "far", "--task", "optic", code=0)
    tinymig("segment", "eyes", "-o", "near", "--task", "optic", code=0)
    assert same_masks(tmp_path / "far", tmp_path / "near")
    assert len(rows(tmp_path / "far")) == 40


def test_an_input_that_kills_every_worker_becomes_a_row():
    from distributed import KilledWorker

    from napari_tinymig.batch.cluster import ClusterExecutor
    from napari_tinymig.batch.one_input import Job, Options, run_job
    from napari_tinymig.formats import InputItem

    killed: Future = Future()
    workers = SimpleNamespace(submit=lambda *_: killed, shutdown=lambda wait: None)
    client = SimpleNamespace(status="running", get_executor=lambda **_: workers, nthreads=lambda: {"a": 2, "b": 2})
    executor = ClusterExecutor(client, "tcp://host:8786")
    assert executor.width == 4
    job = Job(InputItem(Path("huge.png"), "photograph", "huge"), Path("huge_mask.png"), Options())
    answer = executor.submit(run_job, job)
    killed.set_exception(KilledWorker("run_job", None, 3))
    outcome = answer.result(timeout=10)
    executor.shutdown()
    assert (outcome.row["status"], outcome.row["file"]) == ("failed", "huge.png")
    assert "each time its worker was killed" in outcome.row["error"]
