"""benchmarks/quality.py: a few cells for real, and its measures on cases that can be counted by hand."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "quality.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_cells(tmp_path: Path) -> None:
    for needed in ("torch", "sklearn", "cleanlab"):
        pytest.importorskip(needed, reason="the benchmark trains the probe, on digits, beside cleanlab")
    done = run(tmp_path, "--quick")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "quality.json").read_text())["results"]
    assert {(one["cell"]["kind"], one["cell"]["seed"]) for one in results} == {
        ("look-alike", seed) for seed in (1, 2)
    }
    by_score = {
        (one["part"], one["cell"]["seed"]): one["worth"] for one in results if one["order"] == "score"
    }
    whole, chosen = by_score["all", 1], by_score["choose", 1]
    assert (whole["images"], whole["errors"]) == (400, 20)
    assert 150 < chosen["images"] < 250
    assert chosen["images"] + by_score["report", 2]["images"] == 400
    assert whole["average_precision"] > 0.5
    recipes = [one["worth"] for one in results if one["order"] == "recipe" and one["part"] == "all"]
    assert len(recipes) == 2
    assert all(worth["average_precision"] > 0.3 for worth in recipes)
    text = (tmp_path / "quality.txt").read_text()
    assert max(map(len, text.splitlines())) <= 110

    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("rounds/*/*.npz")}
    assert len(made) == 2
    again = run(tmp_path, "--quick")
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("rounds/*/*.npz")} == made
    assert again.stdout == done.stdout
    other = run(tmp_path, "--quick", "--variant", "probe: --trainer probe --set epochs=1")
    assert other.returncode == 1
    assert "give --trainer probe --set epochs=1 another name" in other.stderr


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules of benchmarks/, which import each other as scripts do."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_planted_errors(benchmark: Any) -> None:
    sources = benchmark("sources")
    truth = np.repeat(np.arange(10), 50)
    source = sources.Source("made", [Path(str(row)) for row in range(500)], truth, list("abcdefghij"))
    likeness = np.zeros((10, 10))
    likeness[np.arange(10), (np.arange(10) + 3) % 10] = 1

    uniform = sources.planted(source, "uniform", share=0.05, seed=1)
    assert (uniform != truth).sum() == 25
    assert len(set((uniform - truth)[uniform != truth] % 10)) > 5, "to any other class"
    alike = sources.planted(source, "look-alike", share=0.15, seed=1, likeness=likeness)
    assert (alike != truth).sum() == 75
    assert set((alike - truth)[alike != truth] % 10) == {3}
    few = sources.planted(source, "few pairs", share=0.05, seed=1)
    wrong = few != truth
    assert np.bincount(truth[wrong], minlength=10).max() == 10, "a fifth of a class"
    assert len(set(truth[wrong])) == 3, "25 errors in the fewest classes"
    assert len(set(zip(truth[wrong], few[wrong], strict=True))) == 3, "to one other class each"


def test_no_class_is_lost(benchmark: Any) -> None:
    sources = benchmark("sources")
    truth = np.array([0] * 100 + [1] * 3)
    source = sources.Source("made", [Path(str(row)) for row in range(103)], truth, ["common", "rare"])
    planted = sources.planted(source, "uniform", share=0.9, seed=1)
    assert ((planted == 1) & (truth == 1)).sum() == 2
    assert ((planted == 0) & (truth == 0)).sum() >= 2


def test_what_an_order_is_worth(benchmark: Any) -> None:
    pytest.importorskip("onnx", reason="the benchmark reads the models' files")
    cells, orders = benchmark("quality_cells"), benchmark("quality_orders")
    truth = np.array([0] * 99 + [1])
    given = truth.copy()
    given[[10, 20, 30, 40]] = 1  # four of the common class among the rare
    given[99] = 0  # the rare one among the common
    made = cells.Round(given, truth, np.ones(100, bool), np.zeros((1, 100, 2), np.float16), 0.0, 0.0, "")
    suspicion = np.zeros(100)
    suspicion[[10, 5, 20, 30, 40]] = [9, 8, 7, 6, 5]
    everything = np.ones(100, bool)

    worth = orders.worth(suspicion, made, everything)
    assert (worth.images, worth.errors) == (100, 5)
    assert worth.opened == (5, None), (
        "four of five are found with the fifth image; the last one lies in a tie"
    )
    assert worth.precision == (1.0, 0.5, 0.8)
    assert worth.found_rare == 0.0
    assert worth.found_others == 1.0
    assert worth.rare_average_precision == pytest.approx(1.0), "of the four labelled rare, all are wrong"

    half = everything.copy()
    half[40:] = False
    assert orders.worth(suspicion, made, half).opened == (4, 4)
