"""What the package knows of a task beside the record that travels with models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .task import Task


@dataclass(frozen=True)
class KnownTask:
    """One task of the package.

    task: the record. expected: what its images are, with the article, for refusals. modalities: DICOM modality ->
    word for it; such a file is of this task. body_parts: DICOM body parts, upper case, that the modality may show; ()
    = any. round_odds: how many times more often a round lit field is of this task than of another photograph's.
    dicom_codes: label -> (value, scheme, meaning) in a DICOM-SEG; other labels get a code of our own scheme.
    file_words: usual abbreviation in the names of foreign files -> region, beside the names of regions and labels.
    """

    task: Task
    expected: str
    modalities: Mapping[str, str] = field(default_factory=dict)
    body_parts: tuple[str, ...] = ()
    round_odds: float = 1.0
    dicom_codes: Mapping[int, tuple[str, str, str]] = field(default_factory=dict)
    file_words: Mapping[str, str] = field(default_factory=dict)
