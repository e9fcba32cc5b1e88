"""dupekit finds wrong labels in image datasets by repeated training, and helps people mend them.

`Project` is the Python API that the command line calls; `dupekit.api` is the contract for plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dupekit.errors import DupekitError
    from dupekit.project import Project

__version__ = "0.1.0"
__all__ = ["DupekitError", "Project", "__version__"]


def __getattr__(name: str) -> Any:
    # On first use, so that `import dupekit` and `dupekit --help` stay fast.
    if name == "Project":
        from dupekit.project import Project

        return Project
    if name == "DupekitError":
        from dupekit.errors import DupekitError

        return DupekitError
    raise AttributeError(f"module 'dupekit' has no attribute {name!r}")
