"""The floors of the house (docs/ARCHITECTURE.md) and the rules of style that a program can see."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOOR_0 = {"records", "tasks", "config", "train_config", "errors", "probe_config", "recipe_file"}
FLOOR_3 = {  # the runs, and what opens a finished model
    "__main__",
    "train",
    "finetune",
    "probe",
    "classify_job",
    "benchmark",
    "evaluate",
    "export",
    "gate",
    "tune_data",
    "tune_result",
    "tuning",
    "classify",
    "model_card",
    "torch_network",
    "batchnorm",
}
LONGEST_FILE = 450  # the aim is 300
LONGEST_FUNCTION = 90  # the aim is 40

BANNED_ABOVE = {
    0: {"torch", "timm", "monai", "napari", "qtpy", "magicgui", "superqt", "scipy", "skimage", "onnxruntime", "PIL"},
    1: {"torch", "timm", "monai", "napari", "qtpy", "magicgui", "superqt", "npe2", "SimpleITK"},
    2: {"napari", "qtpy", "magicgui", "superqt", "npe2"},
    3: {"napari", "qtpy", "magicgui", "superqt", "npe2"},
    4: {"qtpy", "magicgui", "superqt"},
    5: {"torch", "timm", "monai", "PyQt5", "PyQt6", "PySide6"},
}


@functools.cache
def sources() -> list[Path]:
    return sorted([*(ROOT / "napari_tinymig").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("napari_tinymig", *parts) if parts[0] == "training" else parts
    return ".".join(p for p in parts if p != "__init__")


def floor_of(name: str) -> int:
    parts = name.split(".")
    if parts[:2] == ["napari_tinymig", "engine"]:
        return 0 if len(parts) == 3 and parts[2] in FLOOR_0 else 1
    if parts[:2] == ["napari_tinymig", "training"]:
        return 3 if len(parts) == 2 or parts[2] in FLOOR_3 else 2
    if len(parts) > 1 and parts[1] in {"cli", "jobs", "api", "__main__"}:
        return 4
    if len(parts) == 1:  # the package itself: the Python API over engine and door
        return 4
    return 5


@functools.cache
def known_modules() -> frozenset[str]:
    return frozenset(module_name(p) for p in sources())


def imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module, absolute, with True where the import stands at the top level of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    typing_only = {
        id(n)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.dump(test.test)
        for n in ast.walk(test)
    }
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *(node.module.split(".") if node.module else [])])
            known = known_modules()
            found += [
                (f"{stem}.{a.name}" if f"{stem}.{a.name}" in known else stem, id(node) not in inside)
                for a in node.names
            ]
    return found


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_a_file_imports_its_own_floor_and_those_below(path):
    me = module_name(path)
    floor = floor_of(me)
    for name, top in imports(path):
        root = name.split(".")[0]
        if root == "napari_tinymig":
            if name == "napari_tinymig":
                continue  # the version
            target = floor_of(name)
            if target in {2, 3} and floor >= 4:
                assert floor == 4, f"{me} (floor {floor}) imports {name}; only cli and jobs know training"
                assert not top, f"{me} imports {name} at the top; the door imports training inside functions"
                continue
            assert target <= floor, f"{me} (floor {floor}) imports {name} (floor {target})"
        elif root in BANNED_ABOVE[floor]:
            allowed = floor in {1, 4} and not top and root == "torch"
            assert allowed, f"{me} (floor {floor}) imports {root}"


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_files_and_functions_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n") + 1
    assert lines <= LONGEST_FILE, f"{path.name} has {lines} lines; the house aims at 300 and stops at {LONGEST_FILE}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path.name}:{node.name} has {length} lines"


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_public_names_are_documented_and_say_what_they_are(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no module docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}:{node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            assert not node.name.endswith(("Manager", "Utils", "Helper", "Handler")), node.name


def test_the_packages_listed_for_the_build_are_the_folders_that_exist():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {module_name(p) for p in sources() if p.name == "__init__.py"}
    assert set(config["packages"]) == folders


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_tinymig",
        "import napari_tinymig.cli",
        "import napari_tinymig.predict.predictor",
        "import napari_tinymig.viewer.napari_io.readers",
    ],
)
def test_light_imports_bring_neither_torch_nor_qt(statement):
    heavy = "{'torch', 'timm', 'monai', 'qtpy', 'PyQt6', 'PySide6'}"
    code = f"{statement}; import sys; found = {heavy} & set(sys.modules); print(found); sys.exit(bool(found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_names_a_path_of_one_machine():
    # Spelt in two halves, so that this file does not contain what it looks for.
    words = ["/ro" + "ot/", "/wo" + "rk/", "/home" + "/", "C:\\Us" + "ers"]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [f for f in tracked if f.endswith((".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".txt", ".cfg"))]
    offenders = [
        (f, w)
        for f in texts
        if (ROOT / f).is_file()
        for w in words
        if w in (ROOT / f).read_text(encoding="utf-8", errors="replace")
    ]
    assert not offenders
