"""`tinymig demo`: the main job on drawn samples, without a network or a file of yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from . import SOME_FAILED

if TYPE_CHECKING:
    from ..base.records import Scan


def demo(
    out: Path = typer.Option(Path("demo_output"), "-o", "--out", help="Folder for images, masks and overlays."),
    sample: str = typer.Option("all", help="all, fundus, prostate, or retina (scikit-image's CC0 photograph)."),
) -> None:
    """Draw sample images, segment them, write masks, overlays and measurements.csv."""
    from ..batch.folder import check_folder, plan, run_all, with_threads
    from ..batch.one_input import Options
    from ..samples.table import DRAWN
    from .segment import one_line

    choices = ("all", *(d.name for d in DRAWN.values() if d.name), "retina")
    if sample not in choices:
        raise ValueError(f"no sample '{sample}'; expected one of {', '.join(choices)}.")
    check_folder(out)
    drawn = draw_samples(out / "images", sample)
    jobs = []
    for task, path in drawn:
        jobs += plan(
            [path], out, Options(task=task, device="cpu", overlay=True, overwrite=True, drawn=sample != "retina")
        )
    if sample != "retina":
        typer.echo("Drawn images, no patients': how far they are from a model's training images says nothing.")
    failed = False
    for outcome in run_all(with_threads(jobs), out):
        typer.echo(one_line(outcome))
        failed |= outcome.row["status"] == "failed"
    typer.echo(f"Look at {out}/*_overlay.png and {out}/measurements.csv. Research use only.")
    if failed:
        raise typer.Exit(SOME_FAILED)


def draw_samples(folder: Path, sample: str) -> list[tuple[str, Path]]:
    """Write the chosen samples as files a user would have; (task, path) of each."""
    from ..samples.drawn import retina_photograph
    from ..samples.table import DRAWN

    chosen = {task: d for task, d in DRAWN.items() if d.name and sample in ("all", d.name)}
    written = [(task, _write_as_taken(folder, d.demo().scan)) for task, d in chosen.items()]
    if sample == "retina":
        written.append(("optic", _write_as_taken(folder, retina_photograph(), lossy=False)))
    return written


def _write_as_taken(folder: Path, scan: Scan, lossy: bool = True) -> Path:
    """A drawn scan as a user would have it: a photograph as JPEG (or PNG), a volume as NIfTI."""
    import io

    from PIL import Image

    from ..base.safe_files import write_atomic
    from ..formats.declared import CAMERA_FILE, PICTURE_FILE, VOLUME_FILE
    from ..formats.lossless import write_pixels

    if scan.kind == "volume" or not lossy:
        path = folder / f"{scan.name}{VOLUME_FILE if scan.kind == 'volume' else PICTURE_FILE}"
        write_pixels(path, scan)
        return path
    stream = io.BytesIO()
    Image.fromarray(scan.pixels).save(stream, "JPEG", quality=92)
    path = folder / f"{scan.name}{CAMERA_FILE}"
    write_atomic(path, stream.getvalue())
    return path
