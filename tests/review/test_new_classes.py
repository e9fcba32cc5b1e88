"""New classes that are typed: one name in two spellings, and names that are nearly those of classes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from dupekit.errors import NotConfirmed
from dupekit.project import Project
from dupekit.review.questions import Question
from dupekit.workflow.collect import Collected
from tests.reviewed import export_again, exported_project

IMAGES = {f"{label}/{n}.bmp": "salp" for label in ("hydromedusae_aglaura", "copepod") for n in range(4)}
SPELLINGS = [
    (unicodedata.normalize("NFC", "Méduse"), unicodedata.normalize("NFD", "Méduse")),
    ("meduse", "Meduse"),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, IMAGES)


def put(tree: Path, number: int, folder: str) -> None:
    (tree / folder).mkdir(exist_ok=True)
    file = next((tree / "copepod").glob(f"*_{number}.bmp"))
    file.rename(tree / folder / file.name)


def labels(project: Project, *trees: Path) -> set[str]:
    """The new classes that are recorded."""
    found = [v for tree in trees for v in collect(project, tree).review.verdicts]
    return {v.label for v in found} - {"salp", "copepod", "hydromedusae_aglaura"}


def collect(project: Project, tree: Path) -> Collected:
    """That they are new classes is meant."""
    return project.collect(tree, confirm=lambda asked: {question.kind for question in asked} == {"new"})


@pytest.mark.parametrize("spellings", [*SPELLINGS, *(s[::-1] for s in SPELLINGS)])
def test_one_class_whoever_typed_it_in_one_tree(project, tmp_path, spellings: tuple[str, str]) -> None:
    tree = tmp_path / "tree"
    for number, spelling in enumerate(spellings):
        put(tree, number, spelling)
    if len({folder.name for folder in tree.iterdir()} & set(spellings)) < 2:
        pytest.skip("they are one to this file system")
    found = collect(project, tree)
    assert found.remarks[0].endswith("the names differ in case or Unicode form only.")
    assert len(labels(project, tree)) == 1
    assert project.collect(tree).changed == []


@pytest.mark.parametrize("spellings", [*SPELLINGS, *(s[::-1] for s in SPELLINGS)])
def test_one_class_whoever_typed_it_in_two_trees(project, tmp_path, spellings: tuple[str, str]) -> None:
    export_again(project, IMAGES, tmp_path / "second")
    for number, (tree, spelling) in enumerate(zip(("tree", "second"), spellings, strict=True)):
        put(tmp_path / tree, number, spelling)
        found = collect(project, tmp_path / tree)
    assert f"The folder {spellings[1]} is read as the new class {spellings[0]}" in found.remarks[0]
    assert labels(project, tmp_path / "tree", tmp_path / "second") == {spellings[0]}


def test_who_typed_it_may_change_its_case(project, tmp_path) -> None:
    tree = tmp_path / "tree"
    put(tree, 1, "meduse")
    collect(project, tree)
    (tree / "meduse").rename(tree / "Meduse")
    assert collect(project, tree).remarks == []
    assert labels(project, tree) == {"Meduse"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hydromedusae_aglura", "hydromedusae_aglaura"),
        ("Hydromedusae aglaura", "hydromedusae_aglaura"),
        ("copepods", "copepod"),
        ("salpa", "salp"),
        ("larvae", None),
        ("hydromedusae_liriope", None),
    ],
)
def test_a_new_class_is_asked_about_and_what_may_be_meant(
    project, tmp_path, typed: str, meant: str | None
) -> None:
    put(tmp_path / "tree", 1, typed)
    asked: list[Question] = []

    def no(questions: list[Question]) -> bool:
        asked.extend(questions)
        return False

    with pytest.raises(NotConfirmed, match=f"The folder {typed} is new"):
        project.collect(tmp_path / "tree", confirm=no)
    (question,) = asked
    assert (question.kind, question.target, question.files) == ("new", typed, 1)
    assert str(question).partition("Did you mean ")[2] == (f"{meant}?" if meant else "")
    assert project.collect(tmp_path / "tree", confirm=lambda _: True).changed
    put(tmp_path / "tree", 2, typed)
    assert len(project.collect(tmp_path / "tree").changed) == 1  # asked once
