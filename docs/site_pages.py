"""Pages of the site that are made from the code whenever it is built, so that they cannot go stale (an mkdocs hook).

Commands, recipe settings, tables of tasks and measures, model cards, and the committed results of `benchmarks/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from mkdocs.structure.files import File, Files, InclusionLevel
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages to those of `docs/`."""
    made = {
        "reference/command-line.md": command_line,
        "reference/recipes.md": recipes,
        "reference/tasks-and-measures.md": tasks_and_measures,
        "reference/model-cards.md": model_cards,
    }
    for uri, lines in made.items():
        files.append(File.generated(config, uri, content="\n".join(lines()) + "\n"))
    for path in sorted((ROOT / "benchmarks").glob("*.md")):
        uri, text = f"benchmarks/{path.name}", path.read_text("utf-8")
        files.append(File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Links out of `docs/`: to results, links within the site; to other files of the repository, their names."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        if "://" in target:
            return match.group(0)
        inside = posixpath.normpath(posixpath.join("docs", folder, target))
        if inside.startswith("docs/"):
            return match.group(0)
        if files.get_file_from_path(inside):
            return f"[{text}]({posixpath.relpath(inside, folder or '.')}{anchor})"
        return text if "`" in text else f"`{text}`"

    return LINK.sub(link, markdown)


def command_line() -> Iterator[str]:
    """Every command with its options, as `tinymig COMMAND --help` has them."""
    from typer._click.core import Context
    from typer.main import get_command

    from napari_tinymig.cli import app

    yield "# Command line\n\nMade from the commands themselves. Exit codes: 0 all done, 1 some inputs failed (every"
    yield "other one is done, each failure is a row with its reason), 2 usage."
    root = get_command(app)
    with Context(root, info_name="tinymig") as top:
        for name in root.list_commands(top):
            yield from _command(root.get_command(top, name), top, f"tinymig {name}")


def _command(command: Any, parent: Any, title: str) -> Iterator[str]:
    """One command: what it does, its arguments and options; a family's commands one after another."""
    context = type(parent)(command, info_name=title.rsplit(" ", 1)[-1], parent=parent)
    yield f"\n## `{title}`\n\n{_plain(command.help or '')}\n"
    rows = [p.get_help_record(context) for p in command.params if not getattr(p, "hidden", False)]
    if rows := [r for r in rows if r]:
        yield "| argument or option | what it does |\n|---|---|"
        for names, words in rows:
            yield f"| `{names.strip()}` | {_plain(words).replace(chr(10), ' ').replace('|', chr(92) + '|')} |"
    for name in getattr(command, "commands", {}):
        yield from _command(command.commands[name], context, f"{title} {name}")


def _plain(text: str) -> str:
    return re.sub(r"[ \t]*\n[ \t]*(?=\S)", "\n", text.replace("\b", "").replace("<", "&lt;")).strip()


def recipes() -> Iterator[str]:
    """Every setting of a recipe: table, name, default, range, meaning; and the recipes that ship."""
    from napari_tinymig.recipes.student import Recipe

    yield "# Recipes\n\nA recipe is a TOML file; `tinymig train NAME` takes one that ships, `tinymig train FILE.toml`"
    yield "yours, `--set table.key=value` changes one setting. An unknown key is an error that names the nearest one.\n"
    shipped = sorted(p.stem for p in (ROOT / "napari_tinymig/recipes").glob("*.toml"))
    yield f"Shipped: {', '.join(f'`{name}`' for name in shipped)}.\n"
    yield from _settings(Recipe, "")


def _settings(model: type[BaseModel], table: str) -> Iterator[str]:
    """A settings table, then the tables within it."""
    inner = {}
    yield f"\n## {f'`[{table}]`' if table else 'Top of the file'}\n\n{(model.__doc__ or '').strip()}\n"
    yield "| key | default | meaning |\n|---|---|---|"
    for key, field in model.model_fields.items():
        kinds = [k for k in (field.annotation, *get_args(field.annotation)) if isinstance(k, type)]
        below = [k for k in kinds if issubclass(k, BaseModel)]
        if below:
            inner[f"{table}.{key}" if table else key] = below[0]
            continue
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
        yield f"| `{key}` | `{default}` | {(field.description or '').replace('|', chr(92) + '|')} |"
    for name, below_model in inner.items():
        yield from _settings(below_model, name)


def tasks_and_measures() -> Iterator[str]:
    """The tables from which command line, panels, CSV and report take tasks and measures."""
    from napari_tinymig.measures.declared import DECLARED
    from napari_tinymig.tasks.table import TASKS

    yield "# Tasks and measures\n\n## Tasks\n\n| task | label | class | colour |\n|---|---|---|---|"
    for name, task in TASKS.items():
        for region in task.regions:
            yield f"| `{name}` | {region.label} | {region.class_name} | `{region.colour}` |"
    yield "\n## Measures\n\nThe name in `Prediction.measures`, and in `measurements.csv` where it has a column.\n"
    yield "| name | what | unit | column |\n|---|---|---|---|"
    for measure in DECLARED.values():
        yield f"| `{measure.key}` | {measure.title} | {measure.unit} | {'yes' if measure.column else ''} |"


def model_cards() -> Iterator[str]:
    """The cards that lie beside the bundled models."""
    yield "# Model cards\n\nResearch use only; not medical devices. How each is remade: [Models](../MODELS.md)."
    for path in sorted((ROOT / "napari_tinymig/models").glob("*.md")):
        yield "\n" + re.sub(r"^(#+) ", r"#\1 ", path.read_text("utf-8"), flags=re.MULTILINE)
