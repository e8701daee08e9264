"""Polyps in frames of a colonoscopy."""

from .known_task import KnownTask
from .task import Region, Task

POLYP = Task(
    name="polyp",
    title="Colorectal polyp",
    input="photograph",
    regions=(Region(name="polyp", labels=(1,), label=1, class_name="polyp", colour="#35c2f0", inside=None),),
    measures=("area",),
    single_object=False,
    can_be_empty=True,
)
KNOWN = KnownTask(POLYP, expected="an endoscopy frame", modalities={"ES": "endoscopy"})
