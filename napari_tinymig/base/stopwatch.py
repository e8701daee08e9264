"""Where the time of a run went, and what is said of one that took clearly longer than it was asked to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

ASKED = "asked_s"
SPENT = "spent: "
CLEARLY = 1.3
"""A run that takes so many times its budget says so (chosen)."""


class Stopwatch:
    """Seconds by what they were spent on; what is not named is training.

    before_s: passed before the stopwatch began, until the program had started.
    """

    def __init__(self, before_s: float = 0.0):
        self._begun = time.monotonic()
        self.spent: dict[str, float] = {"start of the program": before_s}

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time inside the `with` block as spent on something; once at a time."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + time.monotonic() - begun

    def values(self, asked_s: float) -> dict[str, float]:
        """The budget and what was spent, by name, as the values of a run's last message."""
        named = sum(self.spent.values()) - self.spent["start of the program"]
        training = max(0.0, time.monotonic() - self._begun - named)
        parts = self.spent | {"training": training}
        return {ASKED: asked_s} | {f"{SPENT}{what}": seconds for what, seconds in parts.items()}


def over_budget(values: Mapping[str, float]) -> str:
    """A sentence about a run that took clearly longer than asked, from its last message's values; '' otherwise."""
    asked = values.get(ASKED, 0.0)
    spent = {name.removeprefix(SPENT): s for name, s in values.items() if name.startswith(SPENT)}
    took = sum(spent.values())
    if not asked or took <= CLEARLY * asked:
        return ""
    most = sorted(spent.items(), key=lambda part: -part[1])
    where = ", ".join(f"{what} {_words(seconds)}" for what, seconds in most if seconds >= 0.5)
    return f"It took {_words(took)}, asked were {_words(asked)}: {where}."


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
