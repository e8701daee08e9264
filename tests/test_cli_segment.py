"""`tinymig segment` as a user runs it: real processes, real files, exit codes, and never a traceback."""

import os
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
from cli_parts import photograph, rows_of, volume
from PIL import Image

from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC

COLUMNS = ["file", "mask", "status", "task", "model", "vcdr", "disc_area_px", "cup_area_px", "volume_ml"]
COLUMNS += ["diameters_mm", "uncertainty", "shift_score", "seconds", "error"]
# they follow the columns that others rely on
COLUMNS += ["disc_area_mm2", "shift_level", "doubts", "range_low", "range_high"]


def test_one_photograph_gives_a_mask_in_its_own_grid_and_one_row(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    done = tinymig("segment", "eye.png", "-o", "out", "--task", "optic", "--overlay", code=0)
    assert "vCDR 0.5" in done.stdout
    mask = Image.open(tmp_path / "out" / "eye_mask.png")
    assert mask.mode == "P"
    labels = np.asarray(mask)
    assert labels.shape == (300, 400)
    assert set(np.unique(labels)) == {0, 1, 2}
    (row,) = rows_of(tmp_path / "out")
    assert list(row) == COLUMNS
    assert (row["file"], row["mask"], row["status"], row["task"]) == ("eye.png", "eye_mask.png", "ok", "optic")
    assert row["model"].startswith("toy-optic@")
    assert float(row["vcdr"]) == pytest.approx(0.5, abs=0.03)
    assert float(row["disc_area_px"]) == pytest.approx(np.pi * 40 * 36, rel=0.03)
    assert row["error"] == ""
    assert Image.open(tmp_path / "out" / "eye_overlay.png").size[0] > 600


def test_a_volume_is_recognised_and_its_mask_has_the_inputs_affine(tinymig, tmp_path):
    gland = volume(tmp_path / "scan.nii.gz")
    tinymig("segment", "scan.nii.gz", "-o", "out", "--psa", "6.0", code=0)
    image, mask = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "out" / "scan_mask.nii.gz")
    np.testing.assert_array_equal(mask.affine, image.affine)
    labels = np.asarray(mask.dataobj)
    assert labels.shape == image.shape
    both = np.count_nonzero(gland) + np.count_nonzero(labels)
    assert 2 * np.count_nonzero(gland & (labels == 1)) / both > 0.95
    (row,) = rows_of(tmp_path / "out")
    assert list(row) == [*COLUMNS, "psa_density"]
    volume_ml = np.count_nonzero(labels) * 0.9 / 1000
    assert float(row["volume_ml"]) == pytest.approx(volume_ml, rel=1e-3)
    assert float(row["psa_density"]) == pytest.approx(6.0 / volume_ml, rel=1e-3)
    assert len(row["diameters_mm"].split("x")) == 3


def test_nothing_found_is_an_empty_mask_a_row_and_exit_0(tinymig, tmp_path):
    photograph(tmp_path / "eye.png", disc=False)
    tinymig("segment", "eye.png", "-o", "out", "--task", "optic", code=0)
    assert not np.asarray(Image.open(tmp_path / "out" / "eye_mask.png")).any()
    (row,) = rows_of(tmp_path / "out")
    assert row["status"] == "not_found"
    assert "No optic disc found" in row["error"]


def test_bad_inputs_are_rows_and_every_other_input_is_done(tinymig, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    photograph(folder / "good.png")
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.jpg").write_bytes(b"")
    whole = photograph(folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    Image.fromarray(np.full((100, 100, 3), 7, np.uint8)).save(folder / "constant.png")
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "dot.png")
    done = tinymig("segment", folder, "nowhere.png", "-o", "out", "--task", "optic", code=1)
    rows = {os.path.basename(r["file"]): r for r in rows_of(tmp_path / "out")}
    assert {n for n, r in rows.items() if r["status"] == "ok"} == {"good.png", "whole.jpg"}
    for name in ("text.png", "empty.jpg", "cut.jpg", "constant.png", "dot.png", "nowhere.png"):
        assert rows[name]["status"] == "failed"
        assert "expected" in rows[name]["error"] or "open it" in rows[name]["error"], rows[name]["error"]
    assert "2 done, 6 failed" in done.stdout


def test_a_mask_of_the_same_input_model_and_options_is_skipped(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    args = ("segment", "eye.png", "-o", "out", "--task", "optic")
    tinymig(*args, code=0)
    first = (tmp_path / "out" / "eye_mask.png").stat().st_mtime_ns
    assert "skipped" in tinymig(*args, code=0).stdout
    (row,) = rows_of(tmp_path / "out")
    assert row["status"] == "skipped"
    assert float(row["vcdr"]) == pytest.approx(0.5, abs=0.03)
    assert (tmp_path / "out" / "eye_mask.png").stat().st_mtime_ns == first


@pytest.mark.parametrize(
    "change, why",
    [("input", "another input of that name"), ("model", "was made by toy-optic@"), ("roi", "with other options")],
)
def test_any_other_existing_mask_needs_overwrite(tinymig, tmp_path, make_model, change, why):
    photograph(tmp_path / "eye.png")
    args = ["segment", "eye.png", "-o", "out", "--task", "optic"]
    tinymig(*args, code=0)
    before = (tmp_path / "out" / "eye_mask.png").read_bytes()
    if change == "input":
        photograph(tmp_path / "eye.png", seed=1)
    elif change == "model":
        make_model("other", OPTIC, (-0.2, 0.5), input=InputSpec(size=128))
        args += ["--model", "other.safetensors"]
    else:
        args += ["--roi", "full"]
    done = tinymig(*args, code=1)
    assert why in done.stdout
    assert (tmp_path / "out" / "eye_mask.png").read_bytes() == before
    tinymig(*args, "--overwrite", code=0)


def test_a_foreign_file_in_the_masks_place_is_not_overwritten(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "eye_mask.png").write_bytes(b"mended by hand")
    assert "--overwrite" in tinymig("segment", "eye.png", "-o", "out", "--task", "optic", code=1).stdout
    assert (tmp_path / "out" / "eye_mask.png").read_bytes() == b"mended by hand"


def test_equal_stems_do_not_share_a_mask(tinymig, tmp_path):
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "a.jpg")
    tinymig("segment", "a.png", "a.jpg", "-o", "out", "--task", "optic", code=0)
    assert {p.name for p in (tmp_path / "out").glob("*_mask.png")} == {"a.png_mask.png", "a.jpg_mask.png"}


def test_rows_of_earlier_runs_stay_in_the_table(tinymig, tmp_path):
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "b.png")
    tinymig("segment", "a.png", "-o", "out", "--task", "optic", code=0)
    tinymig("segment", "b.png", "-o", "out", "--task", "optic", code=0)
    assert {r["file"] for r in rows_of(tmp_path / "out")} == {"a.png", "b.png"}


@pytest.mark.parametrize(
    "args, says",
    [
        (("--model", "optik-toy"), "no model named 'optik-toy'"),
        (("--model", "toy-optik"), "did you mean 'toy-optic'"),
        (("--model", "broken.safetensors"), "is not a napari-tinymig model"),
        (("--task", "opic"), "no task 'opic'"),
        (("--task", "polyp", "--model", "toy-optic"), "does 'optic', not 'polyp'"),
        (("--roi", "half"), "is not one of 'auto', 'full'"),
        (("--device", "cuda"), "device 'cuda' cannot be used"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(tinymig, tmp_path, args, says):
    photograph(tmp_path / "eye.png")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    if "cuda" in args:
        from napari_tinymig.network.run import resolve_device

        if resolve_device("auto").name == "cuda":
            pytest.skip("this machine has CUDA, so asking for it is right")
    done = tinymig("segment", "eye.png", "-o", "out", *args)
    text = done.stderr + done.stdout
    assert says in text
    assert done.returncode == 2


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    (tmp_path / "file").write_text("in the way")
    done = tinymig("segment", "eye.png", "-o", "file/out", "--task", "optic", code=2)
    assert "choose another folder with -o" in done.stderr


def test_an_empty_folder_fails_with_its_reason(tinymig, tmp_path):
    (tmp_path / "nothing").mkdir()
    tinymig("segment", "nothing", "-o", "out", code=1)
    (row,) = rows_of(tmp_path / "out")
    assert "holds no image" in row["error"]


def test_auto_without_a_gate_asks_for_the_task_or_finds_it(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    done = tinymig("segment", "eye.png", "-o", "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["status"] == "ok" or "--task" in row["error"]
    assert done.returncode == (0 if row["status"] == "ok" else 1)


def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(tinymig, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(60):
        photograph(folder / f"{i:03}.png", seed=i)
    command = [sys.executable, "-m", "napari_tinymig", "segment", str(folder), "-o", "out", "--task", "optic"]
    process = subprocess.Popen(
        command,
        env=tinymig.env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores Ctrl-C, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("*_mask.png"))) < 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert process.returncode == 1, (stdout, stderr)
    masks = len(list((tmp_path / "out").glob("*_mask.png")))
    assert 5 <= masks < 60
    assert len(rows_of(tmp_path / "out")) >= 1
    done = tinymig("segment", folder, "-o", "out", "--task", "optic", "--overwrite", code=0)
    assert "60 done" in done.stdout
    assert len(rows_of(tmp_path / "out")) == 60


def test_a_dask_cluster_does_the_same_work(tinymig, tmp_path):
    from distributed import LocalCluster

    for i in range(3):
        photograph(tmp_path / f"{i}.png", seed=i)
    args = ("segment", "0.png", "1.png", "2.png", "--task", "optic")
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, env=tinymig.env) as workers:
        tinymig(*args, "-o", "far", "--cluster", workers.scheduler_address, code=0)
    tinymig(*args, "-o", "near", code=0)
    for i in range(3):
        far, near = (Image.open(tmp_path / o / f"{i}_mask.png") for o in ("far", "near"))
        np.testing.assert_array_equal(np.asarray(far), np.asarray(near))


def test_neither_torch_nor_napari_is_imported_to_segment(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    code = (
        "import sys\nfrom napari_tinymig.cli import main\n"
        "try:\n    main(['segment', 'eye.png', '-o', 'out', '--task', 'optic'])\n"
        "except SystemExit as e:\n    assert not e.code\n"
        "heavy = {'torch', 'napari', 'qtpy', 'timm', 'monai', 'matplotlib', 'nibabel', 'pydicom'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], env=tinymig.env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
