"""Settings of a prompted student's training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..tasks.task import Frozen
from .read import RECIPES, read_recipe, recipe_path, validate
from .student import StudentSpec

SHIPPED = {"prompt": RECIPES / "prompt.toml"}


class Stage(Frozen):
    """One part of the training: a size of the views, for some minutes."""

    size: int = Field(256, ge=64, le=512, multiple_of=32, description="Side of the views in pixels.")
    minutes: float = Field(10, gt=0, description="Wall time of the stage.")


class PromptRecipe(Frozen):
    """Everything that a prompted student depends on, except where its data lie."""

    name: str = Field(description="Name of the recipe and of the model.")
    kind: Literal["prompt"] = Field(description="What tells this recipe from those of students of one task.")
    student: StudentSpec = Field(StudentSpec(), description="Stages and decoder; the encoder is always dense.")
    stages: tuple[Stage, ...] = Field((Stage(),), min_length=1, description="Parts of the training, in order.")
    batch: int = Field(16, ge=2, description="Views per step.")
    lr: float = Field(2e-3, gt=0, description="Learning rate at the start of every stage; half a cosine to nothing.")
    drawn: float = Field(0.15, ge=0, le=1, description="Share of views in which a drawn shape is the object.")
    regions: float = Field(0.25, ge=0, le=1, description="Share of natural regions among the other views.")
    frame_side: int = Field(288, ge=64, description="Side of the frames kept in memory, from which views are cut.")
    most_images: int = Field(600, ge=1, description="Most images taken of one source.")
    region_images: int = Field(80, ge=0, description="Images of every source that are also cut into natural regions.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")


def is_prompt_recipe(name_or_path: str | Path) -> bool:
    """Does a name or .toml file stand for a prompted student's recipe?"""
    if str(name_or_path) in SHIPPED:
        return True
    path = Path(name_or_path)
    return path.suffix == ".toml" and path.is_file() and read_recipe(path, SHIPPED).get("kind") == "prompt"


def load_prompt_recipe(name_or_path: str | Path, overrides: dict[str, Any] | None = None) -> PromptRecipe:
    """A shipped recipe by name, or a .toml file. Raises ValueError naming the nearest name or key."""
    path = recipe_path(name_or_path, SHIPPED, "prompt recipe")
    return validate(PromptRecipe, read_recipe(path, SHIPPED, overrides), str(path))
