"""Cups of another size may be all that a school asks for: one offset fitted on the user's eyes, beside the training.

Where the offset's gain on eyes left out is larger than the trained child's on held-out cases, the parent's weights are
kept as they are and the child's header carries the offset: nothing can have been forgotten. Everything here is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.measures.overlap import dice
from napari_tinymig.network.labels_from_logits import keep_one_object, labels_of
from napari_tinymig.predict.cup_school import CUP_OFFSET, School, fit_school, holds_cup_and_rim
from napari_tinymig.predict.disc_cup_shape import redraw_disc_and_cup
from napari_tinymig.recipes.student import ModelHeader
from napari_tinymig.tasks.task import Task

from .acceptance import Paired, paired
from .mixing import Views

FEWEST_EYES = 4
"""Eyes with cup and rim below which no school is fitted: leaving one out then says too little (chosen)."""


class SchoolInstead(NamedTuple):
    """A school that beats the training: the child's header, the gains and the names of the eyes behind them, and a
    sentence."""

    header: ModelHeader
    gains: list[Paired]
    names: list[str]
    text: str


def school_instead(
    child: ModelHeader, parent: ModelHeader, student: nn.Module, views: Sequence[Views], gains: Sequence[Paired]
) -> SchoolInstead | None:
    """The school's outcome where its gain is the larger one, else None; `student` is the parent's, `gains` the child's.

    None also for tasks without a cup, for fewer than four eyes, and where nothing was held out to compare with.
    """
    if parent.task is None or "cup_disc" not in parent.task.measures or not gains:
        return None
    task, pairs, names, discs = parent.task, [], [], []
    for view in views:
        for row, p in enumerate(view.probabilities(student)):
            answer, truth = parent_labels(p, parent, task), truth_labels(view, row, task)
            if holds_cup_and_rim(answer) and holds_cup_and_rim(truth):
                pairs.append((answer, truth))
                names.append(view.names[row])
                discs.append(dice(answer > 0, (truth == 1) | (truth == 2)))
    if len(pairs) < FEWEST_EYES:
        return None
    school = fit_school([a for a, _ in pairs], [t for _, t in pairs])
    if not beats_training(school, gains):
        return None
    return SchoolInstead(
        with_school(child, parent, school),
        [paired("disc", discs, discs), paired("cup", school.dice_before, school.dice_after)],
        names,
        f"The weights stay as they are. {school.text}",
    )


def parent_labels(probabilities: NDArray[np.float32], header: ModelHeader, task: Task) -> NDArray[np.uint8]:
    """(s, s) labels as the product draws them: thresholds, one piece a region, ellipses, the offset of the header."""
    p = np.clip(probabilities, 1e-4, 1 - 1e-4)
    limits = np.array([header.thresholds.get(r.name, 0.5) for r in task.regions])[:, None, None]
    logits = (np.log(p / (1 - p)) - np.log(limits / (1 - limits))).astype(np.float32)
    logits = redraw_disc_and_cup(keep_one_object(logits, task), header.constants.get(CUP_OFFSET, 0.0))
    return labels_of(logits, task)


def truth_labels(view: Views, row: int, task: Task) -> NDArray[np.uint8]:
    """(s, s) labels of an annotated frame on the network's grid; 255 where it is not annotated."""
    labels = np.zeros(view.truth.shape[-2:], np.uint8)
    for region, mask in zip(task.regions, view.truth[row], strict=True):
        labels[mask] = region.label
    return np.where(view.known[row, 0], labels, IGNORE).astype(np.uint8)


def beats_training(school: School, gains: Sequence[Paired]) -> bool:
    """Whether the school's gain, averaged over the regions as the child's is, is the larger one."""
    cup = float(np.mean(np.subtract(school.dice_after, school.dice_before)))
    return school.helps and cup / len(gains) > float(np.mean([g.gain for g in gains]))


def with_school(header: ModelHeader, parent: ModelHeader, school: School) -> ModelHeader:
    """The child's header for the parent's weights and thresholds with the school's offset on top of the parent's."""
    offset = round(parent.constants.get(CUP_OFFSET, 0.0) + school.offset, 4)
    return header.model_copy(
        update={
            "thresholds": parent.thresholds,
            "constants": parent.constants | {CUP_OFFSET: offset},
            "extra": header.extra | {"share_of_child": 0.0, "school_eyes": school.eyes},
        }
    )
