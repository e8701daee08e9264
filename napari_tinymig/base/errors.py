"""Errors of the world. Each message says what was found, what was expected and what to do.

What the user gave wrongly as an argument is a ValueError; what a file, a model, a disk or an installation did
wrong is one of these. An image that cannot be used and a name that is not known may be either, and are both. What a
file library raises becomes one of these in `reading`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """The words "did you mean 'optic'?" for a word that is nearly a known one, else `otherwise`."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else otherwise


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _escaped(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


class TinyMIGError(Exception):
    """Something that stops one input or one command, said in one sentence a user can act on.

    Sentences quote what files hold, and a header may hold line breaks and a terminal's commands: control characters are
    written as their escapes.
    """

    def __init__(self, *said: object):
        super().__init__(*(_CONTROL.sub(_escaped, part) if isinstance(part, str) else part for part in said))


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


_RUST_PANIC = "PanicException"  # of decoders written in Rust: no Exception, so that it would end a whole folder's run


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever a file library raises inside into one UnreadableInput sentence about `path`."""
    try:
        yield
    except TinyMIGError:
        raise
    except FileNotFoundError as e:
        raise UnreadableInput(f"{e.filename or path} does not exist; expected {expected}; check the path.") from e
    except PermissionError as e:
        raise UnreadableInput(f"{path} may not be read (permission denied); change its permissions.") from e
    except MemoryError as e:
        raise UnsupportedInput(f"{path.name} does not fit into memory; crop or shrink it first.") from e
    except BaseException as e:
        if not isinstance(e, Exception) and type(e).__name__ != _RUST_PANIC:
            raise
        reason = re.sub(r"\s+", " ", str(e)).strip() or type(e).__name__
        reason = reason.replace(str(path), path.name)
        raise UnreadableInput(
            f"{path.name} cannot be read as {expected}: {reason[:200]}. The file is damaged, cut short or of another "
            "type; open it in the program it came from and export it again."
        ) from e
