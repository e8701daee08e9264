"""The card of a model, in Markdown, from its header: what it was made of, how it scored, where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_tinymig.models.file import ModelFile

from .saved import load_student
from .student import count_macs, count_parameters


def model_card(model: ModelFile, failures: Sequence[str] = (), terms: Sequence[str] = (), command: str = "") -> str:
    """Markdown of a model: purpose, data and terms, training, size, scores, known failures.

    failures, terms: sentences that a header cannot know. command: the line that remakes the model. Scores of
    development folders come from the header's `scores['development']` (domain -> metric -> value).
    """
    header = model.header
    network = load_student(model)
    title = header.task.title if header.task else header.kind.replace("_", " ")
    size = model.path.stat().st_size / 1e6
    parameters, macs = count_parameters(network) / 1e6, count_macs(network, header.input.size) / 1e9
    lines = [f"# {header.name}: {title}", "", f"`{model.model_id}`. {header.licence}", ""]
    lines += ["## Made of", ""]
    lines += [f"- Training domains (never called unseen): {', '.join(header.lineage.domains) or 'see below'}"]
    lines += [f"- Images: {len(header.lineage.data_hashes)}" if header.lineage.data_hashes else "- Images: see below"]
    lines += [f"- {t}" for t in terms]
    lines += ["", "## Training", ""]
    start = header.extra.get("encoder_start", "random")
    seconds = float(header.extra.get("train_seconds", 0))
    lines += [f"- Network: {_network(model)}; {parameters:.2f} M parameters, {macs:.2f} GMAC at {header.input.size} px"]
    lines += [f"- Encoder starts from: {start}", f"- Made {header.lineage.created} with {header.lineage.software}"]
    if taught := header.extra.get("taught_by"):
        lines += [f"- Taught by the mean answer of {len(taught)} students of the same source: {', '.join(taught)}"]
    if seconds:
        lines += [f"- Wall time {seconds / 60:.0f} min on one shared thread of a 2-core CPU"]
    if command:
        lines += [f"- Command: `{command}`"]
    lines += [f"- File: {size:.1f} MB (weights and ONNX)", "", "## Scores", "", *_scores(header.scores)]
    lines += ["", "## Known failures and limits", "", *(f"- {f}" for f in failures or ("None recorded.",)), ""]
    return "\n".join(lines)


def _network(model: ModelFile) -> str:
    header = model.header
    if header.network != "student":
        return header.network
    if header.kind == "cup_head":
        return "MobileNetV2 blocks 0-2 and a decoder of 32 channels, on the disc unwrapped to 64 angles x 64 radii"
    spec = header.student
    encoder = "MobileNetV2 blocks 0-5" if spec.encoder == "mobile" else f"dense {'-'.join(map(str, spec.widths))}"
    return f"student, {encoder}, decoder {spec.decoder}"


def _scores(scores: dict[str, Any]) -> list[str]:
    """Tables of what the header knows: held-out source cases first, then development folders."""
    lines = []
    if ratio := scores.get("held_out_ratio"):
        told = f"error {ratio['error']:.3f}, bias {ratio['bias']:+.3f}, r {ratio['r']:.2f}"
        lines += [f"Vertical ratio of {ratio['eyes']:.0f} held-out source eyes, in their true discs: {told}.", ""]
    held = scores.get("held_out_grid_dice") or scores.get("held_out_accuracy")
    if held:
        count = scores.get("held_out_frames") or scores.get("held_out_images") or "?"
        found = ", ".join(f"{k} {v:.3f}" for k, v in held.items())
        lines += [f"Held-out source images ({count}), on the network's grid, true region of interest: {found}.", ""]
    development: dict[str, dict[str, float]] = scores.get("development", {})
    if development:
        names = list(dict.fromkeys(k for row in development.values() for k in row))
        lines += ["Development folders (looked at while building; native grid, everything through the product):", ""]
        lines += ["| folder | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for domain, row in development.items():
            cells = [f"{row[n]:.3f}" if n in row else "-" for n in names]
            lines.append(f"| {domain} | " + " | ".join(cells) + " |")
    return lines or ["None recorded."]


def write_card(model: ModelFile, path: Path, **facts: Any) -> None:
    """`model_card` into a file."""
    path.write_text(model_card(model, **facts), encoding="utf-8")
