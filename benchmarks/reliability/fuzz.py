"""Every reader fed with damaged files: each must give a valid Scan or one of the product's own errors, in bounded time.

    python benchmarks/reliability/fuzz.py --inputs 100000 --seed 1
    python benchmarks/reliability/fuzz.py --seconds 20

Seeds are drawn here: PNG, JPEG, TIFF, BMP, WebP, NIfTI (packed, a pair, big-endian), NRRD (beside and inside), MHA,
MHD, DICOM (plain, RLE, JPEG 2000, lossless JPEG, JPEG-LS, colour, a series), masks. An input is a seed with bits
flipped, bytes cut out, doubled or set to extremes, cut short, or with numbers in its header text replaced. Every input
is read as images, one in four also as masks, and every input of the seeds that are masks. Input i depends on `--seed`
and i alone. A process forked for every 2,000 inputs reads them (Linux, macOS), so that one that ends it is seen, too.
What breaks the rule is kept (`--keep`), made as small as possible by undoing changes; tests/corpus/ holds what was
found so, and the tests read it again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_seeds import Files, seeds

from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import find_inputs, open_input, open_mask

SLOWEST_S = 20
"""Processor seconds for an input; on the clock fifteen times as long, for a machine that is busy with other things."""
BATCH = 2_000
OFTEN = {"dicom series": 0.1, "dicom jpeg-ls": 0.02}
"""How often a seed is drawn; 1 where none is said: a series costs as much as ten files, a torn JPEG-LS one seconds."""

NUMBERS = (b"0", b"-1", b"nan", b"inf", b"1e308", b"99999999999", b"65536", b"-0.0", b"", b"x")


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with one to four changes."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        if not out:
            break
        at = min(int(rng.expovariate(1 / (len(out) / 4 + 1))), len(out) - 1)  # headers more often than voxels
        kind = rng.randrange(7)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.choice((1, 2, 4, 8))] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * rng.choice(
                (1, 2, 4, 8)
            )
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randint(1, 40)]
        elif kind == 4:
            out[at:at] = out[at : at + rng.randint(1, 40)]
        elif kind == 5:
            out[at : at + 4] = rng.randbytes(4)
        else:
            found = list(re.finditer(rb"-?\d+\.?\d*", bytes(out[:600])))
            if found:
                where = rng.choice(found)
                out[where.start() : where.end()] = rng.choice(NUMBERS)
    return bytes(out)


def valid(scan: Scan) -> bool:
    """Whether a Scan is one that the engine can take."""
    pixels = scan.pixels
    spaced = scan.spacing_mm is None or all(np.isfinite(s) and s > 0 for s in scan.spacing_mm)
    return pixels.ndim == 3 and pixels.size > 0 and bool(np.isfinite(pixels).all()) and spaced


def outcome(folder: Path, masks: bool = True) -> str:
    """What reading a folder's files as images (and as masks) came to; raises what no reader may raise."""
    told = "error"
    for item in find_inputs([folder]):
        try:
            scan = open_input(item).scan
        except TinyMIGError as e:
            if not str(e) or "\n" in str(e):
                raise RuntimeError("an error that is no sentence") from e
            continue
        if not valid(scan):
            raise RuntimeError("an invalid Scan")
        told = "scan"
    for path in sorted(folder.iterdir()) if masks else ():
        try:
            open_mask(path)
            told = "mask" if told == "error" else told
        except TinyMIGError:
            continue
    return told


class Scratch:
    """A folder in memory, where the system has one, whose files are replaced only where they differ."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
        self.path = Path(self._folder.name)
        self._held: Files = {}

    def empty(self) -> None:
        """Hold no file, whatever another process that was forked from the same one left here."""
        for path in [*self.path.iterdir()]:
            path.unlink()
        self._held = {}

    def put(self, files: Files) -> None:
        """Make the folder hold these files and no other."""
        for name in self._held.keys() - files.keys():
            (self.path / name).unlink()
        for name, raw in files.items():
            if self._held.get(name) is not raw:
                (self.path / name).write_bytes(raw)
        self._held = dict(files)


SCRATCH = Scratch()


def slow(*_: Any) -> None:
    """What the alarm does."""
    raise TimeoutError(f"longer than {SLOWEST_S} s of processor time")


def try_files(files: Files, masks: bool = True) -> str:
    """The outcome of these files in a folder of their own, or 'BROKEN' with what was raised."""
    SCRATCH.put(files)
    signal.signal(signal.SIGPROF, slow)
    signal.signal(signal.SIGALRM, slow)
    signal.setitimer(signal.ITIMER_PROF, SLOWEST_S)
    signal.alarm(15 * SLOWEST_S)
    try:
        return outcome(SCRATCH.path, masks)
    except BaseException as e:  # that is what is looked for
        if isinstance(e, KeyboardInterrupt):
            raise
        return f"BROKEN {type(e).__name__}: {str(e)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def smallest(seed: bytes, bad: bytes, name: str, files: Files) -> bytes:
    """The damaged file with as few bytes different from its seed as still break the rule."""
    best = bad
    if len(seed) == len(bad):
        for at in [i for i in range(len(bad)) if seed[i] != bad[i]]:
            candidate = best[:at] + seed[at : at + 1] + best[at + 1 :]
            if try_files(files | {name: candidate}).startswith("BROKEN"):
                best = candidate
    return best


def drawn(seed: int, i: int, whole: dict[str, Files]) -> tuple[str, str, Files, bool]:
    """(kind, name of the damaged file, files, whether they are read as masks, too) of input `i`."""
    rng = random.Random(f"{seed} {i}")
    [kind] = rng.choices(list(whole), [OFTEN.get(kind, 1.0) for kind in whole])
    files = dict(whole[kind])
    name = rng.choice(list(files))
    files[name] = damaged(files[name], rng)
    return kind, name, files, kind in ("png mask", "volume f") or rng.random() < 0.25


def read_batch(seed: int, numbers: range, whole: dict[str, Files], told: int) -> None:
    """Read inputs, and write a line about each broken one and about the counts so far into the file `told`."""
    counts: Counter[str] = Counter()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # what decoders say of damage
    SCRATCH.empty()
    for i in numbers:
        os.pwrite(told, f"{i:20d}".encode(), 0)
        _, _, files, masks = drawn(seed, i, whole)
        said = try_files(files, masks)
        counts[said.split()[0]] += 1
        if said.startswith("BROKEN"):
            os.write(told, json.dumps([i, said]).encode() + b"\n")
    os.write(told, json.dumps(counts).encode() + b"\n")


def batch(seed: int, numbers: range, whole: dict[str, Files]) -> tuple[Counter[str], list[tuple[int, str]], float]:
    """(counts, broken inputs with what was raised, peak memory in MB) of a forked process that reads some inputs."""
    with tempfile.TemporaryFile() as stream:
        stream.write(b" " * 20 + b"\n")
        stream.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                read_batch(seed, numbers, whole, stream.fileno())
                code = 0
            finally:
                os._exit(code)
        _, status, used = os.wait4(child, 0)
        stream.seek(0)
        head, *lines = stream.read().decode().splitlines()
    found = [json.loads(line) for line in lines]
    counts = Counter(next((f for f in found if isinstance(f, dict)), {}))
    broken = [(i, said) for i, said in (f for f in found if isinstance(f, list))]
    if code := os.waitstatus_to_exitcode(status):
        last = int(head)
        broken.append((last, f"BROKEN the process ended with {code}"))
        counts = Counter({"uncounted": last - numbers.start, "BROKEN": 1})
        more, rest, _ = batch(seed, range(last + 1, numbers.stop), whole) if last + 1 < numbers.stop else ({}, [], 0)
        counts.update(more)
        broken += rest
    return counts, broken, used.ru_maxrss / 1024


def keep(folder: Path, seed: int, i: int, said: str, whole: dict[str, Files]) -> None:
    """Write input `i` into a folder of its own, as small as it can be made."""
    kind, name, files, _ = drawn(seed, i, whole)
    SCRATCH.empty()
    if "process ended" not in said:
        files[name] = smallest(whole[kind][name], files[name], name, files)
    inside = folder / f"{kind.replace(' ', '_')}_{seed}_{i}"
    inside.mkdir(parents=True, exist_ok=True)
    for file, raw in files.items():
        (inside / file).write_bytes(raw)


def main() -> None:
    """Fuzz; print counts; keep what broke the rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that break the rule")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    whole, start, done, peak = seeds(), time.monotonic(), 0, 0.0
    counts: Counter[str] = Counter()
    broken: dict[str, int] = {}
    while done < args.inputs and time.monotonic() - start < args.seconds:
        numbers = range(done, min(done + BATCH, args.inputs))
        more, found, memory = batch(args.seed, numbers, whole)
        counts.update(more)
        done, peak = numbers.stop, max(peak, memory)
        for i, said in found:
            once = f"{said}, input {i}" if "process ended" in said else said  # those say nothing of their cause
            if once not in broken:
                broken[once] = i
                print(f"input {i}, {drawn(args.seed, i, whole)[0]}: {said}", flush=True)
                if args.keep is not None:
                    keep(args.keep, args.seed, i, said, whole)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{used.ru_utime + used.ru_stime:.0f} s of processor time, at most {peak:.0f} MB of memory")
    print(
        f"{done} damaged inputs of {len(whole)} seeds in {time.monotonic() - start:.0f} s: {counts['scan']} valid "
        f"scans, {counts['mask']} masks alone, {counts['error']} refused in a sentence, {counts['BROKEN']} broke the "
        f"rule, {counts['uncounted']} before one that ended the process"
    )
    raise SystemExit(bool(broken))


if __name__ == "__main__":
    main()
