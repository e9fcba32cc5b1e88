"""Where in a plugin's own code something happened: file and line, as messages name them."""

from __future__ import annotations

import inspect
from pathlib import Path


def place(error: BaseException, plugin: str) -> str | None:
    """File and line in the own package of a plugin's module where an exception was raised, or came through last."""
    top = plugin.partition(".")[0]
    package = plugin if top == "dupekit" else top  # of the core only the fakes' and executors' own module
    found = None
    step = error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", ""))
        if module == package or module.startswith(f"{package}."):
            found = line_of(step.tb_frame.f_code.co_filename, module, step.tb_lineno)
        step = step.tb_next
    return found


def beginning(plugin: type) -> str | None:
    """Where its class stands; None where no file says."""
    try:
        file, number = inspect.getfile(plugin), inspect.getsourcelines(plugin)[1]
    except (OSError, TypeError):
        return None
    return f"{plugin.__name__} begins in {line_of(file, plugin.__module__, number)}"


def line_of(filename: str, module: str, number: int) -> str:
    """As in "package/module.py, line 7"."""
    file = Path(filename)
    names = module.count(".") + 1 + (file.stem == "__init__")
    return f"{'/'.join(file.parts[-names:])}, line {number}"
