"""Foreign code in a process of its own: it may end that, hold it or leave something behind, and harms nobody here.

`ask` starts a module of ours, whose last act is `answer`. What counts is what the answer says; a process that ends
without one is told from one that works on for ever.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dupekit import errors
from dupekit.errors import DupekitError, PluginError

_ASKED, _SAID, _OUTPUT, _STACK = "asked.json", "said.json", "output.txt", "stack.txt"

_GRACE_S = 1.0
"""So long what a process started may take to end after it, such as helpers of multiprocessing."""


def ask(module: str, asked: Mapping[str, Any], *, what: str, limit_s: float) -> str:
    """What `answer` got in a process of that module; `what` it does, such as "The check".

    Raises what was raised there, and PluginError where the process ended without an answer, did not end in time, or left
    threads or processes behind. What it left behind is ended. What it printed goes to stderr.
    """
    with tempfile.TemporaryDirectory(prefix="dupekit-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        told = {**asked, "limit_s": limit_s, "path": sys.path, "parent": os.getpid()}
        (folder / _ASKED).write_text(json.dumps(told), encoding="utf-8")
        code, left = _run([sys.executable, "-P", "-m", module, name], folder / _OUTPUT, limit_s)
        output = (folder / _OUTPUT).read_text(encoding="utf-8", errors="replace")
        sys.stderr.write(output)
        said = json.loads((folder / _SAID).read_text(encoding="utf-8")) if (folder / _SAID).exists() else None
        if said is not None and "error" in said:
            raise getattr(errors, said["error"], PluginError)(said["message"], hint=said["hint"])
        where = _where(folder / _STACK)
        if code is None:
            problem = f"did not end within {limit_s:g} seconds{where}"
        elif code < 0:
            problem = f"was killed by signal {-code}{where}"
        elif said is None:
            problem = f"ended with exit code {code} without a word"
        elif left or said["threads"]:
            threads = f"the thread {', '.join(said['threads'])}" if said["threads"] else "a process"
            problem = f"left {threads} behind that did not end"
        else:
            return str(said["answer"])
        raise PluginError(f"{what} {problem}.", hint="A plugin must end what it starts, and nothing else.")


def answer(function: Callable[[Mapping[str, Any]], str]) -> None:
    """Calls the function with what was asked and ends this process. For the module that `ask` started."""
    folder = Path(sys.argv[1])
    stack = (folder / _STACK).open("w")
    faulthandler.enable(stack)
    asked = json.loads((folder / _ASKED).read_text(encoding="utf-8"))
    sys.path[:] = asked["path"]
    faulthandler.dump_traceback_later(max(asked["limit_s"] * 0.9, asked["limit_s"] - 2), file=stack)
    threading.Thread(target=_end_with, args=(asked["parent"],), daemon=True).start()
    end = os._exit
    try:
        said: dict[str, Any] = {"answer": function(asked)}
    except DupekitError as error:
        said = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except BaseException as error:  # a plugin's own, such as a KeyboardInterrupt that nobody pressed
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        message = f"{asked['name']} raised {type(error).__name__}: {error} ({where})"
        said = {"error": "PluginError", "message": message, "hint": ""}
    own = threading.current_thread()
    said["threads"] = [one.name for one in threading.enumerate() if one is not own and not one.daemon]
    partial = folder / f"{_SAID}.part"
    partial.write_text(json.dumps(said), encoding="utf-8")
    partial.rename(folder / _SAID)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    end(0)  # without waiting for threads


def _end_with(parent: int) -> None:
    """Ends this process, and what it started, where the one that asked was killed: nobody waits for the answer."""
    while os.getppid() == parent:
        time.sleep(0.5)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _run(command: list[str], output: Path, limit_s: float) -> tuple[int | None, bool]:
    """Its exit code, None where it did not end in time; and whether something was left of its session."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    code = None
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(limit_s)
        until = time.monotonic() + _GRACE_S
        while code is not None and (left := _signal(process, 0)) and time.monotonic() < until:
            time.sleep(0.02)
        return code, code is None or left
    finally:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there was anything of its session to get the signal."""
    if not hasattr(os, "killpg"):
        if number:
            process.kill()
        return False
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _where(stack: Path) -> str:
    """In words, what the process was at, as faulthandler wrote it: the first line that is not Python's own."""
    text = stack.read_text(encoding="utf-8", errors="replace") if stack.exists() else ""
    # Threads are listed with the main one last; of one that crashed the block begins with "Current".
    block = (
        text.rpartition("Current thread")[2] if "Current thread" in text else text.rpartition("Thread 0x")[2]
    )
    library = sysconfig.get_path("stdlib")
    for file, line, function in re.findall(r'File "([^"]+)", line (\d+) in (\S+)', block):
        if not file.startswith((library, "<")) or "site-packages" in file:
            return f", in {function}() of {Path(file).name}, line {line}"
    return ""
