"""Gives dupekit's commands from a process that has loaded dupekit already: a fork each, so that a kill meets a command at its
work and not at its imports.

Reads an order a line, in JSON: `argv`, `output` (a file for stdout and stderr) and `gate` (None, or a file: the command waits
until it is gone). Answers with the process's number at once, and with its exit code when it has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import dupekit
from dupekit.cli.app import main

_PR_SET_PTRACER, _ANY = 0x59616D61, -1


def _load() -> None:
    """Everything that a command imports while it runs."""
    for module in pkgutil.walk_packages(dupekit.__path__, "dupekit."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)


def _give(order: dict[str, Any]) -> None:
    os.setsid()
    if sys.platform == "linux":  # a tracer that is no ancestor may attach
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8") for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    while order["gate"] and Path(order["gate"]).exists():
        time.sleep(0.001)
    sys.argv = ["dupekit", *order["argv"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _answer(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _load()
    _answer("ready")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _give(json.loads(line))
        _answer(child)
        _answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
