"""schemas/ is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCHEMAS = Path(__file__).parent.parent / "schemas"
GENERATED: dict[str, str] = runpy.run_path(str(SCHEMAS / "generate.py"))["generated"]()


@pytest.mark.parametrize("name", GENERATED)
def test_schemas_are_those_of_the_code(name: str) -> None:
    assert (SCHEMAS / name).read_text() == GENERATED[name], "run: python schemas/generate.py"


def test_nothing_else_stands_there() -> None:
    assert {path.name for path in SCHEMAS.iterdir() if path.is_file()} == {*GENERATED, "generate.py"}
