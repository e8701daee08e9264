"""Copies napari.yaml into the package before building, so that npe2 finds it in every kind of install."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithManifest(build_py):
    def run(self):
        here = Path(__file__).parent
        shutil.copyfile(here / "napari.yaml", here / "napari_tinymig" / "napari.yaml")
        super().run()


setup(cmdclass={"build_py": BuildWithManifest})
