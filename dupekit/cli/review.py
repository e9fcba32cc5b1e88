"""`dupekit review`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dupekit.cli.completion import complete_tree
from dupekit.cli.output import ProjectOption, counted, say, warn
from dupekit.cli.trees import Followed, what_to_follow
from dupekit.files.names import escape

if TYPE_CHECKING:
    from dupekit.pictures.page.serve import ReviewServer
    from dupekit.review.watch.watcher import Snapshot

_LOOPBACK = "127.0.0.1"


def review(
    tree: Annotated[
        Path | None,
        typer.Argument(help="The review tree; default the one that is out.", autocompletion=complete_tree),
    ] = None,
    project: ProjectOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page's address; 0: any that is free.")
    ] = 0,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Listen there and not for this machine alone; needs --allow."),
    ] = _LOOPBACK,
    allow: Annotated[
        bool, typer.Option("--allow", help="Let in everybody who has the page's address, unencrypted.")
    ] = False,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Print the address, and open no browser.")
    ] = False,
) -> None:
    """A review tree in the browser; a decision moves a file. Stop with Ctrl-C."""
    make = _server(host, allow=allow)
    # A ledger that another program has locked is waited for in SQLite, where Python hears of no Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        followed = what_to_follow(tree, project, "review")
    finally:
        signal.signal(signal.SIGINT, before)
    _require_images(followed)
    server: ReviewServer = make(
        followed.tree, followed.manifest, followed.kept_in, host=host, port=port, seen=_Trouble().tell
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.run(lambda: _begin(server, followed.tree, no_open=no_open))
    _end(server, followed)


def _server(host: str, *, allow: bool) -> Any:
    """Raises UsageError where the server is not installed, or would let others in and nobody said that it may."""
    from dupekit.errors import UsageError

    try:
        from dupekit.pictures.page.serve import ReviewServer, is_loopback
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "dupekit":
            raise
        raise UsageError(
            f"The review page needs a server, and {missing} is not installed.",
            hint='Install it: pip install "dupekit[review]". Or review with the file manager, and `dupekit watch`.',
        ) from None
    if not allow and not is_loopback(host):
        raise UsageError(
            f"At {host}, others on the network could reach the page.",
            hint="Whoever has its address can look and decide, and what is sent is not encrypted. If that is meant, add"
            " --allow. A tunnel needs neither: ssh -L 8000:127.0.0.1:PORT, with this command's --port PORT.",
        )
    return ReviewServer


def _require_images(followed: Followed) -> None:
    from dupekit.errors import UsageError

    if not followed.manifest.files:
        raise UsageError(
            f"There is nothing to review in {followed.tree}: no images were exported to it.",
            hint="Name another tree, or export one.",
        )


class _Trouble:
    """Says on the terminal when something is wrong with the tree, and when it is right again."""

    def __init__(self) -> None:
        self._said: str | None = None

    def tell(self, snapshot: Snapshot) -> None:
        if snapshot.trouble != self._said:
            self._said = snapshot.trouble
            warn(f"trouble: {snapshot.trouble}" if snapshot.trouble else "recovered")


def _begin(server: ReviewServer, tree: Path, *, no_open: bool) -> None:
    say(f"Reviewing {escape(str(tree))}: {_standing(server)}")
    # By itself on its line, and never wrapped: it is to be clicked or copied.
    say("The page, for whoever has this address:")
    typer.echo(server.address)
    if server.shared:
        warn("Others on the network who have it can look and decide, too. What is sent is not encrypted.")
    say("Stop with Ctrl-C.")
    if not no_open and _has_browser():
        import webbrowser

        # Of the browser's command line, which others on this machine can see, the address is good for one time.
        threading.Thread(target=webbrowser.open, args=(server.address_once(),), daemon=True).start()


def _has_browser() -> bool:
    """Whether a browser would open on the person's screen, and not in this terminal or on another machine."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _end(server: ReviewServer, followed: Followed) -> None:
    tree = shlex.quote(escape(str(followed.tree)))
    if followed.of_project:
        following = f"Next: dupekit collect {tree}"
    else:
        following = (
            f"Next: give the folder {tree} back, with all that is in it; there, `dupekit collect` records it"
        )
    say(f"{counted(server.decided, 'image')} decided on this page. {_standing(server)}\n{following}")


def _standing(server: ReviewServer) -> str:
    of, left = server.state.count()
    return f"{of - left:,} of {counted(of, 'image')} {'is' if of == 1 else 'are'} decided, {left:,} open."
