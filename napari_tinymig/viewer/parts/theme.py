"""Colours, distances and the one style sheet of all panels, made from napari's theme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari.utils.theme import get_theme

from ...reports.numbers import Tone

GAP = 6  # between parts of one section, px
MARGIN = 10  # around a section's content, px
MIN_WIDTH = 320  # a panel docked right in a 1280 px wide window still leaves half of it to the canvas

SERIES_COLOURS = ("#35c2f0", "#ffb000", "#6fd08c", "#d58cf0", "#ff8d85")  # told apart by colour-blind eyes too

Role = Literal[
    "heading", "hint", "value", "badge", "primary", "danger", "link", "card", "empty", "line", "title", "tool", "step"
]


@dataclass(frozen=True)
class Palette:
    """The colours of one theme as CSS strings. accent: primary action; the four tones: states and messages."""

    background: str
    card: str
    border: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    on_accent: str
    good: str
    warn: str
    bad: str
    dark: bool

    def tone(self, tone: Tone) -> str:
        """The text colour of a tone."""
        return {"plain": self.text, "good": self.good, "warn": self.warn, "bad": self.bad}[tone]


def palette(theme_id: str) -> Palette:
    """Colours for a napari theme; napari's own error red is too dark to read on its dark background (1.9:1)."""
    theme = get_theme(theme_id)
    dark = theme.type == "dark"
    return Palette(
        background=theme.background.as_hex(),
        card=theme.foreground.as_hex(),
        border=theme.primary.as_hex(),
        text=theme.text.as_hex(),
        muted="#a9b0ba" if dark else "#55565a",
        accent="#4f7cf0" if dark else "#2d5bd0",
        accent_hover="#6a92f5" if dark else "#2450bb",
        on_accent="#ffffff",
        good="#6fd08c" if dark else "#12693a",
        warn="#f0c04a" if dark else "#7a5200",
        bad="#ff8d85" if dark else "#b3141c",
        dark=dark,
    )


def style_sheet(p: Palette) -> str:
    """The one style sheet of every panel."""
    tones = "".join(
        f'QLabel[tone="{tone}"] {{ color: {p.tone(tone)}; }}' for tone in ("good", "warn", "bad")
    )  # after the roles, so that a tone wins over a role's colour
    return f"""
    QLabel {{ background: transparent; }}
    QLabel[role="title"] {{ color: {p.muted}; }}
    QLabel[role="heading"] {{ font-weight: 600; }}
    QLabel[role="hint"], QLabel[role="line"] {{ color: {p.muted}; }}
    QLabel[role="value"] {{ font-weight: 600; }}
    QLabel[role="empty"] {{ color: {p.muted}; padding: 14px 8px; border: 1px dashed {p.border}; border-radius: 6px; }}
    QLabel[role="badge"] {{ border: 1px solid {p.border}; border-radius: 8px; padding: 1px 8px; }}
    QFrame[role="card"] {{ background: {p.card}; border-radius: 6px; }}
    QFrame[role="card"] QWidget {{ background-color: {p.card}; }}
    QFrame[role="card"] QComboBox, QFrame[role="card"] QLineEdit, QFrame[role="card"] QAbstractSpinBox,
    QFrame[role="card"] QPushButton, QFrame[role="card"] QProgressBar {{ background-color: {p.border}; }}
    QFrame[role="card"] QLabel {{ background: transparent; }}
    QPushButton {{ padding: 5px 8px; border-radius: 4px; }}
    QFrame[role="card"] QPushButton[role="primary"], QPushButton[role="primary"] {{
        background-color: {p.accent}; color: {p.on_accent}; font-weight: 600; padding: 7px 10px; border-radius: 4px; }}
    QFrame[role="card"] QPushButton[role="primary"]:hover, QPushButton[role="primary"]:hover {{
        background-color: {p.accent_hover}; }}
    QFrame[role="card"] QPushButton[role="primary"]:disabled, QPushButton[role="primary"]:disabled {{
        background-color: {p.border}; color: {p.muted}; }}
    QFrame[role="card"] QPushButton[role="tool"] {{ padding: 6px 8px; border: 1px solid {p.border}; }}
    QFrame[role="card"] QPushButton[role="tool"]:hover {{ border: 1px solid {p.accent_hover}; }}
    QFrame[role="card"] QPushButton[role="tool"]:checked {{
        background-color: {p.accent}; color: {p.on_accent}; font-weight: 600; border: 1px solid {p.accent}; }}
    QFrame[role="card"] QPushButton[role="step"] {{ padding: 5px 2px; }}
    QPushButton[role="danger"] {{ color: {p.bad}; }}
    QFrame[role="card"] QPushButton[role="link"], QPushButton[role="link"] {{
        background: transparent; color: {p.accent_hover if p.dark else p.accent}; text-align: left; padding: 2px 0;
        border: none; }}
    QTableView, QTableWidget {{ background-color: {p.background}; gridline-color: {p.border}; }}
    QFrame[role="card"] QTreeWidget, QListWidget {{ background-color: {p.background}; }}
    QListWidget::item {{ border-left: 3px solid transparent; }}
    QListWidget::item:selected {{ background-color: {p.border}; color: {p.text}; border-left: 3px solid {p.accent}; }}
    QProgressBar {{ border-radius: 4px; text-align: center; min-height: 16px; }}
    QProgressBar::chunk {{ background-color: {p.accent}; border-radius: 4px; }}
    {tones}
    QLabel:disabled {{ color: {p.muted}; }}
    """
