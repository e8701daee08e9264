"""Teacher features of clean images, kept in memory or on disk, so that a frozen network is asked once per image."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from .teacher import Teacher

DEFAULT_LIMIT_MB = {"memory": 2000, "disk": 8000}
CACHE_FOLDER = "TINYMIG_CACHE"  # environment variable: where cached features lie instead of the user's cache folder


def image_key(pixels: NDArray) -> str:
    """SHA-256 of an image's dtype, shape and bytes."""
    digest = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def feature_key(image: str, teacher: Teacher, side: int, variant: str = "") -> str:
    """Key of one image's features: image, teacher's weights, layers and size, side of the image, variant (mirrored)."""
    parts = (image, teacher.identity, teacher.layers, teacher.size, side, variant)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class FeatureCache:
    """Lists of maps by key, the least recently used forgotten beyond the limit.

    folder: None keeps them in memory. On disk each entry is one .safetensors file written under a temporary name and
    renamed, so that two processes may share a folder: a reader sees a whole file or none, and the content of a key is
    the same whoever writes it. A damaged file is removed and counts as absent. limit_mb bounds the sum of the entries.
    """

    def __init__(self, folder: Path | None = None, limit_mb: float | None = None):
        self.folder = folder
        kind = "memory" if folder is None else "disk"
        self.limit_bytes = int((DEFAULT_LIMIT_MB[kind] if limit_mb is None else limit_mb) * 1e6)
        self._memory: OrderedDict[str, list[Tensor]] = OrderedDict()
        self._bytes = 0
        self.hits = self.misses = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._bytes = sum(size for _, size, _ in self._files())

    def get(self, key: str) -> list[Tensor] | None:
        """The maps (C, h, w) of a key, or None."""
        found = self._from_disk(key) if self.folder is not None else self._memory.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        if self.folder is None:
            self._memory.move_to_end(key)
        return found

    def put(self, key: str, maps: list[Tensor]) -> None:
        """Keep maps (C, h, w) under a key; entries larger than the whole limit are not kept."""
        maps = [m.detach().cpu().contiguous().clone() for m in maps]
        size = sum(m.numel() * m.element_size() for m in maps)
        if size > self.limit_bytes:
            return
        if self.folder is not None:
            self._to_disk(key, maps)
            return
        if key in self._memory:
            return
        self._memory[key] = maps
        self._bytes += size
        while self._bytes > self.limit_bytes:
            _, old = self._memory.popitem(last=False)
            self._bytes -= sum(m.numel() * m.element_size() for m in old)

    def _path(self, key: str) -> Path:
        if self.folder is None:
            raise ValueError("a cache in memory has no files")
        return self.folder / key[:2] / f"{key}.safetensors"

    def _from_disk(self, key: str) -> list[Tensor] | None:
        path = self._path(key)
        try:
            maps = load(path.read_bytes())
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError):
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # read now: the least recently used goes first
        return [maps[str(i)] for i in range(len(maps))]

    def _to_disk(self, key: str, maps: list[Tensor]) -> None:
        path = self._path(key)
        if path.exists():
            return
        path.parent.mkdir(exist_ok=True)
        data = save({str(i): m for i, m in enumerate(maps)})
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(data)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._bytes += len(data)
        if self._bytes > self.limit_bytes:
            self._forget_oldest()

    def _files(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of every entry; files that another process removes meanwhile are left out."""
        rows = []
        for path in self.folder.glob("*/*.safetensors") if self.folder is not None else ():
            with contextlib.suppress(OSError):
                stat = path.stat()
                rows.append((stat.st_mtime, stat.st_size, path))
        return sorted(rows)

    def _forget_oldest(self) -> None:
        """Down to 90 % of the limit, counting what other processes wrote too."""
        rows = self._files()
        total = sum(size for _, size, _ in rows)
        for _, size, path in rows:
            if total <= 0.9 * self.limit_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._bytes = total


def build_cache(kind: str, limit_mb: float | None = None) -> FeatureCache | None:
    """The cache of TeacherSpec.cache: none, memory, or disk (TINYMIG_CACHE, else the user's cache folder)."""
    if kind == "none":
        return None
    if kind == "memory":
        return FeatureCache(None, limit_mb)
    base = Path(os.environ.get(CACHE_FOLDER) or platformdirs.user_cache_dir("napari-tinymig", appauthor=False))
    return FeatureCache(base / "teacher_features", limit_mb)


class CachedTeacher:
    """A teacher that is asked once per frame and mirrored frame; other geometry moves with the map.

    warp(R(x)) is not R(warp(x)): under identity and under mirroring the two are equal, because the mirrored frame has
    an entry of its own; under zoom, shift and rotation the warped map is an approximation, whose gap `geometry_gap`
    measures.
    """

    def __init__(self, teacher: Teacher, cache: FeatureCache | None):
        self.teacher = teacher
        self.cache = cache

    def frames(
        self, frames: Tensor, keys: Sequence[str], mirrored: Tensor | None = None, enlarge: float = 1.0
    ) -> list[Tensor]:
        """Features (B, C, h, w) of normalised frames (B, 3, c, c), or of their left-right mirror where `mirrored`."""
        n, side = len(frames), frames.shape[-1]
        flags = [False] * n if mirrored is None else [bool(v) for v in mirrored]
        variants = [f"{'mirrored ' if f else ''}{enlarge:.3f}" for f in flags]
        names = [feature_key(k, self.teacher, side, v) for k, v in zip(keys, variants, strict=True)]
        rows: list[list[Tensor] | None] = [self.cache.get(name) if self.cache else None for name in names]
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            x = torch.stack([frames[i].flip(-1) if flags[i] else frames[i] for i in missing])
            for position, i in enumerate(missing):
                # one by one: a batch of another size may round differently, and a cached entry must not depend on it
                found = self.teacher.features(x[position : position + 1], enlarge)
                maps = [m[0].to(self.teacher.stored_as) for m in found]
                rows[i] = maps
                if self.cache is not None:
                    self.cache.put(names[i], maps)
        layers = range(len(rows[0] or ()))
        return [
            torch.stack([row[layer].to(frames.device) for row in rows if row is not None]).float() for layer in layers
        ]

    def views(self, frames: Tensor, keys: Sequence[str], theta: Tensor, share: float) -> list[Tensor]:
        """Features of the views that theta (B, 2, 3), grid -> frame, cuts out of the frames; maps warped.

        share: typical side of a view over the side of the frame; the view's map gets that share of the frame's grid.
        """
        mirrored = torch.det(theta[:, :, :2]) < 0
        sign = torch.where(mirrored, -1.0, 1.0)
        turned = theta.clone()
        turned[:, 0] = theta[:, 0] * sign[:, None]  # in the mirrored frame x runs the other way
        return [warp_map(m, turned, share) for m in self.frames(frames, keys, mirrored, 1 / share)]


def warp_map(features: Tensor, theta: Tensor, share: float = 1.0) -> Tensor:
    """(B, C, h, w) of a frame -> the map of the view theta cuts out, on round(share * h) tokens; nearest at the rim."""
    identity = torch.eye(2, 3).expand_as(theta)
    if share == 1.0 and torch.equal(theta.cpu(), identity):
        return features  # exact, without a resampling's rounding
    h, w = (max(1, round(share * s)) for s in features.shape[-2:])
    grid = F.affine_grid(theta.to(features), [len(theta), 1, h, w], align_corners=False)
    return F.grid_sample(features, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def geometry_gap(teacher: Teacher, frames: Tensor, theta: Tensor, share: float, size: int) -> float:
    """Mean of 1 - cos between warped cached tokens and the teacher's own tokens of the warped image (0 = equal).

    frames (B, 3, c, c) normalised, theta (B, 2, 3), size = side of the view in pixels.
    """
    grid = F.affine_grid(theta, [len(theta), 1, size, size], align_corners=False)
    views = F.grid_sample(frames, grid, padding_mode="border", align_corners=False)
    keys = [str(i) for i in range(len(frames))]
    warped = CachedTeacher(teacher, None).views(frames, keys, theta, share)
    gaps = []
    for ours, own in zip(warped, teacher.features(views), strict=True):
        ours = F.interpolate(ours, own.shape[-2:], mode="bilinear", align_corners=False)
        gaps.append(1 - F.cosine_similarity(ours, own, dim=1).mean())
    return float(torch.stack(gaps).mean())
