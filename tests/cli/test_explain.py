"""`dupekit explain` on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import pytest

from dupekit.project import Project
from tests.cli.test_tables import shown
from tests.support import dupekit, parsed
from tests.workflow.test_explain import WRONG
from tests.workflow.test_references import thumbnails


@pytest.mark.parametrize("columns", [80, 60])
def test_it_fits_a_terminal(trained: Project, columns: int) -> None:
    thumbnails(trained)
    trained.export()
    said = shown("explain", WRONG, "-p", trained.path, columns=columns)
    lines = said.split("\n")
    assert lines[0] == WRONG
    assert "Now in ciliate." in lines
    assert "These are the first 8 of 14: --json and --html have all." in lines
    for words in (
        "The models say amoeba: 3 of 3 votes",
        "What each pair says",
        "Looks most like",
        "another class",
    ):
        assert words in said
    assert "1 is the most suspicious" in " ".join(lines)


def test_in_a_pipe_it_is_whole(trained: Project) -> None:
    thumbnails(trained)
    said = dupekit("explain", WRONG, cwd=trained.path).stdout
    assert "pair\thalf\tsays" in said
    assert said.count("\tanother class\n") + said.count("\t-\n") >= 14


def test_as_json_it_has_all(trained: Project) -> None:
    thumbnails(trained)
    found = parsed("explain", WRONG, cwd=trained.path)
    assert found["image"]["path"] == WRONG
    assert found["standing"] == "suspect"
    assert [one["pair"] for one in found["predictions"]] == [1, 2, 3]
    assert found["alike"][0]["label"] == "amoeba"
    assert found["counted"]["votes"] == 3


def test_what_is_unknown_is_wrong_usage(trained: Project) -> None:
    said = dupekit("explain", "ciliate/wrong_amoba.png", cwd=trained.path, code=2)
    assert said.stdout == ""
    assert "Did you mean ciliate/wrong_amoeba.png" in said.stderr


def test_an_option_that_cannot_be_leaves_no_page(trained: Project) -> None:
    dupekit("explain", "nothing.png", "--html", trained.path / "page.html", cwd=trained.path, code=2)
    assert not (trained.path / "page.html").exists()
