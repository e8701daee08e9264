"""`evaluate`: a model over annotated folders, on each image's own grid."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_tinymig.annotations.label_checks import IGNORE
from napari_tinymig.base.errors import OutputRefused, TinyMIGError
from napari_tinymig.base.geometry import square_box
from napari_tinymig.base.records import Message, Scan
from napari_tinymig.formats import open_input
from napari_tinymig.measures.declared import VCDR
from napari_tinymig.measures.overlap import dice, score_case, summarise_scores, vertical_ratio
from napari_tinymig.predict.predictor import Predictor
from napari_tinymig.recipes.student import ModelHeader
from napari_tinymig.recipes.train import DataSpec
from napari_tinymig.tasks.task import Task

from ..data.cases import Case, find_cases, labels_of
from ..data.image_set import roi_of
from ..data.read_files import scan_of

CONSTANT_CUP = "constant cup"


def evaluate(
    model: str | Path,
    domains: Sequence[Path],
    out: Path,
    roi: str = "auto",
    data: DataSpec | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """Score a model on every case of the domains; 'step' per case, 'validation' per domain, 'done' last.

    roi: 'auto' goes through the locator; 'truth' takes the region of interest from the true disc (as papers crop).
    Writes out/results.csv (a row per case and predictor), out/summary.csv and out/table.md. A case that cannot be
    scored is a row with its error and ends as 'warning'. Raises ValueError and the errors of reading for a domain
    without cases, and OutputRefused where `out` cannot be written.
    """
    predictor = Predictor(model, device="cpu")
    folders = [(Path(d), find_cases(d, data)) for d in domains]
    total = sum(len(cases) for _, cases in folders)
    yield Message("started", 0, total, {"cases": total}, f"{predictor.model_id} on {len(folders)} domain(s)")
    rows: list[dict[str, Any]] = []
    for folder, cases in folders:
        mine: list[dict[str, Any]] = []
        for case in cases:
            if stop():
                break
            try:
                mine += score_one(predictor, case, roi, data or DataSpec())
            except TinyMIGError as e:
                yield Message("warning", len(rows) + len(mine), total, {}, f"{case.name}: {e}")
                mine.append({"domain": folder.name, "case": case.name, "predictor": "model", "error": str(e)})
            yield Message("step", len(rows) + len(mine), total)
        rows += mine
        summary = summaries(mine, predictor.task).get("model", {})
        yield Message("validation", len(rows), total, summary, folder.name)
    write_tables(rows, predictor, out, roi)
    failed = sum("error" in r for r in rows)
    yield Message("stopped" if stop() else "done", total, total, {"failed": failed}, str(out))


def evaluate_folder(model: str | Path, folder: Path, roi: str = "auto") -> dict[str, float]:
    """Summary of one domain, by metric name; a model that names no locator is given the true region of interest."""
    predictor = Predictor(model, device="cpu")
    if predictor.header.input.roi_scale is not None and predictor.header.input.locator is None:
        roi = "truth"
    rows = [r for case in find_cases(folder) for r in score_one(predictor, case, roi, DataSpec())]
    return summaries(rows, predictor.task).get("model", {})


def score_one(predictor: Predictor, case: Case, roi: str, data: DataSpec) -> list[dict[str, Any]]:
    """The rows of one case: the model's, and for disc and cup the 'constant cup' beside it."""
    task = predictor.task
    opened = open_input(case.image)
    scan = scan_of(opened, task.input)
    truth = labels_of(case, task, data, opened).reshape(scan.grid_shape)
    unknown = truth == IGNORE
    truth = np.where(unknown, 0, truth).astype(np.uint8)
    prediction = predictor.predict(scan, roi=true_box(truth, predictor.header) if roi == "truth" else "auto")
    answer = np.where(unknown, 0, prediction.labels).astype(np.uint8)  # nothing is asked where nobody labelled
    base = {"domain": case.domain, "case": case.name, "patient": case.case, "empty": int(not truth.any())}
    extra = {
        "status": prediction.status,
        "seconds": round(prediction.seconds, 3),
        "shift_score": prediction.shift_score,
        "uncertainty": prediction.uncertainty,
    }
    rows = [base | {"predictor": "model"} | extra | _scores(answer, truth, task, scan)]
    ratio = predictor.header.constants.get("mean_vertical_cup_disc_ratio")
    if ratio:
        constant = constant_cup(answer, ratio)
        rows.append(base | {"predictor": CONSTANT_CUP} | _scores(constant, truth, task, scan))
    return rows


def _scores(labels: NDArray[np.uint8], truth: NDArray[np.uint8], task: Task, scan: Scan) -> dict[str, float]:
    scores = score_case(labels, truth, task, scan.spacing_mm)
    if "vcdr_error" in scores:
        scores |= {VCDR: vertical_ratio(labels), f"{VCDR}_truth": vertical_ratio(truth)}
    if scan.kind == "volume" and len(truth) > 1:  # beside the volume's Dice: slices with gland, one by one
        slices = [dice(a, t) for a, t in zip(labels > 0, truth > 0) if t.any()]
        scores["slice_dice"] = float(np.mean(slices)) if slices else 1.0
    return {k: round(float(v), 5) for k, v in scores.items()}


def true_box(truth: NDArray[np.uint8], header: ModelHeader) -> Any:
    """The region of interest around the true disc; 'full' for models that take none, and where there is no disc."""
    found = roi_of((truth >= 1).astype(np.float32)[None]) if header.input.roi_scale else None
    if found is None or header.input.roi_scale is None:
        return "full"
    return square_box(found[0], found[1] * header.input.roi_scale)


def constant_cup(labels: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """The student's own disc with a cup of the source's mean ratio, around its centre."""
    disc = labels >= 1
    out = disc.astype(np.uint8)
    ys, xs = np.nonzero(disc)
    if len(ys):
        centre = (ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2
        y, x = np.mgrid[: labels.shape[0], : labels.shape[1]]
        at = [np.round(c + (g - c) / ratio).astype(int) for c, g in zip(centre, (y, x))]
        inside = (at[0] >= 0) & (at[0] < disc.shape[0]) & (at[1] >= 0) & (at[1] < disc.shape[1])
        shrunk = np.zeros_like(disc)
        shrunk[inside] = disc[at[0][inside], at[1][inside]]
        out[shrunk & disc] = 2
    return out


def summaries(rows: Sequence[dict[str, Any]], task: Task) -> dict[str, dict[str, float]]:
    """Predictor -> summary over cases; failed cases are left out and counted as 'failed'."""
    out = {}
    for name in dict.fromkeys(r["predictor"] for r in rows):
        mine = [r for r in rows if r["predictor"] == name and "error" not in r]
        failed = sum("error" in r for r in rows if r["predictor"] == name)
        if not mine:
            continue
        numbers = [{k: float(v) for k, v in r.items() if k.split("_")[0] in METRICS or k in METRICS} for r in mine]
        out[name] = summarise_scores(numbers, task, [bool(r["empty"]) for r in mine])
        out[name]["not_found"] = float(np.mean([r.get("status") == "not_found" for r in mine]))
        out[name]["failed"] = float(failed)
    return out


METRICS = ("dice", "hd95", "assd", "asd", "rve", "vcdr_error", "slice_dice")


def write_tables(rows: Sequence[dict[str, Any]], predictor: Predictor, out: Path, roi: str) -> None:
    """results.csv, summary.csv and table.md."""
    task = predictor.task
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_csv(out / "results.csv", list(rows))
        flat, lines = [], [f"# {predictor.model_id}", "", f"Region of interest: {roi}. {predictor.header.licence}", ""]
        trained = ", ".join(predictor.header.lineage.domains) or "unknown"
        lines += [f"Trained on: {trained}.", ""]
        columns = _columns(task)
        lines += ["| domain | predictor | n | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 3)]
        for domain in dict.fromkeys(r["domain"] for r in rows):
            found = summaries([r for r in rows if r["domain"] == domain], task)
            for name, values in found.items():
                flat.append({"domain": domain, "predictor": name} | values)
                cells = [f"{values[c]:.3f}" if c in values else "-" for c in columns]
                lines.append(f"| {domain} | {name} | {values['n']:.0f} | " + " | ".join(cells) + " |")
        _write_csv(out / "summary.csv", flat)
        (out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as e:
        raise OutputRefused(f"cannot write {out} ({e.strerror}); choose a folder that can be written") from e


def _columns(task: Task) -> list[str]:
    columns = []
    for region in task.regions:
        columns += [f"dice_{region.name}", f"p5_dice_{region.name}", f"hd95_{region.name}"]
        if task.can_be_empty:
            columns.append(f"dice_positive_{region.name}")
    if task.can_be_empty:
        columns.append("false_positive_rate")
    if task.input == "volume":
        columns += [f"rve_{task.regions[0].name}", "slice_dice"]
    if "cup_disc" in task.measures:
        columns.append("vcdr_error")
    return [*columns, "not_found"]


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(k for r in rows for k in r))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
