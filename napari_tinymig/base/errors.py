"""Errors of the world. Each message says what was found, what was expected and what to do.

What the user gave wrongly as an argument is a ValueError; what a file, a model, a disk or an installation did
wrong is one of these. An image that cannot be used and a name that is not known may be either, and are both.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The words "did you mean 'optic'?" for a word that is nearly a known one, else `otherwise`."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else otherwise


class TinyMIGError(Exception):
    """Something that stops one input or one command, said in one sentence a user can act on."""


class UnreadableInput(TinyMIGError):
    """A file or folder that cannot be read as an image: wrong type, truncated, empty, damaged."""


class UnsupportedInput(TinyMIGError, ValueError):
    """A readable image that the product cannot use: 4-D, constant, NaN everywhere, too small, too large."""


class TaskRefused(TinyMIGError):
    """`--task auto` did not recognise the image; the sentence asks for --task."""


class ModelFileError(TinyMIGError):
    """A model file that is not ours, damaged, from a newer version, or not known by name."""


class UnknownName(ModelFileError, ValueError):
    """A model or task name that nothing here has."""


class OutputRefused(TinyMIGError):
    """A result that cannot be written: exists already, read-only folder, disk full."""


class MissingExtra(TinyMIGError):
    """A function that needs an optional extra; the message carries the install command."""

    def __init__(self, what: str, extra: str):
        super().__init__(
            f"{what} needs packages that are not installed; install them with: pip install 'napari-tinymig[{extra}]'"
        )
        self.extra = extra


class HubUnreachable(TinyMIGError):
    """Pretrained weights that could not be had from the hub; the message says how to give a local file."""


class WorkerFailed(TinyMIGError):
    """A training worker that ended without a result; the message says what happened and what was saved."""
