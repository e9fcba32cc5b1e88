"""Serves the review page of one tree, from a thread that follows the tree to a socket that a browser asks."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from dupekit.errors import UsageError
from dupekit.pictures.page.app import Page
from dupekit.pictures.page.decisions import Decisions
from dupekit.pictures.page.guard import Guard
from dupekit.pictures.page.state import State
from dupekit.review.manifest import Manifest
from dupekit.review.match import Index
from dupekit.review.moves import Moves
from dupekit.review.watch.watcher import Snapshot, follow

LOOPBACK = "127.0.0.1"
_GRACE_S = 1
_LAST_LOOK_S = 15.0
"""So long the last look may take, after which after.txt is current; a share that hangs would have it wait for ever."""


class ReviewServer:
    """The review page of one tree. `run` serves it until `stop` is called, from a signal's handler or another thread."""

    def __init__(
        self,
        tree: Path,
        manifest: Manifest,
        kept_in: Path,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        poll_s: float | None = None,
        seen: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        """`kept_in` and `poll_s` as in `follow`; `seen` is told of every look at the tree, in the thread that takes it.

        Raises UsageError where the port is taken, or the host is no address of this machine.
        """
        self._tree, self._manifest, self._kept_in, self._seen = tree, manifest, kept_in, seen
        self._poll_s = poll_s
        moves = Moves(tree, manifest, Index(manifest))
        self.state = State(manifest, moves)
        self._decisions = Decisions(manifest, moves, self.state)
        self._page = Page(tree, manifest, self.state, self._decisions)
        self._token = secrets.token_urlsafe(32)
        self.shared = not is_loopback(host)
        """Whether others on the network can reach it."""
        self._names = [socket.gethostname(), socket.getfqdn(), host] if self.shared else []
        self._guard = Guard(self._page.app(), token=self._token, hosts=self._names, anywhere=self.shared)
        self._socket = _bound(host, port)
        self._server = _Server(
            uvicorn.Config(
                self._guard,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._failed: Exception | None = None

    @property
    def base(self) -> str:
        """The address without its secret."""
        host, port = self._socket.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:  # all addresses of this machine
            host = self._names[0]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/"

    @property
    def address(self) -> str:
        return f"{self.base}{self._token}/"

    def address_once(self) -> str:
        """Another address of the page, good for one time."""
        return f"{self.base}{self._guard.ticket()}/"

    @property
    def decided(self) -> int:
        """How many images were decided through it."""
        return self._decisions.decided

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until `stop`; `ready` is called once the tree was looked at. Raises what `follow` raises at the start."""
        follower = threading.Thread(target=self._follow, name="follow", daemon=True)
        follower.start()
        try:
            self._looked.wait()
            if self._failed:
                raise self._failed
            if not self._stopped.is_set():
                ready()
                asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            self.stop()
            follower.join(_LAST_LOOK_S)
            self._socket.close()

    def stop(self) -> None:
        self._stopped.set()
        self._looked.set()  # a share that hangs may never be looked at
        self._server.should_exit = True
        self._page.end()

    def _follow(self) -> None:
        try:
            for snapshot in follow(
                self._tree,
                self._manifest,
                self._kept_in,
                stop=self._stopped,
                poll_s=self._poll_s,
            ):
                self.state.found(snapshot)
                self._seen(snapshot)
                self._looked.set()
        except Exception as error:  # whatever it is, the page must not look as if it were followed
            self._failed = error
            self.state.broken(
                f"The tree is not followed any more: {error}. Stop the page, and start it again."
            )
        finally:
            self._looked.set()


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise UsageError(
            f"{host} is no address of this machine: {error.strerror}.",
            hint="Leave --host out, or name another.",
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_REUSEPORT"):
            # To start again at once. On Windows, which lacks the other, two programs would share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise UsageError(
            f"Port {port} of {host} cannot be used: {error.strerror}.",
            hint="Another program may have it. Name another with --port, or leave it out for any that is free.",
        ) from None
    return bound
