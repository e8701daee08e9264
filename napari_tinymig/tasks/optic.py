"""Optic disc and cup in fundus photographs."""

from .known_task import KnownTask
from .task import Region, Task

OPTIC = Task(
    name="optic",
    title="Optic disc and cup",
    input="photograph",
    regions=(
        Region(name="disc", labels=(1, 2), label=1, class_name="disc rim", colour="#35c2f0", inside=None),
        Region(name="cup", labels=(2,), label=2, class_name="cup", colour="#ffb000", inside="disc"),
    ),
    measures=("cup_disc",),
)
ROUND_ODDS = 20.0
"""Chosen: a guesser that is sure of another photograph, above .95, is still believed; fibrescopes are round, too."""
KNOWN = KnownTask(
    OPTIC,
    expected="a fundus photograph",
    modalities={"OP": "fundus", "OPT": "fundus"},
    round_odds=ROUND_ODDS,
    file_words={"od": "disc", "optic disc": "disc", "oc": "cup", "optic cup": "cup"},
)
