"""The What-if panel: the image from a worse camera, predicted again at once."""
