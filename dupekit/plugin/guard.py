"""Foreign code that is loaded or started here must not end this process, wait for its user, or write into its output."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from dupekit.errors import PluginError


@contextlib.contextmanager
def guarded(what: str, where: str = "where it is loaded or made") -> Iterator[None]:
    """Meanwhile, code that ends the process or reads stdin is a PluginError that says so of `what`, such as
    "The trainer 'x' of x-plugin", and `where` it did.

    What it prints goes to stderr: stdout may hold one JSON document. Meant for short work in the main thread, such as an
    import: what it changes is the whole process's.
    """
    stdin, exit_ = _NoInput(), _Exit(os._exit)
    before = sys.stdin, os._exit
    sys.stdin, os._exit = stdin, exit_
    try:
        with contextlib.redirect_stdout(sys.stderr), _apart_from_ours():
            yield
    except (SystemExit, _Exited) as error:
        called = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"os._exit({error.code})"
        raise PluginError(f"{what} calls {called} {where}.", hint=_hint("raise an exception")) from error
    except Exception as error:
        if stdin.asked:
            raise _asked(what, where) from error
        raise
    finally:
        sys.stdin, os._exit = before
    if stdin.asked:
        raise _asked(what, where)
    if exit_.code is not None:  # somebody caught it
        raise PluginError(f"{what} calls os._exit({exit_.code}) {where}.", hint=_hint("raise an exception"))


def _asked(what: str, where: str) -> PluginError:
    return PluginError(
        f"{what} reads standard input {where}.",
        hint=_hint("take what it needs as an option"),
    )


def _hint(instead: str) -> str:
    return f"A plugin must {instead}; tell its author."


class _Exited(BaseException):
    """In the place of the end of the process."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Exit:
    """In the place of `os._exit`."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.process = os.getpid()
        self.code: int | None = None

    def __call__(self, status: int) -> NoReturn:
        if os.getpid() != self.process:  # a child that was forked: that one may end
            self.real(status)
        self.code = status
        raise _Exited(status)


class _NoInput(io.StringIO):
    """An empty stdin that notes whether somebody read it."""

    asked = False

    def fileno(self) -> int:
        return 0  # which is empty as well

    def read(self, size: int | None = -1, /) -> str:
        self.asked = True
        return super().read(size)

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        self.asked = True
        return super().readline(size)

    def __next__(self) -> str:  # type: ignore[override]
        self.asked = True
        return super().__next__()


@contextlib.contextmanager
def _apart_from_ours() -> Iterator[None]:
    """The same for what reads and writes the files themselves, or hands them to a child."""
    empty = os.open(os.devnull, os.O_RDWR)
    try:
        with _replaced(0, empty), _replaced(1, 2):
            yield
    finally:
        os.close(empty)


@contextlib.contextmanager
def _replaced(number: int, by: int) -> Iterator[None]:
    try:
        kept = os.dup(number)
    except OSError:  # closed: nothing to read or spoil
        yield
        return
    try:
        with contextlib.suppress(OSError):  # there is no stderr
            os.dup2(by, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
