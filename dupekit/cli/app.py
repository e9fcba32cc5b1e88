"""The application: every command, and the one place where an error becomes a message and an exit code.

Nothing heavy is imported before a command runs, so that `dupekit --help` is immediate.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated

import typer

from dupekit.cli import ignore, plugins
from dupekit.cli.apply import apply
from dupekit.cli.collect import collect
from dupekit.cli.demo import demo
from dupekit.cli.export import export
from dupekit.cli.flag import flag
from dupekit.cli.history import history
from dupekit.cli.init import init
from dupekit.cli.next_round import next_round
from dupekit.cli.scan import scan
from dupekit.cli.status import status
from dupekit.cli.train import train
from dupekit.cli.undo import undo
from dupekit.cli.verify import verify
from dupekit.cli.watch import watch

app = typer.Typer(
    name="dupekit",
    help="Finds wrong labels in image datasets by repeated training, and helps people mend them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rendering help with rich takes three times as long
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (init, scan, train, status, flag, export, watch, collect, undo, history, apply):
    app.command()(command)
app.command("next")(next_round)
app.command()(verify)
app.command()(demo)
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

    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a name that the encoding lacks must not end a watch of days
            stream.reconfigure(errors="backslashreplace")
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
        sys.stderr.write(f"dupekit: {_of_system(error)}\n")
        sys.exit(1)


def _of_system(error: OSError) -> str:
    """What the system refused, on which file, and what would help."""
    from dupekit.files.names import escape

    what = error.strerror or str(error)
    place = (
        escape(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    )
    said = f"{place} cannot be read or written: {what}." if place else f"The system refused: {what}."
    remedy = {
        errno.ENOSPC: "Make room there",
        errno.EDQUOT: "Make room there, or have your quota raised",
        errno.EACCES: "See that you may read and write there",
        errno.EPERM: "See that you may read and write there",
        errno.EROFS: "It is mounted for reading only: have it mounted for writing, or work on a copy",
    }.get(error.errno or 0, "Put it right")
    return f"{said}\n{remedy} and try again. Nothing that was recorded is lost."
