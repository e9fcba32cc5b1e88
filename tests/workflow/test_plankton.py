"""Real plankton with planted errors, through the loop. Needs the images: see DUPEKIT_TEST_DATA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DUPEKIT_TEST_DATA", ROOT.parent / "shared" / "data"))
ARCHIVE = DATA / "plankton-small.tar.gz"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"no {ARCHIVE.name} in the folder DUPEKIT_TEST_DATA names")
def test_planted_errors_are_found(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="trains with the probe")
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later
        archive.extractall(tmp_path / "images")
    (dataset,) = (tmp_path / "images").iterdir()
    script = ROOT / "benchmarks" / "planted_round.py"
    train = ["--", "--trainer", "probe", "--pairs", "5", "--set", "image_size=96"]
    done = subprocess.run(
        [sys.executable, script, dataset, tmp_path / "work", *train],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "work" / "result.json").read_text())
    assert (result["images"], result["planted"]) == (2662, 133)
    assert result["found"] + result["missed"] == 133
    assert result["found"] > 60
    assert result["average_precision"] > 0.4
    assert result["wrong_labels_after"] == result["missed"]
