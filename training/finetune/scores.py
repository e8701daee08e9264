"""What a student of a fine-tuning run scores beside its parent: annotated images, and the parent's own answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.recipes.student import Recipe

from .mixing import Views, mixed
from .plan import THRESHOLDS, USUAL_SHARE
from .preview import draw_preview
from .replay import soft_answers


class Scoring:
    """Scores of students on the annotated images, one `Views` per item, and on pictures whose answer is the parent's.

    thresholds: the parent's probability thresholds, per region. before: the parent's Dice (R,) of each item.
    replayed: grids (s', s', 3) of the replay pictures; empty until they are known.
    """

    def __init__(self, parent: nn.Module, views: Sequence[Views], thresholds: Mapping[str, float], recipe: Recipe):
        self.parent, self.views, self.recipe = parent, views, recipe
        self.names = [r.name for r in recipe.task.regions]
        self.thresholds = [thresholds.get(name, 0.5) for name in self.names]
        self.before = [v.dice(v.probabilities(parent), self.thresholds)[0] for v in views]
        self.replayed: Sequence[NDArray[Any]] = ()
        self._old_answers: NDArray[np.bool_] | None = None

    def dice(self, student: nn.Module, items: Sequence[int]) -> dict[str, float]:
        """Mean Dice per region and overall, now and before, of some items."""
        after = np.mean(
            [self.views[i].dice(self.views[i].probabilities(student), self.thresholds)[0] for i in items], 0
        )
        before = np.mean([self.before[i] for i in items], 0)
        out = {f"dice_{n}": float(a) for n, a in zip(self.names, after)}
        out |= {f"before_{n}": float(b) for n, b in zip(self.names, before)}
        return out | {"score": float(after.mean()), "before": float(before.mean())}

    def picture(self, student: nn.Module, items: Sequence[int]) -> tuple[bytes, dict[str, float]]:
        """PNG bytes of the item that the parent does worst, before and now, and its mean Dice."""
        item = min(items, key=lambda i: float(self.before[i].mean()))
        view = self.views[item]
        row = int(view.truth[:, 0].sum((1, 2)).argmax())
        now, old = view.probabilities(student), view.probabilities(self.parent)
        png = draw_preview(view, row, old[row], now[row], self.thresholds, self.recipe.task)
        after = float(view.dice(now, self.thresholds)[0].mean())
        return png, {"before": float(self.before[item].mean()), "now": after}

    def of_a_fold(self, child: nn.Module, held: list[int], shares: Sequence[float]) -> dict[str, Any]:
        """Held-out Dice of a fold's child at every share and threshold of the innermost region, and its drift."""
        table: dict[str, Any] = {}
        for share in shares:
            student = mixed(self.parent, child, share)
            rows = []
            for i in held:
                p = self.views[i].probabilities(student)
                rows.append(
                    [self.views[i].dice(p, [*self.thresholds[:-1], t])[0].tolist() for t in self.thresholds_tried()]
                )
            table[str(share)] = rows
        return {"held": held, "dice": table, "drift": self._drift(child, shares)}

    def thresholds_tried(self) -> list[float]:
        """Thresholds tried for the innermost region, its present one first."""
        return [self.thresholds[-1], *THRESHOLDS.tolist()]

    def _drift(self, child: nn.Module, shares: Sequence[float]) -> dict[str, float]:
        """Agreement with the parent on the replay pictures, per share beyond the usual one; {} without pictures."""
        if not self.replayed:
            return {}
        further = [share for share in shares if share > USUAL_SHARE]
        return {str(share): self.drift_of(mixed(self.parent, child, share)) for share in further}

    def drift_of(self, student: nn.Module) -> float:
        """Mean Dice of a student's and the parent's answers on the replay pictures."""
        if self._old_answers is None:
            self._old_answers = soft_answers(self.parent, self.replayed, self.recipe) >= 0.5
        old, new = self._old_answers, soft_answers(student, self.replayed, self.recipe) >= 0.5
        size, both = old.sum((2, 3)) + new.sum((2, 3)), (old & new).sum((2, 3))
        return float(np.where(size > 0, 2 * both / np.maximum(size, 1), 1.0).mean())
