"""Photographs of every mode are read upright, and their masks lie on them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from napari_tinymig.base.errors import UnsupportedInput
from napari_tinymig.base.records import Scan
from napari_tinymig.formats import (
    InputItem,
    as_photograph,
    as_volume,
    find_inputs,
    mask_path,
    mask_paths,
    open_input,
    open_mask,
    read_mask,
    write_mask,
)
from napari_tinymig.formats.photographs import turn_back, turn_upright
from napari_tinymig.tasks.colours import palette
from napari_tinymig.tasks.optic import OPTIC

H, W = 24, 36


@pytest.fixture
def rgb():
    """A colour picture (24, 36, 3) with four different corners."""
    y, x = np.mgrid[:H, :W]
    return np.stack([7 * x, 10 * y, 255 - 3 * x - 3 * y], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_lossless_colour_is_read_to_the_value(tmp_path, rgb, suffix):
    Image.fromarray(rgb).save(tmp_path / f"a{suffix}")
    scan_file = open_input(tmp_path / f"a{suffix}")
    assert scan_file.scan.kind == "photograph"
    assert scan_file.scan.name == "a"
    assert np.array_equal(scan_file.scan.pixels, rgb)


@pytest.mark.parametrize("suffix, options", [(".jpg", {"quality": 95}), (".webp", {"lossless": True}), (".JPEG", {})])
def test_jpeg_and_webp_are_read(tmp_path, rgb, suffix, options):
    Image.fromarray(rgb).save(tmp_path / f"a{suffix}", **options)
    pixels = open_input(tmp_path / f"a{suffix}").scan.pixels
    assert np.abs(pixels.astype(int) - rgb).mean() < 6


def test_what_is_transparent_becomes_black_and_the_rest_keeps_its_colour(tmp_path, rgb):
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:, :5] = 0
    Image.fromarray(np.dstack([rgb, alpha])).save(tmp_path / "a.png")
    pixels = open_input(tmp_path / "a.png").scan.pixels
    assert not pixels[:, :5].any()
    assert np.array_equal(pixels[:, 5:], rgb[:, 5:])


def test_a_palette_picture_is_read_as_colour(tmp_path, rgb):
    indexed = Image.fromarray(rgb).quantize(64)
    indexed.save(tmp_path / "a.png")
    assert np.array_equal(open_input(tmp_path / "a.png").scan.pixels, np.asarray(indexed.convert("RGB")))


def test_cmyk_is_read_as_colour(tmp_path, rgb):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(open_input(tmp_path / "a.jpg").scan.pixels.astype(int) - rgb).mean() < 8


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1", "F"])
def test_a_grey_picture_is_a_slice_and_can_be_a_photograph(tmp_path, rgb, mode):
    grey = rgb[..., 0].astype(np.uint16) * 100 if mode == "I;16" else rgb[..., 0]
    suffix = ".tif" if mode == "F" else ".png"
    picture = Image.fromarray(grey)
    (picture if mode == "I;16" else picture.convert(mode)).save(tmp_path / f"a{suffix}")
    scan = open_input(tmp_path / f"a{suffix}").scan
    assert scan.kind == "volume"
    assert scan.pixels.shape == (1, H, W)
    assert as_volume(scan) is scan
    photograph = as_photograph(scan)
    assert photograph.kind == "photograph"
    assert (photograph.pixels[..., 0] == photograph.pixels[..., 2]).all()
    if mode == "I;16":
        assert np.array_equal(scan.pixels[0], grey)
        assert photograph.pixels.max() == pytest.approx(grey.max() / (2**15 - 1) * 255, abs=1)  # 15 bits in use


def test_sixteen_bit_colour_fills_eight_bits_by_the_bits_in_use(tmp_path, rgb):
    twelve_bit = rgb.astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "a.tif", twelve_bit, photometric="rgb")
    import imagecodecs

    (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(twelve_bit))
    for name in ("a.tif", "b.png"):
        pixels = open_input(tmp_path / name).scan.pixels
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("options", [{"planarconfig": "separate"}, {"compression": "zstd"}, {"compression": "lzma"}])
def test_tiff_that_pillow_refuses_is_read(tmp_path, rgb, options):
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(rgb, -1, 0) if "planarconfig" in options else rgb, photometric="rgb", **options
    )
    assert np.array_equal(open_input(tmp_path / "a.tif").scan.pixels, rgb)


def test_a_tiff_whose_white_is_zero_is_turned_round(tmp_path, rgb):
    for dtype in (np.uint8, np.uint16, np.float32):
        tifffile.imwrite(tmp_path / "a.tif", rgb[..., 0].astype(dtype), photometric="miniswhite")
        pixels = open_input(tmp_path / "a.tif").scan.pixels[0]
        assert pixels[0, 0] > pixels[0, -1]


def test_a_stack_of_equal_pages_is_refused_and_a_thumbnail_is_not(tmp_path, rgb):
    with tifffile.TiffWriter(tmp_path / "stack.tif") as tif:
        for _ in range(3):
            tif.write(rgb[..., 0], contiguous=False)
    with pytest.raises(UnsupportedInput, match="3 pages"):
        open_input(tmp_path / "stack.tif")
    with tifffile.TiffWriter(tmp_path / "thumb.tif") as tif:
        tif.write(rgb, photometric="rgb")
        tif.write(rgb[::4, ::4], photometric="rgb", subfiletype=1)
    assert np.array_equal(open_input(tmp_path / "thumb.tif").scan.pixels, rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_turned_photograph_is_seen_upright_and_its_mask_lies_on_it_in_every_program(
    tmp_path, rgb, orientation, suffix
):
    path = tmp_path / f"eye{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(path, exif=exif, **({"quality": 100} if suffix == ".jpg" else {}))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    scan_file = open_input(path)
    assert np.array_equal(scan_file.scan.pixels, upright)
    labels = (upright[..., 0] > 120).astype(np.uint8) + (upright[..., 1] > 120)
    [item] = find_inputs([path])
    mask = write_mask(labels, scan_file, mask_path(tmp_path / "out", item, [item]), task=OPTIC)
    # a program that ignores the tag sees the stored grid of both files
    assert np.array_equal(np.asarray(Image.open(mask)), turn_back(labels, orientation))
    stored = tifffile.imread(path) if suffix == ".tif" else np.asarray(Image.open(path))  # Pillow turns TIFF
    assert np.asarray(Image.open(mask)).shape == stored.shape[:2]
    # a program that follows the tag sees both upright
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(mask))), labels)
    assert np.array_equal(read_mask(mask, like=scan_file), labels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_back_undoes_turning_upright(orientation):
    stored = np.arange(6).reshape(2, 3)
    assert np.array_equal(turn_back(turn_upright(stored, orientation), orientation), stored)


def test_a_mask_is_an_indexed_png_in_the_tasks_colours(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    scan_file = open_input(tmp_path / "a.png")
    labels = np.zeros((H, W), np.uint8)
    labels[5:9, 5:9], labels[6:8, 6:8] = 1, 2
    mask = Image.open(write_mask(labels, scan_file, tmp_path / "m.png", task=OPTIC))
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), labels)
    assert mask.convert("RGB").getpixel((5, 5)) == (0x35, 0xC2, 0xF0)
    assert mask.convert("RGB").getpixel((6, 6)) == (0xFF, 0xB0, 0x00)
    assert mask.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert len(palette(OPTIC)) == 768


def test_a_grey_slices_mask_may_come_with_or_without_the_slice_axis(tmp_path, rgb):
    Image.fromarray(rgb[..., 0]).save(tmp_path / "a.png")
    scan_file = open_input(tmp_path / "a.png")
    labels = (rgb[..., 0] > 99).astype(np.uint8)
    for i, form in enumerate((labels, labels[None])):
        write_mask(form, scan_file, tmp_path / f"m{i}.png")
        assert np.array_equal(read_mask(tmp_path / f"m{i}.png"), labels)


def test_a_photographs_mask_can_be_nifti(tmp_path, rgb):
    import nibabel as nib

    Image.fromarray(rgb).save(tmp_path / "a.png")
    labels = (rgb[..., 0] > 99).astype(np.uint8)
    write_mask(labels, open_input(tmp_path / "a.png"), tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj)[..., 0].T, labels)
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz")[0], labels)


def test_masks_of_other_programs_are_read(tmp_path, rgb):
    labels = (rgb[..., 0] > 99).astype(np.uint8)
    Image.fromarray(labels.astype(bool)).save(tmp_path / "bits.png")
    Image.fromarray(np.repeat(labels[..., None] * 255, 3, 2)).save(tmp_path / "rgb.png")
    tifffile.imwrite(tmp_path / "wide.tif", labels.astype(np.uint16))
    Image.fromarray(labels).save(tmp_path / "plain.bmp")
    assert np.array_equal(read_mask(tmp_path / "bits.png"), labels)
    assert np.array_equal(read_mask(tmp_path / "rgb.png", {0: 0, 255: 1}), labels)
    assert np.array_equal(read_mask(tmp_path / "wide.tif"), labels)
    assert np.array_equal(open_mask(tmp_path / "plain.bmp").labels, labels)


def test_a_colour_photograph_as_a_volume_is_its_luminance():
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 0] = 100
    assert as_volume(Scan(red)).pixels == pytest.approx(29.9)
    grey = np.full((20, 20, 3), 7, np.uint8)
    assert as_volume(Scan(grey)).pixels.dtype == np.uint8
    assert as_volume(Scan(grey)).pixels.shape == (1, 20, 20)


def test_a_volume_of_many_slices_is_no_photograph():
    with pytest.raises(UnsupportedInput, match="9 slices"):
        as_photograph(Scan(np.zeros((9, 20, 20), np.int16)))


def test_equal_stems_get_the_whole_file_name_and_equal_names_their_folder(tmp_path, rgb):
    for name in ("a.png", "a.jpg", "b.png", "x/c.png", "y/c.png", "B.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rgb).save(tmp_path / name)
    items = find_inputs([tmp_path, tmp_path / "x", tmp_path / "y"])
    names = [mask_path(tmp_path, i, items).name for i in items]
    assert sorted(names) == sorted(
        ["a.jpg_mask.png", "a.png_mask.png", "b.png_mask.png", "B.tif_mask.png", "x_c.png_mask.png", "y_c.png_mask.png"]
    )
    assert len({n.lower() for n in names}) == len(names)


def test_a_thousand_masks_are_named_at_once(tmp_path):
    items = [InputItem(tmp_path / f"p{i % 500}" / "eye.png", "photograph", "eye") for i in range(1000)]
    assert len({p.name for p in mask_paths(tmp_path, items)}) == 1000


def test_masks_and_overlays_beside_their_photographs_are_no_inputs(tmp_path, rgb):
    for name in ("a.jpg", "a_mask.png", "a_overlay.png", "my_mask.png", ".hidden.png", "notes.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("x")
        else:
            Image.fromarray(rgb).save(tmp_path / name)
    assert [i.path.name for i in find_inputs([tmp_path])] == ["a.jpg", "my_mask.png"]


def test_a_png_named_jpg_is_read_as_what_it_is(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.jpg", format="PNG")
    assert open_input(tmp_path / "a.jpg").format == "png"


def test_a_mask_reaches_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    import os

    from napari_tinymig.formats import write_atomically

    done = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), rename(a, b)))
    write_atomically(tmp_path / "a_mask.png", b"mask")
    assert (tmp_path / "a_mask.png").read_bytes() == b"mask"
    assert done[:2] == ["sync", "rename"]
