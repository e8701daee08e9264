"""Sample data for napari's File > Open Sample menu: a photograph that comes with scikit-image, and drawn images."""

from __future__ import annotations

from typing import Any

from .layer_geometry import KEY

LayerData = tuple[Any, dict[str, Any], str]


def no_patient() -> dict[str, Any]:
    """Metadata of a layer that shows no patient."""
    return {KEY: {"drawn": True}}


def fundus() -> list[LayerData]:
    """A drawn full-field fundus photograph; no patient, no network access."""
    from ...samples.drawn import fundus_sample

    scan = fundus_sample().scan
    return [
        (
            scan.pixels,
            {"name": "drawn fundus", "rgb": True, "axis_labels": ("y", "x"), "metadata": no_patient()},
            "image",
        )
    ]


def prostate() -> list[LayerData]:
    """A drawn axial T2 volume of a prostate, with its spacing in mm."""
    from ...samples.drawn import prostate_sample

    scan = prostate_sample().scan
    attributes: dict[str, Any] = {"name": "drawn prostate", "colormap": "gray", "axis_labels": ("z", "y", "x")}
    attributes["metadata"] = no_patient()
    if scan.spacing_mm is not None:
        attributes |= {"scale": scan.spacing_mm, "units": ("mm",) * 3}
    return [(scan.pixels, attributes, "image")]


def retina() -> list[LayerData]:
    """scikit-image's retina photograph (1411 x 1411, CC0); it comes with scikit-image."""
    from skimage.data import retina as photograph

    return [(photograph(), {"name": "retina", "rgb": True, "axis_labels": ("y", "x")}, "image")]
