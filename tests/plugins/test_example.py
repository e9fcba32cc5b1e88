"""plugins/example is built, installed into a fresh environment with the small install, and used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dupekit.testing import make_dataset

ROOT = Path(__file__).parent.parent.parent


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dupekit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `dupekit` command of an environment that has the core and the example, both from wheels."""
    folder = tmp_path_factory.mktemp("fresh")
    for source in (ROOT, ROOT / "plugins" / "example"):
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder / "dist", source)
    run(sys.executable, "-m", "venv", folder / "venv")
    wheels = sorted((folder / "dist").glob("*.whl"))
    assert len(wheels) == 2
    run(folder / "venv" / "bin" / "pip", "install", "-q", *wheels)
    return folder / "venv" / "bin" / "dupekit"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_loop_with_the_example_plugin(dupekit: Path, tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", per_class=15)
    first, second = sorted(path for path in data.iterdir())[:2]
    (first / "0000.png").rename(second / "wrong.png")
    run(dupekit, "init", data, "-p", tmp_path / "project")
    packages = run(dupekit.parent / "pip", "list", "--format=freeze")
    assert not {"torch", "onnxruntime", "onnxruntime-gpu"} & {
        line.split("==")[0] for line in packages.split()
    }
    assert "dupekit-example" in run(dupekit, "plugins", "list")
    train = ["train", "--pairs", 3, "--trainer", "centroid", "--validator", "centroid", "--set", "size_px=8"]
    run(dupekit, *train, cwd=tmp_path / "project")
    flagged = json.loads(run(dupekit, "flag", "--threshold", 3, "--json", cwd=tmp_path / "project"))
    assert flagged["dupes"][0]["path"] == f"{second.name}/wrong.png"
    assert flagged["dupes"][0]["suggested"] == first.name
    run(dupekit, "export", tmp_path / "tree", cwd=tmp_path / "project")
    for file in (tmp_path / "tree" / second.name).iterdir():
        file.rename(tmp_path / "tree" / "_done" / file.name)
    run(dupekit, "collect", "--yes", cwd=tmp_path / "project")
    run(dupekit, "apply", tmp_path / "fixed", cwd=tmp_path / "project")
    assert (tmp_path / "fixed" / first.name / "wrong.png").is_file()
    assert "keeps its contract" in run(dupekit, "plugins", "check", "centroid")
