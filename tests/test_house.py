"""The rooms of the house (docs/ARCHITECTURE.md) and the rules of style that a program can see."""

from __future__ import annotations

import ast
import functools
import itertools
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = (
    *("base", "tasks", "measures", "formats", "recipes", "models", "network", "shift", "predict", "prompts"),
    *("samples", "annotations", "sets", "reports", "batch"),
    *(
        "training.machine",
        "training.litemedsam",
        "training.losses",
        "training.networks",
        "training.exports",
        "training.augmentation",
        "training.data",
    ),
    *("training.objectives", "training.run", "training.finetune", "training.classifier", "training.prompting"),
    *("training.benchmark", "training.task_gate", "training.cup_head", "training.self_test", "training.__main__"),
    *("jobs", "api", "cli"),
    *(
        "viewer.napari_io",
        "viewer.docks",
        "viewer.parts",
        "viewer.masks",
        "viewer.cases",
        "viewer.models",
        "viewer.segment",
        "viewer.readout",
    ),
    *("viewer.prompts", "viewer.annotate", "viewer.finetune", "viewer.shift", "viewer.what_if", "viewer.classify"),
    *("viewer.planes", "viewer"),
)
"""A room imports only itself and rooms before it: no exception for lazy imports or TYPE_CHECKING."""

LONGEST_FILE = 320
LONGEST_FUNCTION = 45
MOST_MODULES = 16  # in one folder

QT = {"qtpy", "magicgui", "superqt", "PyQt5", "PyQt6", "PySide6"}
TORCH = {"torch", "timm", "monai"}
LIGHT_ROOMS = {"base", "tasks", "recipes"}


@functools.cache
def sources() -> list[Path]:
    return sorted([*(ROOT / "napari_tinymig").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file, parsed once for every rule."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("napari_tinymig", *parts) if parts[0] == "training" else parts
    return ".".join(p for p in parts if p != "__init__")


def short(name: str) -> str:
    return name.removeprefix("napari_tinymig").removeprefix(".")


@functools.cache
def room_of(name: str) -> int | None:
    """Place in ORDER; None for the package itself and the files that only hand over to the command line."""
    fitting = [i for i, room in enumerate(ORDER) if short(name) == room or short(name).startswith(room + ".")]
    return max(fitting, key=lambda i: len(ORDER[i]), default=None)


@functools.cache
def known_modules() -> frozenset[str]:
    return frozenset(module_name(p) for p in sources())


@functools.cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module, absolute, with True where the import stands at the top level of the file."""
    tree = tree_of(path)
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    found = []
    for node in ast.walk(tree):
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


@functools.cache
def graph() -> dict[str, set[str]]:
    known = known_modules()
    return {module_name(p): {n for n, _ in imports(p) if n in known} - {module_name(p)} for p in sources()}


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components of more than one module)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in edges[v]:
            if w not in index:
                visit(w)
            if w in stack:
                low[v] = min(low[v], low[w])
        if low[v] == index[v]:
            group = {*stack[stack.index(v) :]}
            del stack[stack.index(v) :]
            if len(group) > 1:
                found.append(group)

    for name in edges:
        if name not in index:
            visit(name)
    return found


def test_the_counter_of_circles_finds_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_every_module_has_a_room():
    entries = {"napari_tinymig", "napari_tinymig.__main__", "napari_tinymig.training"}
    assert {m for m in known_modules() if room_of(m) is None} == entries


def test_rooms_import_only_rooms_before_them():
    upward = {
        (short(me), short(other))
        for me, others in graph().items()
        for other in others
        if room_of(me) is not None and room_of(other) is not None and room_of(other) > room_of(me)
    }
    assert upward == set()


def test_panels_and_commands_know_nothing_of_each_other():
    sides = {("viewer", "cli"), ("cli", "viewer")}
    pairs = {(short(me), short(other)) for me, others in graph().items() for other in others}
    assert {(a, b) for a, b in pairs if (a.split(".")[0], b.split(".")[0]) in sides} == set()


def test_no_circle():
    assert circles(graph()) == []


def test_no_folder_is_a_warehouse():
    folders = Counter(p.parent.relative_to(ROOT).as_posix() for p in sources() if p.name != "__init__.py")
    assert {f: n for f, n in folders.items() if n > MOST_MODULES} == {}


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_a_room_imports_only_the_libraries_it_promises(path):
    me = short(module_name(path))
    in_viewer, in_training = me.startswith("viewer"), me.startswith("training")
    for name, top in imports(path):
        root = name.split(".")[0]
        if root in QT | {"napari", "npe2"}:
            assert in_viewer or (root == "napari" and me.startswith("cli")), f"{me} imports {name}"
        if root in TORCH:
            assert in_training or not top, f"{me} imports {name} at the top; torch lives in training"
        if root in {"scipy", "skimage", "onnxruntime"} and top:
            assert me.split(".")[0] not in LIGHT_ROOMS - {"base"}, f"{me} imports {name}"
        if name.startswith("napari_tinymig.training") and not in_training:
            assert not top, f"{me} imports {name} at the top; training is imported inside functions or run as a process"


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_files_and_functions_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    assert lines <= LONGEST_FILE, f"{path.name} has {lines} lines; the house aims at 300 and stops at {LONGEST_FILE}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{path.name}:{node.name} has {length} lines"


def test_functions_of_tests_and_benchmarks_stay_readable_too():
    paths = [p for folder in ("tests", "benchmarks", "docs", "examples") for p in (ROOT / folder).rglob("*.py")]
    functions = [(p, n) for p in paths for n in ast.walk(ast.parse(p.read_text("utf-8")))]
    functions = [(p, n) for p, n in functions if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert functions
    assert [(p.name, n.name) for p, n in functions if n.end_lineno - n.lineno + 1 > LONGEST_FUNCTION] == []


def own_modules_by_name(tree: ast.Module) -> set[str]:
    """Names under which a file imports whole modules of this project."""
    names = {module.rsplit(".", 1)[-1] for module in known_modules()}
    aliases = [(n, a) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names]
    return {a.asname or a.name for n, a in aliases if a.name in names and (n.level or "tinymig" in str(n.module))}


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_no_module_sets_the_state_of_another(path):
    tree = tree_of(path)
    modules = own_modules_by_name(tree)
    assigned = [t for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets]
    inside = [t for t in assigned if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name)]
    assert [ast.unparse(t) for t in inside if t.value.id in modules] == []


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_nothing_asks_itself_what_it_already_has(path):
    calls = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)]
    asking = [c for c in calls if ast.unparse(c.func) == "hasattr" or (ast.unparse(c.func) == "getattr" and c.args[2:])]
    assert [ast.unparse(c) for c in asking if ast.unparse(c.args[0]) == "self"] == []


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_public_names_are_documented_and_say_what_they_are(path):
    tree = tree_of(path)
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


@pytest.mark.parametrize("arguments", ["--version", "--help"])
def test_the_list_of_commands_needs_no_library_but_typer(arguments):
    heavy = "{'pydantic', 'numpy', 'scipy', 'PIL', 'onnxruntime', 'torch'}"
    code = (
        f"import sys, atexit; atexit.register(lambda: print('loaded', sorted({heavy} & set(sys.modules))));"
        f"from napari_tinymig.cli import main; main(['{arguments}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


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


@functools.cache
def chosen_numbers() -> list[tuple[str, str]]:
    """(file, name) of every module-level number whose note says that this project chose it."""
    found = []
    for path in sources():
        body = tree_of(path).body
        for number, note in itertools.pairwise(body):
            text = note.value.value if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant) else ""
            if isinstance(number, ast.Assign | ast.AnnAssign) and "(chosen" in str(text):
                target = number.targets[0] if isinstance(number, ast.Assign) else number.target
                found.append((path.relative_to(ROOT).as_posix().removeprefix("napari_tinymig/"), ast.unparse(target)))
    return found


def test_every_chosen_number_stands_on_the_page_that_explains_the_marks():
    page = (ROOT / "docs" / "explanation" / "known-and-chosen.md").read_text(encoding="utf-8").splitlines()
    assert len(chosen_numbers()) > 30
    missing = [(f, n) for f, n in chosen_numbers() if not any(f"`{n}`" in line and f"`{f}`" in line for line in page)]
    assert missing == []
