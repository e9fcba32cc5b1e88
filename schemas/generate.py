"""Writes the files in this folder from the code's own models: `python schemas/generate.py`.

A test compares them, so they cannot drift."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from dupekit.jobs.evaluation import Evaluation
from dupekit.jobs.files import JobFile, ResultFile
from dupekit.jobs.images import About
from dupekit.jobs.under_way import SubmittedFile
from dupekit.ledger import Ledger
from dupekit.review.manifest import Manifest
from dupekit.review.reference_index import ReferenceIndex
from dupekit.settings import Settings

MODELS = {
    "dupekit.toml": Settings,
    "images": About,
    "job": JobFile,
    "result": ResultFile,
    "submitted": SubmittedFile,
    "evaluation": Evaluation,
    "manifest": Manifest,
    "reference": ReferenceIndex,
}


def generated() -> dict[str, str]:
    """File name -> content."""
    files = {}
    for name, model in MODELS.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
        files[f"{name}.schema.json"] = json.dumps(schema, indent=1, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db", create=True) as ledger:
        files["ledger.sql"] = ledger.schema()
    return files


if __name__ == "__main__":
    for name, content in generated().items():
        (Path(__file__).parent / name).write_text(content)
