"""`tinymig segment`: images to masks, numbers and overlays in a folder."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..tasks.table import TASKS, listed
from . import SOME_FAILED, say
from .measure import say_if

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from ..batch.one_input import Job, Options, Outcome


FORMAT_HELP = "same (PNG for photographs, the input's format for volumes), png, nifti or dicomseg."


class Roi(StrEnum):
    """Region of interest."""

    auto = "auto"
    full = "full"


class DeviceName(StrEnum):
    """Where the network runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Match(StrEnum):
    """Test-time help for photographs of another camera."""

    none = "none"
    colour = "colour"
    histogram = "histogram"


MATCH_HELP = "Photographs: match light and colour to the training images first; can harm, see docs/SHIFT.md."
CUP_HELP = "Optic: cups drawn tighter (-) or more generous (+), in log-odds of the cup-to-disc ratio."


def segment(
    inputs: list[Path] = typer.Argument(..., help="Images, folders, or DICOM series folders."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for masks and measurements.csv."),
    task: str = typer.Option("auto", help=f"auto, {listed([*TASKS, 'the task of your own model'])}."),
    model: str | None = typer.Option(None, help="A model's name or file; default: the task's own."),
    roi: Roi = typer.Option(Roi.auto, help="auto: find the disc first; full: the photograph is the region."),
    device: DeviceName = typer.Option(DeviceName.auto, help="Where the network runs."),
    format: str = typer.Option("same", help=FORMAT_HELP),
    overlay: bool = typer.Option(False, "--overlay", help="Also write a picture with contours and numbers."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace masks that exist."),
    uncertainty: bool = typer.Option(False, "--uncertainty", help="Take four further looks at every image."),
    match: Match = typer.Option(Match.none, help=MATCH_HELP),
    cup_offset: float | None = typer.Option(None, min=-1.5, max=1.5, help=CUP_HELP),
    adapt: bool = typer.Option(
        False,
        "--adapt",
        help="Adapt the model to these images first, without labels (needs [train]); can harm, see docs/SHIFT.md.",
    ),
    psa: float | None = typer.Option(None, min=0, help="PSA in ng/mL, for PSA density (adds a column)."),
    cluster: str | None = typer.Option(None, help="Address of a dask scheduler whose workers see the same disk."),
) -> None:
    """Write one mask per image, in the image's own grid, and measurements.csv."""
    from ..batch.folder import plan, with_threads
    from ..batch.one_input import Options
    from ..formats import masks_left_out
    from ..jobs.accelerate import open_network

    options = Options(task, model, roi.value, device.value, format, overlay, overwrite, psa, uncertainty)
    options = replace(
        options, threads=1 if cluster else None, match=match.value, cup_offset=cup_offset, on_gpu=open_network
    )
    if adapt:
        options = replace(options, model=adapted(options, inputs, out))
    jobs = with_threads(plan(inputs, out, options))
    say_if(masks_left_out(inputs))
    _run_and_say(jobs, out, cluster)


def adapted(options: Options, inputs: list[Path], out: Path) -> str:
    """The file of the options' model, adapted to the inputs."""
    from ..jobs.adapting import adapt_to
    from ..models.registry import default_model

    if options.model is None and options.task == "auto":
        raise ValueError("--adapt needs to know the model before it looks; name it with --model, or name the --task.")
    model = adapt_to(options.model or default_model(options.task), inputs, out)
    say(f"Adapted to {model.header.extra['batchnorm_adapted_frames']} frames: {model.model_id}, {model.path}")
    return str(model.path)


def _run_and_say(jobs: list[Job], out: Path, cluster: str | None) -> None:
    """Run all jobs and say what became of them. Exit code 1 where one failed or the user stopped."""
    start = time.perf_counter()
    outcomes, stopped = _run(jobs, out, cluster)
    summary(jobs, outcomes, out, time.perf_counter() - start, stopped)
    if stopped or any(o.row["status"] == "failed" for o in outcomes):
        raise typer.Exit(SOME_FAILED)


def _run(jobs: list[Job], out: Path, cluster: str | None) -> tuple[list[Outcome], bool]:
    """What became of every job that was run, and whether the user stopped before the last one."""
    from ..batch.cluster import SchedulerLost
    from ..batch.folder import run_all

    outcomes: list[Outcome] = []
    with _executor(cluster) as executor, progress_bar(len(jobs)) as advance:
        running = run_all(jobs, out, executor)
        try:
            for outcome in running:
                outcomes.append(outcome)
                advance(one_line(outcome) if len(jobs) <= 20 or outcome.row["status"] == "failed" else "")
        except KeyboardInterrupt:
            return outcomes, True
        except SchedulerLost as e:
            say(str(e))
            return outcomes, True
        finally:
            running.close()  # type: ignore[attr-defined]
    return outcomes, False


def _executor(cluster: str | None) -> AbstractContextManager[Executor | None]:
    """The workers of a dask scheduler; None without an address."""
    if cluster is None:
        return nullcontext()
    from ..batch.cluster import cluster_executor

    return cluster_executor(cluster)


@contextmanager
def progress_bar(total: int) -> Iterator[Any]:
    """advance(line): one more done; `line`, if any, is printed above the bar. A bar only on a terminal."""
    import sys

    if total < 2 or not sys.stderr.isatty():
        yield lambda line: typer.echo(line) if line else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        work = bar.add_task("", total=total)

        def advance(line: str) -> None:
            if line:
                bar.console.print(line, markup=False, highlight=False)
            bar.advance(work)

        yield advance


def one_line(outcome: Outcome) -> str:
    """What became of one input, for people."""
    row, name = outcome.row, outcome.job.item.path.name
    if row["status"] == "failed":
        return f"{name}: failed: {row['error']}"
    if row["status"] == "skipped":
        return f"{name}: skipped, {row['mask']} is there already"
    if row["status"] == "not_found":
        return f"{name}: {row['error'] or 'nothing found'} -> {row['mask']} (empty)"
    return f"{name}: {number_of(row, outcome)} -> {row['mask']} ({row['seconds']:.2f} s)"


def number_of(row: dict[str, Any], outcome: Outcome) -> str:
    """The clinical number of a row in words."""
    from ..measures.declared import PSA_DENSITY
    from ..measures.headline import words_of_values

    measures = outcome.details.get("measures", {})
    task = TASKS.get(row["task"])
    text = words_of_values(measures, task.regions[0].name if task else "object") or "mask written"
    if measures.get(PSA_DENSITY) is not None:
        text += f", PSA density {measures[PSA_DENSITY]:.2f}"
    level = outcome.details.get("extra", {}).get("shift_level")
    return text + (f", {level}" if level and level != "known ground" else "")


def summary(jobs: list[Job], outcomes: list[Outcome], out: Path, seconds: float, stopped: bool) -> None:
    """The last line: counts, time, where to look."""
    counts = Counter(o.row["status"] for o in outcomes)
    words = {"ok": "done", "not_found": "with nothing found", "skipped": "skipped", "failed": "failed"}
    parts = ", ".join(f"{counts[k]} {word}" for k, word in words.items() if counts[k])
    typer.echo(f"{parts or 'nothing to do'} in {seconds:.1f} s; see {out / 'measurements.csv'}")
    if stopped:
        say(f"Stopped after {len(outcomes)} of {len(jobs)}; run the same command again to go on.")
