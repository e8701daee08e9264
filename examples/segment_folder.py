"""A folder of photographs, one by one: masks, a table, and what failed. `tinymig segment FOLDER` does this, resumably.

python examples/segment_folder.py [FOLDER] [OUT]        without arguments: three drawn eyes
"""

import sys
from pathlib import Path

from PIL import Image

import napari_tinymig as tm
from napari_tinymig.base.errors import TinyMIGError
from napari_tinymig.formats import mask_path, open_input, write_mask
from napari_tinymig.formats.find import find_inputs
from napari_tinymig.measures.csv_table import Table, row_of, table_columns
from napari_tinymig.samples.drawn import fundus_sample


def main(folder: Path, out: Path) -> Table:
    """Segments every image of the folder; returns the table that was written to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    table = Table(out / "measurements.csv", table_columns())
    items = find_inputs([folder])
    for item in items:
        try:
            scan_file = open_input(item)
            prediction = tm.segment(scan_file.scan, task="optic")
            mask = write_mask(prediction.labels, scan_file, mask_path(out, item, items), overwrite=True)
            table.put({"file": str(item.path.name), "mask": mask.name, "status": "ok"} | row_of(prediction))
        except TinyMIGError as error:
            table.put({"file": str(item.path.name), "status": "failed", "error": str(error)})
    table.write()
    return table


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    if not given:
        given = [Path("example_output/eyes"), Path("example_output")]
        given[0].mkdir(parents=True, exist_ok=True)
        for seed in range(3):
            Image.fromarray(fundus_sample(side=512, seed=seed).scan.pixels).save(given[0] / f"eye_{seed}.png")
    main(*given)
