"""The table of samples that are shown to people: the demo, the buttons of an empty Segment panel, napari's menu."""

from __future__ import annotations

from dataclasses import dataclass

from ..tasks.table import DEFAULT_TASK


@dataclass(frozen=True)
class Shown:
    """One sample. title: in napari's menu. task: what is segmented in it. drawn: made by this package, no patient's
    image; its drawing is the task's in `table.DRAWN`. words, tip: of its button. note: beside its name in help."""

    title: str
    task: str
    words: str
    tip: str
    drawn: bool = True
    note: str = ""


SHOWN: dict[str, Shown] = {
    "fundus": Shown("Drawn eye (no patient)", "optic", "drawn eye", "Drawn by the package: no patient."),
    "prostate": Shown(
        "Drawn prostate MRI (no patient)", "prostate", "drawn prostate", "An MRI drawn by the package: no patient."
    ),
    "retina": Shown(
        "Photograph of a retina (CC0)",
        DEFAULT_TASK,
        "retina",
        "A photograph of a healthy eye (CC0, from scikit-image).",
        drawn=False,
        note="scikit-image's CC0 photograph",
    ),
}
"""By the name that `tinymig demo --sample` and napari call it; napari.yaml has the same (compared by a test)."""
