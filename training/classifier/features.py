"""Features of a frozen backbone, computed once per image: a cache on disk keyed by backbone and content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from napari_tinymig.base.plain_json import parse_json
from napari_tinymig.recipes.classify import BackboneCard, BackboneSpec, ProbeDataSpec

from .images import Item, Pixels, content_hash, load_pixels, shown_name

log = logging.getLogger(__name__)
KINDS = ("grey", "colour", "volume")


def cache_folder() -> Path:
    """TINYMIG_CACHE if set, else the platform's cache folder; may be deleted at any time."""
    chosen = os.environ.get("TINYMIG_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "probe-features"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("napari-tinymig", appauthor=False)) / "probe-features"


class FeatureCache:
    """Pooled features of images by content hash, one file per backbone and pooling. folder None = nothing is kept."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def remembered_card(self, spec: BackboneSpec) -> BackboneCard | None:
        """The card of a backbone opened before from this very file, so that it need not be opened again."""
        key = _spec_key(spec)
        if self.folder is None or key is None:
            return None
        try:
            return BackboneCard.model_validate_json((self.folder / f"card-{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def remember_card(self, spec: BackboneSpec, card: BackboneCard) -> None:
        """Keep the card for `remembered_card`."""
        key = _spec_key(spec)
        if self.folder is not None and key is not None:
            self._write(f"card-{key}.json", lambda path: path.write_text(card.model_dump_json(), encoding="utf-8"))

    def load(self, card: BackboneCard, data: ProbeDataSpec) -> dict[str, tuple[NDArray[np.float32], str]]:
        """Content hash -> (features (F,), kind of image). Empty if there is nothing, or nothing readable."""
        if self.folder is None:
            return {}
        path = self.folder / f"features-{_card_key(card, data)}.safetensors"
        try:
            with safe_open(path, "np") as stream:
                hashes = parse_json((stream.metadata() or {})["hashes"])
                rows, kinds = stream.get_tensor("features"), stream.get_tensor("kinds")
        except (OSError, SafetensorError, KeyError, ValueError):
            return {}
        return {h: (row, KINDS[kind]) for h, row, kind in zip(hashes, rows, kinds)}

    def store(self, card: BackboneCard, data: ProbeDataSpec, known: dict[str, tuple[NDArray[np.float32], str]]) -> None:
        """Replace the file with what is known now."""
        if self.folder is None or not known:
            return
        tensors: dict[str, NDArray[Any]] = {
            "features": np.stack([row for row, _ in known.values()]),
            "kinds": np.array([KINDS.index(kind) for _, kind in known.values()], np.uint8),
        }
        metadata = {"hashes": json.dumps(list(known))}
        name = f"features-{_card_key(card, data)}.safetensors"
        self._write(name, lambda path: save_file(tensors, path, metadata=metadata))

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        folder = self.folder or Path()
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write(temporary)
            os.replace(temporary, folder / name)
        except OSError as e:
            log.warning("features are not kept for the next time: %s", e)


def _spec_key(spec: BackboneSpec) -> str | None:
    """Key of a backbone given by a local file: its bytes and every option. None for the hub and random weights."""
    if spec.weights in (None, "random") or not Path(str(spec.weights)).expanduser().is_file():
        return None
    content = hashlib.sha256(Path(str(spec.weights)).expanduser().read_bytes()).hexdigest()
    said = spec.model_copy(update={"weights": content}).model_dump_json()
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def _card_key(card: BackboneCard, data: ProbeDataSpec) -> str:
    said = card.model_copy(update={"weights": ""}).model_dump_json()
    pooled = f"{data.pooling}/{data.top_k if data.pooling == 'top_k' else 0}/{data.max_slices}"
    return hashlib.sha256(f"{said}|{pooled}".encode()).hexdigest()[:24]


@dataclass
class FeatureRows:
    """Plain features of the items that could be read. values: (N, F); computed: how many were not in the cache."""

    items: list[Item]
    values: NDArray[np.float32]
    hashes: list[str]
    kinds: list[str]
    failed: dict[str, str] = field(default_factory=dict)
    computed: int = 0

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) labels."""
        return np.array([i.label for i in self.items], np.int64)


def feature_rows(
    items: Sequence[Item],
    card: BackboneCard,
    data: ProbeDataSpec,
    cache: FeatureCache,
    compute: Callable[[Pixels], NDArray[np.float32]],
) -> FeatureRows:
    """Features of items: from the cache where the content is known, else from pixels through `compute`."""
    known = cache.load(card, data)
    failed: dict[str, str] = {}
    hashes: dict[int, str] = {}
    for i, item in enumerate(items):
        try:
            hashes[i] = content_hash(item)
        except OSError as e:
            failed[shown_name(item, failed)] = f"{item.path} cannot be read ({e.strerror}); expected an image"
    missing = [items[i] for i, h in hashes.items() if h not in known]
    if missing:
        pixels = load_pixels(missing, card.size, data.max_slices)
        failed |= pixels.failed
        if len(pixels):
            rows = compute(pixels)
            known |= {h: (row, kind) for h, row, kind in zip(pixels.hashes, rows, pixels.kinds)}
            cache.store(card, data, known)
    kept = [i for i, h in hashes.items() if h in known]
    values = np.stack([known[hashes[i]][0] for i in kept]) if kept else np.zeros((0, card.features), np.float32)
    return FeatureRows(
        [items[i] for i in kept],
        values,
        [hashes[i] for i in kept],
        [known[hashes[i]][1] for i in kept],
        failed,
        len(missing),
    )
