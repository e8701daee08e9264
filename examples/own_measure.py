"""A clinical number of your own, from a prediction, and declared so that every table shows it.

python examples/own_measure.py
"""

import sys

import numpy as np

import napari_tinymig as tm
from napari_tinymig.measures.csv_table import row_of, table_columns
from napari_tinymig.measures.declared import DECLARED, Measure
from napari_tinymig.samples.drawn import fundus_sample

OPTIC_RIM_AREA = Measure("rim_area_px", "rim area", "px²", 0, column=True)


def rim_area_px(labels: np.ndarray) -> float:
    """Pixels of the disc that are not cup; labels (H, W): 1 = rim, 2 = cup."""
    return float((labels == 1).sum())


def main() -> dict[str, str]:
    """The row of a table that has the new column."""
    DECLARED[OPTIC_RIM_AREA.key] = OPTIC_RIM_AREA
    prediction = tm.segment(fundus_sample().scan, task="optic")
    prediction.measures[OPTIC_RIM_AREA.key] = rim_area_px(prediction.labels)
    row = row_of(prediction)
    assert OPTIC_RIM_AREA.key in table_columns()
    sys.stdout.write(f"rim area {row[OPTIC_RIM_AREA.key]} px² of a disc of {row['disc_area_px']} px²\n")
    return row


if __name__ == "__main__":
    main()
