"""Would the tests notice? One thing in a module is changed (a mutant), and its narrow tests run: killed, or survived.

    nice -n 19 python benchmarks/reliability/mutants.py --mutants 150 --seed 1 -o benchmarks/reliability

Metrics, geometry, files, prompts, model files and checkpoints. A mutant turns a comparison, an arithmetic or boolean
operator, a condition or a number into another; messages, docstrings, annotations and default texts are left alone. The
sample is drawn evenly over the modules. Each runs in a process forked after the libraries are imported (Linux, macOS);
what takes more than twenty times the processor time of the tests without a change counts as killed. A change that no
test can see because it changes nothing counts as survived, too.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = {
    "napari_tinymig/measures/overlap.py": "tests/test_metrics.py",
    "napari_tinymig/measures/agreement.py": "tests/test_agreement.py",
    "napari_tinymig/measures/clinical.py": "tests/test_measure.py tests/test_plausible.py",
    "napari_tinymig/measures/plausible.py": "tests/test_measure.py tests/test_plausible.py",
    "napari_tinymig/base/geometry.py": "tests/test_spatial.py tests/test_io_volumes.py",
    "napari_tinymig/formats/nifti.py": "tests/test_io_volumes.py tests/test_content_decides.py",
    "napari_tinymig/formats/nrrd.py": "tests/test_io_volumes.py tests/test_bad_input.py -k nrrd",
    "napari_tinymig/formats/metaimage.py": "tests/test_io_volumes.py",
    "napari_tinymig/formats/foreign_masks/legend.py": "tests/test_foreign_masks.py",
    "napari_tinymig/formats/foreign_masks/class_files.py": "tests/test_class_files.py",
    "napari_tinymig/models/file.py": "tests/test_model_file.py",
    "napari_tinymig/base/safe_files.py": "tests/test_killed_runs.py -k temporary",
    "napari_tinymig/prompts/maps.py": "tests/test_prompts.py",
    "napari_tinymig/prompts/rules.py": "tests/test_prompts.py",
    "training/run/checkpoint.py": "tests/test_train.py -k resume",
}
LIBRARIES = (
    *("numpy", "scipy.ndimage", "skimage.measure", "nibabel", "nrrd", "pydicom", "SimpleITK", "PIL.Image", "torch"),
    *("hypothesis", "pytest", "tifffile", "onnxruntime", "onnx", "imagecodecs"),
)
"""Loaded before the forks, which only saves time."""
FIELDS = ["module", "line", "change", "outcome", "seconds"]
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
COUNTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
COUNTED |= {ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult}


def silent_nodes(tree: ast.Module) -> set[int]:
    """Ids of the nodes of messages, annotations and decorators."""
    silent: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            parts = [node]
        if isinstance(node, ast.FunctionDef):
            parts += [node.returns, *(a.annotation for a in node.args.args), *node.decorator_list]
        if isinstance(node, ast.AnnAssign):
            parts.append(node.annotation)
        silent |= {id(inner) for part in parts if part is not None for inner in ast.walk(part)}
    return silent


def sites(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """(node, what can be changed in it) of every place for a mutant, inside functions."""
    silent = silent_nodes(tree)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if id(node) in silent or id(node) not in inside:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
            yield node, "compare"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in COUNTED:
            yield node, "count"
        elif isinstance(node, ast.BoolOp):
            yield node, "boolean"
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node, "condition"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield node, "number"


def change(node: ast.AST, kind: str) -> str:
    """Change a node; in words."""
    before = ast.unparse(node).splitlines()[0][:60]
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = COUNTED[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    return f"{kind}: {before} -> {ast.unparse(node).splitlines()[0][:60]}"


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module from a changed syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module):
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> object:
        """The spec of the one module."""
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)  # type: ignore[arg-type]

    def exec_module(self, module: object) -> None:
        """Run the changed source."""
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)  # that is what a mutant is


class SameProcess:
    """Leaves out tests that start the program as another process, which would not see a change."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Deselect them."""
        items[:] = [i for i in items if "tinymig" not in i.fixturenames]


def run_tests(words: str, prepare: Callable[[], None], limit_s: int) -> tuple[bool, float]:
    """(whether the tests pass, processor seconds) in a forked process."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            prepare()
            import pytest

            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the viewer's plugin costs seconds
            options = ["-x", "-q", "-W", "ignore", "-p", "no:cacheprovider", "-p", "pytest_timeout", *words.split()]
            code = int(pytest.main(options, plugins=[SameProcess()]))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
    return os.waitstatus_to_exitcode(status) == 0, spent


def name_of(path: str) -> str:
    """The import name of a file of the repository."""
    name = path.removesuffix(".py").replace("/", ".")
    return f"napari_tinymig.{name}" if name.startswith("training.") else name


def sample(args: argparse.Namespace) -> list[dict[str, object]]:
    """A row of every mutant that was tried, drawn evenly over the modules."""
    rng, begun = random.Random(args.seed), time.monotonic()
    subjects = {p: t for p, t in SUBJECTS.items() if args.only in p}
    usual: dict[str, float] = {}
    rows: list[dict[str, object]] = []
    trees = {p: ast.parse((ROOT / p).read_text(encoding="utf-8")) for p in subjects}
    waiting = {p: rng.sample(range(n), n) for p, tree in trees.items() if (n := len(list(sites(tree))))}
    for path in [p for _ in range(args.mutants) for p in waiting]:
        if len(rows) >= args.mutants or time.monotonic() - begun > args.seconds:
            break
        if not waiting[path]:
            continue
        if path not in usual:
            passed, usual[path] = run_tests(subjects[path], lambda: None, 600)
            if not passed:
                raise SystemExit(f"{subjects[path]} fails without a change")
        tree = copy.deepcopy(trees[path])
        node, kind = list(sites(tree))[waiting[path].pop()]
        row: dict[str, object] = {"module": path, "line": getattr(node, "lineno", 0), "change": change(node, kind)}
        finder = Instead(name_of(path), ROOT / path, ast.fix_missing_locations(tree))
        limit = int(20 * usual[path]) + 10
        passed, seconds = run_tests(subjects[path], lambda f=finder: sys.meta_path.insert(0, f), limit)  # type: ignore[misc]
        rows.append(row | {"outcome": "survived" if passed else "killed", "seconds": round(seconds, 1)})
        write(args.out / "mutants.csv", rows)
    return rows


def main() -> None:
    """Draw, change, test; write mutants.csv as it grows; print the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=10**9, help="begin no mutant after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path contains this")
    parser.add_argument("-o", "--out", type=Path, default=Path("."), help="folder of mutants.csv")
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "tests"))
    for library in LIBRARIES:
        importlib.import_module(library)
    rows = sample(args)
    killed = sum(r["outcome"] == "killed" for r in rows)
    print(f"{killed} of {len(rows)} killed, {100 * killed / max(len(rows), 1):.0f} %")
    for row in rows:
        if row["outcome"] == "survived":
            print(f"{row['module']}:{row['line']}: {row['change']}")


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """The table so far."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
