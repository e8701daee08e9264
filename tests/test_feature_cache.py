"""Cached teacher features: equal where they must be equal, measured where they are not, safe for two processes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from napari_tinymig.training.augmentation.apply import Batch
from napari_tinymig.training.networks.student import Student
from napari_tinymig.training.networks.teacher import build_teacher
from napari_tinymig.training.networks.teacher_cache import (
    CachedTeacher,
    FeatureCache,
    build_cache,
    feature_key,
    geometry_gap,
    image_key,
    warp_map,
)
from napari_tinymig.training.objectives.tinymig import build_distillation

from napari_tinymig.recipes.student import recipe_from_dict
from napari_tinymig.recipes.train import TeacherSpec

SPEC = TeacherSpec(name="resnet18", weights="random", size=64)


@pytest.fixture(scope="module")
def teacher():
    return build_teacher(SPEC)


@pytest.fixture
def frames():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def keys_of(frames):
    return [image_key(f.numpy()) for f in frames]


def thetas(*rows):
    return torch.tensor(rows, dtype=torch.float32)


IDENTITY = [[1, 0, 0], [0, 1, 0]]
MIRROR = [[-1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("kind", ["none", "memory", "disk"])
def test_cached_and_uncached_features_are_equal_under_identity_and_mirroring(kind, teacher, frames, tmp_path):
    cache = {"none": None, "memory": FeatureCache(), "disk": FeatureCache(tmp_path)}[kind]
    cached = CachedTeacher(teacher, cache)
    theta = thetas(IDENTITY, MIRROR, IDENTITY)
    views = torch.stack([frames[0], frames[1].flip(-1), frames[2]])
    expected = [torch.cat(rows) for rows in zip(*(teacher.features(v[None]) for v in views), strict=True)]
    for _ in range(2):  # the second time from the cache
        for ours, own in zip(cached.views(frames, keys_of(frames), theta, 1.0), expected, strict=True):
            assert torch.equal(ours, own)
    if cache is not None:
        assert (cache.hits, cache.misses) == (3, 3)


def test_the_loss_is_the_same_with_and_without_the_cache_under_identity_and_mirroring(frames):
    torch.manual_seed(0)
    recipe = recipe_from_dict(
        {
            "name": "t",
            "task": "optic",
            "input": {"size": 64},
            "student": {"widths": [16, 16, 32, 32], "blocks": [0, 0, 0, 0], "decoder": 16},
            "teacher": SPEC.model_dump() | {"cache": "memory"},
            "loss": {"lambdas": [1, 1, 0.5, 0.5, 0.5]},
            "optim": {"precision": "fp32"},
        }
    )
    student = Student(recipe.student, 2).eval()
    objective = build_distillation(recipe, student, torch.device("cpu"))
    theta = thetas(MIRROR, IDENTITY, MIRROR)
    clean = torch.stack([frames[0].flip(-1), frames[1], frames[2].flip(-1)])
    ones = torch.ones(3, 1, 64, 64)
    target = torch.zeros(3, 2, 64, 64)
    frame = frames * 0.5 + 0.5  # batches carry frames in 0..1
    asked = Batch(clean, clean, target, ones.bool(), ones, torch.arange(3), theta)
    stored = Batch(clean, clean, target, ones.bool(), ones, torch.arange(3), theta, frame, 1.0)
    without, first, second = (objective(student, b, 0.0)["loss"].item() for b in (asked, stored, stored))
    assert first == pytest.approx(without, rel=2e-6)  # float32 sums in another order
    assert second == first


def test_other_geometry_is_an_approximation_whose_gap_is_reported(teacher, frames):
    same = geometry_gap(teacher, frames, thetas(*[IDENTITY] * 3), 1.0, 64)
    turned = [[0.8, -0.6, 0], [0.6, 0.8, 0]]
    rotated = geometry_gap(teacher, frames, thetas(*[turned] * 3), 1.0, 64)
    assert same == pytest.approx(0, abs=1e-5)
    assert rotated > 0.01


def test_a_shift_by_whole_tokens_moves_the_map_by_whole_tokens():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    moved = warp_map(x, thetas([[1, 0, 0.5], [0, 1, 0]]))  # half a frame's half: one token of four
    torch.testing.assert_close(moved[0, 0, :, :3], x[0, 0, :, 1:])
    assert warp_map(x, thetas([[0.5, 0, 0], [0, 0.5, 0]]), 0.5).shape == (1, 1, 2, 2)


def test_keys_depend_on_image_teacher_layers_and_size(teacher):
    a, b = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    other = build_teacher(SPEC.model_copy(update={"size": 96}))
    keys = [
        feature_key(image_key(a), teacher, 64),
        feature_key(image_key(b), teacher, 64),
        feature_key(image_key(a), other, 64),
        feature_key(image_key(a), teacher, 96),
        feature_key(image_key(a), teacher, 64, "mirrored"),
        feature_key(image_key(a.reshape(3, 4, 4)), teacher, 64),
    ]
    assert len(set(keys)) == len(keys)
    assert feature_key(image_key(a.copy()), teacher, 64) == keys[0]


def entry(megabytes=1):
    return [torch.zeros(int(megabytes * 250_000))]


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_the_size_is_bounded_and_the_least_recently_used_goes_first(where, tmp_path):
    import os
    import time

    cache = FeatureCache(tmp_path if where == "disk" else None, limit_mb=3.5)
    for i, key in enumerate("abc"):
        cache.put(key * 8, entry())
        if where == "disk":
            os.utime(tmp_path / (key * 2) / f"{key * 8}.safetensors", (i, i))
    time.sleep(0.01)
    assert cache.get("a" * 8) is not None
    cache.put("d" * 8, entry())
    kept = [k for k in "abcd" if cache.get(k * 8) is not None]
    assert "a" in kept
    assert "b" not in kept
    assert "d" in kept
    assert len(kept) == 3, "three entries of 1 MB fit into 3.5 MB, four do not"
    cache.put("e" * 8, entry(10))
    assert cache.get("e" * 8) is None, "an entry larger than the limit is not kept"


def test_a_damaged_entry_counts_as_absent(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put("ab" * 8, [torch.ones(3)])
    path = tmp_path / "ab" / ("ab" * 8 + ".safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    assert cache.get("ab" * 8) is None
    assert not path.exists()
    cache.put("ab" * 8, [torch.ones(3)])
    assert cache.get("ab" * 8)[0].tolist() == [1, 1, 1]


WRITER = """
import sys, torch
from pathlib import Path
from napari_tinymig.training.networks.teacher_cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]), limit_mb=2)
for turn in range(6):
    for i in range(8):
        key = f"{i:02d}" * 8
        found = cache.get(key)
        if found is not None and not bool((found[0] == i).all()):
            sys.exit(f"half-written or foreign entry {key}")
        cache.put(key, [torch.full((100_000,), float(i))])
"""


def test_two_processes_share_a_folder(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", WRITER, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors.decode()
    assert not list(tmp_path.rglob("*.part"))
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.safetensors")) < 5e6


def test_the_recipe_chooses_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_CACHE", str(tmp_path))
    assert build_cache("none") is None
    assert build_cache("memory").folder is None
    assert build_cache("disk").folder == tmp_path / "teacher_features"
