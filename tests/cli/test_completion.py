"""What a shell offers for a value, asked as the shell's own script asks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dupekit.cli.app import app, main
from dupekit.cli.completion import WAIT_S, complete_class
from dupekit.project import Project


@pytest.fixture
def offered(project: Project, fast: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys):
    """What is offered for the last of the words, in the project's folder."""
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("_DUPEKIT_COMPLETE", "complete_bash")
    monkeypatch.setattr(sys, "argv", ["dupekit"])

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", "\n".join(["dupekit", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with contextlib.suppress(SystemExit):
            main()
        said = capsys.readouterr()
        assert said.err == ""
        return said.out.split("\n")[:-1] if said.out.strip() else []

    return ask


def test_plugins_are_offered_by_name(offered) -> None:
    assert {"auto", "fake", "probe", "torch", "broken"} <= set(offered("train", "--trainer", ""))
    assert offered("train", "--trainer", "pro") == ["probe"]
    assert offered("train", "--validator", "") == ["fake", "fickle", "onnx"]
    assert offered("train", "--executor", "s") == ["slurm"]
    assert offered("plugins", "show", "o") == ["onnx"]
    assert {"auto", "cpu"} <= set(offered("train", "--device", ""))
    assert offered("train", "--split", "f") == ["fixed"]


def test_set_offers_the_options_of_the_plugin_that_is_taken(offered, project: Project) -> None:
    assert offered("train", "--trainer", "fake", "--set", "") == ["size_px=", "validator.", "executor."]
    assert "log_size=true" in offered("train", "--trainer", "probe", "--set", "log")
    assert offered("train", "--executor", "slurm", "--set", "executor.par") == [
        "executor.partition=",
        "executor.parallel=",
    ]
    assert (
        offered("train", "--trainer", "broken", "--set", "s") == []
    )  # not dupekit's: importing it could take long
    assert offered("train", "--trainer", "nope", "--set", "s") == []
    settings = project.path / "dupekit.toml"
    settings.write_text(settings.read_text() + '\ntrainer = "fake"\n')
    assert "size_px=" in offered("train", "--set", "")


def test_what_the_ledger_names_is_offered(offered, project: Project) -> None:
    assert offered("history", "c") == ["ciliate/"]
    assert offered("history", "ciliate/wr") == ["ciliate/wrong_amoeba.png"]
    assert offered("ignore", "remove", "") == []
    project.ignore(["amoeba/0003.png"])
    assert offered("ignore", "remove", "") == ["amoeba/0003.png"]


def test_review_trees_are_offered(offered, trained: Project, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(trained.path)
    trained.flag(threshold=3)
    trained.export(tmp_path / "a tree")
    assert offered("collect", "-p", str(trained.path), "") == [str(tmp_path / "a tree")]
    assert offered("watch", str(tmp_path / "a")) == [str(tmp_path / "a tree")]
    assert offered("watch", "/nowhere") == []


def test_trouble_offers_nothing(offered, project: Project, tmp_path: Path, monkeypatch) -> None:
    assert offered("history", "-p", str(tmp_path / "none"), "") == []
    with contextlib.closing(sqlite3.connect(project.path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert WAIT_S < 1
        assert offered("history", "") == []
    (project.path / "ledger.db").write_bytes(b"damaged")
    assert offered("history", "") == []
    monkeypatch.chdir(tmp_path)
    assert offered("history", "") == []


def test_nothing_heavy_is_imported_meanwhile(project: Project, tmp_path: Path) -> None:
    code = (
        "import atexit, sys; sys.argv = ['dupekit'];"
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
        "from dupekit.cli.app import main; main()"
    )
    for words, offers in (
        ("train --trainer probe --set ep", "epochs="),
        ("train --trainer pr", "probe"),
        ("history am", "amoeba/"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=project.path,
            env={
                **os.environ,
                "_DUPEKIT_COMPLETE": "complete_bash",
                "COMP_WORDS": f"dupekit {words}",
                "COMP_CWORD": str(len(words.split())),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [offers]
        loaded = set(done.stderr.split())
        assert "dupekit.cli.completion" in loaded
        assert not loaded & {"torch", "onnxruntime", "dupekit.project", "rich.console"}


def test_classes_are_offered_to_commands_that_take_them(project: Project) -> None:
    context = typer.Context(typer.main.get_command(app))
    context.params["project"] = project.path
    assert complete_class(context, "") == ["amoeba", "ciliate", "diatom"]
    assert complete_class(context, "d") == ["diatom"]
    context.params["project"] = project.path / "none"
    assert complete_class(context, "") == []
