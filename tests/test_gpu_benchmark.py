"""The GPU benchmark runs every part, small and on the CPU, and goes on where it stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"
PARTS = {"parity", "latency", "throughput", "train_step", "teacher", "memory"}


def run(*arguments):
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--device", "cpu", "--tiny", *map(str, arguments)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=True, env=env)


def test_every_part_is_measured_once_and_what_failed_again(tmp_path):
    out = tmp_path / "gpu"
    run("--out", out)
    found = json.loads(out.with_suffix(".json").read_text())
    assert set(found) == {"about", *PARTS}
    assert all("failed" not in found[part] for part in PARTS)
    assert found["parity"]["optic"]["labelled"] > 100
    assert found["parity"]["optic"]["pixels_differ"] <= 0.002 * found["parity"]["optic"]["labelled"]
    assert found["train_step"]["epoch"]["images"] == 8
    found["memory"] = {"failed": "the machine was taken away"}
    out.with_suffix(".json").write_text(json.dumps(found))
    again = run("--out", out).stdout.splitlines()
    assert [line.split()[0] for line in again] == ["memory"]
    assert "| latency | eager min_ms |" in out.with_suffix(".md").read_text()
