"""A command killed, or met by a full or failing disk, at every one of its writes: does the same command heal it?

    python benchmarks/reliability/interrupted.py segment compare measure -o benchmarks/reliability
    python benchmarks/reliability/interrupted.py segment --what kill --at-random 300

A run of a command is a process of its own (forked after the imports, which only saves time; Linux and macOS). An audit
hook counts what it opens for writing, renames, removes and makes inside its output folder; at the chosen one the
process is killed with SIGKILL, or the operation fails as the system would fail it (ENOSPC, EIO, EROFS, EACCES).
`--at-random N` kills at random times instead; `EFBIG` cuts files at a random length, in the kernel (RLIMIT_FSIZE).
Then the same command runs again. It must end with exit code 0, and every file of the output folder must equal, but for
times and the word 'skipped', that of a run that nobody disturbed; nothing may be left over. What a fault itself must
give is an exit code 1 or 2 and no traceback.
"""

from __future__ import annotations

import argparse
import csv
import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

KILL = "kill"
FAULTS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EROFS", "EACCES")}
UNSTEADY = re.compile(r'"seconds": [\d.e-]+|\d+\.\d+ s\b')
LOCKS = (".tinymig-lock", ".tinymig-lock.json")


def draw_inputs(folder: Path, count: int = 3) -> None:
    """Photographs of drawn eyes in eyes/, two readers' masks in a/ and b/, a click in clicks.json."""
    (folder / "clicks.json").write_text('[{"kind": "click", "positions": [[150, 250]], "label": 1}]')
    y, x = np.mgrid[:300, :400]
    for name in ("eyes", "a", "b"):
        (folder / name).mkdir()
    for i in range(count):
        pixels = np.zeros((300, 400, 3), np.uint8)
        pixels[np.hypot(y - 150, x - 200) < 145] = (110, 50, 20)
        pixels[((y - 150) / 40) ** 2 + ((x - 250) / 36) ** 2 <= 1] = 160
        pixels[((y - 150) / (20 + i)) ** 2 + ((x - 250) / 18) ** 2 <= 1] = 230
        noise = np.random.default_rng(i).integers(0, 3, pixels.shape, dtype=np.uint8)
        Image.fromarray(pixels + noise).save(folder / "eyes" / f"{i}.png")
        for reader, off in (("a", 0), ("b", 2)):
            mask = ((y - 150 - off) ** 2 + (x - 250) ** 2 < 1600).astype(np.uint8)
            mask += ((y - 150) ** 2 + (x - 250 - off) ** 2 < (20 + i) ** 2).astype(np.uint8)
            Image.fromarray(mask).save(folder / reader / f"{i}_mask.png")


COMMANDS: dict[str, list[str]] = {
    "segment": ["segment", "eyes", "-o", "out", "--task", "optic", "--overlay", "--device", "cpu"],
    "segment_overwrite": ["segment", "eyes", "-o", "out", "--task", "optic", "--overlay", "--overwrite"],
    "measure": ["measure", "a", "-o", "out"],
    "compare": ["compare", "a", "b", "-o", "out"],
    "prompt": ["prompt", "eyes/0.png", "--prompts", "clicks.json", "-o", "out", "--task", "any"],
}


def command(arguments: list[str]) -> None:
    """`tinymig ARGUMENTS` in this process."""
    from napari_tinymig.cli import main

    main(arguments)


def run(
    arguments: list[str],
    folder: Path,
    disturb: Callable[[], None] | None = None,
    act: Callable[[list[str]], None] = command,
) -> tuple[int, str]:
    """Exit code (negative: the signal that ended it) and output of `act(arguments)` in a forked process."""
    log = folder / "log.txt"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.chdir(folder)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            if disturb is not None:
                disturb()
            act(arguments)
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        except BaseException:  # noqa: BLE001  # whatever it is, it is told as a traceback
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")


def written(event: str, found: tuple[object, ...], out: Path) -> str:
    """The path inside `out` that an event of the interpreter is about to change; '' for any other event."""
    if event == "open":
        flags = found[2] if isinstance(found[2], int) else 0
        if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return ""
    elif event not in ("os.rename", "os.remove", "os.mkdir", "os.truncate"):
        return ""
    if not isinstance(found[0], str | bytes | os.PathLike):
        return ""
    path = os.fsdecode(found[0])
    return path if os.path.abspath(path).startswith(str(out)) else ""


def at_write(number: int, what: str, out: Path, counter: Path | None = None) -> Callable[[], None]:
    """A disturbance of the `number`-th write into `out` (from 1; 0 = only count, into the file `counter`)."""

    def disturb() -> None:
        seen = 0

        def hook(event: str, found: tuple[object, ...]) -> None:
            nonlocal seen
            path = written(event, found, out)
            if not path:
                return
            seen += 1
            if counter is not None:
                os.pwrite(count_at, f"{seen:6d}".encode(), 0)
            if seen == number:
                if what == KILL:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(FAULTS[what], os.strerror(FAULTS[what]), path)

        count_at = os.open(counter, os.O_WRONLY | os.O_CREAT) if counter is not None else -1
        sys.addaudithook(hook)

    return disturb


def after(seconds: float) -> Callable[[], None]:
    """A disturbance: SIGKILL after `seconds`, from the kernel's own timer."""

    def disturb() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        child = os.getpid()
        if os.fork() == 0:
            time.sleep(seconds)
            try:
                os.kill(child, signal.SIGKILL)
            finally:
                os._exit(0)

    return disturb


def cut_files(length: int) -> Callable[[], None]:
    """A disturbance: no file may grow beyond `length` bytes (EFBIG from write, as a quota would give)."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))


def state(out: Path) -> dict[str, object]:
    """Every file under `out` as it should be again: bytes, or for tables and ledgers what does not depend on time."""
    found: dict[str, object] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file() and p.name not in LOCKS):
        name = path.relative_to(out).as_posix()
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            found[name] = [{k: v for k, v in r.items() if k not in ("seconds", "status")} for r in rows]
        elif path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            found[name] = {line["mask"]: line["content"] for line in lines}
        elif path.suffix in (".md", ".json", ".html"):
            found[name] = UNSTEADY.sub("", path.read_text(encoding="utf-8"))
        else:
            found[name] = path.read_bytes()
    return found


def trial(name: str, folder: Path, disturb: Callable[[], None], whole: dict[str, object]) -> dict[str, object]:
    """One disturbed run and the run after it."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    first, said = run(COMMANDS[name], folder, disturb)
    finished = out.is_dir() and state(out) == whole
    second, told = run(COMMANDS[name], folder)
    now = state(out)
    wrong = sorted(k for k in {*now, *whole} if now.get(k) != whole.get(k))
    row: dict[str, object] = {
        "ended": first,
        "traceback": "Traceback" in said,
        "again": second,
        "differ": " ".join(wrong),
    }
    # A run that was killed after its last write has ended: one that refuses to run again then is right.
    row["healed"] = (second == 0 or finished) and not wrong and "Traceback" not in told
    if not row["healed"] or row["traceback"]:
        row["said"] = (said if row["traceback"] else told)[-600:]
    return row


def disturbances(
    args: argparse.Namespace, writes: int, seconds: float, out: Path
) -> list[tuple[str, str, Callable[[], None]]]:
    """(kind, moment, disturbance) of every trial of one command."""
    rng = random.Random(args.seed)
    found: list[tuple[str, str, Callable[[], None]]] = []
    for what in args.what:
        if what == "EFBIG":
            lengths = [int(2 ** rng.uniform(4, 18)) for _ in range(args.cuts)]
            found += [(what, str(n), cut_files(n)) for n in lengths]
        elif what == KILL and args.at_random:
            times = [rng.uniform(0, 1.05 * seconds) for _ in range(args.at_random)]
            found += [("kill at random", f"{t:.3f} s", after(t)) for t in times]
        else:
            chosen = (
                range(1, writes + 1) if writes <= args.most else sorted(rng.sample(range(1, writes + 1), args.most))
            )
            found += [(what, str(n), at_write(n, what, out)) for n in chosen]
    return found


def judge(name: str, folder: Path, args: argparse.Namespace) -> list[dict[str, object]]:
    """Every trial of one command."""
    out, counter = folder / "out", folder / "count"
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    code, said = run(COMMANDS[name], folder, at_write(0, KILL, out, counter))
    seconds = time.perf_counter() - start
    if code != 0:
        raise SystemExit(f"'{name}' undisturbed ended with {code}: {said}")
    writes, whole = int(counter.read_text()), state(out)
    rows = []
    for what, moment, disturb in disturbances(args, writes, seconds, out):
        rows.append({"command": name, "what": what, "moment": moment, **trial(name, folder, disturb, whole)})
        if not rows[-1]["healed"] or rows[-1]["traceback"]:
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Disturb and judge; write interrupted.csv, or add to it, and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", choices=sorted(COMMANDS))
    parser.add_argument("--what", nargs="+", default=[KILL, *FAULTS, "EFBIG"], choices=[KILL, *FAULTS, "EFBIG"])
    parser.add_argument("--at-random", type=int, default=0, help="kills at random times instead of at every write")
    parser.add_argument("--cuts", type=int, default=20, help="random lengths at which files are cut")
    parser.add_argument("--most", type=int, default=1000, help="most writes that are disturbed, drawn at random")
    parser.add_argument("--photographs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, help="folder for interrupted.csv")
    args = parser.parse_args()

    import napari_tinymig.batch.folder
    import napari_tinymig.cli.segment
    import napari_tinymig.formats.photographs
    import napari_tinymig.jobs.accelerate
    import napari_tinymig.reports.overlay  # noqa: F401

    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        draw_inputs(folder, args.photographs)
        for name in args.commands:
            rows += judge(name, folder, args)
    for name, what in dict.fromkeys((r["command"], r["what"]) for r in rows):
        mine = [r for r in rows if (r["command"], r["what"]) == (name, what)]
        healed, traces = sum(bool(r["healed"]) for r in mine), sum(bool(r["traceback"]) for r in mine)
        print(f"{name}, {what}: {len(mine)} times, {healed} healed by the same command, {traces} tracebacks")
    if args.out is not None:
        add_to_table(args.out / "interrupted.csv", rows)
    raise SystemExit(not all(r["healed"] and not r["traceback"] for r in rows))


def add_to_table(path: Path, rows: list[dict[str, object]]) -> None:
    """Put the trials into the table, in the place of earlier ones of the same command and kind."""
    fields = ["command", "what", "moment", "ended", "traceback", "again", "differ", "healed"]
    old = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as stream:
            old = list(csv.DictReader(stream))
    new = {(r["command"], r["what"]) for r in rows}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows([r for r in old if (r["command"], r["what"]) not in new])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
