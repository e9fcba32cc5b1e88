"""Empty files that a cloud service leaves in a tree until their content is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dupekit.errors import NotConfirmed
from dupekit.project import Project
from dupekit.review.verdicts import Verdict
from tests.reviewed import exported_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, {f"{label}/{n}.bmp": "salp" for label in "ab" for n in range(3)})


def test_one_in_its_place_is_told(project: Project, tmp_path: Path) -> None:
    file = next((tmp_path / "tree" / "a").glob("*1.bmp"))
    file.write_bytes(b"")
    found = project.collect(tmp_path / "tree")
    assert f"1 image of the tree is empty, such as a/{file.name}" in found.remarks[0]
    assert {v.verdict for v in found.review.verdicts} == {Verdict.OPEN}


def test_one_elsewhere_is_not_taken_for_a_deletion(project: Project, tmp_path: Path) -> None:
    """Its content cannot be recognised, and its name is another: the image would count as labelled right."""
    file = next((tmp_path / "tree" / "a").glob("*1.bmp"))
    file.unlink()
    (tmp_path / "tree" / "b" / "moved.bmp").write_bytes(b"")
    with pytest.raises(NotConfirmed, match=r"b/moved\.bmp is empty, as a cloud service leaves a file"):
        project.collect(tmp_path / "tree")
    (tmp_path / "tree" / "b" / "moved.bmp").rename(tmp_path / "tree" / "b" / "notes.txt")
    assert len(project.collect(tmp_path / "tree").changed) == 1
