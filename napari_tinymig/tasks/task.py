"""What is segmented: classes, label map, colours, measures, kind of input. A record, not code."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A frozen record whose unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(Frozen):
    """One output channel of a student: a nested region, e.g. disc = labels {1, 2}."""

    name: str = Field(description="Name of the region in tables: disc, cup, gland, polyp.")
    labels: tuple[int, ...] = Field(description="Label values that belong to the region.")
    label: int = Field(ge=1, le=255, description="Label written where this is the innermost region.")
    class_name: str = Field(description="Name of that label in the viewer: 'disc rim', 'cup'.")
    colour: str = Field(description="Hex colour of that label.")
    inside: str | None = Field(None, description="Name of the region that must contain this one.")


class Task(Frozen):
    """A segmentation task; travels in recipes and model headers."""

    name: str = Field(description="Short name used by --task: optic, prostate, polyp, or the user's own.")
    title: str = Field(description="Title for people.")
    input: Literal["photograph", "volume"] = Field(description="Kind of Scan the task reads.")
    regions: tuple[Region, ...] = Field(description="Output channels, outermost first.")
    measures: tuple[str, ...] = Field((), description="Measure groups to compute: 'cup_disc', 'volume', 'area'.")
    single_object: bool = Field(True, description="Keep one connected component per region (disc, gland).")
    can_be_empty: bool = Field(False, description="Truth may be empty (polyp); reported apart.")

    @property
    def class_names(self) -> dict[int, str]:
        """Label value -> class name, background included."""
        return {0: "background"} | {r.label: r.class_name for r in self.regions}
