"""The example without this package gives the product's labels, pixel by pixel."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from napari_tinymig.training.exports.written import export_model

import napari_tinymig as tm
from napari_tinymig.base.records import Scan
from napari_tinymig.models.registry import open_model
from napari_tinymig.samples.polyp import polyp_sample

EXAMPLE = Path(__file__).parent.parent / "examples" / "onnx_region.py"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled polyp student as an ONNX file."""
    return export_model(open_model("polyp"), "onnx", tmp_path_factory.mktemp("onnx") / "polyp.onnx").path


@pytest.mark.parametrize("box", [(10, 20, 370, 380), (3, 9, 381, 387), (0, 0, 384, 384)])
def test_the_onnx_example_gives_the_products_labels_of_a_region(exported, box):
    spec = importlib.util.spec_from_file_location("onnx_region", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    frame = polyp_sample(384, seed=5).scan.pixels
    expected = tm.load_model("polyp", "cpu").predict(Scan(frame), roi=box).labels
    assert expected.any()
    found = example.labels_of_region(onnxruntime.InferenceSession(exported), frame, *box)
    assert np.array_equal(found, expected)


def test_the_example_is_short_and_has_nothing_of_ours():
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert len([n for n in ast.walk(function) if isinstance(n, ast.stmt)]) <= 26
    imported = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert imported == {"json", "sys", "numpy", "onnxruntime"}
