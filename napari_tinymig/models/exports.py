"""The table of export formats: the word of `--to`, what it is, and the function of training that writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Export:
    """One format. writer: 'module:function' in `training.exports`, called with (model file, path); it returns what of
    the written file was compared with the product, in words, or '' where nothing was. text: for help, '' = the word."""

    writer: str
    text: str = ""


EXPORTS: dict[str, Export] = {
    "onnx": Export("written:write_onnx"),
    "torchscript": Export("written:write_script"),
    "bundle": Export("bundle:write_bundle", "a MONAI bundle folder (bundle)"),
}


@dataclass(frozen=True)
class Written:
    """A model in another program's format: where, and what of it was compared with the product ('' = nothing)."""

    path: Path
    compared: str = ""

    @property
    def text(self) -> str:
        """One sentence for the user."""
        return f"{self.path}: written; {self.compared or 'not compared with the product'}"


def export_help() -> str:
    """The formats in a sentence, for help."""
    *first, last = (export.text or word for word, export in EXPORTS.items())
    return f"{', '.join(first)}, or {last}."
