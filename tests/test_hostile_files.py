"""Models, classifiers, annotation sets and prompts from anybody: refused in a sentence, and nothing else happens."""

from __future__ import annotations

import ast
import csv
import subprocess
import sys
from pathlib import Path

import pytest

from napari_tinymig.base.plain_json import parse_json

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "napari_tinymig").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_two_hundred_hostile_files_do_nothing_but_be_refused(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "reliability" / "hostile_files.py"), "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    with (tmp_path / "hostile_files.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 200
    assert {r["safe"] for r in rows} == {"True"}
    harmless = {r["file"] for r in rows if r["outcome"] == "accepted"}
    assert not {name for name in harmless if "cut" in name or "flipped" in name or "external" in name}


def dotted(node):
    """'a.b.c' of an expression, '' for any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(tree):
    """What a syntax tree does that could run what a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (n for n in names if n.split(".")[0] in ("cPickle", "dill", "joblib", "marshal", "shelve"))
        if isinstance(node, ast.Attribute) and dotted(node).startswith("pickle.") and node.attr != "UnpicklingError":
            yield dotted(node)
        if not isinstance(node, ast.Call):
            continue
        name, given = dotted(node.func), {k.arg: k.value for k in node.keywords}
        safe = isinstance(given.get("weights_only"), ast.Constant) and given["weights_only"].value is True
        if name in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.jit.load"):
            yield name
        if name.endswith("torch.load") and not safe:
            yield "torch.load without weights_only=True"
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") or name.endswith(
            (".extractall", ".unpack_archive")
        ):
            yield name
        if isinstance(given.get("shell"), ast.Constant) and given["shell"].value:
            yield "shell=True"
        if isinstance(given.get("allow_pickle"), ast.Constant) and given["allow_pickle"].value:
            yield "allow_pickle=True"


@pytest.mark.parametrize(
    "line",
    [
        "pickle.load(stream)",
        "import pickle; pickle.loads(text)",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.jit.load(path)",
        "eval(text)",
        "yaml.load(stream)",
        "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_search_for_dangers_finds_each(line):
    assert list(dangers(ast.parse(line)))


ALLOWED = {("training/exports/bundle_run.py", "torch.jit.load")}
"""A MONAI bundle is code by its nature; its TorchScript lies in the bundle that is run."""


def test_nothing_in_the_code_runs_what_a_file_holds():
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in SOURCES
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found <= ALLOWED


def test_json_is_parsed_where_deep_nesting_is_a_sentence():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)
