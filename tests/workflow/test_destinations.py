"""Where nothing may be written, for it would be read as reviewed: inside a review tree, and inside the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from dupekit.errors import UsageError
from dupekit.project import Project
from dupekit.workflow.apply_patch import apply_patch
from tests.support import CLASSES, tree_state


@pytest.fixture
def collected(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree")
    trained.collect(finished=CLASSES)
    return trained


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("tree/fixed", "lies inside the review tree"),
        ("tree/amoeba/deep/fixed", "lies inside the review tree"),
        ("linked/fixed", "lies inside the review tree"),
        ("project/fixed", "lies inside the project"),
        ("project/rounds/01/fixed", "lies inside the project"),
    ],
)
def test_apply_writes_no_dataset_there(collected: Project, tmp_path: Path, where, said, dry_run) -> None:
    (tmp_path / "linked").symlink_to(tmp_path / "tree")
    before = tree_state(tmp_path / "tree")
    with pytest.raises(UsageError, match=said):
        collected.apply(tmp_path / where, dry_run=dry_run)
    assert tree_state(tmp_path / "tree") == before


def test_nor_does_a_patch(collected: Project, tmp_path: Path) -> None:
    patch = collected.apply(tmp_path / "fixed").patch
    with pytest.raises(UsageError, match="lies inside the review tree"):
        apply_patch(patch, collected.dataset, tmp_path / "tree" / "fixed")


def test_nor_an_export_in_the_tree_of_another(collected: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lies inside the review tree"):
        collected.export(tmp_path / "tree" / "again")
