"""What a fine-tuning run leaves: the child, its header with lineage, and the gains on held-out cases."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_tinymig.models.file import ModelFile
from napari_tinymig.recipes.finetune import FineTuneSpec
from napari_tinymig.recipes.student import Lineage, ModelHeader, Recipe

from .acceptance import Acceptance, Paired, paired
from .data import RunCases
from .mixing import Views
from .plan import Choice, Plan


@dataclass(frozen=True)
class Result:
    """The end of a run. child: as trained. student: the child mixed with its parent, which is what is kept."""

    child: nn.Module
    student: nn.Module
    header: ModelHeader
    acceptance: Acceptance


def held_out_gains(
    views: Sequence[Views], before: Sequence[NDArray[np.float64]], choice: Choice, regions: Sequence[str]
) -> list[Paired]:
    """Paired Dice before and after on the folds' held-out items, per region; [] where nothing was held out.

    before: per item (R,). choice.dice: (n, R) of the items `choice.held`.
    """
    if not choice.held:
        return []
    old = np.array([before[i] for i in choice.held]).reshape(-1, len(regions))
    return [paired(name, old[:, k].tolist(), choice.dice[:, k].tolist()) for k, name in enumerate(regions)]


def child_header(
    model: ModelFile, spec: FineTuneSpec, plan: Plan, cases: RunCases, domain: str, choice: Choice
) -> ModelHeader:
    """The parent's header with the child's name, thresholds and lineage. domain: name of the user's folder."""
    header = model.header
    inner = header.segmenter_task.regions[-1].name
    moved = choice.threshold != header.thresholds.get(inner, 0.5)
    lineage = Lineage(
        parent=model.model_id,
        data_hashes=tuple(cases.hashes),
        domains=(*header.lineage.domains, domain),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        software=importlib.metadata.version("napari-tinymig"),
        recipe=Recipe.model_validate(plan.recipe).without_paths().model_dump(mode="json"),
    )
    told = {
        "share_of_child": choice.share,
        "finetune": spec.model_dump(mode="json", exclude={"teacher_weights", "reference"}),
        "pid": os.getpid(),
    }
    alone = header.input.model_copy(update={"cup_head": None})  # it would pull the taught cup back to its own
    return header.model_copy(
        update={
            "input": alone,
            "name": spec.name or f"{header.name}-tuned",
            "thresholds": header.thresholds | ({inner: choice.threshold} if moved else {}),
            "lineage": lineage,
            "scores": {"finetune_images": cases.annotated},
            "extra": header.extra | told,
            "weights_sha256": "",
        }
    )
