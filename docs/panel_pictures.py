"""Every panel of the plugin as a user sees it: 1280x800 and 1920x1080, dark and light, with drawn images.

Run: xvfb-run -a -s "-screen 0 1920x1080x24" python docs/panel_pictures.py OUT [--only Cases Save ...]
Writes OUT/<panel>-<width>-<theme>.png; the pictures are for looking at, and are not kept in the repository.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from make_screenshots import spin, until
from PIL import Image

SIZES = ((1280, 800), (1920, 1080))
TITLES = (
    *("Cases", "Segment", "Prompt", "Live read-out", "Correct a mask", "Save and report", "Segment a folder"),
    *("Planes and scanner position", "Classify images", "Domain shift", "What if: another scanner", "Annotate cases"),
    *("Fine-tune a model", "Models"),
)


def window(theme, folder):
    """A window with three drawn photographs of a folder, all segmented, and the Cases panel."""
    import napari

    from napari_tinymig.samples.drawn import fundus_sample

    for seed in range(3):
        pixels = fundus_sample(side=512, seed=seed, cup_ratio=0.4 + 0.1 * seed).scan.pixels
        Image.fromarray(pixels).save(folder / f"drawn_{seed + 1}.png")
    viewer = napari.Viewer()
    viewer.theme = theme
    viewer.window.resize(*SIZES[0])
    viewer.open([str(p) for p in sorted(folder.glob("drawn_?.png"))], plugin="napari")
    panel = in_front(viewer, "Cases")
    panel.act["segment_all"]()
    until(lambda: all(c.state == "segmented" for c in panel.book.cases), 60)
    return viewer


def in_front(viewer, title):
    """A panel, opened as from the menu, in front of the others."""
    from napari_tinymig.viewer.docks.tabs import open_panel

    if not viewer.window.dock_widgets:
        viewer.window.add_plugin_dock_widget("napari-tinymig", title)
    panel = open_panel(viewer, title)
    spin(0.3)
    return panel


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=TITLES, default=TITLES)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["TINYMIG_HOME"] = os.environ["TINYMIG_STATE"] = home
        for theme in ("dark", "light"):
            folder = Path(home) / theme
            folder.mkdir()
            viewer = window(theme, folder)
            for title in given.only:
                in_front(viewer, title)
                for width, height in SIZES:
                    viewer.window.resize(width, height)
                    spin(0.5)
                    pixels = viewer.screenshot(canvas_only=False, flash=False)
                    name = title.split(":")[0].lower().replace(" ", "-")
                    Image.fromarray(pixels[..., :3]).save(given.out / f"{name}-{width}-{theme}.png")
            viewer.close()


if __name__ == "__main__":
    main()
