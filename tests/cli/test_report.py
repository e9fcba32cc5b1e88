"""`dupekit report` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dupekit.project import Project
from tests.support import dupekit, parsed


def test_it_says_where_the_page_is_and_what_it_holds(trained: Project, tmp_path: Path) -> None:
    suspects = len(trained.flag().suspects)
    said = dupekit("report", "-p", trained.path)
    assert f"{trained.path / 'rounds/01/report.html'} (0." in said.stdout
    assert f"{suspects} suspects of round 1." in said.stdout
    said = dupekit("report", "mine.html", "--limit", 1, "-p", trained.path, cwd=tmp_path)
    assert (tmp_path / "mine.html").is_file()
    assert f"the 1 most suspicious of {suspects} suspects" in said.stdout
    said = dupekit("report", "--classes", "-p", trained.path)
    assert "reference sheets of 3 classes" in said.stdout
    assert (trained.path / "rounds/01/classes.html").is_file()


def test_json(trained: Project) -> None:
    found = parsed("report", "-p", trained.path)
    assert found["file"] == str(trained.path / "rounds/01/report.html")
    assert found["suspects"] == found["total"] == len(trained.flag().suspects)
    sheets = json.loads(dupekit("report", "--classes", "--json", "-p", trained.path).stdout)
    assert sheets["classes"] == 3


def test_images_that_cannot_be_shown_are_counted(trained: Project) -> None:
    (trained.dataset / trained.flag().suspects[0].path).unlink()
    assert "1 image could not be shown." in dupekit("report", "-p", trained.path).stderr


def test_what_cannot_be_is_refused(trained: Project, project: Project) -> None:
    said = dupekit("report", "--classes", "--limit", 5, "-p", trained.path, code=2)
    assert "reference sheets show none" in said.stderr
    dupekit("report", "--limit", 0, "-p", trained.path, code=2)


def test_it_opens_where_it_is_asked_to(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    dupekit("report", "-p", trained.path)
    assert not opened
    dupekit("report", "--open", "-p", trained.path)
    assert opened == [(trained.path / "rounds/01/report.html").as_uri()]
