"""The page of a shift report: one HTML file that needs nothing else, and the figures beside it."""

from __future__ import annotations

import base64
import html
import io
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..base.errors import MissingExtra
from ..sets.compare import Comparison
from ..shift.causes import TITLES
from .page_colours import PAGE_CSS

Page = tuple[str, dict[str, Any], Comparison]
LEVELS = ("known ground", "some shift", "far away")

CSS = (
    PAGE_CSS
    + """\
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } small, .soft { color: var(--soft); }
table { border-collapse: collapse; margin: .6rem 0; } td, th { padding: .25rem .8rem .25rem 0; text-align: left;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; } img { max-width: 100%; }
.lead { font-size: 1.1rem; } .thumbs { display: flex; flex-wrap: wrap; gap: .4rem; } figure { margin: 0; width: 84px;
  font-size: .7rem; overflow-wrap: anywhere; } figure img { width: 84px; image-rendering: auto; border-radius: 4px; }
"""
)


def comparison_sentence(c: Comparison) -> str:
    """One sentence: are the two sets apart, with p and both n, and what differs most."""
    test = next(iter(c.tests.values()))
    sizes = f"n = {c.a.n} and {c.b.n}"
    top = [TITLES.get(d.name, d.name) for d in c.differences[:3] if d.distance > 1]
    what = f"; most different: {', '.join(top)}" if top else ""
    if not math.isfinite(test.p):
        return f"{c.a.name} and {c.b.name}: nothing can be tested ({sizes})."
    if min(c.a.n, c.b.n) == 1:
        return f"{c.a.name} and {c.b.name}: the single image's rank gives p = {test.p:.3g} ({sizes}){what}."
    said = "differ" if test.p < 0.01 else "may differ" if test.p < 0.05 else "are not told apart"
    return f"{c.a.name} and {c.b.name} {said} (permutation test, p = {test.p:.3g}, {sizes}){what}."


def write_page(out: Path, pages: list[Page], theme: str, command: str, tell: Callable[[str], Any]) -> None:
    """Write DIR/report.html and, where matplotlib is installed, shift.png, shift.svg (and anatomy.*).

    tell: called with a sentence where something could not be made.
    """
    parts = [f"<h1>Domain shift: {_e(pages[0][2].a.name)} and {_e(pages[0][2].b.name)}</h1>"]
    for number, (model_id, statistics, c) in enumerate(pages):
        suffix = "" if number == 0 else "_after"
        figures = _figures(out, suffix, statistics, c, theme, tell)
        parts += [f"<h2>Seen by {_e(model_id)}</h2>", f'<p class="lead">{_e(comparison_sentence(c))}</p>', *figures]
        parts += [_tests(c), _levels(c), _differences(c), _farthest(c)]
        parts += [f'<p class="soft">{_e(note)}</p>' for note in c.notes]
    parts.append(
        f'<p class="soft">Made by <code>{_e(command)}</code>. Medians and p values describe these images, seen by this '
        "model; they say nothing about centres that are not here. Research use only, not a medical device.</p>"
    )
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Domain shift</title><style>{CSS}</style>'
    (out / "report.html").write_text(page + "\n".join(parts) + "</html>", encoding="utf-8")


def _e(text: str) -> str:
    return html.escape(text)


def _figures(out: Path, suffix: str, statistics: dict[str, Any], c: Comparison, theme: Any, tell: Any) -> list[str]:
    """<img> elements with the figures inside; none, and a word on the console, without matplotlib."""
    from .shift_plots import anatomy_figure, comparison_figure, save_figure

    try:
        drawn = {"shift": comparison_figure(statistics, c, theme), "anatomy": anatomy_figure(c, theme)}
    except MissingExtra as e:
        tell(f"The report has no figures: {e}")
        return [f'<p class="soft">No figures: {_e(str(e))}</p>']
    images = []
    for name, figure in drawn.items():
        if figure is not None:
            png, _ = save_figure(figure, out / f"{name}{suffix}.png", out / f"{name}{suffix}.svg")
            images.append(_image(png.read_bytes(), name))
    return images


def _image(png: bytes, name: str) -> str:
    return f'<p><img alt="{_e(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def _table(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{_e(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{_e(v)}</td>" for v in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _tests(c: Comparison) -> str:
    rows = [
        [
            name,
            f"{t.statistic:.3g}",
            f"{t.typical:.3g}",
            f"{t.p:.3g}" if math.isfinite(t.p) else "-",
            f"{t.n[0]}, {t.n[1]}",
        ]
        for name, t in c.tests.items()
    ]
    return _table(["distance", "found", "95 % of random splits", "p", "n"], rows)


def _levels(c: Comparison) -> str:
    rows = []
    for one in (c.a, c.b):
        counts = Counter(str(i.result.level) for i in one.usable if i.result)
        if counts:
            rows.append([one.name, *(str(counts.get(level, 0)) for level in LEVELS)])
    return _table(["set", *LEVELS], rows) if rows else ""


def _differences(c: Comparison) -> str:
    rows = [
        [TITLES.get(d.name, d.name.replace("_", " ")), f"{d.median_a:.3g}", f"{d.median_b:.3g}", f"{d.distance:.2f}"]
        for d in [*c.differences, *c.anatomy]
    ]
    head = ["", f"median {c.a.name}", f"median {c.b.name}", "distance in spreads of the training images"]
    return "<h2>What differs</h2>" + _table(head, rows)


def _farthest(c: Comparison, most: int = 10) -> str:
    """Thumbnails of the images furthest from the training images, with the reason as tool tip."""
    parts = []
    for one in (c.a, c.b):
        images = sorted(one.usable, key=lambda i: -(i.result.distance if i.result else 0))[:most]
        if images:
            parts.append(f"<h2>Furthest in {_e(one.name)}</h2>" + _thumbnails(images))
    return "".join(parts)


def _thumbnails(images: list[Any]) -> str:
    from PIL import Image

    cells = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image.thumbnail).save(stream, "PNG")
        source = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
        cells.append(
            f'<figure title="{_e(image.result.reason)}"><img alt="" src="{source}">{_e(image.name)}<br>'
            f"{_e(image.result.level)}</figure>"
        )
    return f'<div class="thumbs">{"".join(cells)}</div>'
