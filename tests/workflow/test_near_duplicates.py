"""Near-duplicates stay together, and identical images under two labels are listed first of all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit import Choices, Selection
from dupekit.errors import DatasetError, NotConfirmed
from dupekit.project import Project
from dupekit.review.verdicts import Verdict
from dupekit.rounds.rules import Rule, RuleName
from dupekit.testing import make_dataset
from dupekit.workflow.collect import all_finished
from dupekit.workflow.explain import Standing
from tests.support import lists_of

FAST = {"trainer": "fake", "validator": "fake"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "dataset")
    with PillowImage.open(folder / "copepod/0003.png") as image:
        image.save(folder / "diatom/saved.jpg", quality=90)
        image.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT).save(folder / "copepod/mirrored.png")
    shutil.copy(folder / "copepod/0004.png", folder / "diatom/identical.png")
    return folder


@pytest.fixture
def project(dataset: Path, tmp_path: Path, fast: dict[str, str]) -> Project:
    assert fast == FAST
    made = Project.create(dataset, tmp_path / "project")
    made.scan()
    return made


def images_of(project: Project) -> dict[str, Any]:
    return lists_of(project.path / "rounds/01/images.npz")


def halves_of(project: Project, path: str) -> list[bool]:
    row = images_of(project)["paths"].index(path)
    return [bool(np.load(file)[row]) for file in sorted((project.path / "rounds/01/splits").iterdir())]


def set_near_duplicates(project: Project, value: bool) -> Project:
    toml = project.path / "dupekit.toml"
    toml.write_text(f"{toml.read_text()}\nnear_duplicates = {str(value).lower()}\n")
    return Project(project.path)


def test_near_duplicates_stay_in_one_half(project: Project) -> None:
    project.train(Choices(pairs=8, **FAST))
    first = halves_of(project, "copepod/0003.png")
    assert first == halves_of(project, "diatom/saved.jpg") == halves_of(project, "copepod/mirrored.png")
    assert len(set(first)) == 2
    of_round = images_of(project)
    paths = of_round["paths"]
    named = {paths[row]: paths[group] for row, group in enumerate(of_round["groups"])}
    assert named["copepod/mirrored.png"] == named["diatom/saved.jpg"] == "copepod/0003.png"
    for file in (project.path / "rounds/01/splits").iterdir():
        second = np.load(file)
        for label in range(len(of_round["classes"])):
            of_label = np.array(of_round["labels"]) == label
            assert abs(2 * second[of_label].sum() - of_label.sum()) <= 1


def test_a_setting_leaves_them_where_they_fall(project: Project) -> None:
    project = set_near_duplicates(project, False)
    project.train(Choices(pairs=8, **FAST))
    assert images_of(project)["groups"] is None
    assert halves_of(project, "copepod/0003.png") != halves_of(project, "diatom/saved.jpg")
    assert halves_of(project, "copepod/0004.png") == halves_of(project, "diatom/identical.png")
    assert not (project.path / "cache").exists() or not list(
        (project.path / "cache").glob("pixels-64-shrink*")
    )


def test_a_round_goes_on_as_it_was_begun(project: Project) -> None:
    project.train(Choices(pairs=1, **FAST))
    groups = images_of(project)["groups"]
    project = set_near_duplicates(project, False)
    done = project.train(Choices(pairs=2, class_min=2, **FAST))
    assert done.plan.near_duplicates
    assert images_of(project)["groups"] == groups
    assert len(halves_of(project, "copepod/0003.png")) == 2


def test_groups_come_back_where_their_file_was_lost(project: Project) -> None:
    project.train(Choices(pairs=1, **FAST))
    before = images_of(project)
    (project.path / "rounds/01/images.npz").unlink()
    project.train(Choices(pairs=2, **FAST))
    assert images_of(project) == before


def test_a_round_of_before_goes_on_without(project: Project) -> None:
    project = set_near_duplicates(project, False)
    project.train(Choices(pairs=1, **FAST))
    file = project.path / "rounds/01/images.npz"
    written = lists_of(file)
    del written["groups"]
    file.with_suffix(".json").write_text(json.dumps(written))
    file.unlink()
    (project.path / "rounds/01/splits/p01.npy").rename(project.path / "kept.npy")
    project.train(Choices(pairs=2, **FAST))
    drawn_again = (project.path / "rounds/01/splits/p01.npy").read_bytes()
    assert drawn_again == (project.path / "kept.npy").read_bytes()


def test_a_class_of_one_group_cannot_be_split(project: Project, dataset: Path) -> None:
    (dataset / "rare").mkdir()
    with PillowImage.open(dataset / "copepod/0007.png") as image:
        image.rotate(90, expand=True).save(dataset / "rare/turned.png")
        image.save(dataset / "rare/saved.jpg", quality=95)
    project.scan()
    done = project.train(Choices(pairs=1, **FAST))
    assert [(one.name, one.different) for one in done.not_assessable] == [("rare", 1)]
    of_round = images_of(project)
    assert of_round["classes"] == ["copepod", "diatom", "dinoflagellate"]
    assert not any(path.startswith("rare/") for path in of_round["paths"])
    assert len(of_round["groups"]) == len(of_round["paths"]) == done.images


def test_two_classes_must_be_left(tmp_path: Path, fast: dict[str, str]) -> None:
    folder = make_dataset(tmp_path / "dataset", classes=["copepod", "diatom"], per_class=1)
    for label in ("copepod", "diatom"):
        with PillowImage.open(folder / label / "0000.png") as image:
            image.rotate(180).save(folder / label / "turned.png")
    project = Project.create(folder, tmp_path / "project")
    project.scan()
    with pytest.raises(DatasetError, match="Only 0 classes have at least 2 different readable images"):
        project.train(Choices(pairs=1, **fast))
    set_near_duplicates(project, False).train(Choices(pairs=1, **fast))


def test_a_dry_run_decodes_nothing(project: Project) -> None:
    project.train(Choices(pairs=1, **FAST), dry_run=True)
    assert not (project.path / "cache").exists() or not list((project.path / "cache").iterdir())


@pytest.fixture
def trained(project: Project) -> Project:
    project.train(Choices(pairs=3, **FAST))
    return project


TWO = ["copepod/0004.png", "diatom/identical.png"]


@pytest.mark.parametrize("rule", [Rule(RuleName.SCORE, 3), Rule(RuleName.VOTES, 3)])
def test_identical_images_with_two_labels_come_first(trained: Project, rule: Rule) -> None:
    chosen: dict[str, Any] = {"threshold": 3} if rule.name is RuleName.VOTES else {"rule": rule.name}
    first, second, *rest = trained.flag(**chosen).suspects
    assert sorted([first.path, second.path]) == TWO
    assert {first.given: first.suggested, second.given: second.suggested} == {
        "copepod": "diatom",
        "diatom": "copepod",
    }
    assert min(first.score, second.score) < 0  # one of them is no suspect by its score
    assert first.contradicted
    assert second.contradicted
    assert not any(one.contradicted for one in rest)
    files = trained.export(selection=Selection(limit=2)).manifest.files
    assert sorted(file.original for file in files) == TWO
    counted = trained.scores()
    flagged = rule.flags(counted.votes, counted.scores, counted.contradicted)
    assert sorted(one.path for one in (first, second, *rest)) == [
        path for path, suspect in zip(counted.paths, flagged, strict=True) if suspect
    ]
    assert [trained.explain(one.path).rank for one in (first, second)] == [1, 2]


def test_collect_asks_before_two_identical_images_exchange_their_labels(
    trained: Project, tmp_path: Path
) -> None:
    files = trained.export(tmp_path / "tree", Selection(limit=2)).manifest.files
    with pytest.raises(NotConfirmed, match=r"would exchange their labels, such as \w+/.* and \w+/") as told:
        trained.collect(tmp_path / "tree", finished=all_finished)
    assert all(file.path in str(told.value) for file in files)
    (tmp_path / "tree" / files[0].path).unlink()  # it lies in its class
    found = trained.collect(tmp_path / "tree", finished=all_finished)
    assert {v.file.original: v.verdict for v in found.changed} == {
        files[0].original: Verdict.CORRECT,
        files[1].original: Verdict.RELABEL,
    }


def test_the_ignore_list_holds_for_them(trained: Project) -> None:
    trained.ignore([TWO[0]])
    assert [one.path for one in trained.flag().suspects if one.contradicted] == TWO[1:]
    assert trained.explain(TWO[0]).standing is Standing.IGNORED


def test_explain_shows_identical_and_nearly_identical_images(trained: Project, tmp_path: Path) -> None:
    found = trained.explain("copepod/0003.png")
    assert {(one.path, one.label) for one in found.near} == {
        ("copepod/mirrored.png", "copepod"),
        ("diatom/saved.jpg", "diatom"),
    }
    assert found.copies == []
    found = trained.explain(TWO[0], html=tmp_path / "one.html")
    assert found.standing is Standing.SUSPECT
    assert (
        found.why
        == "An identical image lies in another class: one of the two labels is wrong, which makes a suspect."
    )
    assert [one.path for one in found.copies] == TWO[1:]
    assert found.near == []
    assert "another class: diatom" in (tmp_path / "one.html").read_text()


def test_the_report_says_so_of_each_suspect(trained: Project, tmp_path: Path) -> None:
    trained.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    data = json.loads(
        page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    )
    twins = {row[1]: row[-1] for row in data["suspects"]}
    labels = data["labels"]
    assert twins[TWO[0]] == [[TWO[1], labels.index("diatom"), True]]
    assert [same for _, _, same in twins["diatom/saved.jpg"]] == [False, False]
