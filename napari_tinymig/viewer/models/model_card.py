"""A model's card: what it was trained on, how good it was where, and its licence, one click away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout, QWidget

from ...models.registry import Entry, entry, find_model


def card_markdown(known: Entry) -> str:
    """The card of a model as Markdown: the shipped text where there is one, and what the file says of itself."""
    if known.header is None:
        return f"# {known.name}\n\n{known.problem}"
    header = known.header
    written = Path(known.path).with_suffix(".md")
    lines = [written.read_text(encoding="utf-8")] if written.is_file() else [f"# {known.name}"]
    lines += ["", "## What the file says", "", f"- model: `{known.model_id}`"]
    if header.task:
        lines.append(f"- task: {header.task.title}")
    lines.append(f"- trained on: {', '.join(header.lineage.domains) or 'not recorded'}")
    lines.append(f"- training images: {len(header.lineage.data_hashes) or 'not recorded'}")
    lines.append(f"- parent: {header.lineage.parent or 'none, a first training'}")
    lines.append(f"- made: {header.lineage.created or 'not recorded'}, software {header.lineage.software or '?'}")
    lines.append(f"- licence: {header.licence}")
    if header.scores:
        lines += ["", "## Scores", "", *_scores(header.scores)]
    return "\n".join(lines)


def _scores(scores: dict[str, Any], depth: int = 0) -> list[str]:
    lines = []
    for name, value in scores.items():
        if isinstance(value, dict):
            lines.append(f"{'  ' * depth}- {name}")
            lines += _scores(value, depth + 1)
        else:
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            lines.append(f"{'  ' * depth}- {name}: {shown}")
    return lines


def show_card(model: str, parent: QWidget) -> QDialog:
    """Open the card of a model given by name or file; the dialog is returned."""
    known = entry(model, find_model(model))
    dialog = QDialog(parent)
    dialog.setWindowTitle(f"Model card: {known.name}")
    dialog.resize(560, 520)
    column = QVBoxLayout(dialog)
    text = QTextBrowser()
    text.setMarkdown(card_markdown(known))
    column.addWidget(text)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    column.addWidget(buttons)
    dialog.open()
    return dialog
