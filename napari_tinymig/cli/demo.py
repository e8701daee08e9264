"""`tinymig demo`: the main job on drawn samples, without a network or a file of yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..samples.shown import SHOWN, Shown
from ..tasks.table import listed
from . import SOME_FAILED

if TYPE_CHECKING:
    from ..base.records import Scan


def _named() -> list[str]:
    """The samples' names, with what is to be said of them."""
    return [f"{name} ({shown.note})" if shown.note else name for name, shown in SHOWN.items()]


def demo(
    out: Path = typer.Option(Path("demo_output"), "-o", "--out", help="Folder for images, masks and overlays."),
    sample: str = typer.Option("all", help=f"all, {listed(_named())}."),
) -> None:
    """Draw sample images, segment them, write masks, overlays and measurements.csv."""
    from ..batch.folder import check_folder, plan, run_all, with_threads
    from ..batch.one_input import Options
    from .segment import one_line

    if sample not in ("all", *SHOWN):
        raise ValueError(f"no sample '{sample}'; expected one of {', '.join(('all', *SHOWN))}.")
    check_folder(out)
    written = write_samples(out / "images", sample)
    jobs = []
    for shown, path in written:
        options = Options(task=shown.task, device="cpu", overlay=True, overwrite=True, drawn=shown.drawn)
        jobs += plan([path], out, options)
    if any(shown.drawn for shown, _ in written):
        typer.echo("Drawn images, no patients': how far they are from a model's training images says nothing.")
    failed = False
    for outcome in run_all(with_threads(jobs), out):
        typer.echo(one_line(outcome))
        failed |= outcome.row["status"] == "failed"
    typer.echo(f"Look at {out}/*_overlay.png and {out}/measurements.csv. Research use only.")
    if failed:
        raise typer.Exit(SOME_FAILED)


def write_samples(folder: Path, sample: str) -> list[tuple[Shown, Path]]:
    """Write the chosen sample, or all drawn ones, as files a user would have."""
    from ..samples.drawn import retina_photograph
    from ..samples.table import DRAWN

    written = []
    for name, shown in SHOWN.items():
        if name == sample or (sample == "all" and shown.drawn):
            scan = DRAWN[shown.task].demo().scan if shown.drawn else retina_photograph()
            written.append((shown, _write_as_taken(folder, scan, lossy=shown.drawn)))
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
