"""A backbone that a probe opens only when an image must go through it: on cached features it never is."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from napari_tinymig.recipes.classify import BackboneCard, BackboneSpec, PromptSpec

from .backbone import Backbone, folded, open_backbone, with_local_weights
from .features import FeatureCache
from .images import Pixels
from .linear_probe import FeatureHead
from .movl import PromptedClassifier, infer
from .visual_prompt import Prompt


class LazyBackbone:
    """A backbone that is opened only when an image must go through it; its card may be known from the cache."""

    def __init__(self, spec: BackboneSpec, cache: FeatureCache, device: torch.device, keep_head: bool = False):
        spec = with_local_weights(spec)
        self.spec, self.device, self.keep_head = spec, device, keep_head
        self._original: Backbone | None = None
        self._fast: Backbone | None = None
        remembered = None if keep_head else cache.remembered_card(spec)
        self.card: BackboneCard = remembered or self.original().card
        if remembered is None and not keep_head:
            cache.remember_card(spec, self.card)

    def original(self) -> Backbone:
        """The backbone as it came, on the CPU."""
        if self._original is None:
            self._original = open_backbone(self.spec, self.keep_head)
        return self._original

    def fast(self) -> Backbone:
        """The same function with BatchNorm folded, on the device, in the memory order that is fast."""
        if self._fast is None:
            body = folded(self.original())
            self._fast = body.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._fast

    def features(self, pixels: Pixels, precision: str, data: object) -> NDArray[np.float32]:
        """Plain features (N, F) of pixels."""
        classifier = PromptedClassifier(
            self.fast(),
            Prompt(PromptSpec(kind="none"), self.card.size).to(self.device),
            FeatureHead(self.card.features, 2).to(self.device),
            data,  # type: ignore[arg-type]
        )
        return infer(classifier, pixels, np.arange(len(pixels)), self.fast().normalise, precision, prompted=False)[1]
