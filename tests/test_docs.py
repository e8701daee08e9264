"""The documentation is true: its blocks run, its commands exist, its site builds, its figures are in committed results.

`sh` and `python` blocks of README and docs are run, page by page, in a folder that holds the files they name. Indented
commands (trainings, windows, whole data sets) are checked against the real commands and options.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_tinymig.samples.drawn import fundus_sample

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    ((?:tinymig|torchrun .*-m napari_tinymig) (?:.*\\\n)*.*)", re.MULTILINE)
CLICKS = (
    '{"format": 1, "task": "optic", "start": "auto", '
    '"prompts": [{"kind": "click", "positions": [[150, 150]], "label": 1}]}'
)


def blocks(page):
    return [(kind, text) for kind, text in FENCE.findall(page.read_text("utf-8")) if kind in ("sh", "python")]


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def files(tmp_path_factory, dicom_series_maker):
    """The files that the pages name: drawn photographs, masks of two readers, a scan, a DICOM series, prompts."""
    folder = tmp_path_factory.mktemp("named")
    fundus = [fundus_sample(side=300, seed=seed) for seed in range(3)]
    Image.fromarray(fundus[0].scan.pixels).save(folder / "photo.jpg")
    for where, dim in (("photographs", 1.0), ("my_camera", 1.0), ("reference", 0.7)):
        (folder / where).mkdir()
        for k, drawn in enumerate(fundus):
            Image.fromarray((drawn.scan.pixels * dim).astype(np.uint8)).save(folder / where / f"{k}.png")
    for reader, shift in (("reader_a", 0), ("reader_b", 2)):
        (folder / reader).mkdir()
        for k, drawn in enumerate(fundus):
            Image.fromarray(np.roll(drawn.truth, shift, 0)).save(folder / reader / f"{k}.png")
    for hospital, dim in (("hospital_a", 1.0), ("hospital_b", 0.8)):
        for grade, ratio in (("healthy", 0.3), ("glaucoma", 0.8)):
            (folder / "classes" / hospital / grade).mkdir(parents=True)
            for k in range(8):
                pixels = fundus_sample(side=96, seed=k, cup_ratio=ratio).scan.pixels * dim
                Image.fromarray(pixels.astype(np.uint8)).save(folder / "classes" / hospital / grade / f"{grade}{k}.png")
    (folder / "clicks.json").write_text(CLICKS)
    _scan(folder, dicom_series_maker)
    return folder


def _scan(folder, dicom_series_maker):
    import nibabel as nib

    from napari_tinymig.samples.drawn import prostate_sample

    scan = prostate_sample().scan
    voxels = np.ascontiguousarray(scan.pixels).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([*scan.spacing_mm[::-1], 1.0])), folder / "scan.nii.gz")
    dicom_series_maker(folder / "dicom_folder", voxels[::2], np.eye(3), (0.5, 0.5, 6.0), (0.0, 0.0, 0.0))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=name)
def test_every_block_of_the_page_runs(page, files, tmp_path):
    world = tmp_path / "world"
    shutil.copytree(files, world)
    env = os.environ | {"TINYMIG_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    for kind, text in blocks(page):
        command = ["bash", "-euc", text] if kind == "sh" else [sys.executable, "-W", "ignore", "-c", text]
        done = subprocess.run(command, cwd=world, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{name(page)}:\n{text}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


def commands(page):
    """The indented `tinymig` commands of a page, as lists of words; lines that describe alternatives are none."""
    found = [line.replace("\\\n", " ") for line in INDENTED.findall(page.read_text("utf-8"))]
    found = [re.split(r"\s{2,}(?=[#\w])", line)[0] if "  " in line.strip() else line for line in found]
    lists = [shlex.split(re.sub(r".*-m napari_tinymig", "tinymig", line), comments=True) for line in found]
    return [words for words in lists if not any(re.search(r"^\.\.\.$|^\||^\[", word) for word in words)]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=name)
def test_every_command_that_is_named_exists_with_its_options(page):
    for words in commands(page):
        _parse(words[1:], name(page))


def _parse(words, where):
    """Fails where the real parser knows no such command, option or count of arguments."""
    from typer.main import get_command

    from napari_tinymig.cli import app, spread

    words = spread(words)
    command = get_command(app)
    context = command.make_context("tinymig", [words[0]], resilient_parsing=True)
    while hasattr(command, "get_command"):
        below = command.get_command(context, words[0])
        assert below is not None, f"{where}: no command {words[0]} in: tinymig {' '.join(words)}"
        command, words = below, words[1:]
    context = command.make_context(command.name, [], resilient_parsing=True)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert not rest, f"{where}: {rest} of no use to tinymig {command.name}"
    missing = [p.name for p in command.params if p.required and not values.get(p.name)]
    assert not missing, f"{where}: tinymig {command.name} {' '.join(words)} lacks {missing}"


def test_the_site_builds_without_a_warning_and_holds_the_generated_pages(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site/reference/command-line.html").read_text("utf-8")
    assert "--overlay" in reference
    assert "tinymig models rollback" in reference
    assert "disc_area_mm2" in (tmp_path / "site/reference/tasks-and-measures.html").read_text("utf-8")
    assert "prediction" in (tmp_path / "site/reference/python.html").read_text("utf-8").lower()
    index = (tmp_path / "site/index.html").read_text("utf-8")
    fetched = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?))"', index)
    assert fetched == []  # a site that is opened without a network


def test_the_figures_of_the_readme_are_in_the_committed_tables_that_it_names():
    rows = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if "](benchmarks/" in line]
    checked = 0
    for row in rows:
        cells = row.strip("| ").split(" | ")
        if len(cells) < 5:
            continue
        table = (ROOT / re.search(r"\((benchmarks/[^)]+)\)", cells[4]).group(1)).read_text("utf-8")
        for figure in re.findall(r"\.\d{2,4}\b", cells[3]):
            assert figure in table, f"{figure} of {cells[0]} is not in {cells[4]}"
            checked += 1
    assert checked >= 8


def test_the_figures_of_shipped_students_are_on_the_pages_that_the_benchmark_page_names():
    text = (ROOT / "docs/BENCHMARK.md").read_text("utf-8").split("where their figures stand\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "](" in line]
    assert len(rows) >= 10
    for model, figures, pages in rows:
        named = [(ROOT / "docs" / page).resolve().read_text("utf-8") for page in re.findall(r"\(([^)]+\.md)\)", pages)]
        assert named, f"{model} names no page"
        missing = [f for f in re.findall(r"\.\d{2,4}\b", figures) if not any(f in page for page in named)]
        assert missing == [], f"{missing} of {model} are not on {pages}"


def test_the_version_stands_in_one_place_and_the_citation_agrees():
    import tomllib

    import yaml

    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    recipe = (ROOT / "packaging/conda-forge/recipe.yaml").read_text("utf-8")
    assert str(citation["version"]) == version
    assert f'version: "{version}"' in recipe
    assert len(citation["references"]) == 2


def test_the_conda_recipe_asks_for_what_the_package_asks_for():
    import tomllib

    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    recipe = yaml.safe_load((ROOT / "packaging/conda-forge/recipe.yaml").read_text("utf-8"))
    wanted = {d.replace(" ", "").lower() for d in project["dependencies"]}
    asked = {d.replace(" ", "") for d in recipe["requirements"]["run"]} - {"python>=3.11"}
    assert asked == wanted


def test_every_workflow_and_form_is_readable_yaml():
    import yaml

    files = sorted((ROOT / ".github").rglob("*.yml")) + [ROOT / ".napari-hub/config.yml"]
    assert len(files) >= 5
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text("utf-8")), dict), file
    gate = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
    assert any(step.get("run") == ".ci/run" for step in gate["jobs"]["gate"]["steps"])
