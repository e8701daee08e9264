"""Every key of the plugin: one table, for binding, tool tips and the help card.

napari owns the plain letters of its Labels, Points, Shapes and Image layers and nearly all of Ctrl; Shift with these
letters and Alt with the arrows to the sides are free.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A key in napari's spelling and what it does, for people."""

    key: str
    does: str

    @property
    def shown(self) -> str:
        """As tool tips and the help card show it."""
        return self.key.replace("-", "+").replace("Right", "→").replace("Left", "←")


CASE_KEYS: dict[str, Key] = {
    "next": Key("Alt-Right", "next case"),
    "previous": Key("Alt-Left", "previous case"),
    "segment": Key("Shift-G", "segment this case"),
    "segment_all": Key("Shift-Q", "segment all cases"),
    "correct": Key("Shift-M", "mend the mask"),
    "readout": Key("Shift-R", "the mask's numbers"),
    "save": Key("Shift-W", "save this mask"),
    "save_all": Key("Shift-X", "save every mask"),
    "see_through": Key("Shift-H", "masks full, faint, hidden"),
    "outline": Key("Shift-O", "masks filled or outline"),
    "axial": Key("Shift-T", "axial plane"),
    "coronal": Key("Shift-B", "coronal plane"),
    "sagittal": Key("Shift-Y", "sagittal plane"),
    "volume": Key("Shift-Z", "3-D, and back"),
    "cases": Key("Shift-J", "this list"),
}


CORRECT_KEYS: dict[str, Key] = {
    "clean": Key("Shift-I", "clean islands"),
    "fill": Key("Shift-F", "fill holes"),
    "smooth": Key("Shift-S", "smooth"),
    "cup": Key("Shift-C", "keep the cup in the disc"),
    "ellipse": Key("Shift-E", "fit ellipses"),
    "interpolate": Key("Shift-N", "interpolate between slices"),
    "copy": Key("Shift-D", "copy to the next slice"),
    "lock": Key("Shift-K", "lock what I painted"),
}
"""Bound while the Correct panel is open."""


PROMPT_KEYS: dict[str, Key] = {
    "add": Key("Q", "prompt: add"),
    "away": Key("W", "prompt: take away"),
    "point": Key("U", "prompt: points"),
    "scribble": Key("J", "prompt: scribbles"),
    "box": Key("K", "prompt: boxes"),
    "next": Key("N", "prompt: next object"),
    "accept": Key("G", "prompt: accept"),
}
"""Bound while the Prompt panel is open: plain letters that neither napari's viewer nor any of its layers owns."""


def with_key(tip: str, name: str) -> str:
    """A tool tip that names its key."""
    return f"{tip}  Key: {CASE_KEYS[name].shown}"
