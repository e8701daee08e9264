"""Who mended a mask before, when, and from which model: the trail of a case of an annotation set."""

from __future__ import annotations

import getpass
from typing import Protocol

from pydantic import Field

from ..tasks.task import Frozen


class Mended(Frozen):
    """One earlier mask of a case; it lies in the set's history/, under its hash."""

    who: str = Field("", description="Name of the annotator.")
    when: str = Field("", description="UTC date and time, ISO 8601.")
    model_id: str = Field("", description="Model whose prediction was mended; empty = drawn from nothing.")
    label_sha256: str = Field("", description="Hash of the labels (16 hex digits).")


class Annotated(Protocol):
    """A case as its trail sees it: the fields of `Mended`, and the masks before."""

    @property
    def who(self) -> str: ...
    @property
    def when(self) -> str: ...
    @property
    def model_id(self) -> str: ...
    @property
    def label_sha256(self) -> str: ...
    @property
    def earlier(self) -> tuple[Mended, ...]: ...


def trail_with(case: Annotated) -> tuple[Mended, ...]:
    """The trail of the mask that replaces the one of `case`: oldest first."""
    now = Mended(who=case.who, when=case.when, model_id=case.model_id, label_sha256=case.label_sha256)
    return (*case.earlier, now)


def told(case: Annotated) -> list[str]:
    """The trail and the present mask in sentences for people, newest first."""
    return [
        f"by {m.who or 'someone'}, {m.when.replace('T', ' ')[:16]}, from {m.model_id or 'nothing'}"
        for m in reversed(trail_with(case))
    ]


def login_name() -> str:
    """Name of the person at this computer; '' where the system does not tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
