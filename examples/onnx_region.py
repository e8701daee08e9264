"""A region of an endoscopy frame segmented without napari-tinymig: ONNX Runtime, numpy, and what resizes and counts.

    tinymig export polyp --to onnx -o polyp.onnx
    python examples/onnx_region.py polyp.onnx FRAME.png 40 100 360 420    # y0 x0 y1 x1, inside the frame

Gives, pixel by pixel, what `napari_tinymig.segment(frame, task="polyp", roi=(y0, x0, y1, x1))` gives; docs/EXPORTS.md
says what each step is and what the other models do beside it. Research use only; not a medical device.
"""

import json
import sys

import numpy as np
import onnxruntime as ort
from PIL import Image
from scipy import ndimage

FILTER, NEARER = Image.Resampling.BILINEAR, 0.87


def labels_of_region(session, frame, y0, x0, y1, x1):
    """frame: (H, W, 3) uint8 RGB; the square y0, x0, y1, x1: whole pixels inside it; returns labels (H, W) uint8."""
    header = json.loads(session.get_modelmeta().custom_metadata_map["tinymig"])
    s, sure = header["input"]["size"], header["thresholds"]["polyp"]

    def look(side, turn):  # the square around the same centre, with what the filter sees of its surroundings, on a grid
        box = [(a + b) / 2 + end * (b - a) / 2 * side for end in (-1, 1) for a, b in ((x0, x1), (y0, y1))]
        pad = int(np.ceil(2 * max(1, (x1 - x0) * side / s))) + 1
        left, top = (max(int(v) - pad, 0) for v in box[:2])
        cut = Image.fromarray(frame[top : int(np.ceil(box[3])) + pad, left : int(np.ceil(box[2])) + pad])
        grid = cut.resize((s, s), FILTER, (box[0] - left, box[1] - top, box[2] - left, box[3] - top), 3.0)
        image = (np.float32(grid) * np.float32(1 / 127.5) - np.float32(1)).transpose(2, 0, 1)[None, ..., ::turn]
        logits = session.run(["logits"], {"image": np.ascontiguousarray(image)})[0][0, 0, :, ::turn]
        return logits / np.float32(header["temperature"]) - np.float32(np.log(sure / (1 - sure)))

    first, near = look(1.0, 1), look(NEARER, -1)  # (s, s); the nearer look is a mirrored one
    seen = np.flatnonzero(np.abs(np.arange(s) + 0.5 - s / 2) < NEARER * s / 2)  # grid rows that it saw, too
    span = [s / 2 + (edge - s / 2) / NEARER + 1 for edge in (seen[0], seen[0], seen[-1] + 1, seen[-1] + 1)]
    near = Image.fromarray(np.pad(near, 1, "edge")).resize((len(seen),) * 2, FILTER, span)
    first[np.ix_(seen, seen)] = (first[np.ix_(seen, seen)] + near) / 2
    pieces, n = ndimage.label(first > 0)  # objects of which the model is not sure enough go, whatever their size
    unsure = ndimage.mean(first, pieces, np.arange(n + 1)) < header["constants"]["object_logit"]
    first = np.where(unsure[pieces] & (first > 0), -3, first)
    mask = np.zeros(frame.shape[:2], bool)  # decided on the frame's own pixels
    mask[y0:y1, x0:x1] = np.float32(Image.fromarray(first).resize((x1 - x0, y1 - y0), FILTER)) > 0
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))  # islands below .2 % of the frame go, holes are filled
    large = np.bincount(pieces.ravel()) >= max(4.0, 0.002 * mask.size)
    return ndimage.binary_fill_holes(mask & large[pieces]).astype(np.uint8)


if __name__ == "__main__":
    photo = np.asarray(Image.open(sys.argv[2]).convert("RGB"))
    labels = labels_of_region(ort.InferenceSession(sys.argv[1]), photo, *map(int, sys.argv[3:7]))
    Image.fromarray(labels * 255).save("mask.png")
