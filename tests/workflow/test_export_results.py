"""Results for tools that look elsewhere: what they say, and what the real tools make of them."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dupekit import Choices
from dupekit.errors import NothingToDo, UsageError
from dupekit.exchange.results import ResultRow, write_csv
from dupekit.project import Project
from tests.exchange.files import npz
from tests.support import dupekit
from tests.workflow.test_import_predictions import CLASSES, opinions, paths_of

NAMES = list(ResultRow.__slots__)


def rows_of(project: Project, tmp_path: Path, name: str = "r.jsonl") -> list[dict[str, object]]:
    file = tmp_path / name
    project.export_results(file, overwrite=True)
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_row_an_image_most_suspicious_first(trained: Project, tmp_path: Path) -> None:
    counted = trained.scores()
    rows = rows_of(trained, tmp_path)
    assert list(rows[0]) == NAMES
    assert [row["score"] for row in rows] == sorted(counted.scores.tolist(), reverse=True)
    by_path = {row["path"]: row for row in rows}
    assert sorted(by_path) == counted.paths
    for at, path in enumerate(counted.paths):
        row = by_path[path]
        assert (row["given"], row["suggested"], row["votes"]) == (
            counted.given[at],
            counted.suggested[at],
            counted.votes[at],
        )
        assert (row["predictions"], row["verdict"], row["label"], row["ignored"]) == (
            3,
            None,
            counted.given[at],
            False,
        )
    flagged = {one.path: one for one in trained.flag().suspects}
    for path, one in flagged.items():
        assert by_path[path]["probability_suggested"] == one.probability_suggested


def test_images_that_an_identical_one_contradicts_come_first_as_everywhere(
    project: Project, dataset: Path, fast: dict[str, str], tmp_path: Path
) -> None:
    source = sorted((dataset / "ciliate").iterdir())[0]
    shutil.copy(source, dataset / "diatom" / "copy.png")
    project.scan()
    project.train(Choices(pairs=2, **fast))
    listed = [one.path for one in project.flag().suspects]
    rows = rows_of(project, tmp_path)
    twins = {f"ciliate/{source.name}", "diatom/copy.png"}
    assert {row["path"] for row in rows if row["contradicted"]} == twins
    assert {row["path"] for row in rows[:2]} == twins
    assert [row["path"] for row in rows if row["path"] in listed] == listed


def test_verdicts_the_label_after_review_and_the_ignore_list(trained: Project, tmp_path: Path) -> None:
    exported = trained.export(tmp_path / "tree")
    files = exported.manifest.files
    assert len(files) >= 2
    (exported.tree / files[0].path).unlink()
    trained.collect(exported.tree, finished=[files[1].given])
    by_path = {row["path"]: row for row in rows_of(trained, tmp_path)}
    right, wrong = by_path[files[0].original], by_path[files[1].original]
    assert (right["verdict"], right["label"], right["ignored"]) == ("correct", files[0].given, True)
    assert (wrong["verdict"], wrong["label"], wrong["ignored"]) == ("relabel", files[1].suggested, False)
    assert sum(row["verdict"] is None for row in by_path.values()) == len(by_path) - sum(
        1 for row in by_path.values() if row["verdict"]
    )
    (exported.tree / files[1].path).rename(exported.tree / "_expunge" / "x.png")
    trained.collect(exported.tree)
    row = {row["path"]: row for row in rows_of(trained, tmp_path)}[files[1].original]
    assert (row["verdict"], row["label"]) == ("expunge", None)


def test_csv_and_parquet_say_the_same(trained: Project, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    wanted = rows_of(trained, tmp_path)
    trained.export_results(tmp_path / "r.parquet")
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == NAMES
    assert table.to_pylist() == wanted
    trained.export_results(tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [float(row["score"]) for row in read] == [row["score"] for row in wanted]
    assert [row["path"] for row in read] == [row["path"] for row in wanted]
    assert {row["verdict"] for row in read} == {""}
    assert {row["ignored"] for row in read} == {"false"}


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    row = ResultRow("=1/x.png", "=1", "@b", 0, 1, -9.21e-05, 1.0, 0.0, None, "=1", False, False)
    with (tmp_path / "r.csv").open("wb") as out:
        write_csv(out, [row])
    cells = next(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert (cells["path"], cells["given"], cells["suggested"]) == ("'=1/x.png", "'=1", "'@b")
    assert cells["score"] == "-9.21e-05"


def test_cleanlab_finds_the_order_that_its_score_gives_on_our_arrays(
    trained: Project, tmp_path: Path
) -> None:
    rank = pytest.importorskip("cleanlab.rank")
    filters = pytest.importorskip("cleanlab.filter")
    trained.export_results(tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as file:
        labels, values, classes, paths = (file[name] for name in ("labels", "pred_probs", "classes", "paths"))
    assert values.dtype == np.float32
    rows = {str(row["path"]): row for row in rows_of(trained, tmp_path)}
    assert [classes[label] for label in labels] == [rows[path]["given"] for path in paths.tolist()]
    given = [rows[path]["probability_given"] for path in paths.tolist()]
    confidence = rank.get_self_confidence_for_each_label(labels, values)
    assert confidence == pytest.approx(given, abs=1e-6)
    ours = sorted(range(len(given)), key=lambda at: (given[at], at))
    theirs = rank.order_label_issues(np.ones(len(labels), bool), labels, values, rank_by="self_confidence")
    assert [round(given[at], 5) for at in theirs] == [round(given[at], 5) for at in ours]
    issues = filters.find_label_issues(labels, values, n_jobs=1)
    assert {paths[at] for at in np.flatnonzero(issues)} <= {
        path
        for path, row in rows.items()
        if row["score"] > -0.5  # type: ignore[operator]
    }


def test_what_is_exported_and_imported_has_the_same_scores(trained: Project, tmp_path: Path) -> None:
    before = trained.scores()
    trained.export_results(tmp_path / "r.npz")
    trained.next_round()
    done = trained.import_predictions([tmp_path / "r.npz"])
    after = trained.scores()
    assert (done.pairs, after.paths) == (1, before.paths)
    assert after.scores == pytest.approx(before.scores, abs=1e-5)
    trained.export_results(tmp_path / "again.npz")
    with np.load(tmp_path / "r.npz") as first, np.load(tmp_path / "again.npz") as second:
        for name in ("labels", "pred_probs", "classes", "paths"):
            assert np.array_equal(first[name], second[name])


def test_fiftyone_imports_the_samples(trained: Project, tmp_path: Path) -> None:
    """Its importer, which is what `Dataset.from_dir` reads with; a dataset itself would need a MongoDB."""
    importers = pytest.importorskip("fiftyone.utils.data", reason="FiftyOne is large, and brings a database")
    trained.export_results(tmp_path / "fo" / "samples.json")
    assert importers.FiftyOneDatasetImporter(str(tmp_path / "fo"))._is_legacy_format_data()
    importer = importers.LegacyFiftyOneDatasetImporter(str(tmp_path / "fo"))
    importer.setup()
    samples = {sample.filepath: sample for sample in importer}
    assert len(samples) == 36
    one = trained.flag().suspects[0]
    sample = samples[str(trained.dataset.resolve() / one.path)]
    assert (sample.given.label, sample.suggested.label) == (one.given, one.suggested)
    assert sample.suggested.confidence == one.probability_suggested
    assert (sample.votes, sample.score) == (one.votes, one.score)


def test_the_samples_are_as_fiftyone_documents_them(trained: Project, tmp_path: Path) -> None:
    trained.export_results(tmp_path / "fo" / "samples.json")
    samples = json.loads((tmp_path / "fo" / "samples.json").read_text())["samples"]
    assert len(samples) == 36
    for sample in samples:
        assert Path(sample["filepath"]).is_file()
        for field in ("given", "suggested"):
            assert sample[field]["_cls"] == "Classification"
            assert sample[field]["label"] in CLASSES
    with pytest.raises(UsageError, match=r"a folder with a file samples\.json, not labels\.json"):
        trained.export_results(tmp_path / "fo" / "labels.json")


def test_nothing_of_others_is_overwritten(trained: Project, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        trained.export_results(file)
    assert file.read_text() == "mine"
    trained.export_results(file, overwrite=True)
    assert file.read_text().startswith("path,given,")
    (tmp_path / "link.csv").symlink_to(file)
    with pytest.raises(UsageError, match="exists already"):
        trained.export_results(tmp_path / "link.csv", overwrite=True)
    tree = trained.export(tmp_path / "tree").tree
    for inside in (trained.dataset / "r.csv", tree / "amoeba" / "r.csv"):
        with pytest.raises(UsageError, match="lies inside"):
            trained.export_results(inside)
    with pytest.raises(UsageError, match="is a folder"):
        trained.export_results(tmp_path)


def test_a_format_that_is_not_clear(trained: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"results\.txt does not say what format is meant"):
        trained.export_results(tmp_path / "results.txt")
    with pytest.raises(UsageError, match="There is no format 'xlsx'"):
        trained.export_results(tmp_path / "r.csv", wanted="xlsx")
    written = trained.export_results(tmp_path / "results.txt", wanted="csv")
    assert written.file.read_text().startswith("path,")


def test_before_a_round_and_after_one(project: Project, fast: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="No round has been begun yet"):
        project.export_results(tmp_path / "r.csv")
    paths = paths_of(project.dataset)
    project.import_predictions([npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))])
    project.next_round()
    done = dupekit("export-results", str(tmp_path / "r.csv"), "-p", str(project.path), "--json")
    assert json.loads(done.stdout) == {
        "file": str(tmp_path / "r.csv"),
        "format": "csv",
        "round": 1,
        "images": 36,
    }


def test_a_write_that_fails_leaves_what_was_there(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.csv"
    trained.export_results(file)
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            trained.export_results(file, overwrite=True)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("name", ["ledger.db", "dupekit.toml", "rounds/01/images.npz"])
def test_no_part_of_the_project_is_overwritten(trained: Project, name: str) -> None:
    file = trained.path / name
    before = file.read_bytes()
    with pytest.raises(UsageError, match="is a part of the project"):
        trained.export_results(file, wanted="csv", overwrite=True)
    assert file.read_bytes() == before
