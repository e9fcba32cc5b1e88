"""The application: every command, and the one place where an error becomes a message and an exit code.

Nothing heavy is imported before a command runs, so that `dupekit --help` is immediate.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import os
import sys
import threading
from typing import Annotated

import typer

from dupekit.cli import ignore, plugins
from dupekit.cli.apply import apply
from dupekit.cli.collect import collect
from dupekit.cli.demo import demo
from dupekit.cli.evaluate import evaluate
from dupekit.cli.explain import explain
from dupekit.cli.export import export
from dupekit.cli.export_results import export_results
from dupekit.cli.flag import flag
from dupekit.cli.history import history
from dupekit.cli.import_predictions import import_predictions
from dupekit.cli.init import init
from dupekit.cli.next_round import next_round
from dupekit.cli.output import warn
from dupekit.cli.report import report
from dupekit.cli.review import review
from dupekit.cli.scan import scan
from dupekit.cli.status import status
from dupekit.cli.terminal import Tone
from dupekit.cli.train import train
from dupekit.cli.undo import undo
from dupekit.cli.verify import verify
from dupekit.cli.watch import watch
from dupekit.cli.withdraw import withdraw
from dupekit.files.names import printable

app = typer.Typer(
    name="dupekit",
    help="Finds wrong labels in image datasets by repeated training, and helps people mend them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rendering help with rich takes three times as long
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init,
    scan,
    train,
    status,
    flag,
    report,
    explain,
    export,
    review,
    watch,
    withdraw,
    collect,
    undo,
    history,
    apply,
    evaluate,
):
    app.command()(command)
app.command("next")(next_round)
app.command("import-predictions")(import_predictions)
app.command("export-results")(export_results)
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
    _require_utf8()
    _open_streams()
    # Commands make hundreds of thousands of records that all stay: to look through them for cycles took a tenth of a collect.
    gc.set_threshold(100_000)
    before = set(threading.enumerate())
    code = exit_code()
    if any(not one.daemon for one in set(threading.enumerate()) - before):
        # A plugin left a thread behind: the usual end would wait for it for ever.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def exit_code() -> int:
    """Runs the command that stands in `sys.argv`."""
    from dupekit.errors import DupekitError

    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Abort:  # Ctrl-C, or no answer at a question
        warn("Interrupted.", tone=None)
        return 130
    except DupekitError as error:
        warn(f"dupekit: {error.message}", tone=Tone.BAD)
        if error.hint:
            warn(error.hint, tone=None)
        return error.exit_code
    except BrokenPipeError:  # rich's, of a terminal that went away
        return 1
    except OSError as error:
        warn(f"dupekit: {_of_system(error)}", tone=Tone.BAD)
        return 1
    except Exception as error:
        if not hasattr(error, "show"):
            raise
        # Wrong usage: which class it has depends on the release of typer.
        setattr(error, "message", printable(str(getattr(error, "message", error))))  # noqa: B010
        error.show()
        return int(getattr(error, "exit_code", 2))


def _require_utf8() -> None:
    """Begins anew in Python's UTF-8 mode where the locale is another: file names would be read otherwise than in the last
    scan, so that all images would seem gone, and others new."""
    if sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for workers, too
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dupekit", *sys.argv[1:]])


def _open_streams() -> None:
    """Standard streams that were closed are there, and lead nowhere; a name that an encoding lacks ends nothing."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _of_system(error: OSError) -> str:
    """What the system refused, on which file, and what would help."""
    what = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    file = (error.filename2 if full else None) or error.filename  # of a copy, the second found no room
    place = os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else ""
    said = f"{place} cannot be read or written: {what}." if place else f"The system refused: {what}."
    remedy = {
        errno.ENOSPC: "Make room there",
        errno.EDQUOT: "Make room there, or have your quota raised",
        errno.EACCES: "See that you may read and write there",
        errno.EPERM: "See that you may read and write there",
        errno.EROFS: "It is mounted for reading only: have it mounted for writing, or work on a copy",
    }.get(error.errno or 0, "Put it right")
    return f"{said}\n{remedy} and try again. Nothing that was recorded is lost."
