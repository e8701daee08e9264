"""The prostate gland in T2-weighted MRI."""

from .known_task import KnownTask
from .task import Region, Task

PROSTATE = Task(
    name="prostate",
    title="Prostate gland (T2 MRI)",
    input="volume",
    regions=(Region(name="gland", labels=(1,), label=1, class_name="gland", colour="#35c2f0", inside=None),),
    measures=("volume",),
)
KNOWN = KnownTask(
    PROSTATE,
    expected="a prostate MRI",
    modalities={"MR": "prostate"},
    body_parts=("", "PROSTATE", "PELVIS", "ABDOMENPELVIS", "ABDOMEN PELVIS", "UNKNOWN"),
    dicom_codes={1: ("41216001", "SCT", "Prostate")},
)
