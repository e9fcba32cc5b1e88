"""`Project.explain`: what is known of one image, compared with what other commands say."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit import Choices, Selection
from dupekit.errors import UsageError
from dupekit.files.lock import exclusive
from dupekit.files.names import printable
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger.one_image import Copy
from dupekit.project import Project
from dupekit.review.verdicts import Verdict
from dupekit.rounds.in_words import percent
from dupekit.workflow.explain import Standing, models_say
from tests.workflow.test_references import thumbnails

WRONG = "ciliate/wrong_amoeba.png"


def test_it_says_what_flag_says(trained: Project) -> None:
    for rank, suspect in enumerate(trained.flag().suspects, 1):
        found = trained.explain(suspect.path)
        counted = found.counted
        assert counted is not None
        assert (counted.given, counted.suggested, counted.votes) == (
            suspect.given,
            suspect.suggested,
            suspect.votes,
        )
        assert (counted.score, counted.probability_given) == (suspect.score, suspect.probability_given)
        assert (found.rank, found.images) == (rank, 36)
        assert found.standing is Standing.SUSPECT
        assert (found.round, found.pairs) == (1, 3)


def test_ranks_are_those_of_the_scores_and_no_two_are_the_same(trained: Project) -> None:
    scores = trained.scores()
    order = sorted(range(len(scores)), key=lambda row: (-scores.scores[row], scores.paths[row]))
    assert [trained.explain(scores.paths[row]).rank for row in order] == list(range(1, 37))


def test_each_pair_predicts_the_image_once_and_the_means_are_those_of_the_runs(trained: Project) -> None:
    found = trained.explain(WRONG)
    assert [one.pair for one in found.predictions] == [1, 2, 3]
    assert all(one.counted for one in found.predictions)
    rows = []
    for one in found.predictions:
        with PredictionReader(
            trained.path / "rounds" / "01" / "runs" / f"p{one.pair:02d}-{one.half}"
        ) as reader:
            row = reader.of(found.image.number)
        assert row is not None
        assert one.probability == pytest.approx(row.max())
        rows.append(row.astype(float))
        other = "b" if one.half == "a" else "a"
        with PredictionReader(trained.path / "rounds" / "01" / "runs" / f"p{one.pair:02d}-{other}") as reader:
            assert reader.of(found.image.number) is None  # it was trained on
    expected = dict(zip(("amoeba", "ciliate", "diatom"), np.mean(rows, axis=0).tolist(), strict=True))
    means = {one.label: one.probability for one in found.classes}
    assert means.keys() >= {"amoeba", "ciliate"}
    assert means == pytest.approx({label: expected[label] for label in means})
    assert {one.label: one.votes for one in found.classes}["amoeba"] == found.counted.votes  # type: ignore[union-attr]


def test_without_the_runs_files_the_ledger_says_what_it_knows(trained: Project) -> None:
    before = trained.explain(WRONG)
    shutil.rmtree(trained.path / "rounds" / "01" / "runs")
    found = trained.explain(WRONG)
    assert found.predictions == before.predictions
    assert {one.label for one in found.classes} >= {"amoeba", "ciliate"}
    known = {one.label: one for one in before.classes}
    assert all(
        one.probability == pytest.approx(known[one.label].probability, abs=1e-6) for one in found.classes
    )


def test_look_alikes_come_with_their_labels(trained: Project) -> None:
    assert trained.explain(WRONG).alike == []
    thumbnails(trained)
    alike = trained.explain(WRONG).alike
    assert len(alike) == 14
    assert alike[0].label == "amoeba"  # as it is itself, wherever it lies
    similarity = [one.similarity for one in alike]
    assert similarity == sorted(similarity, reverse=True)  # type: ignore[type-var]


def test_models_that_agree_are_not_said_to_say_another_class(trained: Project) -> None:
    good = trained.explain(trained.scores().paths[int(np.argmin(trained.scores().scores))]).counted
    wrong = trained.explain(WRONG).counted
    assert good is not None
    assert wrong is not None
    assert models_say(wrong)[0] == "amoeba"
    label, how_sure = models_say(good)
    assert label == good.given
    assert how_sure.endswith(
        f"next comes {good.suggested}: 0 of 3 votes, {percent(good.probability_suggested)}"
    )


def test_why_an_image_is_a_suspect_or_not(trained: Project) -> None:
    trained.flag(threshold=3)
    assert (
        trained.explain(WRONG).why
        == "It has 3 votes for one class, which makes a suspect: the threshold is 3."
    )
    good = trained.scores().paths[int(np.argmin(trained.scores().scores))]
    found = trained.explain(good)
    assert found.standing is Standing.BY_RULE
    assert "makes no suspect" in found.why
    trained.ignore([WRONG])
    found = trained.explain(WRONG)
    assert found.standing is Standing.IGNORED
    assert found.why.endswith("but it is on the ignore list: confirmed as ciliate.")
    trained.unignore([WRONG])
    PillowImage.new("L", (9, 9), 3).save(trained.dataset / WRONG)
    trained.scan()
    assert trained.explain(WRONG).standing is Standing.CHANGED
    (trained.dataset / WRONG).unlink()
    trained.scan()
    found = trained.explain(WRONG)
    assert found.standing is Standing.CHANGED
    assert "is gone" in found.why
    (trained.dataset / "amoeba" / "later.png").write_bytes(b"no image")
    PillowImage.new("L", (8, 8), 7).save(trained.dataset / "amoeba" / "later2.png")
    trained.scan()
    found = trained.explain("amoeba/later.png")
    assert (found.standing, found.counted, found.predictions) == (Standing.NOT_COUNTED, None, [])
    assert found.why.startswith("It cannot be used: ")
    assert "it came later" in trained.explain("amoeba/later2.png").why


def test_before_the_first_round(project: Project) -> None:
    found = project.explain(WRONG)
    assert (found.round, found.counted, found.rank) == (None, None, None)
    assert found.why == "No round has been begun yet."


def test_identical_images_are_named_with_their_labels(
    dataset: Path, tmp_path: Path, fast: dict[str, str]
) -> None:
    shutil.copy(dataset / WRONG, dataset / "diatom" / "twin.png")
    project = Project.create(dataset, tmp_path / "twins")
    project.scan()
    project.train(Choices(pairs=1, **fast))
    assert project.explain(WRONG).copies == [Copy("diatom/twin.png", "diatom")]
    assert project.explain("diatom/twin.png").copies == [Copy(WRONG, "ciliate")]


def test_history_trees_and_earlier_rounds(trained: Project, tmp_path: Path, fast: dict[str, str]) -> None:
    tree = trained.export().tree
    file = next(one for one in trained.manifest_of(trained.tree().export).files if one.original == WRONG)
    (held,) = trained.explain(WRONG).trees
    assert (held.tree, held.path, held.there) == (str(tree), file.path, True)
    (tree / file.path).rename(tree / "_expunge" / Path(file.path).name)
    trained.collect(tree, who="Ada")
    found = trained.explain(WRONG)
    assert not found.trees[0].there
    assert [(one.who, one.verdict) for one in found.history] == [("Ada", "expunge")]
    assert found.counted is not None
    assert found.counted.verdict is Verdict.EXPUNGE
    trained.withdraw(tree)
    assert trained.explain(WRONG).trees == []
    trained.undo()
    trained.next_round(trained.dataset, drop=True)
    trained.train(Choices(pairs=1, **fast))
    found = trained.explain(WRONG)
    assert found.round == 2
    assert [one.round for one in found.earlier] == [1]
    assert found.history[0].undone


def test_an_image_is_found_by_whatever_path_leads_to_it(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = trained.export().tree
    files = {one.original: one.path for one in trained.manifest_of(trained.tree().export).files}
    right, other = tree / files[WRONG], tree / files["amoeba/wrong_diatom.png"]
    monkeypatch.chdir(trained.dataset / "ciliate")
    for named in (
        WRONG,
        f"./{WRONG}",
        "wrong_amoeba.png",
        "../ciliate/wrong_amoeba.png",
        str(trained.dataset / WRONG),
        str(right),
        os.path.relpath(right),
        files[WRONG],
    ):
        assert trained.explain(named).image.path == WRONG, named
    assert trained.explain(Path(WRONG)).image.path == WRONG
    moved = tree / "_right" / "renamed.png"
    right.rename(moved)
    other.rename(right)  # what lies there now is another image
    assert trained.explain(str(moved)).image.path == WRONG
    assert trained.explain(str(right)).image.path == "amoeba/wrong_diatom.png"
    right.unlink()
    assert trained.explain(str(right)).image.path == WRONG  # deleted, and so confirmed


def test_names_as_they_stand_on_disk_are_escaped(dataset: Path, tmp_path: Path) -> None:
    (dataset / WRONG).rename(dataset / "ciliate" / "back\\slash\n.png")
    project = Project.create(dataset, tmp_path / "odd")
    project.scan()
    escaped = "ciliate/back\\\\slash\\n.png"
    for named in (escaped, "ciliate/back\\slash\n.png", dataset / "ciliate" / "back\\slash\n.png"):
        assert project.explain(named).image.path == escaped


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("\udcff\udcfe.png", "\\xff\\xfe.png"),
        ("\u202egnp.png", "\\u202egnp.png"),
        ("\\xff.png", "\\\\xff.png"),
    ],
    ids=["bytes", "from right to left", "backslash"],
)
def test_odd_names_are_found_as_on_disk_and_as_printed(
    dataset: Path, tmp_path: Path, name: str, printed: str
) -> None:
    (dataset / WRONG).rename(dataset / "ciliate" / name)
    project = Project.create(dataset, tmp_path / "odd")
    project.scan()
    for named in (
        f"ciliate/{name}",
        dataset / "ciliate" / name,
        f"ciliate/{printed}",
        dataset / "ciliate" / printed,
    ):
        assert printable(project.explain(named).image.path) == f"ciliate/{printed}"


@pytest.mark.parametrize(
    ("named", "near"),
    [
        ("ciliate/wrong_ameba.png", "Did you mean ciliate/wrong_amoeba.png"),
        ("cilate/wrong_amoeba.png", "Did you mean ciliate/wrong_amoeba.png?"),
        ("amoeba/WRONG_AMOEBA.png", "Did you mean ciliate/wrong_amoeba.png?"),
        ("nothing/like/it.jpg", "Give a path as"),
        ("", "Give a path as"),
        ("..", "Give a path as"),
        ("/etc/passwd", "Give a path as"),
        ("x" * 5000, "Give a path as"),
        ("%_/%_.png", "Give a path as"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_near(trained: Project, named: str, near: str) -> None:
    with pytest.raises(UsageError, match="The project knows no image") as refused:
        trained.explain(named)
    assert refused.value.hint.startswith(near)


def test_a_file_in_a_tree_of_another_project_is_unknown(trained: Project, tmp_path: Path) -> None:
    tree = trained.export().tree
    manifest = tree / ".dupekit" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"export": "', '"export": "f00', 1))
    file = next(path for path in tree.rglob("*wrong*.png"))
    with pytest.raises(UsageError, match="knows no image"):
        trained.explain(str(file))


def test_it_writes_nothing_and_needs_no_lock(trained: Project) -> None:
    before = (trained.path / "ledger.db").read_bytes()
    with exclusive(trained.path / "lock", "train"):
        trained.explain(WRONG)
    assert (trained.path / "ledger.db").read_bytes() == before


def test_pairs_that_are_not_complete_are_shown_and_do_not_count(trained: Project) -> None:
    with sqlite3.connect(trained.path / "ledger.db") as db:
        half = trained.explain(WRONG).predictions[2].half
        other = "b" if half == "a" else "a"
        db.execute("UPDATE runs SET state = 'failed' WHERE pair = 3 AND half = ?", (other,))
    found = trained.explain(WRONG)
    assert [one.counted for one in found.predictions] == [True, True, False]
    assert found.pairs == 2


def test_an_audit_and_its_selection_do_not_matter(trained: Project) -> None:
    trained.export(selection=Selection(audit=5))
    audited = next(one for one in trained.manifest_of(trained.tree().export).files if one.stratum is not None)
    found = trained.explain(audited.original)
    assert found.standing is Standing.BY_RULE
    assert found.trees[0].path == audited.path
