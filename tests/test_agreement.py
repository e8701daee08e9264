"""Agreement of two readers against numbers worked out by hand and published ones."""

import math

import numpy as np
import pytest

from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.formats.mask_sets import case_name, pair_masks
from napari_tinymig.measures.agreement import agreement, compare_masks, icc21
from napari_tinymig.reports.bland_altman import bland_altman
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.prostate import PROSTATE


def test_bias_and_limits_of_agreement_by_hand():
    # differences 1, 2, 3: mean 2, sd 1; limits 2 -/+ 1.96; standard error of a limit sqrt(3/3) = 1, t(2, .975) = 4.3027
    found = agreement([11, 22, 33], [10, 20, 30])
    assert (found.n, found.bias, found.sd) == (3, 2.0, 1.0)
    assert (found.lower, found.upper) == pytest.approx((0.04, 3.96))
    assert found.lower_interval == pytest.approx((0.04 - 4.3027, 0.04 + 4.3027), abs=1e-3)
    assert found.mae == 2.0


def test_icc_of_two_raters_of_shrout_and_fleiss():
    # raters 1 and 2 of table 2 in Shrout and Fleiss (1979); ANOVA by hand: MSR 4.6, MSC 85.3333, MSE 0.9333...
    a, b = np.float64([9, 6, 8, 7, 10, 6]), np.float64([2, 1, 4, 1, 5, 2])
    table = np.stack([a, b], 1)
    rows = 2 * ((table.mean(1) - table.mean()) ** 2).sum() / 5
    columns = 6 * ((table.mean(0) - table.mean()) ** 2).sum()
    total = ((table - table.mean()) ** 2).sum()
    error = (total - 5 * rows - columns) / 5
    assert icc21(a, b) == pytest.approx((rows - error) / (rows + error + 2 * (columns - error) / 6))
    assert 0 < icc21(a, b) < 0.3  # one rater is far stricter: agreement is poor though the order is kept


def test_icc_is_one_for_equal_readings_and_falls_with_a_constant_offset():
    x = np.linspace(0.2, 0.9, 20)
    assert icc21(x, x) == pytest.approx(1.0)
    assert icc21(x, x + 0.2) < 0.85


def test_pairs_with_a_nan_are_left_out_and_one_pair_is_no_agreement():
    assert agreement([1.0, math.nan, 3.0], [1.0, 2.0, 2.0]).n == 2
    assert math.isnan(agreement([1.0], [1.0]).bias)
    with pytest.raises(ValueError, match="expected pairs"):
        agreement([1.0], [1.0, 2.0])


def test_two_masks_of_one_image_are_compared_region_by_region():
    a, b = np.zeros((50, 50), np.uint8), np.zeros((50, 50), np.uint8)
    a[10:40, 10:40] = 1
    b[10:40, 10:40] = 1
    a[20:30, 20:30] = 2
    b[20:35, 20:30] = 2
    pair = compare_masks("x", a, b, OPTIC)
    assert pair.dice == {"disc": 1.0, "cup": pytest.approx(2 * 100 / 250)}
    assert pair.hd95["cup"] == pytest.approx(5, abs=1)
    assert pair.unit == "px"
    assert (pair.a["vcdr"], pair.b["vcdr"]) == (pytest.approx(10 / 30), pytest.approx(15 / 30))


def test_distances_of_volumes_are_in_mm():
    a, b = np.zeros((8, 20, 20), np.uint8), np.zeros((8, 20, 20), np.uint8)
    a[2:5, 5:15, 5:15] = 1
    b[2:6, 5:15, 5:15] = 1
    pair = compare_masks("v", a, b, PROSTATE, (3.0, 0.5, 0.5))
    assert pair.unit == "mm"
    assert pair.hd95["gland"] == pytest.approx(3.0)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(UnsupportedInput, match="expected equal grids"):
        compare_masks("x", np.zeros((5, 5)), np.zeros((5, 6)), OPTIC)


def test_masks_are_paired_by_stem_with_and_without_mask_ending(tmp_path):
    for folder, names in (("a", ("x.png", "y.png")), ("b", ("x_mask.png", "z_mask.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(b"")
    pairs, alone = pair_masks(tmp_path / "a", tmp_path / "b")
    assert [(n, p.name, q.name) for n, p, q in pairs] == [("x", "x.png", "x_mask.png")]
    assert alone == ["y", "z"]
    assert case_name(tmp_path / "scan_mask.nii.gz") == "scan"


@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_a_plot_is_drawn_for_any_number_of_images(n):
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 0.1, n), rng.normal(0.5, 0.1, n)
    picture = bland_altman(a, b, agreement(a, b), "vcdr", ("one", "two"))
    assert picture.size == (760, 520)
    assert np.asarray(picture).std() > 5
