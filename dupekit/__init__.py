"""dupekit finds wrong labels in image datasets by repeated training, and helps people mend them.

`Project` is the Python API that the command line calls, with `Choices` of a training; `dupekit.api` is the contract for
plugins.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dupekit.errors import DupekitError
    from dupekit.project import Project
    from dupekit.workflow.plan import Choices

# dupekit uses no plugins of pydantic's. To find some, pydantic reads the metadata of every distribution that is installed,
# and one malformed line in any would bring dupekit down.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__version__ = "0.1.0"
__all__ = ["Choices", "DupekitError", "Project", "__version__"]

_HOMES = {
    "Choices": "dupekit.workflow.plan",
    "DupekitError": "dupekit.errors",
    "Project": "dupekit.project",
}


def __getattr__(name: str) -> Any:
    # On first use, so that `import dupekit` and `dupekit --help` stay fast.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dupekit' has no attribute {name!r}")
