"""Nothing heavy is imported before it is needed. That imports point one way, import-linter sees to (pyproject)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command",
    [
        "import dupekit",
        "import dupekit.cli.app",
        "import dupekit.cli.review",
        "import dupekit.cli.import_predictions, dupekit.cli.export_results",
        "import dupekit.review.watch.watcher",
        "import dupekit_torch, dupekit_probe",
    ],
)
def test_nothing_heavy_is_imported_early(command: str) -> None:
    code = f"{command}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "onnxruntime", "onnx", "pyarrow", "h5py", "scipy"} & set(loaded)
    assert not {"jinja2", "starlette", "uvicorn"} & set(loaded)
    if "watcher" not in command and "_" not in command:
        assert not {"numpy", "pydantic", "sqlite_utils", "watchdog"} & set(loaded)


@pytest.mark.parametrize("command", ["import dupekit.project", "import dupekit.review.watch.watcher"])
def test_commands_that_make_no_page_load_nothing_for_pages(command: str) -> None:
    code = f"import dupekit.cli.watch\n{command}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"jinja2", "markupsafe", "starlette", "uvicorn"} & set(loaded)


@pytest.mark.parametrize("module", ["dupekit_onnx", "dupekit_probe.backbone", "dupekit_torch"])
def test_onnxruntime_tells_nobody_and_leaves_nothing(module: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")
    }
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = f"import {module}, dupekit_nets, onnxruntime"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(tmp_path.rglob("*")) == []
