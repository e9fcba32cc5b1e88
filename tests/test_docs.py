"""The documentation is run: its Python blocks, its commands, and what it says of the commands' options."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from dupekit.project import Project
from dupekit.testing import make_dataset
from tests.support import dupekit

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def generate(what: str) -> str:
    made: str = runpy.run_path(str(ROOT / "docs" / "generate.py"))[what]()
    return made


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#]+)", text) + re.findall(r'src(?:set)?="([^"]+)"', text):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_promise_names_tests_that_there_are() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    rows = re.findall(r"(?m)^\| ([\w`].*) \| (`tests/.*) \|$", text)
    assert len(rows) == len(re.findall(r"(?m)^\| (?!promise |---)", text.partition("## How much")[0]))
    for promise, held_by in rows:
        for file, test in re.findall(r"`([^`:]+)::(\w+)`", held_by):
            assert re.search(rf"(?m)^(?:    )?def {test}\(", (ROOT / file).read_text()), f"{promise} {test}"


def test_every_picture_is_used_and_none_is_large() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert f"images/{picture.name}" in text, picture.name
        assert picture.stat().st_size < 200_000, "they are in the repository for ever"


def test_every_drawing_stands_alone() -> None:
    """Read on a white ground also where a page is dark, and without fetching anything."""
    drawings = {drawing.name: drawing for drawing in (ROOT / "docs" / "images").glob("*.svg")}
    for drawing in drawings.values():
        assert not re.search(r"url\((?!#)|@import|<script|<image", drawing.read_text()), drawing.name
        for element in ElementTree.parse(drawing).iter():
            assert element.attrib.get("href", "#").startswith("#"), drawing.name
    terminal = ElementTree.parse(drawings.pop("terminal.svg")).getroot()
    assert next(terminal.iterfind("{*}rect")).attrib["fill"] == "#ffffff"
    assert len(drawings) == 4
    for drawing in drawings.values():  # in the page for technicians
        root = ElementTree.parse(drawing).getroot()
        names = [element.tag.rpartition("}")[2] for element in root]
        ground = root[names.index("rect")]
        width, height = root.attrib["viewBox"].split()[2:]
        assert ground.attrib == {"width": width, "height": height, "fill": "#fff"}, drawing.name


def test_the_page_on_preparing_runs(trained: Project, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "preparing.md").read_text()
    commands = re.findall(r"(?m)^(?: {4}| {7})(dupekit .*)$", text)
    assert [command.split()[1] for command in commands] == ["export", "status", "collect", "apply", "next"]
    tree = tmp_path / "share" / "dupes"
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=trained.path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if " export " in command:  # the technician finds all as suggested, and says so
            for folder in tree.glob("[!._]*"):
                folder.rename(tree / "_done" / folder.name)
    assert (tmp_path / "plankton-corrected" / "diatom" / "wrong_diatom.png").is_file()


def test_the_page_on_exchange_runs(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cleanlab")
    text = (ROOT / "docs" / "exchange.md").read_text()
    paths = sorted(file.relative_to(project.dataset).as_posix() for file in project.dataset.rglob("*.png"))
    classes = ["amoeba", "ciliate", "diatom"]
    probabilities = np.full((len(paths), 3), 0.125)
    for row, path in enumerate(paths):
        meant = [label for label in classes if f"wrong_{label}" in path] or [path.split("/")[0]]
        probabilities[row, classes.index(meant[0])] = 0.75
    names = {"paths": paths, "classes": classes, "probabilities": probabilities}
    monkeypatch.chdir(project.path)
    first, second = re.findall(r"(?s)```python\n(.*?)```", text)
    exec(first, names)
    commands = re.findall(r"(?m)^ {4}dupekit (.*)$", text)
    assert [command.split()[0] for command in commands] == [
        "init",
        "import-predictions",
        "flag",
        "export-results",
    ]
    for command in [*commands[1:], "export-results results.npz", "export-results fiftyone/samples.json"]:
        dupekit(*command.split())
    capsys.readouterr()
    exec(second, {})
    shown = capsys.readouterr().out
    assert "ciliate/wrong_amoeba.png" in shown
    assert "amoeba/wrong_diatom.png" in shown
    columns = re.findall(r"(?m)^\| (`[a-z_`, ]+`) \|", text.split("| column |")[1])
    heading = Path("results.csv").read_text().partition("\n")[0]
    assert re.findall("[a-z_]+", " ".join(columns)) == heading.split(",")


def test_every_option_is_in_the_reference() -> None:
    """Not letter by letter: how help is set differs from one release of typer to the next."""
    said = (ROOT / "docs" / "commands.md").read_text()
    now = generate("commands")
    found = r"(?m)^## dupekit.*$|(?<!\S)--[a-z][a-z-]+"
    assert set(re.findall(found, said)) == set(re.findall(found, now)), "run: python docs/generate.py"


def test_the_page_in_a_review_tree_is_the_technicians() -> None:
    packaged = (ROOT / "dupekit" / "review" / "read_me.html").read_text(encoding="utf-8")
    assert packaged == generate("read_me"), "run: python docs/generate.py"
    targets = re.findall(r'(?:href|src)="([^"]*)"', packaged)
    assert targets, "it lies in the tree alone: links lead within it"
    assert [target for target in targets if not target.startswith(("#", "data:"))] == []


def test_the_page_on_plugins_runs() -> None:
    (python,) = re.findall(r"(?s)```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text())
    subprocess.run([sys.executable, "-c", python], check=True)


@pytest.mark.slow
def test_the_guide_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the guide trains with the probe")
    make_dataset(tmp_path / "plankton", per_class=8, classes=("acantharia", "bacillaria", "ceratium"))
    (tmp_path / "plankton" / "acantharia" / "0000.png").rename(
        tmp_path / "plankton" / "ceratium" / "wrong.png"
    )
    text = (ROOT / "docs" / "guide.md").read_text()
    commands = re.findall(r"(?m)^    (dupekit .*)$", text)
    assert [command.split()[1] for command in commands] == [
        "init", "train", "flag", "report", "export", "collect", "apply", "evaluate", "next",
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(
            command.split(),
            cwd=tmp_path if command.startswith("dupekit init") else tmp_path / "project",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if command == "dupekit export":  # the technician finds all as suggested, and says so
            tree = tmp_path / "project" / "rounds" / "01" / "dupes"
            for folder in tree.glob("[!._]*"):
                folder.rename(tree / "_done" / folder.name)
    assert (tmp_path / "corrected" / "acantharia" / "wrong.png").is_file()
    (python,) = re.findall(r"(?s)```python\n(.*?)```", text)
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "wrong.png acantharia 2" in done.stdout
