"""What `segment` and `prompt` take and refuse in Python: arrays, spacings, regions, names."""

import math
import warnings

import numpy as np
import pytest

import napari_tinymig as tm
from napari_tinymig.predict.given_array import scan_of_array
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE


@pytest.fixture
def bright():
    pixels = np.full((90, 120, 3), 40, np.uint8)
    pixels[30:60, 40:80] = 230
    return pixels


@pytest.fixture
def polyp(make_model):
    return Predictor(make_model("toy", POLYP, (0.2,), input=InputSpec(size=64)), "cpu")


@pytest.fixture
def prostate(make_model):
    return Predictor(
        make_model("toy3", PROSTATE, (1.0,), input=InputSpec(size=64, normalisation="percentile_z")), "cpu"
    )


def test_one_nan_pixel_of_a_float_photograph_changes_only_itself(bright, polyp):
    """One NaN made every pixel NaN, and the photograph was called constant."""
    whole = bright / 255.0
    pixels = whole.copy()
    pixels[3, 3, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_hole = tm.segment(pixels, model=polyp)
    assert with_hole.measures["area_px"] == tm.segment(whole, model=polyp).measures["area_px"] > 1000


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((40, 40, 3), complex), "type complex128; expected real numbers"),
        (np.full((40, 40), "a"), "expected real numbers"),
        (np.full((40, 40), None), "expected real numbers"),
        ([[1, 2], [3]], "expected .*colour"),
        (None, "shape \\(\\); expected"),
        (np.zeros((1, 40, 40, 3)), "give one at a time"),
        (np.full((40, 40, 3), np.nan), "no finite number"),
        (np.zeros((40, 40, 3), np.uint8), "constant"),
        (np.zeros((40, 0, 3), np.uint8), "0"),
    ],
)
@pytest.mark.parametrize("ask", [tm.segment, tm.prompt], ids=["segment", "prompt"])
def test_what_is_no_image_is_a_value_error_that_says_what_is_expected(ask, image, said):
    with pytest.raises(ValueError, match=said):
        ask(image, task="optic")


@pytest.mark.parametrize("spacing", [2, "abc", (1, -1), (1, math.nan), (1, 2, 3, 4), (1,)])
def test_a_spacing_that_is_none_is_a_value_error(bright, polyp, spacing):
    with pytest.raises(ValueError, match="spacing is .*; expected 2 or 3 positive finite numbers"):
        tm.segment(bright, spacing=spacing, model=polyp)


@pytest.mark.parametrize("name", ["liver", "auto"])
def test_a_task_that_nobody_knows_is_a_value_error(bright, name):
    with pytest.raises(ValueError, match="no model for task"):
        tm.prompt(bright, task=name)
    with pytest.raises(ValueError, match="no model named"):
        tm.load_model("liver")


def test_a_grey_slice_of_unknown_thickness_has_diameters_in_its_plane_and_no_millilitres(bright, prostate):
    """Two numbers of spacing were filled up with a thickness of 1 mm, and a volume was computed from it; three numbers
    lost theirs."""
    plane = tm.segment(bright[..., 0], (0.5, 0.5), model=prostate).measures
    assert math.isnan(plane["volume_ml"])
    assert math.isnan(plane["diameter_cc_mm"])
    assert plane["diameter_ap_mm"] == pytest.approx(15, abs=1)
    slab = tm.segment(bright[..., 0], (3, 0.5, 0.5), model=prostate).measures
    assert slab["volume_ml"] == pytest.approx(slab["gland_voxels"] * 3 * 0.25 / 1000)
    session = tm.prompt(bright[..., 0], (0.5, 0.5), task="prostate", start=None)
    session.click((45, 60))
    assert session.labels.any()
    assert math.isnan(session.prediction.measures["volume_ml"])


def test_the_mask_of_a_grey_picture_has_the_shape_of_the_picture(bright, prostate):
    """It had a first axis of length 1 which the picture lacks."""
    prediction = tm.segment(bright[..., 0], model=prostate, probabilities=True, uncertainty=True)
    assert prediction.labels.shape == prediction.uncertainty_map.shape == (90, 120)
    assert prediction.probabilities.shape == (1, 90, 120)
    assert tm.segment(bright[None, ..., 0], model=prostate).labels.shape == (1, 90, 120)


def test_one_channel_that_has_an_axis_of_its_own_is_a_grey_picture(bright):
    assert scan_of_array(bright[..., :1]).pixels.shape == (1, 90, 120)


@pytest.mark.parametrize("roi", ["whole", 5, None, (1, 2, 3), (50, 0, 20, 40), (500, 500, 600, 600), ("a",) * 4])
def test_a_region_that_is_none_is_refused(bright, polyp, roi):
    """A misspelt word was taken for 'full', a box outside the photograph gave an empty mask."""
    with pytest.raises(ValueError, match="roi is "):
        tm.segment(bright, model=polyp, roi=roi)


def test_a_box_may_be_an_array_and_reach_over_the_edge(bright, polyp):
    assert tm.segment(bright, model=polyp, roi=np.array([-5, 10, 80, 95])).measures["area_px"] > 1000


def test_a_spacing_beside_a_file_counts_where_the_file_has_none_and_is_refused_where_it_has_another(
    tmp_path, bright, polyp, prostate
):
    """It was ignored."""
    import nibabel as nib
    from PIL import Image

    Image.fromarray(bright).save(tmp_path / "frame.png")
    measures = tm.segment(tmp_path / "frame.png", (0.1, 0.1), model=polyp).measures
    assert measures["area_mm2"] == pytest.approx(measures["area_px"] * 0.01)
    volume = np.repeat(bright[..., 0].T[..., None], 3, axis=2)
    nib.save(nib.Nifti1Image(volume, np.diag([-0.5, -0.5, 3, 1])), tmp_path / "scan.nii.gz")
    with pytest.raises(ValueError, match=r"the image's own is \(3, 0.5, 0.5\) mm"):
        tm.segment(tmp_path / "scan.nii.gz", (1, 1, 1), model=prostate)
    assert tm.segment(tmp_path / "scan.nii.gz", (3, 0.5, 0.5), model=prostate).measures["volume_ml"] > 0


def test_no_thread_is_too_few():
    with pytest.raises(ValueError, match="threads is 0"):
        tm.load_model("optic", threads=0)
