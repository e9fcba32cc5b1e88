"""The command line: parses, calls one method of Project, prints. One module per command.

Nothing heavy is imported before a command runs, so that `dupekit --help` is immediate.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from dupekit.cli import (
    apply,
    collect,
    demo,
    export,
    flag,
    history,
    ignore,
    init,
    next_round,
    plugins,
    scan,
    status,
    train,
    undo,
    verify,
    watch,
)

app = typer.Typer(
    name="dupekit",
    help="Finds wrong labels in image datasets by repeated training, and helps people mend them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rendering help with rich takes three times as long
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    init, scan, train, status, flag, export, watch, collect, undo, history, apply, next_round, verify, demo,
):  # fmt: skip
    module.register(app)
app.add_typer(ignore.app, name="ignore")
app.add_typer(plugins.app, name="plugins")


def _version(value: bool) -> None:
    if value:
        from dupekit import __version__

        typer.echo(f"dupekit {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point, and the one place where an error becomes a message and an exit code."""
    from dupekit.errors import DupekitError

    try:
        app()
    except DupekitError as error:
        sys.stderr.write(f"dupekit: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"{error.hint}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `dupekit flag | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        sys.stderr.write(
            f"dupekit: {error}\nNothing that was recorded is lost; put it right and try again.\n"
        )
        sys.exit(1)
