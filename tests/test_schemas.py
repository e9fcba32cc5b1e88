"""schemas/ is what the code says."""

from __future__ import annotations

import json
import runpy
import tomllib
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from dupekit.project import Project

SCHEMAS = Path(__file__).parent.parent / "schemas"
GENERATED: dict[str, str] = runpy.run_path(str(SCHEMAS / "generate.py"))["generated"]()


@pytest.mark.parametrize("name", GENERATED)
def test_schemas_are_those_of_the_code(name: str) -> None:
    assert (SCHEMAS / name).read_text() == GENERATED[name], "run: python schemas/generate.py"


def test_nothing_else_stands_there() -> None:
    assert {path.name for path in SCHEMAS.iterdir() if path.is_file()} == {*GENERATED, "generate.py"}


def test_what_a_project_writes_is_what_the_schemas_say(trained: Project) -> None:
    trained.flag(threshold=1)
    trained.export()
    of_round = trained.path / "rounds" / "01"
    written = {
        "job": of_round / "runs" / "p01-a" / "job.json",
        "result": of_round / "runs" / "p01-a" / "result.json",
        "manifest": trained.folder_of(trained.tree()[0]) / "manifest.json",
    }
    for name, file in written.items():
        jsonschema.validate(json.loads(file.read_text()), json.loads(GENERATED[f"{name}.schema.json"]))
    about = np.load(of_round / "images.npz")["about"].tobytes()
    jsonschema.validate(json.loads(about), json.loads(GENERATED["images.schema.json"]))
    settings = tomllib.loads((trained.path / "dupekit.toml").read_text())
    jsonschema.validate(settings, json.loads(GENERATED["dupekit.toml.schema.json"]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**settings, "pairz": 3}, json.loads(GENERATED["dupekit.toml.schema.json"]))
