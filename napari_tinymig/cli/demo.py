"""`tinymig demo`: the main job on drawn samples, without a network or a file of yours."""

from __future__ import annotations

from pathlib import Path

import typer

from . import SOME_FAILED


def demo(
    out: Path = typer.Option(Path("demo_output"), "-o", "--out", help="Folder for images, masks and overlays."),
    sample: str = typer.Option("all", help="all, fundus, prostate, or retina (scikit-image's CC0 photograph)."),
) -> None:
    """Draw sample images, segment them, write masks, overlays and measurements.csv."""
    from ..batch.folder import check_folder, plan, run_all, with_threads
    from ..batch.one_input import Options
    from .segment import one_line

    choices = ("all", "fundus", "prostate", "retina")
    if sample not in choices:
        raise ValueError(f"no sample '{sample}'; expected one of {', '.join(choices)}.")
    check_folder(out)
    drawn = draw_samples(out / "images", sample)
    jobs = []
    for task, path in drawn:
        jobs += plan([path], out, Options(task=task, device="cpu", overlay=True, overwrite=True))
    failed = False
    for outcome in run_all(with_threads(jobs), out):
        typer.echo(one_line(outcome))
        failed |= outcome.row["status"] == "failed"
    typer.echo(f"Look at {out}/*_overlay.png and {out}/measurements.csv. Drawn images; research use only.")
    if failed:
        raise typer.Exit(SOME_FAILED)


def draw_samples(folder: Path, sample: str) -> list[tuple[str, Path]]:
    """Write the chosen samples as files a user would have; (task, path) of each."""
    import io

    from PIL import Image

    from ..base.safe_files import write_atomic
    from ..formats.lossless import write_pixels
    from ..samples.drawn import fundus_sample, prostate_sample, retina_photograph

    written = []
    if sample in ("all", "fundus"):
        scan = fundus_sample().scan
        stream = io.BytesIO()
        Image.fromarray(scan.pixels).save(stream, "JPEG", quality=92)
        path = folder / f"{scan.name}.jpg"
        write_atomic(path, stream.getvalue())
        written.append(("optic", path))
    if sample in ("all", "prostate"):
        scan = prostate_sample().scan
        path = folder / f"{scan.name}.nii.gz"
        write_pixels(path, scan)
        written.append(("prostate", path))
    if sample == "retina":
        scan = retina_photograph()
        path = folder / "retina.png"
        write_pixels(path, scan)
        written.append(("optic", path))
    return written
