"""Makes every picture of docs/images from the real window, with drawn samples only (no patient's image).

Run: xvfb-run -a -s "-screen 0 1600x1000x24" python docs/make_screenshots.py [--only NAME ...]
(with a display, without xvfb-run). Pictures are 1280x800 JPEG, about 90 kB each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent / "images"


def spin(seconds=0.4):
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        spin(0.05)
    spin()


def shot(viewer, name):
    """The whole window as docs/images/NAME.jpg."""
    spin(0.8)
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    HERE.mkdir(exist_ok=True)
    Image.fromarray(pixels[..., :3]).save(HERE / f"{name}.jpg", quality=82, subsampling=0, optimize=True)


def dock(viewer, title):
    """One of the plugin's panels, docked as from the menu, in front."""
    docked, panel = viewer.window.add_plugin_dock_widget("napari-tinymig", title, tabify=True)
    spin()
    docked.raise_()
    spin()
    return panel


def fresh(sample=None, theme="dark"):
    import napari

    viewer = napari.Viewer()
    viewer.theme = theme
    viewer.window.resize(1280, 800)
    if sample:
        viewer.open_sample("napari-tinymig", sample)
        viewer.reset_view()
    spin()
    return viewer


def segmented(sample, task, theme="dark"):
    """A window with a sample and its mask; (viewer, segment panel)."""
    viewer = fresh(sample, theme)
    panel = dock(viewer, "Segment")
    until(lambda: panel.chosen_task is not None, 10)
    panel.task.setCurrentIndex(max(0, panel.task.findData(task)))
    panel.segment()
    until(lambda: not panel.work.running)
    return viewer, panel


def first_run():
    viewer = fresh()
    dock(viewer, "Segment")
    shot(viewer, "first-run")
    viewer.close()


def segment():
    viewer, _ = segmented("fundus", "optic")
    shot(viewer, "segment")
    dock(viewer, "Live read-out")
    shot(viewer, "readout")
    dock(viewer, "Correct a mask")
    shot(viewer, "correct")
    dock(viewer, "Save and report")
    shot(viewer, "save")
    viewer.close()


def prompt(theme="dark", name="prompt"):
    """Coins, a structure that nobody trained for: two are finished, a third one is at work."""
    from skimage.data import coins

    viewer = fresh(theme=theme)
    viewer.add_image(coins(), name="coins")
    panel = dock(viewer, "Prompt")
    viewer.reset_view()
    panel.take()
    until(lambda: panel.prompting.session is not None)
    marks = panel.prompting.marks

    def answered(n):
        until(lambda: len(panel.prompting.session.prompts) == n and not panel.prompting.work.running)

    for n, at in enumerate(((54, 44), (57, 100))):
        marks.points.add(at)
        answered(2 * n + 1)
        panel.prompting.next_object()
    panel.tools.pick("away")
    marks.points.add((74, 136))
    answered(5)
    panel.tools.pick("add")
    panel.tools.pick("box")
    marks.strokes.add_rectangles([[26, 129], [26, 182], [77, 182], [77, 129]])
    answered(6)
    shot(viewer, name)
    viewer.close()


def structure():
    """A structure of one's own: asked for by name and colour; then its cases, and the model that they make."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from drawn_leaves import leaf_picture

    from napari_tinymig.annotations.annotation_set import AnnotationSet
    from napari_tinymig.annotations.structures import set_folder
    from napari_tinymig.base.records import Scan

    viewer = fresh()
    picture, truth = leaf_picture(0)
    viewer.add_image(picture, rgb=True, name="leaf 0")
    panel = dock(viewer, "Prompt")
    viewer.reset_view()
    chooser = panel.subject.structure
    chooser.setCurrentIndex(chooser.count() - 1)
    chooser.activated.emit(chooser.currentIndex())
    panel.form.classes[0].name.setText("Leaf")
    panel.form.classes[0].colour.show_colour("#7bd389")
    panel.form.add_class()
    panel.form.classes[1].name.setText("Berry")
    shot(viewer, "structure-new")
    panel.form.begin()
    task = panel.subject.task
    with AnnotationSet(set_folder(task), task) as cases:
        for number in range(1, 5):
            cases.add(Scan(leaf_picture(number)[0]), leaf_picture(number)[1])
    panel.teach.refresh()
    panel.take()
    until(lambda: panel.prompting.session is not None)
    viewer.reset_view()
    for n, share in enumerate((4, 1.4)):
        panel.prompting.marks.points.add(np.argwhere(truth)[int(truth.sum() / share)])
        until(lambda n=n: len(panel.prompting.session.prompts) == n + 1 and not panel.prompting.work.running)
    panel.say("")
    panel.teach.where.setText("The cases lie in structures/leaf.")
    shot(viewer, "structure")
    viewer.close()


def cases():
    """Three drawn photographs of a folder, segmented; the middle one on show, its mask as an outline."""
    from napari_tinymig.samples.drawn import fundus_sample

    viewer = fresh()
    panel = dock(viewer, "Cases")
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(3):
            sample = fundus_sample(side=512, seed=seed, cup_ratio=0.4 + 0.1 * seed)
            Image.fromarray(sample.scan.pixels).save(Path(folder) / f"drawn_{seed + 1}.png")
        panel.open_folder(folder)
        until(lambda: panel.book.current is not None, 20)
        panel.act["segment_all"]()
        until(lambda: all(case.state == "segmented" for case in panel.book.cases), 60)
        panel.act["next"]()
        until(lambda: panel.book.current is panel.book.cases[1], 20)
        panel.act["cases"]()
        panel.act["outline"]()
        shot(viewer, "cases")
        panel.worklist.autosave = False
        viewer.close()


def light():
    viewer, _ = segmented("fundus", "optic", "light")
    dock(viewer, "Live read-out")
    shot(viewer, "readout-light")
    viewer.close()
    prompt("light", "prompt-light")


def prostate():
    viewer, _ = segmented("prostate", "prostate")
    viewer.dims.set_point(0, 30)
    dock(viewer, "Live read-out")
    shot(viewer, "prostate")
    viewer.close()


def planes():
    """A drawn volume written as three series with different slice directions, opened by the plugin's reader."""
    import nibabel as nib
    from napari.layers import Layer

    from napari_tinymig.samples.drawn import prostate_sample
    from napari_tinymig.viewer.napari_io.readers import read_layers

    scan = prostate_sample().scan
    z, y, x = scan.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    whole = nib.Nifti1Image(scan.pixels.transpose(2, 1, 0), affine)
    viewer = fresh()
    with tempfile.TemporaryDirectory() as folder:
        for name, steps in (("transverse", (1, 1, 1)), ("sagittal", (8, 1, 1)), ("coronal", (1, 8, 1))):
            sliced = whole.slicer[:: steps[0], :: steps[1], :: steps[2]]
            nib.save(sliced, Path(folder) / f"{name}.nii.gz")
            for data in read_layers(str(Path(folder) / f"{name}.nii.gz")):
                viewer.add_layer(Layer.create(*data))
    panel = dock(viewer, "Planes and scanner position")
    panel.show_series(viewer.layers["transverse"])
    shot(viewer, "planes")
    viewer.close()


def batch():
    from napari_tinymig.samples.drawn import fundus_sample

    viewer = fresh()
    panel = dock(viewer, "Segment a folder")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for i, ratio in enumerate((0.3, 0.45, 0.6, 0.75)):
            sample = fundus_sample(side=512, seed=i, cup_ratio=ratio)
            Image.fromarray(sample.scan.pixels).save(images / f"drawn_{i + 1}.png")
        (images / "cut_short.png").write_bytes((images / "drawn_1.png").read_bytes()[:5000])
        panel.source.setText(str(images))
        panel.target.setText(str(Path(folder) / "results"))
        panel.task.setCurrentIndex(panel.task.findData("optic"))
        panel.start()
        until(lambda: not panel.work.running)
        panel.open_row(2)
        until(lambda: len(viewer.layers) == 2, 20)
        panel.source.setText("images")
        panel.target.setText("results")
        panel.say(panel.message.text().split(". Results")[0] + ".", "warn")
        shot(viewer, "batch")
    viewer.close()


def shift():
    viewer, _ = segmented("fundus", "optic")
    panel = dock(viewer, "Domain shift")
    panel.measure()
    until(lambda: not panel.work.running, 60)
    shot(viewer, "shift")
    viewer.close()


def what_if():
    viewer, _ = segmented("fundus", "optic")
    panel = dock(viewer, "What if: another scanner")
    panel.start()
    until(lambda: not panel.opening.running, 60)
    for slider in list(panel.sliders.values())[:2]:
        slider.setValue(int(0.6 * slider.maximum()))
    until(lambda: not panel.trying.running, 60)
    viewer.reset_view()
    shot(viewer, "what-if")
    viewer.close()


def classify():
    viewer, _ = segmented("fundus", "optic")
    dock(viewer, "Classify images")
    shot(viewer, "classify")
    viewer.close()


def loop():
    """Three drawn photographs are collected with their truth, and a student is fine-tuned for a third of a minute."""
    from napari_tinymig.samples.drawn import fundus_sample
    from napari_tinymig.tasks.optic import OPTIC
    from napari_tinymig.viewer.napari_io.layers import result_layer

    viewer = fresh()
    with tempfile.TemporaryDirectory() as folder:
        annotate = dock(viewer, "Annotate cases")
        annotate.open_set(Path(folder) / "our camera")
        for seed in range(3):
            sample = fundus_sample(side=512, seed=seed, cup_ratio=0.4 + 0.1 * seed)
            viewer.layers.clear()
            image = viewer.add_image(sample.scan.pixels, rgb=True, name=f"drawn {seed + 1}")
            mask = viewer.add_layer(result_layer(image, sample.truth, OPTIC, f"drawn {seed + 1} mask", {}))
            annotate.layers.choose(mask)
            annotate.add()
            spin(1)
        viewer.reset_view()
        annotate.folder.setText("our camera")
        shot(viewer, "annotate")
        tune = dock(viewer, "Fine-tune a model")
        tune.folder.setText(str(Path(folder) / "our camera"))
        tune.minutes.setValue(9)  # more than its steps need, however busy the machine is
        tune.start()
        until(lambda: not tune.running, 540)
        tune.minutes.setValue(1)
        spin(1)
        tune.folder.setText("our camera")
        tune.say("")  # how late a busy machine was is not what the picture is about
        shot(viewer, "finetune")
        tune.card.keep_knowingly()
        models = dock(viewer, "Models")
        models.refresh("optic-tuned")
        shot(viewer, "models")
        viewer.layers.clear()
        viewer.close()


SCENES = {
    f.__name__: f
    for f in (
        first_run,
        segment,
        cases,
        prompt,
        structure,
        light,
        prostate,
        planes,
        batch,
        shift,
        what_if,
        classify,
        loop,
    )
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=list(SCENES), default=list(SCENES))
    names = parser.parse_args().only
    with tempfile.TemporaryDirectory() as home:
        os.environ["TINYMIG_HOME"] = os.environ["TINYMIG_STATE"] = (
            home  # no model, journal or setting of whoever makes the pictures
        )
        for name in names:
            SCENES[name]()


if __name__ == "__main__":
    main()
