"""Clicks outline an object that no model was taught: one to take it, one to take away, undo, and a replay to the bit.

python examples/prompt_a_coin.py
"""

import sys

import numpy as np
from skimage.data import coins

import napari_tinymig as tm


def main() -> np.ndarray:
    """The coin's mask, (303, 384) uint8."""
    image = coins()
    session = tm.prompt(image, task="any")
    session.click((46, 61))
    coin, seconds = session.labels.copy(), session.seconds
    session.click((46, 95), label=0)  # a point that must stay background
    session.undo()
    assert np.array_equal(session.labels, coin)  # undo is exact

    again = tm.prompt(image, task="any")
    for _ in again.replay(session.prompts):
        pass
    assert np.array_equal(again.labels, coin)  # the recorded prompts make the same mask
    sys.stdout.write(f"{int(coin.sum())} pixels; the answer took {1000 * seconds:.0f} ms\n")
    return coin


if __name__ == "__main__":
    main()
