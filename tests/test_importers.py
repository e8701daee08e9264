"""Foreign layouts, drawn small but named as their owners name them, become domain folders that train can read."""

import nibabel as nib
import numpy as np
import pytest
from napari_tinymig.training.data.cases import find_cases
from napari_tinymig.training.data.image_set import load_set
from napari_tinymig.training.data.importers import LAYOUTS, import_domain, in_quarters
from napari_tinymig.training.data.read_files import read_image, read_label, read_votes
from PIL import Image
from scipy.io import savemat

from napari_tinymig.base.errors import OutputRefused, UnreadableInput
from napari_tinymig.recipes.student import InputSpec, Recipe
from napari_tinymig.recipes.train import DataSpec
from napari_tinymig.tasks.optic import OPTIC

H, W = 40, 48


def truth():
    y, x = np.mgrid[:H, :W]
    away = np.hypot(y - 20, x - 22)
    return (away < 12).astype(np.uint8) + (away < 6)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def photo(path, width=W, seed=0):
    save(path, np.random.default_rng(seed).integers(0, 255, (H, width, 3), dtype=np.uint8))


def coded(labels):
    return np.choose(labels, [255, 128, 0]).astype(np.uint8)


def draw_drishti(root):
    for part, gt in (("Training", "GT"), ("Test", "Test_GT")):
        name = f"drishtiGS_00{len(part)}"
        photo(root / part / "Images" / "NORMAL" / f"{name}.png")
        maps = root / part / gt / name / "SoftMap"
        cup = np.where(truth() == 2, 255, np.where(truth() == 1, 191, 0)).astype(np.uint8)  # three of four say cup
        save(maps / f"{name}_ODsegSoftmap.png", ((truth() >= 1) * 255).astype(np.uint8))
        save(maps / f"{name}_cupsegSoftmap.png", cup)
    return root


def draw_refuge(root):
    photo(root / "Training400" / "Glaucoma" / "g0001.jpg")
    photo(root / "Training400" / "Non-Glaucoma" / "n0001.jpg")
    for kind, name in (("Glaucoma", "g0001"), ("Non-Glaucoma", "n0001")):
        save(root / "Annotation-Training400" / "Disc_Cup_Masks" / kind / f"{name}.bmp", coded(truth()))
    return root


def draw_rimone(root):
    for group, name in (("Healthy", "N-1-L"), ("Glaucoma and suspects", "G-2-R")):
        photo(root / group / "Stereo Images" / f"{name}.jpg", width=2 * W)
        for region, mask in (("Disc", truth() >= 1), ("Cup", truth() == 2)):
            whole = np.hstack([mask, np.zeros_like(mask)]) if name[0] == "N" else mask  # both sizes are met
            save(root / group / "Average_masks" / f"{name}-{region}-Avg.png", (whole * 255).astype(np.uint8))
    return root


def draw_origa(root):
    photo(root / "Images" / "001.jpg")
    photo(root / "Images" / "002.jpg")
    (root / "Semi-automatic-annotations").mkdir()
    savemat(root / "Semi-automatic-annotations" / "001.mat", {"mask": truth().astype(float)})
    save(root / "Masks" / "002.png", truth())
    return root


def draw_rigaplus(root):
    rows = ["image,mask"]
    for name in ("image1", "image2"):
        photo(root / "RIGA" / "BinRushed" / f"{name}.tif")
        rows.append(f"RIGA/BinRushed/{name}.tif,RIGA-mask/BinRushed/{name}.tif")
        for rater in range(1, 7):
            drawn = truth() if rater <= 4 else np.minimum(truth(), 1)  # two of six see no cup
            save(root / "RIGA-mask" / "BinRushed" / f"{name}-{rater}.tif", coded(drawn))
    (root / "BinRushed_train.csv").write_text("\n".join(rows) + "\n")
    return root / "BinRushed"


PHOTOGRAPHS = {
    "drishti": draw_drishti,
    "refuge": draw_refuge,
    "rimone_r3": draw_rimone,
    "origa": draw_origa,
    "rigaplus": draw_rigaplus,
}


@pytest.mark.parametrize("layout", PHOTOGRAPHS)
def test_a_fundus_layout_becomes_a_domain_with_rim_and_cup(layout, tmp_path):
    out = import_domain(layout, PHOTOGRAPHS[layout](tmp_path / "theirs"), tmp_path / layout)
    cases = find_cases(out)
    assert len(cases) == 2
    for case in cases:
        pixels, _ = read_image(case.image)
        labels, _ = read_label(case.label)
        assert pixels.shape == (H, W, 3)
        assert np.array_equal(labels, truth()), layout


def test_drishtis_soft_maps_become_votes(tmp_path):
    out = import_domain("drishti", draw_drishti(tmp_path / "theirs"), tmp_path / "drishti")
    case = find_cases(out)[0]
    assert set(case.votes) == {"disc", "cup"}
    votes = read_votes(case.votes["cup"])
    assert set(np.unique(votes)) == {0, 3, 4}


def test_riga_plus_keeps_its_raters_votes_where_the_agreement_level_finds_them(tmp_path):
    out = import_domain("rigaplus", draw_rigaplus(tmp_path / "theirs"), tmp_path / "binrushed")
    case = find_cases(out)[0]
    assert set(case.votes) == {"disc", "cup"}
    cup = read_votes(case.votes["cup"])
    disc = read_votes(case.votes["disc"])
    assert np.array_equal(cup, np.where(truth() == 2, 3, 0))  # four of six = the majority = three quarters
    assert np.array_equal(disc, np.where(truth() >= 1, 4, 0))
    for level, kept in ((3, True), (4, False)):
        recipe = Recipe(name="t", task=OPTIC, input=InputSpec(size=64), data=DataSpec(cup_agreement=level))
        assert bool((load_set(find_cases(out), recipe).targets[:, 1] > 127).any()) is kept


def test_votes_of_six_in_quarters_by_hand():
    assert in_quarters(np.arange(7), 6).tolist() == [0, 1, 1, 2, 3, 3, 4]
    assert in_quarters(np.arange(5), 4).tolist() == [0, 1, 2, 3, 4]
    assert in_quarters(np.arange(13), 12).tolist()[-2:] == [3, 4]  # eleven of twelve are not all


def test_a_single_mask_of_riga_plus_has_no_votes(tmp_path):
    theirs = tmp_path / "theirs"
    photo(theirs / "RIGA" / "a.tif")
    save(theirs / "RIGA-mask" / "a.tif", coded(truth()))
    (theirs / "Base_train.csv").write_text("image,mask\nRIGA/a.tif,RIGA-mask/a.tif\n")
    out = import_domain("rigaplus", theirs / "Base", tmp_path / "base")
    assert find_cases(out)[0].votes == {}
    assert not (out / "experts").exists()


def test_zones_of_a_prostate_are_joined_and_the_grid_is_kept(tmp_path):
    theirs = tmp_path / "RUNMC"
    theirs.mkdir()
    rng = np.random.default_rng(0)
    affine = np.diag([-0.6, -0.6, 3.3, 1.0])
    affine[:3, 3] = 10, 20, -30
    zones = rng.integers(0, 3, (20, 22, 5)).astype(np.uint8)
    nib.save(nib.Nifti1Image(rng.normal(size=(20, 22, 5)).astype(np.float32), affine), theirs / "Case00.nii.gz")
    nib.save(nib.Nifti1Image(zones, affine), theirs / "Case00_segmentation.nii.gz")
    out = import_domain("prostate_site", theirs, tmp_path / "domain")
    label = nib.load(out / "labels" / "Case00.nii.gz")
    assert np.array_equal(np.asarray(label.dataobj), (zones > 0).astype(np.uint8))
    np.testing.assert_allclose(label.affine, affine, atol=1e-5)
    image = nib.load(out / "images" / "Case00.nii.gz")
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    assert len(find_cases(out)) == 1


def test_a_second_import_changes_nothing(tmp_path):
    theirs = draw_refuge(tmp_path / "theirs")
    out = import_domain("refuge", theirs, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    import_domain("refuge", theirs, out)
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def test_what_cannot_be_imported_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableInput, match="nothing of REFUGE"):
        import_domain("refuge", tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="expected one of drishti"):
        import_domain("refuse", tmp_path, tmp_path / "out")
    photo(tmp_path / "mine" / "photo.png")
    with pytest.raises(OutputRefused, match="not empty"):
        import_domain("refuge", draw_refuge(tmp_path / "theirs"), tmp_path / "mine")
    save(tmp_path / "theirs" / "g0001.png", truth()[:-3])
    with pytest.raises(UnreadableInput, match="expected equal"):
        import_domain("refuge", tmp_path / "theirs", tmp_path / "other")


def test_every_layout_says_what_to_point_at():
    assert all(v.title and v.expects for v in LAYOUTS.values())
