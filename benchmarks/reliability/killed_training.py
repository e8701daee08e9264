"""Training, fine-tuning, export, shift and the import of a model, killed or refused at their writes or at any moment.

    python benchmarks/reliability/killed_training.py train finetune export import shift -o benchmarks/reliability
    python benchmarks/reliability/killed_training.py finetune --what kill --at-random 50

As `interrupted.py`, on tiny drawn domains and a student of 30,000 parameters. After a fault every file in the folder
must be whole: a model or checkpoint opens with its hash, JSON and tables parse, nothing is half written ('intact').
Then the run is gone on with as the product says: the same command, for `train` and `finetune` with `--resume` once a
run has begun. 'healed' = it ends with exit code 0, nothing is left over, and the weights equal, to the bit, those of a
run that nobody disturbed (`shift`: the same files). A fine-tuning is the worker's process itself; that a killed starter
ends its worker is tests/test_jobs.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests")]

from interrupted import FAULTS, KILL, add_to_table, after, at_write, command, draw_inputs, run  # noqa: E402

TOML = """name = "tiny"
task = "optic"
[input]
size = 64
roi_scale = 2.2
[student]
widths = [8, 8, 16, 16]
blocks = [0, 0, 1, 0]
decoder = 8
[optim]
epochs = 3
batch = 4
lr = 5e-3
ema = 0.5
precision = "fp32"
[data]
val_fraction = 0.25
"""
TRAIN = ["train", "tiny.toml", "--source", "domain", "-o", "out", "--threads", "1", "--device", "cpu"]
COMMANDS = {
    "train": TRAIN,
    "finetune": ["finetune"],
    "export": ["export", "student.safetensors", "--to", "onnx", "-o", "out/student.onnx"],
    "import": ["models", "add", "student.safetensors", "--name", "mine"],
    "shift": ["shift", "eyes", "pale", "-o", "out", "--model", "optic"],
}
TEMPORARY = re.compile(r"\.(tmp|part|begun)$")


def worker(_: list[str]) -> None:
    """The fine-tuning of a worker's process, in the run's folder."""
    from napari_tinymig.training.__main__ import explain
    from napari_tinymig.training.finetune.run import run_job

    from napari_tinymig.base.safe_files import FolderLock

    out, folder = Path("out").resolve(), Path.cwd()
    spec = {"steps": 6, "device": "cpu", "folds": "none", "name": "tuned", "minutes": 1.0}
    settings = {"model": str(folder / "student.safetensors"), "data": str(folder / "other"), "spec": spec}
    try:
        out.mkdir(exist_ok=True)
        os.chdir(out)
        lock = FolderLock(out, what="the run's folder")
        settings |= {"resume": (out / "plan.json").exists(), "asked": 0.0}
        for message in run_job(settings, lambda: False):
            print(message.kind, message.text)
            if message.kind == "failed":
                raise SystemExit(1)
    except Exception as e:  # a worker says in a sentence what ended it
        print(explain(e, out))
        raise SystemExit(1) from e
    lock.release()


def begin(folder: Path) -> None:
    """Domains, a recipe and a student; imports everything once, before the forks."""
    import drawn
    import napari_tinymig.training.exports.written
    import napari_tinymig.training.finetune.run
    import napari_tinymig.training.run.train  # noqa: F401
    import torch
    import tune_drawn

    torch.set_num_threads(1)
    os.environ["TINYMIG_HOME"] = str(folder / "out")
    os.environ["OMP_NUM_THREADS"] = "1"
    drawn.fundus_domain(folder / "domain", 6)
    tune_drawn.write_domain(folder / "other", range(100, 103))
    (folder / "tiny.toml").write_text(TOML)
    draw_inputs(folder, 2)
    (folder / "pale").mkdir()
    for path in (folder / "eyes").iterdir():
        Image.open(path).point(lambda v: 40 + v // 2).save(folder / "pale" / path.name)
    tune_drawn.tiny_model(folder / "made" / "student.safetensors")
    shutil.copy(folder / "made" / "student.safetensors", folder)


def once(name: str, folder: Path, disturb: Callable[[], None] | None = None) -> tuple[int, str]:
    """One run of a command, gone on with where it is a training that has begun."""
    words = list(COMMANDS[name])
    if name == "train" and (folder / "out" / "last.safetensors").exists():
        words.append("--resume")
    return run(words, folder, disturb, worker if name == "finetune" else command)


def damaged(out: Path) -> list[str]:
    """Names of files that are not whole; those with a temporary name do not count."""
    from safetensors import safe_open

    from napari_tinymig.models.file import read_model_file

    found = []
    for path in [p for p in out.rglob("*") if p.is_file() and not TEMPORARY.search(p.name)]:
        try:
            if path.name == "last.safetensors":
                with safe_open(path, "numpy") as tensors:
                    json.loads(tensors.metadata()["progress"])
            elif path.suffix == ".safetensors":
                read_model_file(path).weights()
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".onnx":
                import onnx

                onnx.checker.check_model(onnx.load(path))
        except Exception as e:  # noqa: BLE001  # whatever it is: the file is not whole
            found.append(f"{path.name} ({type(e).__name__})")
    return found


def result(name: str, out: Path) -> Any:
    """What must be the same after a disturbed run: weights, or names and bytes of tables."""
    from napari_tinymig.models.file import read_model_file, weights_sha256

    files = sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".tinymig-lock"))
    names = [p.relative_to(out).as_posix() for p in files if not TEMPORARY.search(p.name)]
    weights = [
        weights_sha256(read_model_file(p).weights())
        for p in files
        if p.name in ("best.safetensors", "mine.safetensors")
    ]
    tables = [p.read_bytes() for p in files if p.suffix in (".csv", ".onnx")] if name in ("shift", "export") else []
    return names, weights, tables


def trial(name: str, folder: Path, disturb: Callable[[], None], whole: Any) -> dict[str, Any]:
    """One disturbed run, what it left, and the run after it."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    first, said = once(name, folder, disturb)
    wrong = damaged(out)
    finished = out.is_dir() and not wrong and result(name, out) == whole
    second, told = once(name, folder)
    left = [p.name for p in out.rglob("*") if TEMPORARY.search(p.name)]
    same = not damaged(out) and result(name, out) == whole
    row: dict[str, Any] = {"ended": first, "again": second, "traceback": "Traceback" in said or "Traceback" in told}
    row["differ"] = " ".join([*(f"damaged: {w}" for w in wrong), *left, *([] if same else ["result"])])
    row["healed"] = (second == 0 or finished) and same and not left and not wrong
    if not row["healed"] or row["traceback"]:
        row["said"] = (said if "Traceback" in said else told)[-900:]
    return row


def moments(args: argparse.Namespace, writes: int, seconds: float, out: Path) -> list[tuple[str, str, Any]]:
    """(kind, moment, disturbance) of every trial of one command."""
    rng = random.Random(args.seed)
    found: list[tuple[str, str, Any]] = []
    for what in args.what:
        if what == KILL and args.at_random:
            times = [rng.uniform(0, 1.05 * seconds) for _ in range(args.at_random)]
            found += [("kill at random", f"{t:.3f} s", after(t)) for t in times]
            continue
        chosen = sorted(rng.sample(range(1, writes + 1), min(writes, args.most)))
        found += [(what, str(n), at_write(n, what, out)) for n in chosen]
    return found


def main() -> None:
    """Disturb and judge; add to interrupted.csv; print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", choices=sorted(COMMANDS))
    parser.add_argument("--what", nargs="+", default=[KILL, *FAULTS], choices=[KILL, *FAULTS])
    parser.add_argument("--at-random", type=int, default=0, help="kills at random times instead of at every write")
    parser.add_argument("--most", type=int, default=1000, help="most writes that are disturbed, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="folder of interrupted.csv")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        begin(folder)
        out, counter = folder / "out", folder / "count"
        for name in args.commands:
            shutil.rmtree(out, ignore_errors=True)
            start = time.perf_counter()
            code, said = once(name, folder, at_write(0, KILL, out, counter))
            if code != 0:
                raise SystemExit(f"'{name}' undisturbed ended with {code}: {said}")
            seconds, whole = time.perf_counter() - start, result(name, out)
            mine = []
            for what, moment, disturb in moments(args, int(counter.read_text()), seconds, out):
                mine.append({"command": name, "what": what, "moment": moment, **trial(name, folder, disturb, whole)})
                if not mine[-1]["healed"] or mine[-1]["traceback"]:
                    print(mine[-1], flush=True)
            for what in dict.fromkeys(r["what"] for r in mine):
                of = [r for r in mine if r["what"] == what]
                healed, traces = sum(bool(r["healed"]) for r in of), sum(bool(r["traceback"]) for r in of)
                print(f"{name}, {what}: {len(of)} times, {healed} healed, {traces} tracebacks", flush=True)
            if args.out is not None:
                add_to_table(args.out / "interrupted.csv", mine)
            rows += mine
    raise SystemExit(not all(r["healed"] and not r["traceback"] for r in rows))


if __name__ == "__main__":
    main()
