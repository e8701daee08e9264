"""A benchmark scores every case, says what its differences are worth, and survives kill -9 to the bit."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from napari_tinymig.training.benchmark.run import benchmark, is_done, plan_cells
from napari_tinymig.training.benchmark.statistics import (
    cluster_bootstrap,
    difference_word,
    holm,
    mean_over_seeds,
    paired_differences,
    unweighted_mean,
)
from napari_tinymig.training.run.train import to_toml
from PIL import Image
from safetensors.numpy import load_file

from napari_tinymig.recipes.student import recipe_from_dict


def draw_domain(folder, n, seed, tint):
    """Photographs of 72 px with a bright disc and a brighter cup."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    y, x = np.mgrid[:72, :72]
    for i in range(n):
        cy, cx = 36 + rng.uniform(-5, 5, 2)
        radius = rng.uniform(12, 16)
        away = np.hypot(y - cy, x - cx)
        label = (away < radius).astype(np.uint8) + (away < radius * 0.55)
        pixels = np.stack([60 + 60 * (label >= 1) + 50 * (label == 2)] * 3, -1) * np.array(tint)
        pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{folder.name}{i}.png")
        Image.fromarray(label.astype(np.uint8)).save(folder / "labels" / f"{folder.name}{i}.png")
    return folder


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    base = tmp_path_factory.mktemp("domains")
    return [draw_domain(base / "red", 8, 0, (1.5, 0.7, 0.4)), draw_domain(base / "green", 5, 1, (0.6, 1.3, 0.5))]


def tiny(name, epochs=2, **more):
    return recipe_from_dict(
        {
            "name": name,
            "task": "optic",
            "input": {"size": 64, "roi_scale": 2.0},
            "student": {"widths": [16, 16, 16, 16], "blocks": [0, 0, 0, 0], "decoder": 8},
            "optim": {"epochs": epochs, "batch": 4, "lr": 0.01, "precision": "fp32"},
            **more,
        }
    )


@pytest.fixture(scope="module")
def finished(domains, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    teacher = {"name": "resnet18", "weights": "random", "size": 64, "cache": "none"}
    recipes = [tiny("plain"), tiny("taught", teacher=teacher, loss={"lambdas": [1, 1, 0.5, 0.5, 0.5]})]
    cells = plan_cells(recipes, domains, out, ["red"], [0, 1], device="cpu")
    return out, cells, list(benchmark(cells, out))


def test_every_case_of_every_target_is_a_row_for_every_recipe_and_seed(finished):
    out, cells, messages = finished
    assert messages[-1].kind == "done", messages
    assert len(cells) == 4
    with (out / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 5 * 2  # recipes, seeds, cases of green, student and constant cup
    assert {r["target"] for r in rows} == {"green"}
    assert {r["variant"] for r in rows} == {"student", "constant cup"}
    assert all(math.isfinite(float(r[k])) for r in rows for k in ("dice_disc", "dice_cup", "hd95_disc", "vcdr_error"))


def test_the_table_states_what_it_stands_on(finished):
    out, _, _ = finished
    text = (out / "table.md").read_text()
    for word in ("Sources: red", "green (5)", "Seeds: [0, 1]", "box around the true disc", "random", "resnet18"):
        assert word in text, word
    for word in ("constant cup", "mean over targets", "5th pct", "worst target", "p (Holm)", "GMAC", "train seconds"):
        assert word in text, word
    assert "Only 2 seed(s)" in text
    with (out / "results.csv").open() as stream:
        plain = [r for r in csv.DictReader(stream) if (r["recipe"], r["variant"]) == ("plain", "student")]
    means = [100 * np.mean([float(r["dice_disc"]) for r in plain if r["seed"] == seed]) for seed in ("0", "1")]
    said = f"{np.mean(means):.1f} +- {np.std(means, ddof=1):.1f}"
    assert f"| plain | {said} | {said} |" in text  # one target, so that its mean is the mean over targets


def test_the_exported_student_carries_nothing_of_the_teacher(finished):
    _, cells, _ = finished
    plain, taught = (set(load_file(c.folder / "best.safetensors")) for c in cells[:2])
    assert plain == taught


def test_the_log_of_a_taught_run_has_every_term_and_its_gradients(finished):
    _, cells, _ = finished
    lines = [json.loads(s) for s in (cells[1].folder / "log.jsonl").read_text().splitlines()]
    names = {k for line in lines if line["kind"] == "step" for k in line["values"]}
    assert {
        "dice_loss",
        "ce_loss",
        "gdc",
        "sem",
        "gen",
        "grad_gdc",
        "grad_gdc_projector",
        "projector_share_sem",
    } <= names


def test_what_is_done_is_not_done_again(finished):
    out, cells, _ = finished
    before = {c.name: (c.folder / "best.safetensors").stat().st_mtime_ns for c in cells}
    messages = list(benchmark(cells, out))
    assert messages[0].text.startswith("0 of 4")
    assert before == {c.name: (c.folder / "best.safetensors").stat().st_mtime_ns for c in cells}


def test_a_case_that_cannot_be_read_costs_no_run_and_is_named(domains, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(domains[1], broken)
    (broken / "images" / "green0.png").write_bytes(b"not a picture")
    cells = plan_cells([tiny("plain", epochs=1)], [domains[0], broken], tmp_path / "out", ["red"], [0], device="cpu")
    messages = list(benchmark(cells, tmp_path / "out"))
    assert messages[-1].kind == "done"
    assert any(m.kind == "warning" and "Not scored: broken, green0" in m.text for m in messages)
    with (tmp_path / "out" / "results.csv").open() as stream:
        assert len({r["case"] for r in csv.DictReader(stream)}) == 4


def test_a_run_that_fails_in_an_unforeseen_way_does_not_end_the_others(domains, tmp_path, monkeypatch):
    from napari_tinymig.training.run import train as training

    def broken(*arguments, **named):
        raise RuntimeError("CUDA error: device-side assert")

    monkeypatch.setattr(training, "train", broken)
    cells = plan_cells([tiny("plain")], domains, tmp_path / "out", None, [0], device="cpu")
    messages = list(benchmark(cells, tmp_path / "out"))
    assert [m.text.count("device-side assert") for m in messages if m.kind == "warning"] == [1, 1]
    assert messages[-1].kind == "failed"


def test_runs_in_two_processes_give_the_same_scores_to_the_bit(domains, tmp_path):
    tables = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        cells = plan_cells([tiny("plain", epochs=1)], domains, out, None, [0], device="cpu", threads=1)
        assert list(benchmark(cells, out, workers))[-1].kind == "done"
        tables.append((out / "results.csv").read_text())
    assert tables[0] == tables[1]


def test_a_scheduler_that_does_not_answer_is_a_sentence(domains, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

    def refused(address):
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", refused)
    cells = plan_cells([tiny("plain")], domains, tmp_path, None, [0], device="cpu")
    with pytest.raises(ValueError, match="no dask scheduler answers at tcp://nowhere"):
        list(benchmark(cells, tmp_path, cluster="tcp://nowhere:8786"))


def test_a_changed_recipe_is_not_taken_for_done_and_never_overwrites(finished, domains):
    out, _, _ = finished
    changed = plan_cells([tiny("plain", epochs=3)], domains, out, ["red"], [0], device="cpu")
    assert not is_done(changed[0])
    messages = list(benchmark(changed, out))
    assert any(m.kind == "warning" and "another recipe" in m.text for m in messages), messages


def test_plans_that_cannot_be_are_refused(domains, tmp_path):
    with pytest.raises(ValueError, match="repeat a name"):
        plan_cells([tiny("a"), tiny("a")], domains, tmp_path)
    with pytest.raises(ValueError, match="one domain"):
        plan_cells([tiny("a")], domains[:1], tmp_path)
    with pytest.raises(ValueError, match=r"blue.*red"):
        plan_cells([tiny("a")], domains, tmp_path, ["blue"])


def command(recipe, domains, out):
    return [
        sys.executable, "-W", "ignore", "-m", "napari_tinymig", "benchmark", str(recipe),
        "--domains", str(domains[0]), "--domains", str(domains[1]), "--source", "red",
        "--seeds", "0", "--device", "cpu", "--threads", "1", "-o", str(out),
    ]  # fmt: skip


def test_a_killed_benchmark_goes_on_to_the_bit(domains, tmp_path):
    recipe = tmp_path / "longer.toml"
    recipe.write_text(to_toml(tiny("longer", epochs=12).model_dump(exclude_none=True)))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(recipe, domains, whole), check=True, capture_output=True, timeout=200)
    run = subprocess.Popen(command(recipe, domains, broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = broken / "runs" / "longer__red__s0" / "last.safetensors"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    run.wait()
    assert not (last.parent / "cases.csv").exists(), "the run ended before it was killed; make it longer"
    subprocess.run(command(recipe, domains, broken), check=True, capture_output=True, timeout=200)
    a, b = (load_file(f / "runs" / "longer__red__s0" / "best.safetensors") for f in (whole, broken))
    weights = [k for k in a if a[k].dtype.kind == "f"]
    assert weights
    assert all(np.array_equal(a[k], b[k]) for k in weights)
    assert (whole / "results.csv").read_bytes() == (broken / "results.csv").read_bytes()


# ------------------------------------------------------------------------------------------ statistics


def rows_of(recipe, values, seed=0, target="t", patients=None):
    patients = patients or [str(i) for i in range(len(values))]
    return [
        {"recipe": recipe, "variant": "student", "source": "s", "target": target, "seed": seed, "case": f"{i}",
         "patient": p, "empty": 0, "dice_disc": v}
        for i, (v, p) in enumerate(zip(values, patients, strict=True))
    ]  # fmt: skip


def test_means_and_spread_over_seeds_by_hand():
    rows = rows_of("a", [0.8, 0.9], 0) + rows_of("a", [0.6, 0.7], 1)
    mean, sd, n = mean_over_seeds(rows, "dice_disc")
    assert (mean, n) == (pytest.approx(0.75), 2)
    assert sd == pytest.approx(0.2 / math.sqrt(2))
    rows = rows_of("a", [0.9] * 8, 0, "big") + rows_of("a", [0.5], 0, "small")
    assert unweighted_mean(rows, "dice_disc")[0] == pytest.approx(0.7)


def test_differences_are_averaged_over_seeds_before_anything_else():
    ours = rows_of("a", [0.8, 0.9], 0) + rows_of("a", [0.6, 0.9], 1)
    base = rows_of("b", [0.5, 0.5], 0) + rows_of("b", [0.5, 0.5], 1) + rows_of("b", [0.0, 0.0], 2)
    difference, patients = paired_differences(ours, base, "dice_disc")
    assert difference.tolist() == pytest.approx([0.2, 0.4])  # seed 2 has no partner
    assert patients == ["t/0", "t/1"]


def test_the_bootstrap_draws_patients_not_images():
    rng = np.random.default_rng(0)
    per_patient = rng.normal(0.05, 0.1, 12)
    images = np.repeat(per_patient, 30)
    clusters = [str(i) for i in range(12) for _ in range(30)]
    mean, low, high, _ = cluster_bootstrap(images, clusters)
    _, low_wrong, high_wrong, _ = cluster_bootstrap(images, [str(i) for i in range(360)])
    assert mean == pytest.approx(per_patient.mean())
    assert (high - low) > 3 * (high_wrong - low_wrong)
    expected = 2 * 1.96 * per_patient.std() / math.sqrt(12)
    assert high - low == pytest.approx(expected, rel=0.1)


def test_one_patient_gets_no_p_value():
    _, low, _, p = cluster_bootstrap(np.array([0.1, 0.2]), ["x", "x"])
    assert math.isnan(low)
    assert math.isnan(p)
    assert difference_word(low, low, p) == "one patient: no test"


def test_few_patients_get_no_small_p_value_and_too_narrow_an_interval():
    """Three patients, all better: an exact sign-flip test gives 2 / 2^3. Five: the interval holds the truth in 83 %."""
    mean, low, _, p = cluster_bootstrap(np.array([0.1, 0.2, 0.3]), ["x", "y", "z"])
    assert mean == pytest.approx(0.2)
    assert low > 0
    assert p == pytest.approx(0.25)
    assert difference_word(low, 0.3, p) == "open"
    rng = np.random.default_rng(0)
    holds = []
    for _ in range(300):
        _, low, high, _ = cluster_bootstrap(rng.normal(0, 1, 5), list("abcde"), rounds=500)
        holds.append(low <= 0 <= high)
    assert 0.75 < np.mean(holds) < 0.9


def test_holm_by_hand_and_verdicts():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, math.nan, 0.6])[0] == pytest.approx(1.0)
    assert math.isnan(holm([0.5, math.nan])[1])
    assert difference_word(0.01, 0.03, 0.001) == "better"
    assert difference_word(-0.03, -0.01, 0.001) == "worse"
    assert difference_word(-0.004, 0.003, 0.8) == "equal"
    assert difference_word(-0.04, 0.03, 0.8) == "open"
