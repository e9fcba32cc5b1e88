"""dupekit finds wrong labels in image datasets by repeated training, and helps people mend them.

`Project` is the Python API that the command line calls, with `Choices` of a training and the `Selection` and `Style` of an
export; `dupekit.api` is the contract for plugins.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dupekit.errors import DupekitError
    from dupekit.project import Project
    from dupekit.review.style import Style
    from dupekit.workflow.plan import Choices
    from dupekit.workflow.selection import Selection

# dupekit uses no plugins of pydantic's. To find some, pydantic reads the metadata of every distribution that is installed,
# and one malformed line in any would bring dupekit down.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__version__ = "0.1.0"
__all__ = ["Choices", "DupekitError", "Project", "Selection", "Style", "__version__"]

_HOMES = {
    "Choices": "dupekit.workflow.plan",
    "DupekitError": "dupekit.errors",
    "Project": "dupekit.project",
    "Selection": "dupekit.workflow.selection",
    "Style": "dupekit.review.style",
}


def __getattr__(name: str) -> Any:
    # On first use, so that `import dupekit` and `dupekit --help` stay fast.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'dupekit' has no attribute {name!r}")
