"""Beside other plugins for the same files: both orders of discovery, and napari's own choice of readers."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

npe2 = pytest.importorskip("npe2", reason="npe2 is not installed; it belongs to the [viewer] extra")
from npe2 import PluginManager, PluginManifest  # noqa: E402
from npe2.manifest.utils import import_python_name  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
NEIGHBOURS = {  # what their manifests claim, as read from napari-nifti 0.0.20 and napari-medical-image-formats 0.3.8
    "napari-nifti": ["*.gz", "*.nii", "*.nii.gz", "*.nrrd"],
    "napari-medical-image-formats": ["*"],
}


def neighbour(name):
    """A manifest with a neighbour's name and patterns."""
    command = {"id": f"{name}.get_reader", "title": "Read", "python_name": "builtins:print"}
    reader = {"command": command["id"], "filename_patterns": NEIGHBOURS[name], "accepts_directories": True}
    return PluginManifest(name=name, contributions={"commands": [command], "readers": [reader]})


@pytest.fixture(params=["ours first", "ours last"])
def manager(request):
    ours = PluginManifest.from_file(ROOT / "napari.yaml")
    others = [neighbour(name) for name in NEIGHBOURS]
    manifests = [ours, *others] if request.param == "ours first" else [*others, ours]
    found = PluginManager()
    for manifest in manifests:
        found.register(manifest)
    return found


@pytest.fixture
def volume_file(tmp_path):
    path = tmp_path / "case.nii.gz"
    affine = np.diag([0.5, 0.5, 3, 1.0])
    nib.save(nib.Nifti1Image(np.arange(4 * 20 * 20, dtype=np.int16).reshape(20, 20, 4), affine), path)
    return path


def test_all_readers_of_a_volume_are_offered_and_ours_reads_it_when_asked(manager, volume_file):
    readers = list(manager.iter_compatible_readers(str(volume_file)))
    names = {r.plugin_name for r in readers}
    assert "napari-tinymig" in names
    (ours,) = (r for r in readers if r.plugin_name == "napari-tinymig")
    (command,) = (c for c in manager.get_manifest("napari-tinymig").contributions.commands if c.id == ours.command)
    read = import_python_name(command.python_name)(str(volume_file))
    ((data, attributes, kind),) = read(str(volume_file))
    assert kind == "image"
    assert data.shape == (4, 20, 20)
    np.testing.assert_allclose(attributes["scale"], (3, 0.5, 0.5))


def test_no_two_plugins_own_the_same_command(manager):
    ids = [c.id for m in manager.iter_manifests() for c in m.contributions.commands or ()]
    assert len(ids) == len(set(ids))
    assert {i for i in ids if i.startswith("napari-tinymig.")}


def test_photographs_and_tables_are_not_claimed(manager, tmp_path):
    for name in ("eye.jpg", "eye.png", "scan.tif", "archive.tar.gz", "table.csv", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
        claimed = [r.plugin_name for r in manager.iter_compatible_readers(str(tmp_path / name))]
        assert "napari-tinymig" not in claimed, name


def test_our_writer_is_found_for_every_mask_format_in_both_orders(manager):
    for suffix in (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".dcm"):
        writer, path = manager.get_writer(f"mask{suffix}", ["labels"], "napari-tinymig")
        assert writer is not None, suffix
        assert path == f"mask{suffix}"


def test_a_folder_without_dicom_is_left_to_others(tmp_path):
    from napari_tinymig.viewer.napari_io.readers import get_reader

    (tmp_path / "a.txt").write_text("nothing")
    assert get_reader(str(tmp_path)) is None


def test_settings_come_from_the_preferences_page(plugin_settings, npe2pm):
    """The page is made by napari from the manifest; what is set there is what the panels read."""
    from napari.settings import get_plugin_settings

    from napari_tinymig.viewer.parts.settings import setting

    npe2pm.register(PluginManifest.from_file(ROOT / "napari.yaml"))
    assert setting("general", "device") == "auto"
    get_plugin_settings("napari-tinymig").general.device = "cpu"
    get_plugin_settings("napari-tinymig").models.optic = "optic-mine"
    assert setting("general", "device") == "cpu"
    assert setting("models", "optic") == "optic-mine"
