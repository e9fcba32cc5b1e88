"""Imports point one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = {"api", "errors", "files", "parallel", "pixels", "decoding", "cache", "devices", "manifest", "settings",
        "placing", "mounts", "listing"}  # fmt: skip
STAGES = {"scan", "split", "tally", "flag", "export", "review", "apply", "patch", "evaluate", "planting",
          "questions", "slips", "survey", "ignores", "portable", "decisions", "matching"}  # fmt: skip
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    **dict.fromkeys(STAGES, BASE),
    "registry": BASE,
    "ledger": BASE | STAGES,
    "jobs": BASE | STAGES | {"registry", "ledger"},
    "runs": BASE | STAGES | {"registry", "ledger", "jobs"},
    "pipeline": BASE | STAGES | {"registry", "ledger", "jobs", "runs"},
    "hearing": BASE,
    "pace": BASE | STAGES,
    "watch": BASE | STAGES | {"ledger", "hearing"},
    "results": BASE | STAGES | {"ledger", "runs"},
    "training": BASE | STAGES | {"ledger", "runs", "pipeline", "results"},
    "keeping": BASE | STAGES | {"ledger", "runs"},
    "reviewing": BASE | STAGES | {"ledger", "runs", "results", "keeping"},
    "correcting": BASE | STAGES | {"ledger", "runs", "pipeline", "results"},
    "project": BASE
    | STAGES
    | {"ledger", "pipeline", "results", "verify", "training", "keeping", "reviewing", "correcting"},
    "patching": BASE | STAGES,
    "verify": BASE | STAGES | {"ledger", "jobs", "runs"},
    "demo": BASE | STAGES | {"project"},
    "testing": BASE | STAGES | {"registry", "jobs"},
}
# A stage may also name the value of the stage before it, which its own values hold.
EXPORT_READS = {
    ("export", "flag"),
    ("decisions", "apply"),
    ("patch", "apply"),
    ("patch", "decisions"),
    ("review", "matching"),
    ("slips", "review"),
    ("slips", "survey"),
    ("slips", "questions"),
}
ONLY = {
    "typer": {"cli"},
    "rich": {"cli"},
    "sqlite_utils": {"ledger"},
    "watchdog": {"hearing"},
    "torch": set(),
    "onnxruntime": set(),
    "onnx": set(),
}


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def part(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


MODULES = sorted((ROOT / "dupekit").rglob("*.py"))


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_core_imports_point_one_way(file: Path) -> None:
    own = file.relative_to(ROOT / "dupekit").parts[0].removesuffix(".py")
    for name in imports(file):
        top = name.split(".")[0]
        if top in ONLY:
            assert own in ONLY[top], f"{file.name} imports {name}"
        if top != "dupekit" or own in ("cli", "__init__", "__main__"):
            continue
        target = part(name)
        if (
            target
            and target != own
            and (ROOT / "dupekit" / f"{target}.py").exists() | (ROOT / "dupekit" / target).is_dir()
        ):
            assert target in MAY_IMPORT[own] or (own, target) in EXPORT_READS, f"{own} imports {name}"


PLUGINS = sorted(file for file in (ROOT / "plugins").glob("dupekit_*/**/*.py"))


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: str(file.relative_to(ROOT)))
def test_plugins_import_only_the_contract(file: Path) -> None:
    allowed = {"api", "errors", "files", "parallel", "pixels", "decoding", "cache", "devices"}
    for name in imports(file):
        if name.split(".")[0] == "dupekit" and part(name):
            assert part(name) in allowed, f"{file} imports {name}"


@pytest.mark.parametrize(
    "command", ["import dupekit", "import dupekit.cli", "import dupekit_torch, dupekit_probe"]
)
def test_nothing_heavy_is_imported_early(command: str) -> None:
    code = f"{command}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "onnxruntime", "onnx"} & set(loaded)
    if "plugins" not in command and "_" not in command:
        assert not {"numpy", "pydantic", "sqlite_utils", "watchdog"} & set(loaded)
