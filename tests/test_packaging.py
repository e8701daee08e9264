"""The package as it is built and installed: every folder is in it, and napari finds every contribution."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command, cwd=None, **env):
    out = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, (out.stdout + out.stderr)[-3000:]
    return out.stdout


def test_the_listed_packages_are_the_folders_with_python_files():
    listed = set(PYPROJECT["tool"]["setuptools"]["packages"])
    folders = {p.parent for p in (ROOT / "napari_tinymig").rglob("*.py")}
    found = {".".join(f.relative_to(ROOT).parts) for f in folders if "__pycache__" not in f.parts}
    inside_training = {p.parent for p in (ROOT / "training").rglob("*.py") if "__pycache__" not in p.parts}
    found |= {".".join(("napari_tinymig", *f.relative_to(ROOT).parts)) for f in inside_training}
    assert listed == found


BUILD = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and an sdist, built from a copy of the sources (building must not touch the checkout)."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    ignore = shutil.ignore_patterns(
        ".git", ".venv*", "__pycache__", "*.egg-info", "build", "dist", ".*_cache", "runs", "napari.yaml"
    )
    shutil.copytree(ROOT, source, ignore=ignore)
    shutil.copyfile(ROOT / "napari.yaml", source / "napari.yaml")
    for kind in ("build_sdist", "build_wheel"):
        run("-c", BUILD, kind, str(folder), cwd=source, SOURCE_DATE_EPOCH="1700000000")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist, source


def test_wheel_and_sdist_hold_manifest_recipes_and_both_folders(built):
    wheel, sdist, source = built
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert "napari_tinymig/napari.yaml" in in_wheel
    for folder in ("base", "viewer", "training"):
        assert any(n.startswith(f"napari_tinymig/{folder}/") for n in in_wheel), folder
    assert not any(n.startswith(("training/", "tests/")) for n in in_wheel)  # no bare `training` import package
    for path in (source / "napari_tinymig").rglob("*"):
        if path.suffix in (".safetensors", ".toml", ".py") and "__pycache__" not in path.parts:
            assert path.relative_to(source).as_posix() in in_wheel
    with tarfile.open(sdist) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    assert {"napari.yaml", "setup.py", "pyproject.toml", "LICENSE", "napari_tinymig/predict/predictor.py"} <= names
    assert any(n.startswith("training/") for n in names)


def test_two_builds_of_the_same_sources_are_the_same_wheel_to_the_byte(built, tmp_path):
    """Built again elsewhere, from files of another age, in another order on the disk."""
    wheel, _, source = built
    made = ("build", "*.egg-info", "__pycache__")
    again = shutil.copytree(source, tmp_path / "elsewhere", ignore=shutil.ignore_patterns(*made))
    for number, path in enumerate(sorted(again.rglob("*.py"), reverse=True)):
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
    run("-c", BUILD, "build_wheel", str(tmp_path), cwd=again, SOURCE_DATE_EPOCH="1700000000")
    assert next(tmp_path.glob("*.whl")).read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_files_of_the_sources_and_nothing_else(built):
    """No cache, no run, no image of a patient, no file that somebody left in a folder."""
    wheel, _, source = built
    kinds = {".py", ".toml", ".safetensors", ".md", ".yaml"}
    with zipfile.ZipFile(wheel) as archive:
        sizes = {i.filename: i.file_size for i in archive.infolist()}
    own = [n for n in sizes if ".dist-info/" not in n]
    for name in own:
        inside = name.removeprefix("napari_tinymig/") if name.startswith("napari_tinymig/training/") else name
        assert (source / inside).is_file(), name
        assert Path(name).suffix in kinds or Path(name).name == "py.typed", name
    meta = {n.rpartition("/")[2] for n in sizes if ".dist-info/" in n}
    assert meta == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}
    assert sum(sizes.values()) < 60e6


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The wheel unpacked as pip would: a folder with the package and its dist-info."""
    target = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(built[0]).extractall(target)
    return target


DISCOVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
# The checkout may be installed as editable: its finder must not answer before the wheel.
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]
import napari_tinymig
assert napari_tinymig.__path__[0].startswith(sys.argv[1]), napari_tinymig.__path__
from importlib.metadata import Distribution
from pathlib import Path
from npe2 import PluginManifest
from npe2._command_registry import CommandRegistry
from npe2.manifest.utils import import_python_name
dist = Distribution.at(next(Path(sys.argv[1]).glob("napari_tinymig-*.dist-info")))
entry = [e for e in dist.entry_points if e.group == "napari.manifest"]
assert [(e.name, e.value) for e in entry] == [("napari-tinymig", "napari_tinymig:napari.yaml")]
manifest = PluginManifest.from_file(Path(napari_tinymig.__path__[0]) / "napari.yaml")
failed = {}
for command in manifest.contributions.commands:
    try:
        import_python_name(command.python_name)
    except Exception as e:
        failed[command.python_name] = repr(e)
print(json.dumps({"failed": failed, "n": len(manifest.contributions.commands)}))
"""


@pytest.mark.viewer
def test_every_contribution_is_found_and_importable_from_the_installed_wheel(installed):
    out = json.loads(run("-W", "ignore", "-c", DISCOVER, str(installed), QT_QPA_PLATFORM="offscreen").splitlines()[-1])
    assert out["n"] == len(MANIFEST["contributions"]["commands"])
    assert out["failed"] == {}


def test_the_manifest_is_valid_and_names_no_command_twice():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    commands = [c.id for c in manifest.contributions.commands]
    assert len(commands) == len(set(commands))
    used = {w.command for w in manifest.contributions.widgets}
    used |= {r.command for r in manifest.contributions.readers} | {w.command for w in manifest.contributions.writers}
    used |= {s.command for s in manifest.contributions.sample_data}
    used |= {i.command for items in manifest.contributions.menus.values() for i in items if hasattr(i, "command")}
    assert used == set(commands)  # nothing declared that cannot be reached, nothing used that is not declared


def test_menus_are_those_napari_offers_and_patterns_are_not_greedy():
    contributions = MANIFEST["contributions"]
    assert {
        "napari/layers/segment",
        "napari/layers/annotate",
        "napari/layers/measure",
        "napari/layers/classify",
    } <= set(contributions["menus"])
    assert "napari/file/io_utilities" in contributions["menus"]
    assert [s["id"] for s in contributions["submenus"]] == ["napari-tinymig/more"]
    patterns = [p for r in contributions["readers"] for p in r["filename_patterns"]]
    assert "*.gz" not in patterns
    assert "*" not in patterns
    assert not any(p in ("*.png", "*.jpg", "*.tif") for p in patterns)  # photographs stay napari's own


def test_the_settings_page_and_the_code_agree_on_the_defaults():
    pytest.importorskip("napari", reason="napari is not installed; the settings page belongs to the [viewer] extra")
    from napari_tinymig.tasks.table import TASKS
    from napari_tinymig.viewer.parts.settings import DEFAULTS

    declared = {
        group: {key: prop["default"] for key, prop in page["properties"].items()}
        for group, page in MANIFEST["contributions"]["configurations"].items()
    }
    assert declared == DEFAULTS | {"models": {task: task for task in TASKS}}  # a task's usual model has its name


def test_an_editable_install_finds_both_folders_and_the_manifest(built, tmp_path):
    source = built[2]
    code = "import setuptools.build_meta as b, sys; b.build_editable(sys.argv[1])"
    run("-c", code, str(tmp_path), cwd=source)
    site = tmp_path / "site"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    check = """
import sys, site
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in repr(f)]  # the checkout's own install
for name in [n for n in sys.modules if n.startswith("__editable__")]:
    del sys.modules[name]
sys.path.insert(0, sys.argv[1])
site.addsitedir(sys.argv[1])
import importlib.util, napari_tinymig, pathlib
assert napari_tinymig.__path__[0].startswith(sys.argv[2]), napari_tinymig.__path__
assert (pathlib.Path(napari_tinymig.__path__[0]) / "napari.yaml").is_file()
assert importlib.util.find_spec("napari_tinymig.training").origin.startswith(sys.argv[2])
"""
    run("-c", check, str(site), str(source), cwd=tmp_path)
