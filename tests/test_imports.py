"""Nothing heavy is imported before it is needed. That imports point one way, import-linter sees to (pyproject)."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "command", ["import dupekit", "import dupekit.cli.app", "import dupekit_torch, dupekit_probe"]
)
def test_nothing_heavy_is_imported_early(command: str) -> None:
    code = f"{command}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "onnxruntime", "onnx"} & set(loaded)
    if "plugins" not in command and "_" not in command:
        assert not {"numpy", "pydantic", "sqlite_utils", "watchdog"} & set(loaded)
