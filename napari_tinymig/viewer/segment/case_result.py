"""Which prediction the Segment panel speaks of: that of the chosen image and frame, as long as its mask is open."""

from __future__ import annotations

from collections.abc import Container

from napari.layers import Labels, Layer

from ...base.records import Prediction
from ..cases.book import CaseBook
from ..cases.results import answer_of, name_of_frame
from ..parts.style import QuietLabel
from .result_card import ResultCard


class CaseResult:
    """The result card and the line of seconds, shown, greyed and taken away with the image that they speak of.

    mask: the latest result's layer.
    """

    def __init__(self, card: ResultCard, elapsed: QuietLabel, book: CaseBook):
        self.card, self.elapsed, self.book = card, elapsed, book
        self.mask: Labels | None = None
        self._of: tuple[Layer, tuple[int, ...]] | None = None
        self._asked: tuple[Layer, tuple[int, ...]] | None = None

    def wait_for(self, image: Layer, frame: tuple[int, ...]) -> None:
        """A prediction begins: no number until it is there, and none of an older one should it fail."""
        self.hide()
        self._asked = (image, frame)

    def show(self, image: Layer, frame: tuple[int, ...], mask: Labels, prediction: Prediction) -> None:
        """Show what was predicted of one frame of an image."""
        self.mask, self._of, self._asked = mask, (image, frame), None
        self.card.show_prediction(prediction, name_of_frame(image, frame))
        self.elapsed.setText(f"{prediction.seconds:.2f} s, {prediction.model_id.split('@')[0]}")

    def hide(self) -> None:
        """No number stays."""
        self._of = None
        self.card.hide()
        self.elapsed.setText("")

    def follow_choice(self, image: Layer | None, frame: tuple[int, ...], layers: Container[Layer]) -> None:
        """Another image or frame is chosen, or layers came and went: hide what is not of it, show what is known."""
        if self._of is not None and (self._of != (image, frame) or self.mask not in layers):
            self.hide()
        if self._asked is not None and self._asked != (image, frame):
            self._asked = None
        if self._of is None and image is not None and self._asked is None:
            self._recall(image, frame)

    def follow_mask(self) -> None:
        """The mask was edited, or an undo brought another prediction back."""
        if self._of is None or self.mask is None:
            return
        image, frame = self._of
        if not self.card.follow(self.mask, name_of_frame(image, frame)):
            self.hide()
            self._recall(image, frame)

    def _recall(self, image: Layer, frame: tuple[int, ...]) -> None:
        case = self.book.case_of(image)
        mask = case.mask if case is not None else None
        if mask is not None and (known := answer_of(mask, frame)) is not None:
            self.show(image, frame, mask, known)
            self.card.follow(mask, name_of_frame(image, frame))
