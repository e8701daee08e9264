"""Hostile models, classifiers, annotation sets and prompts: each is refused in a sentence, and does nothing else.

    python benchmarks/reliability/hostile_files.py -o benchmarks/reliability

Every file is opened in a process of its own (forked after the imports; Linux and macOS), as the product opens it, and a
model that is accepted is also run. An audit hook sees what Python does meanwhile. A file is safe if it is refused with
one of the product's own errors (or does no harm: `accepted`), in one line, and nothing was started, connected, imported
from beside it, and no file outside its folder was opened for reading, written, renamed or removed; the growth of memory
is bounded.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile_content as content
import numpy as np

import napari_tinymig
from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.tasks.table import TASKS

MOST_MEMORY_MB = 400
"""A hostile file may not make the process grow by more."""


def open_model(folder: Path) -> None:
    """As `tinymig segment --model FILE` would: header, whole file, network, one batch."""
    from napari_tinymig.models.file import read_header, read_model_file
    from napari_tinymig.network.run import OnnxNetwork

    read_header(folder / "evil.safetensors")
    model = read_model_file(folder / "evil.safetensors")
    model.weights()
    size = model.header.input.size
    OnnxNetwork(model, 1).run(np.zeros((1, 3, size, size), np.float32))


def open_classifier(folder: Path) -> None:
    """As `tinymig classify --model FILE` would."""
    from napari_tinymig.models.classifier_file import read_classifier

    read_classifier(folder / "evil.safetensors")


def open_set(folder: Path) -> None:
    """As a fine-tuning run and the panel would."""
    from napari_tinymig.annotations.annotation_set import AnnotationSet, load_case, read_cases

    for case in read_cases(folder):
        load_case(folder, case)
    AnnotationSet(folder, TASKS["optic"]).close()


def open_prompts(folder: Path) -> None:
    """As `tinymig prompt --prompts FILE` would."""
    from napari_tinymig.prompts.records import read_prompts
    from napari_tinymig.prompts.session import PromptSession  # noqa: F401

    read_prompts(folder / "prompts.json")
    raise ValueError("read: what positions and edits must be, a session's own checks say")


def cases(seed: int) -> Iterator[tuple[str, content.Files, Callable[[Path], None]]]:
    """(name, files, how they are opened)."""
    for source in (content.foreign_containers, content.headers_of_tensors, content.headers_of_models, content.graphs):
        for name, told in source():
            yield f"model/{name}", {"evil.safetensors": told, "secret.bin": bytes(16)}, open_model
    for name, told in content.cut_and_flipped(seed):
        yield f"model/{name}", {"evil.safetensors": told}, open_model
    for source in (content.foreign_containers, content.headers_of_tensors):
        for name, told in source():
            yield f"classifier/{name}", {"evil.safetensors": told}, open_classifier
    yield "classifier/a_segmenter", {"evil.safetensors": content.model_bytes()}, open_classifier
    for name, files in content.annotation_sets():
        yield name.replace("set_", "set/", 1), files, open_set
    for name, told in content.prompt_files():
        yield name.replace("prompts_", "prompts/", 1), {"prompts.json": told}, open_prompts


WATCHED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind")
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "shutil.rmtree")


def watch(folder: Path, told: list[str]) -> None:
    """Tell of everything that a refused file must not cause."""
    allowed = (
        str(folder),
        *(str(Path(p).resolve()) for p in (*sys.path, *napari_tinymig.__path__) if p),
        sys.prefix,
        sys.base_prefix,
        "/proc",
        "/dev",
    )

    def hook(event: str, found: tuple[Any, ...]) -> None:
        if event in WATCHED:
            told.append(f"{event} {str(found)[:80]}")
        elif event == "open" or event in CHANGES:
            path = found[0]
            if isinstance(path, str | bytes) and not os.path.realpath(os.fsdecode(path)).startswith(allowed):
                told.append(f"{event} {os.fsdecode(path)}")
            elif event in CHANGES and not os.path.realpath(os.fsdecode(path)).startswith(str(folder)):
                told.append(f"{event} {path!r}")

    sys.addaudithook(hook)


def judge(name: str, files: content.Files, opened: Callable[[Path], None], scratch: Path) -> dict[str, Any]:
    """What one hostile file did."""
    folder = scratch / "in" / "set"
    shutil.rmtree(scratch / "in", ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (scratch / "in" / "outside.png").write_bytes(b"not to be read")
    for file, raw in files.items():
        (folder / file).write_bytes(raw)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, json.dumps(_in_child(folder, opened)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    row = (
        json.loads(answer) if answer else {"outcome": f"died ({os.waitstatus_to_exitcode(status)})", "did": "", "mb": 0}
    )
    if list(scratch.rglob("code-ran")):
        row["did"] += " code ran"
    row["safe"] = row["outcome"] in ("refused", "accepted") and not row["did"] and row["mb"] <= MOST_MEMORY_MB
    return {"file": name, **row}


def _in_child(folder: Path, opened: Callable[[Path], None]) -> dict[str, Any]:
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    told: list[str] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch(folder, told)
    try:
        opened(folder)
        outcome, said = "accepted", ""
    except (TinyMIGError, ValueError) as e:
        said = str(e)
        outcome = "refused" if said and "\n" not in said and len(said) < 700 else "refused badly"
    except BaseException as e:  # noqa: BLE001  # whatever it is, the file caused it
        outcome, said = f"raised {type(e).__name__}", str(e)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"outcome": outcome, "did": "; ".join(told), "mb": round(grown), "said": said[:300]}


def main() -> None:
    """Open every file; write hostile_files.csv and print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    import onnxruntime  # noqa: F401  # imported once, before the forks

    import napari_tinymig.annotations.annotation_set
    import napari_tinymig.network.run
    import napari_tinymig.prompts.session  # noqa: F401  # imported once, before the forks

    with tempfile.TemporaryDirectory() as scratch:
        rows = [judge(name, files, opened, Path(scratch).resolve()) for name, files, opened in cases(args.seed)]
    for row in rows:
        if not row["safe"]:
            print(row)
    kinds = sorted({r["file"].split("/")[0] for r in rows})
    for kind in kinds:
        mine = [r for r in rows if r["file"].startswith(kind + "/")]
        refused, accepted = (sum(r["outcome"] == o for r in mine) for o in ("refused", "accepted"))
        print(
            f"{kind}: {len(mine)} hostile files, {refused} refused in a sentence, {accepted} harmless, "
            f"{len(mine) - sum(r['safe'] for r in mine)} unsafe; at most {max(r['mb'] for r in mine)} MB of memory"
        )
    if args.out is not None:
        with (args.out / "hostile_files.csv").open("w", newline="", encoding="utf-8") as stream:
            fields = ["file", "outcome", "did", "mb", "safe"]
            writer = csv.DictWriter(stream, fields, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    raise SystemExit(not all(r["safe"] for r in rows))


if __name__ == "__main__":
    main()
