"""Where the time of a run went, and what is said of one that took clearly longer than it was asked to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

ASKED = "asked_s"
SPENT = "spent: "
CLEARLY = 1.3
"""A run that takes so many times its budget says so (chosen)."""


class Stopwatch:
    """Seconds by what they were spent on; what is not named is training.

    before_s: passed before the stopwatch began, until the program had started. clock: seconds that only rise.
    """

    def __init__(self, before_s: float = 0.0, clock: Callable[[], float] = time.monotonic):
        self.now = clock
        self._begun = clock()
        self.spent: dict[str, float] = {"start of the program": before_s}

    @property
    def seconds(self) -> float:
        """Since the stopwatch began."""
        return self.now() - self._begun

    @property
    def passed(self) -> float:
        """Since the user asked."""
        return self.spent["start of the program"] + self.seconds

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count the time inside the `with` block as spent on something; once at a time."""
        begun = self.now()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + self.now() - begun

    def values(self, asked_s: float) -> dict[str, float]:
        """The budget and what was spent, by name, as the values of a run's last message."""
        named = sum(self.spent.values()) - self.spent["start of the program"]
        training = max(0.0, self.seconds - named)
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
    where = ", ".join(f"{what} {in_words(seconds)}" for what, seconds in most if seconds >= 0.5)
    return f"It took {in_words(took)}, asked were {in_words(asked)}: {where}."


def in_words(seconds: float) -> str:
    """Seconds below two minutes, minutes from there on."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
