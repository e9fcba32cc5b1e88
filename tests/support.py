"""What several test modules share."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def refusing(scandir: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """`os.scandir`, but for one folder that may not be read: tests may run as root, whom nothing stops."""

    def refuse(path: Any) -> Any:
        if Path(os.fspath(path)) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    return refuse
