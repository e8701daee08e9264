"""Prediction with tiny real networks: the mask lies where the picture shows it, in the picture's own grid."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.base.findings import Findings, ShiftFindings
from napari_tinymig.base.records import Scan
from napari_tinymig.predict.disc_locator import best_candidate, field_of_view
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.predict.quality import fundus_quality
from napari_tinymig.predict.volume import left_out_notes
from napari_tinymig.recipes.student import InputSpec
from napari_tinymig.tasks.optic import OPTIC
from napari_tinymig.tasks.polyp import POLYP
from napari_tinymig.tasks.prostate import PROSTATE

DISC_LEVEL, CUP_LEVEL = 0.0, 0.5  # normalised brightness: grey 127.5 and 191


def fundus(shape=(600, 800), disc=(300, 500, 60, 54), cup=(300, 500, 30, 24), field=0.45):
    """A drawn photograph: round dark-red field on black, disc of grey 160, cup of grey 230."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[np.hypot(y - shape[0] / 2, x - shape[1] / 2) < field * max(shape)] = (120, 50, 20)
    truth = np.zeros(shape, np.uint8)
    for value, grey, (cy, cx, h, w) in ((1, 160, disc), (2, 230, cup)):
        inside = ((y - cy) / h) ** 2 + ((x - cx) / w) ** 2 <= 1
        pixels[inside], truth[inside] = grey, value
    return pixels, truth


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture
def optic(make_model):
    locator = make_model("finder", OPTIC, (DISC_LEVEL, CUP_LEVEL), kind="locator", input=InputSpec(size=128))
    student = make_model("optic-toy", OPTIC, (DISC_LEVEL, CUP_LEVEL), input=InputSpec(size=128, roi_scale=2.2))
    return Predictor(student, "cpu", locator=Predictor(locator, "cpu"))


def test_disc_and_cup_of_a_full_field_photograph_are_found_in_its_own_grid(optic):
    pixels, truth = fundus()
    p = optic.predict(Scan(pixels, name="drawn"))
    assert p.status == "ok"
    assert p.labels.shape == (600, 800)
    assert p.labels.dtype == np.uint8
    # the toy goes by brightness alone, and one of the three looks sees another brightness: even local contrast
    assert dice(p.labels >= 1, truth >= 1) > 0.96
    assert dice(p.labels == 2, truth == 2) > 0.96
    assert p.measures["vcdr"] == pytest.approx(0.5, abs=0.02)
    assert p.model_id.startswith("optic-toy@")
    assert p.findings.eye == "right"  # the disc lies right of the middle


@settings(max_examples=15, deadline=None)
@given(
    cy=st.integers(220, 380),
    cx=st.integers(260, 560),
    radius=st.integers(25, 90),
    wide=st.sampled_from([700, 801, 1200]),
)
def test_wherever_the_disc_lies_the_mask_lies_there(make_model_once, cy, cx, radius, wide):
    pixels, truth = fundus((600, wide), (cy, cx, radius, radius), (cy, cx, radius // 2, radius // 2))
    p = make_model_once.predict(Scan(pixels))
    assert dice(p.labels >= 1, truth >= 1) > 0.95


@pytest.fixture(scope="module")
def make_model_once(tmp_path_factory):
    """The toy optic predictor, made once: hypothesis calls the test many times."""
    from threshold_model import threshold_graph

    from napari_tinymig.models.file import write_model_file
    from napari_tinymig.recipes.student import ModelHeader

    folder, levels = tmp_path_factory.mktemp("models"), (DISC_LEVEL, CUP_LEVEL)
    made = [
        write_model_file(
            folder / f"{name}.safetensors",
            ModelHeader(name=name, task=OPTIC, kind=kind, input=InputSpec(size=128, roi_scale=scale)),
            {"levels": np.float32(levels)},
            threshold_graph(levels),
        )
        for name, kind, scale in (("finder", "locator", None), ("student", "segmenter", 2.2))
    ]
    return Predictor(made[1], "cpu", locator=Predictor(made[0], "cpu"))


def test_a_photograph_without_a_disc_gives_an_empty_mask_and_says_so(optic):
    pixels, _ = fundus(disc=(0, 0, 0.1, 0.1), cup=(0, 0, 0.1, 0.1))
    p = optic.predict(Scan(pixels))
    assert p.status == "not_found"
    assert not p.labels.any()
    assert math.isnan(p.measures["vcdr"])
    assert any("No optic disc found" in n for n in p.notes)
    assert p.findings.gradable is False


def test_an_already_cropped_photograph_is_segmented_too(optic):
    pixels, truth = fundus((200, 200), (100, 100, 70, 66), (100, 100, 35, 33), field=2)
    p = optic.predict(Scan(pixels))
    assert dice(p.labels >= 1, truth >= 1) > 0.95
    assert p.findings.eye is None


def test_a_given_region_of_interest_is_used_as_it_is(optic):
    pixels, truth = fundus()
    p = optic.predict(Scan(pixels), roi=(200, 400, 400, 600))
    assert p.findings.roi == (200, 400, 400, 600)
    assert dice(p.labels >= 1, truth >= 1) > 0.96


def test_probabilities_agree_with_the_labels(optic):
    pixels, _ = fundus()
    p = optic.predict(Scan(pixels), probabilities=True)
    assert p.probabilities.shape == (2, 600, 800)
    assert p.probabilities.dtype == np.float16
    differ = (p.probabilities[0] > 0.5) != (p.labels >= 1)
    assert np.count_nonzero(differ) <= 5  # float16 rounds exactly on the border


def test_polyps_may_be_several_or_none(make_model):
    predictor = Predictor(make_model("polyp-toy", POLYP, (0.2,), input=InputSpec(size=128)), "cpu")
    pixels = np.full((300, 400, 3), 60, np.uint8)
    assert predictor.predict(Scan(pixels + np.arange(400, dtype=np.uint8)[None, :, None] % 3)).status == "not_found"
    pixels[50:100, 60:120] = 220
    pixels[200:260, 250:330] = 220
    pixels[10:12, 10:12] = 255  # glare of four pixels
    p = predictor.predict(Scan(pixels))
    assert p.measures["objects"] == 2
    assert p.measures["area_px"] == pytest.approx(50 * 60 + 60 * 80, rel=0.03)


def prostate_volume(depth=10, shape=(80, 100)):
    """Grey noise with a bright ellipsoid and its truth."""
    z, y, x = np.mgrid[:depth, : shape[0], : shape[1]]
    gland = ((z - depth / 2) / (depth / 3)) ** 2 + ((y - 40) / 15) ** 2 + ((x - 50) / 20) ** 2 <= 1
    noise = np.random.default_rng(0).normal(100, 5, gland.shape)
    return (noise + 300 * gland).astype(np.int16), gland


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("fov_mm", [None, 60.0])
def test_a_volume_is_segmented_slice_by_slice_in_its_own_grid(make_model, context, fov_mm):
    spec = InputSpec(size=128, normalisation="percentile_z", context_slices=context, fov_mm=fov_mm)
    predictor = Predictor(make_model("prostate-toy", PROSTATE, (1.0,), input=spec), "cpu")
    pixels, gland = prostate_volume()
    steps = []
    p = predictor.predict(Scan(pixels, (3.0, 0.6, 0.5)), progress=lambda a, b: steps.append((a, b)))
    assert p.labels.shape == pixels.shape
    assert dice(p.labels == 1, gland) > (0.8 if context else 0.95)
    assert p.measures["volume_ml"] == pytest.approx(np.count_nonzero(p.labels) * 0.9 / 1000)
    assert steps[-1] == (10, 10)


def test_one_slice_without_spacing_is_a_volume_without_millilitres(make_model):
    spec = InputSpec(size=128, normalisation="percentile_z", context_slices=True, fov_mm=100.0)
    predictor = Predictor(make_model("prostate-toy", PROSTATE, (1.0,), input=spec), "cpu")
    pixels, gland = prostate_volume()
    p = predictor.predict(Scan(pixels[5:6]))
    assert dice(p.labels == 1, gland[5:6]) > 0.95
    assert math.isnan(p.measures["volume_ml"])
    assert any("spacing of this image is unknown" in n for n in p.notes)


def test_a_volume_says_what_was_left_out_at_its_ends_and_beside_the_gland():
    raw = np.zeros((6, 20, 20), bool)
    raw[1:5, 5:15, 5:15] = True
    kept = raw.copy()
    raw[0, 9:11, 9:11], raw[5, 9:11, 9:11], raw[2, 0, :3] = True, True, True
    says = left_out_notes(raw, kept)
    assert says == ["Left out of the mask: 1 slice at the apex, 1 slice at the base, 3 voxels beside the largest body."]
    assert left_out_notes(kept, kept) == []


def test_probabilities_of_a_volume_have_its_shape(make_model):
    predictor = Predictor(
        make_model("t", PROSTATE, (1.0,), input=InputSpec(size=64, normalisation="percentile_z")), "cpu"
    )
    pixels, _ = prostate_volume(4)
    p = predictor.predict(Scan(pixels), probabilities=True, uncertainty=True)
    assert p.probabilities.shape == (1, *pixels.shape)
    assert 0 <= p.uncertainty <= 1


@pytest.mark.parametrize(
    "pixels, says",
    [
        (np.zeros((5, 40, 40), np.int16), "is constant"),
        (np.full((5, 40, 40), np.nan), "holds no finite number"),
        (np.random.default_rng(0).normal(size=(3, 1, 1)), "expected at least 8"),
        (np.zeros((40, 40, 3), np.uint8), "reads a grey volume"),
    ],
)
def test_a_scan_that_cannot_be_used_is_refused_in_a_sentence(make_model, pixels, says):
    predictor = Predictor(make_model("t", PROSTATE, (1.0,), input=InputSpec(size=64)), "cpu")
    with pytest.raises(UnsupportedInput, match=says):
        predictor.predict(Scan(pixels))


def test_a_volume_with_some_nan_is_segmented_all_the_same(make_model):
    spec = InputSpec(size=128, normalisation="percentile_z")
    predictor = Predictor(make_model("t", PROSTATE, (1.0,), input=spec), "cpu")
    pixels, gland = prostate_volume()
    pixels = pixels.astype(np.float32)
    pixels[:, :5] = np.nan
    pixels[:, -1, -1] = np.inf
    assert dice(predictor.predict(Scan(pixels, (3.0, 0.5, 0.5))).labels == 1, gland) > 0.95


def test_a_header_says_how_sure_a_model_must_be_of_an_object(make_model):
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[20:40, 20:40] = 255  # normalised 1: logit 20
    pixels[80:120, 80:120] = 140  # normalised .1: logit 2
    asked = {}
    for name, constants in (("easy", {}), ("strict", {"object_logit": 5.0})):
        model = make_model(name, POLYP, (0.0,), input=InputSpec(size=128), constants=constants)
        asked[name] = Predictor(model, "cpu").predict(Scan(pixels))
    assert asked["easy"].labels[100, 100] == 1
    assert asked["easy"].labels[30, 30] == 1
    assert asked["strict"].labels[100, 100] == 0
    assert asked["strict"].labels[30, 30] == 1
    assert asked["strict"].findings.doubtful_objects == 1
    assert asked["easy"].findings.doubtful_objects is None


def test_the_field_of_view_is_found_inside_black_borders():
    pixels, _ = fundus((600, 800), field=0.3)
    y0, x0, y1, x1 = field_of_view(pixels)
    assert (y0, y1) == pytest.approx((60, 540), abs=10)
    assert (x0, x1) == pytest.approx((160, 640), abs=10)


def test_a_ragged_patch_is_less_likely_a_disc_than_a_round_one():
    y, x = np.mgrid[:64, :64]
    round_one = (np.hypot(y - 20, x - 20) < 8).astype(np.float32)
    ragged = np.zeros((64, 64), np.float32)
    ragged[40:42, 20:60] = 1
    ragged[40:60, 20:22] = 1
    (centre, diameter, confidence) = best_candidate(np.maximum(round_one, ragged) * 0.9)
    assert centre == pytest.approx((20.5, 20.5))
    assert diameter == pytest.approx(15, abs=1)
    assert confidence > 0.85


def test_dark_and_blurred_photographs_are_called_ungradable():
    from scipy.ndimage import gaussian_filter

    pixels, _ = fundus()
    textured = np.clip(pixels + np.random.default_rng(0).normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
    field, roi = (0, 0, 600, 800), (200, 400, 400, 600)
    assert fundus_quality(textured, field, roi).gradable
    assert "dark" in fundus_quality(pixels // 8, field, roi).reasons[0]
    blurred = gaussian_filter(pixels.astype(float), (14, 14, 0)).astype(np.uint8)
    assert any("blurred" in r for r in fundus_quality(blurred, field, roi).reasons)


def test_a_cup_offset_moves_the_cup_alone_and_a_model_may_carry_its_own(optic, make_model):
    pixels, _ = fundus()
    plain = optic.predict(Scan(pixels, name="drawn"))
    offset = math.log(3)
    generous = Predictor(optic.model, cup_offset=offset, locator=optic.locator).predict(Scan(pixels, name="drawn"))
    before, after = plain.measures["vcdr"], generous.measures["vcdr"]
    assert after == pytest.approx(3 * before / (1 + 2 * before), abs=0.03)  # odds times three
    assert ((generous.labels > 0) == (plain.labels > 0)).all()
    assert generous.extra["cup_offset"] == offset
    own = make_model("own", OPTIC, (DISC_LEVEL, CUP_LEVEL), input=optic.header.input, constants={"cup_offset": offset})
    assert Predictor(own, locator=optic.locator).predict(Scan(pixels)).measures["vcdr"] == pytest.approx(after)


def test_a_cup_offset_for_a_model_without_cups_is_refused(make_model):
    with pytest.raises(ValueError, match="leave the offset out"):
        Predictor(make_model("toy-polyp", POLYP, (0.0,)), cup_offset=0.5)


def test_findings_keep_the_names_that_files_of_version_0_1_0_have():
    shift = ShiftFindings(0.5, "known ground", {"stage 1": 50.0}, slices=(1.0, 2.0))
    found = Findings(roi=(0.0, 0.0, 600.0, 600.0), gradable=False, shift=shift, expected_dice={"cup": (0.8, 0.7, 0.9)})
    found.intervals = {"vcdr": (0.4, 0.6)}
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == {
        "roi": [0.0, 0.0, 600.0, 600.0],
        "gradable": False,
        "expected_dice": {"cup": [0.8, 0.7, 0.9]},
        "intervals": {"vcdr": [0.4, 0.6]},
        "shift_distance": 0.5,
        "shift_level": "known ground",
        "shift_profile": {"stage 1": 50.0},
        "shift_causes": [],
        "shift_slices": [1.0, 2.0],
    }
