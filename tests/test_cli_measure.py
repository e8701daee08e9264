"""`tinymig measure` and `tinymig compare` as a user runs them: the numbers of one mask, and of two readers."""

import numpy as np
import pytest
from cli_parts import photograph, rows_of, volume
from PIL import Image


def test_measure_gives_the_same_numbers_as_segment(tinymig, tmp_path):
    photograph(tmp_path / "eye.png")
    volume(tmp_path / "scan.nii.gz")
    tinymig("segment", "eye.png", "-o", "out", "--task", "optic", code=0)
    tinymig("segment", "scan.nii.gz", "-o", "out", code=0)
    tinymig("measure", "out/eye_mask.png", "out/scan_mask.nii.gz", "-o", "again", code=0)
    before = {r["mask"]: r for r in rows_of(tmp_path / "out")}
    after = {r["mask"]: r for r in rows_of(tmp_path / "again")}
    for name in before:
        for column in ("vcdr", "disc_area_px", "cup_area_px", "volume_ml", "diameters_mm", "task"):
            assert after[name][column] == before[name][column], (name, column)


def test_measure_reads_foreign_codes_and_names_unknown_ones(tinymig, tmp_path):
    codes = np.full((100, 100), 255, np.uint8)
    codes[20:80, 20:80] = 128
    codes[35:65, 40:60] = 0
    Image.fromarray(codes).save(tmp_path / "refuge.png")
    tinymig("measure", "refuge.png", "-o", "m", "--labels", "0:2,128:1,255:0", code=0)
    (row,) = rows_of(tmp_path / "m")
    assert float(row["vcdr"]) == pytest.approx(0.5)
    tinymig("measure", "refuge.png", "-o", "n", code=1)
    (row,) = rows_of(tmp_path / "n")
    assert "--labels" in row["error"]


def test_compare_reports_dice_distance_and_agreement(tinymig, tmp_path):
    for reader, grow in (("a", 0), ("b", 4)):
        (tmp_path / reader).mkdir()
        for i in range(6):
            labels = np.zeros((120, 120), np.uint8)
            labels[20:100, 20:100] = 1
            labels[40 : 60 + 3 * i + grow, 40:80] = 2
            Image.fromarray(labels).save(tmp_path / reader / f"case{i}{'_mask' if reader == 'b' else ''}.png")
    done = tinymig("compare", "a", "b", "-o", "out", code=0)
    assert "ICC(2,1)" in done.stdout
    rows = rows_of(tmp_path / "out" / "agreement.csv")
    assert len(rows) == 6
    assert {float(r["dice_disc"]) for r in rows} == {1.0}
    assert float(rows[0]["hd95_cup"]) == 4.0
    assert float(rows[0]["difference"]) == pytest.approx(-4 / 80)
    assert Image.open(tmp_path / "out" / "bland_altman.png").size == (760, 520)
    (tmp_path / "b" / "case0_mask.png").unlink()
    assert "only one of the two readers has it" in tinymig("compare", "a", "b", "-o", "out", code=1).stdout
