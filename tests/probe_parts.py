"""What the tests of probes share: the recipe of a small probe, a run on the drawn stripes, one of their images."""

from __future__ import annotations

from napari_tinymig.training.classifier.images import Item
from napari_tinymig.training.classifier.probe import probe

from napari_tinymig.recipes.classify import load_probe_recipe

SMALL = {"optim.epochs": 2, "optim.batch": 8, "optim.lr_prompt": 0.05, "backbone.size": 64}


def recipe(backbone_file, **overrides):
    said = SMALL | {"backbone.name": "test_resnet", "backbone.weights": str(backbone_file)}
    return load_probe_recipe("probe", said | {"data.case_pattern": r"^(p\d+[a-z]+)"} | overrides)


def run(recipe_, stripes, out, targets=("there",)):
    return list(probe(recipe_, stripes / "here", [stripes / t for t in targets], out, "cpu", cache=out / "cache"))


def item(stripes, domain="here", label="along"):
    path = sorted((stripes / domain / label).iterdir())[0]
    return Item(path.name, 0, path.name, path=path)
