"""Libraries of the extra `formats`, loaded when a file needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from dupekit.errors import UsageError


def library(name: str, *, of: str) -> ModuleType:
    """The module. Raises UsageError where it is not installed; `of` says what needs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UsageError(
            f"{of} needs {package}, which is not installed.", hint="Run `pip install 'dupekit[formats]'`."
        ) from None
