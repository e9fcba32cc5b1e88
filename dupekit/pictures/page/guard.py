"""Who may ask: every request passes here first, and every answer leaves with what a browser must be told.

The page can move files, so no other page, and nobody else on the network, may ask in its name. The address holds a secret;
the host that is asked for must be this one, so that no foreign name leads here (DNS rebinding); and what changes something must
come from the page itself.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Collection, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX_BYTES = 1_000_000
TICKET_S = 60.0

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Lets only the page's own requests through to the app, without the secret in their paths."""

    def __init__(
        self, app: ASGIApp, *, token: str, hosts: Collection[str] = (), anywhere: bool = False
    ) -> None:
        """`hosts`: names of this machine besides the loopback's; `anywhere`: whether it may be asked for by any address of
        a network (a number, which no foreign name can be made to lead to)."""
        self._app, self._token = app, token.encode()
        self._hosts, self._anywhere = {host.lower() for host in hosts}, anywhere
        self._ticket: tuple[bytes, float] | None = None
        """And until when it is good."""

    def ticket(self) -> str:
        """Opens the page once and soon, in place of the token: for the browser's command line, which others on this machine
        can see."""
        ticket = secrets.token_urlsafe(32)
        self._ticket = ticket.encode(), time.monotonic() + TICKET_S
        return ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: MutableMapping[str, Any]) -> Response | None:
        """Why not, or None: then the path is what follows the token."""
        headers = Headers(scope=scope)
        if not self._is_ours(headers):
            return _refused(
                403, "This page is not at home under that name. Use the address that dupekit printed."
            )
        first, slash, rest = scope["path"].removeprefix("/").partition("/")
        given = first.encode("utf-8", "surrogateescape")
        if scope["method"] == "GET" and self._is_ticket(given):
            return RedirectResponse(f"/{self._token.decode()}/", 303)
        if not hmac.compare_digest(given, self._token) or not slash:
            return _refused(404, "Nothing is here. Use the whole address that dupekit printed.")
        scope["path"], scope["raw_path"] = f"/{rest}", f"/{rest}".encode("utf-8", "surrogateescape")
        return self._of_page(scope["method"], rest, headers)

    def _is_ticket(self, given: bytes) -> bool:
        """Whether it is the one that was given out; it is used up then."""
        if self._ticket is None:
            return False
        ticket, until = self._ticket
        if time.monotonic() > until:
            self._ticket = None
            return False
        if not hmac.compare_digest(given, ticket):
            return False
        self._ticket = None
        return True

    def _of_page(self, method: str, path: str, headers: Headers) -> Response | None:
        if method not in ("GET", "POST"):
            return _refused(405, "The page only gets and posts.", {"Allow": "GET, POST"})
        site = headers.get("sec-fetch-site", "none")
        # A link in a mail may lead to the page itself; nothing else may be asked for from elsewhere.
        followed = method == "GET" and not path and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not followed:
            return _refused(403, "Another page asked for this.")
        if method == "GET":
            return None
        if headers.getlist("origin") != [f"http://{headers['host']}"]:
            return _refused(403, "Only the page itself may decide.")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refused(415, "Decisions come as application/json.")
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            return _refused(411, "The length of a decision must be told.")
        if len(length) > 9 or int(length) > BODY_MAX_BYTES:
            return _refused(413, "That is too much at once.")
        return None

    def _is_ours(self, headers: Headers) -> bool:
        given = headers.getlist("host")
        if len(given) != 1 or (host := _host(given[0])) is None:
            return False
        if host == "localhost" or host in self._hosts:
            return True
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(host)
            return self._anywhere or address.is_loopback
        return False


def _host(header: str) -> str | None:
    """The host of a Host header, without its port: through a tunnel the port is another. None where it makes no sense."""
    if header.startswith("["):
        host, bracket, port = header[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    else:
        host, _, port = header.partition(":")
    return host.lower() if not port or (port.isascii() and port.isdigit()) else None


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{why}\n", status, headers)
