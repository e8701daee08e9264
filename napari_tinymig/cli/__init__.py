"""The command line `tinymig`: a table of commands, each loaded when it is called, so that a mask comes quickly."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as to_click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "demo"),
    "segment": ("segment", "segment"),
    "prompt": ("prompt", "prompt"),
    "measure": ("measure", "measure"),
    "compare": ("compare", "compare"),
    "classify": ("probe", "classify"),
    "view": ("view", "view"),
    "shift": ("shift", "shift"),
    "train": ("train", "train"),
    "evaluate": ("train", "evaluate"),
    "export": ("train", "export"),
    "benchmark": ("benchmark", "benchmark"),
    "probe": ("probe", "probe"),
    "finetune": ("finetune", "finetune"),
    "next": ("finetune", "next_image"),
    "models": ("models", "app"),
    "doctor": ("doctor", "doctor"),
}
"""Command -> (module of this package, name in it: a function, or a typer app with commands of its own)."""

LISTS = ("--domains", "--source", "--target")
"""Options that take several folders at once."""
OK, SOME_FAILED, USAGE = 0, 1, 2


class LazyCommands(TyperGroup):
    """Commands of the table above, imported one at a time; a family that is not there is not listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name, (module, _) in COMMANDS.items() if importlib.util.find_spec(f"{__name__}.{module}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS or cmd_name not in self.list_commands(ctx):
            return None
        module, attribute = COMMANDS[cmd_name]
        found = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            app.command(cmd_name)(found)
            found = app
        command = to_click(found)
        command.name = cmd_name
        return command


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"napari-tinymig {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="tinymig",
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _top(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Masks, clinical numbers and tiny students for fundus photographs, prostate MRI and polyps.

    Research use only; not a medical device.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process: 0 all done, 1 some inputs failed, 2 usage."""
    from ..base.errors import TinyMIGError

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some it reads every installed package
    try:
        app(args=spread(sys.argv[1:] if arguments is None else arguments), prog_name="tinymig")
    except TinyMIGError as e:
        say(str(e))
        sys.exit(USAGE)
    except ValueError as e:
        if type(e) is not ValueError:  # a subclass comes from a library, not from an argument
            raise
        say(str(e))
        sys.exit(USAGE)
    except KeyboardInterrupt:
        say("Stopped; everything finished is kept.")
        sys.exit(SOME_FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(OK)


def spread(arguments: Sequence[str]) -> list[str]:
    """`--domains A B` as `--domains A --domains B`: everything up to the next option belongs to the list."""
    out: list[str] = []
    listed, fresh = "", False
    for word in arguments:
        if word.startswith("-"):
            listed, fresh = (word if word in LISTS else ""), True
        elif listed and not fresh:
            out.append(listed)
        else:
            fresh = False
        out.append(word)
    return out


def say(sentence: str) -> None:
    """One sentence for people, on stderr."""
    typer.echo(f"tinymig: {sentence}", err=True)
