"""A model file gives back what was written, and everything else is refused in one sentence."""

import json
import struct

import numpy as np
import pytest

from napari_tinymig.base.errors import ModelFileError, OutputRefused
from napari_tinymig.models import registry
from napari_tinymig.models.file import read_header, read_model_file, weights_sha256, write_model_file
from napari_tinymig.recipes.student import ModelHeader
from napari_tinymig.tasks.optic import OPTIC

WEIGHTS = {"stem.weight": np.arange(12, dtype=np.float16).reshape(3, 4), "head.bias": np.float32([0.5, -1.0])}


@pytest.fixture
def written(tmp_path):
    header = ModelHeader(name="tiny", task=OPTIC, thresholds={"cup": 0.4}, statistics={"version": 1})
    return write_model_file(tmp_path / "tiny.safetensors", header, WEIGHTS, b"not a real graph")


def test_reading_gives_back_header_graph_and_weights(written):
    read = read_model_file(written.path)
    assert read == written
    assert read.header.thresholds == {"cup": 0.4}
    assert read.onnx == b"not a real graph"
    weights = read.weights()
    assert set(weights) == set(WEIGHTS)
    for name, value in WEIGHTS.items():
        assert weights[name].dtype == value.dtype
        np.testing.assert_array_equal(weights[name], value)


def test_the_id_is_the_name_with_a_hash_of_the_contents(written, tmp_path):
    assert written.model_id.startswith("tiny@")
    assert len(written.model_id) == len("tiny@") + 8
    assert read_header(written.path) == (written.header, written.model_id)
    again = write_model_file(tmp_path / "b.safetensors", written.header, WEIGHTS, b"not a real graph")
    other = write_model_file(tmp_path / "c.safetensors", written.header, WEIGHTS, b"another graph")
    assert again.model_id == written.model_id
    assert other.model_id != written.model_id


def test_the_hash_of_weights_knows_names_shapes_and_types():
    base = weights_sha256(WEIGHTS)
    assert weights_sha256(dict(reversed(WEIGHTS.items()))) == base
    for changed in (
        {"stem.weight": WEIGHTS["stem.weight"].reshape(4, 3), "head.bias": WEIGHTS["head.bias"]},
        {"stem.weight": WEIGHTS["stem.weight"].astype(np.float32), "head.bias": WEIGHTS["head.bias"]},
        {"stem.w": WEIGHTS["stem.weight"], "head.bias": WEIGHTS["head.bias"]},
    ):
        assert weights_sha256(changed) != base


def test_a_header_that_names_other_weights_is_not_written(written, tmp_path):
    with pytest.raises(ValueError, match="make the ONNX bytes from the weights that are saved"):
        write_model_file(tmp_path / "x.safetensors", written.header, {"a": np.zeros(3, np.float32)}, b"")
    assert not (tmp_path / "x.safetensors").exists()


def flip_last_byte_of(path, name):
    """Damage one tensor of a safetensors file in place."""
    raw = bytearray(path.read_bytes())
    length = struct.unpack("<Q", raw[:8])[0]
    end = json.loads(raw[8 : 8 + length])[name]["data_offsets"][1]
    raw[8 + length + end - 1] ^= 1
    path.write_bytes(raw)


def test_a_flipped_bit_in_the_graph_is_refused(written):
    flip_last_byte_of(written.path, "onnx")
    with pytest.raises(ModelFileError, match="does not match its recorded hash"):
        read_model_file(written.path)


def test_weights_that_the_graph_was_not_made_from_are_refused(written):
    flip_last_byte_of(written.path, "head.bias")
    with pytest.raises(ModelFileError, match="the ONNX graph belongs to weights"):
        read_model_file(written.path)


@pytest.mark.parametrize("keep", [0, 5, 40, 0.5, 0.99])
def test_a_file_cut_short_is_refused(written, keep):
    raw = written.path.read_bytes()
    written.path.write_bytes(raw[: keep if isinstance(keep, int) else int(len(raw) * keep)])
    with pytest.raises(ModelFileError, match="is damaged|is not a napari-tinymig model"):
        read_model_file(written.path)


@pytest.mark.parametrize("foreign", [b"hello", b"\x80\x04pickle", b"\xff" * 64, struct.pack("<Q", 2) + b"{}"])
def test_a_foreign_file_is_refused(tmp_path, foreign):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(foreign)
    with pytest.raises(ModelFileError, match="is not a napari-tinymig model"):
        read_model_file(path)


def test_somebody_elses_safetensors_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "theirs.safetensors")
    with pytest.raises(ModelFileError, match="is not a napari-tinymig model"):
        read_model_file(tmp_path / "theirs.safetensors")


def test_a_newer_header_asks_for_an_update(written):
    raw = written.path.read_bytes()
    changed = raw.replace(b'{\\"schema_version\\":1', b'{\\"schema_version\\":9')
    assert changed != raw
    written.path.write_bytes(changed)
    with pytest.raises(ModelFileError, match="written by a newer version .*pip install --upgrade"):
        read_model_file(written.path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="no model file at .*nowhere"):
        read_model_file(tmp_path / "nowhere.safetensors")


def test_a_folder_that_cannot_be_written_is_refused(written, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    header = written.header.model_copy(update={"weights_sha256": ""})
    with pytest.raises(OutputRefused, match="cannot write .*choose a writable folder"):
        write_model_file(tmp_path / "file" / "m.safetensors", header, WEIGHTS, b"")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registry, "BUNDLED", tmp_path / "bundled")
    return tmp_path / "home"


def test_a_model_is_added_found_by_name_made_default_and_removed(written, home):
    added = registry.add_model(written.path, "mine")
    assert added.path == home / "models" / "mine.safetensors"
    assert registry.find_model("mine") == added.path
    assert registry.default_model("optic") == "mine"  # the only model of the task
    registry.set_default("optic", "mine")
    assert registry.defaults() == {"optic": "mine"}
    registry.remove_model("mine")
    assert registry.defaults() == {}
    with pytest.raises(ModelFileError, match="no model for task 'optic'"):
        registry.default_model("optic")


def test_a_misspelt_name_is_told_the_nearest_one(written, home):
    registry.add_model(written.path, "optic-clinic")
    with pytest.raises(ModelFileError, match="did you mean 'optic-clinic'"):
        registry.find_model("optic-clinik")


def test_a_model_asked_for_by_its_id_is_that_one_or_refused(written, home):
    added = registry.add_model(written.path, "mine")
    assert registry.find_model(added.model_id.replace(added.header.name, "mine")) == added.path
    with pytest.raises(ModelFileError, match=r"'mine' here is .*@[0-9a-f]{8}; expected mine@00000000; ask for 'mine'"):
        registry.find_model("mine@00000000")


def test_a_taken_name_is_refused_and_a_bundled_model_cannot_be_removed(written, home, tmp_path):
    registry.add_model(written.path, "mine")
    with pytest.raises(OutputRefused, match="exists already"):
        registry.add_model(written.path, "mine")
    write_model_file(tmp_path / "bundled" / "optic.safetensors", written.header, WEIGHTS, b"g")
    with pytest.raises(ValueError, match="part of the package"):
        registry.remove_model("optic")
    assert registry.default_model("optic") == "optic"


def test_a_damaged_user_model_is_listed_with_its_problem(written, home):
    added = registry.add_model(written.path, "mine")
    added.path.write_bytes(b"broken")
    (entry,) = registry.list_models()
    assert entry.header is None
    assert "is not a napari-tinymig model" in entry.problem


def test_one_changed_letter_in_the_header_is_found(written, tmp_path):
    """A threshold that reads 0.9 where it was 0.5 would change every mask without a word."""
    raw = written.path.read_bytes()
    changed = raw.replace(b'\\"name\\":\\"disc\\"', b'\\"name\\":\\"dosc\\"', 1)
    assert changed != raw
    path = tmp_path / "changed.safetensors"
    path.write_bytes(changed)
    for read in (read_header, read_model_file):
        with pytest.raises(ModelFileError, match="header does not match its recorded hash"):
            read(path)
