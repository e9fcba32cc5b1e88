"""Tables and sentences on terminals of 80 and 60 columns, and in a pipe."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.cli.charts import bar, spark
from dupekit.cli.tables import Column, Kind, Sentence, names, numbers, shares, table, texts, times
from dupekit.cli.terminal import cells
from dupekit.rounds.in_words import percent
from dupekit.testing import make_dataset
from tests.support import Said, Shown, dupekit, on_terminal

CLASSES = ("Amphidinium_sp", "Guinardia_delicatula_TAG_internal_parasite", "浮游植物", "Rhizosolenia")
COLOUR = re.compile(r"\x1b\[(?:9|3)[0-7]m")


def plain(text: str) -> str:
    """Without colours, and of bars and what else is overwritten the last."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines.split("\n"))


@pytest.fixture(scope="module")
def plankton(fast_plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with names as they are: long, of one word, in another script. With a wrong label for each class."""
    folder = make_dataset(tmp_path_factory.mktemp("names") / "data", classes=CLASSES, per_class=12, seed=3)
    for number, file in enumerate(sorted(folder.glob("*/*.png"))):
        file.rename(file.with_name(f"D20140101T{number:06d}_IFCB109_{number:05d}.png"))
    for label, other in zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True):
        file = sorted((folder / label).iterdir())[-1]
        file.rename(folder / other / file.name)
    (folder / "Rhizosolenia" / "D20140101T999999_IFCB109_99999.png").write_bytes(b"none")
    return folder


def shown(*arguments: object, columns: int, code: int = 0, cwd: Path | None = None) -> str:
    """What stands on a terminal, which no line of it is too long for, but for a path that stands alone."""
    said = dupekit(*arguments, columns=columns, code=code, cwd=cwd)
    for stream in (said.stdout, said.stderr):
        for line in plain(stream).split("\n"):
            alone = " " not in line.strip(" .")
            assert cells(line) <= columns or alone, line
    return plain(said.stdout)


def words(text: str) -> set[str]:
    return set(text.split())


@pytest.mark.parametrize("columns", [80, 60])
def test_every_table_fits(plankton, tmp_path, fast, columns: int) -> None:
    project = tmp_path / "project"
    said = shown("init", plankton, "-p", project, columns=columns)
    assert "Guinardia_delicatula_TAG_internal_parasite      12" in said
    assert re.search(r"(?m)^Rhizos\S*…\S*_99999\.png  not a readable", said)
    assert "48 images in 4 classes; 49 files read, 0 gone, 1 left out" in " ".join(said.split())

    options = ["--pairs", 3, "--trainer", "fake", "--validator", "fake"]
    said = shown("train", *options, columns=columns, cwd=project)
    assert "6 of 6 runs are done" in " ".join(said.split())
    shown("flag", "--threshold", 3, columns=columns, cwd=project)
    assert {"class", "images", "agreement", "chance"} <= words(
        shown("status", "--classes", columns=columns, cwd=project)
    )
    shown("export", tmp_path / "a tree", columns=columns, cwd=project)
    tree = tmp_path / "a tree"
    (tree / "_done").mkdir(exist_ok=True)
    for label in CLASSES:
        if (tree / label).is_dir():
            (tree / label).rename(tree / "_done" / label)
    shown("collect", "--yes", columns=columns, cwd=project)
    shortened = [
        line.split()[0] for line in shown("status", columns=columns, cwd=project).split("\n") if "…" in line
    ]
    assert set(shortened) <= {"dataset", "corrected"}  # its sentences are whole
    said = shown("history", columns=columns, cwd=project)
    assert {"round", "step", "when", "who", "images", "where", "collect"} <= words(said)
    assert "undone" not in said  # nothing was
    said = shown("apply", tmp_path / "fixed", "--dry-run", columns=columns, cwd=project)
    assert re.search(r"(?m)^Guinardia.*…?.*IFCB109_\d{5}\.png  ", said)
    shown("ignore", "add", "Amphidinium_sp/none.png", columns=columns, cwd=project, code=2)
    assert shown("ignore", "list", columns=columns, cwd=project) == "Ignore list: none\n\n"
    first = sorted((plankton / "Amphidinium_sp").iterdir())[0]
    dupekit("ignore", "add", f"Amphidinium_sp/{first.name}", cwd=project)
    assert {"label", "image", "digest", "added"} <= words(
        shown("ignore", "list", columns=columns, cwd=project)
    )
    (project / "rounds/01/images.npz").unlink()
    said = shown("verify", columns=columns, cwd=project, code=1)
    assert {"what", "where", "how", "round"} <= words(said)


@pytest.mark.parametrize("columns", [80, 60])
def test_plugins_and_their_options_are_whole(fast, columns: int) -> None:
    said = shown("plugins", "list", columns=columns)
    assert {"kind", "name", "class", "from", "trainer", "probe", "slurm", "local"} <= words(said)
    assert "problem" not in said  # there is none
    said = shown("plugins", "show", "slurm", columns=columns)
    assert {"partition", "timeout_min", "jobs_per_task", "240", "what", "does"} <= words(said)
    said = shown("plugins", "show", "probe", columns=columns)
    assert {"learning_rate", "0.002", "true", "256"} <= words(said)


def test_on_a_real_terminal(fast) -> None:
    text = b""
    with on_terminal([sys.executable, "-m", "dupekit", "plugins", "list"]) as (process, read):
        while some := read():
            text += some
        assert process.wait(30) == 0
    lines = plain(text.decode()).split("\n")
    assert lines[0] == "Plugins"
    assert set(lines[2]) == {"─"}
    assert all(cells(line) <= 80 for line in lines)


def test_sentences_wrap_between_words(tmp_path) -> None:
    said = dupekit("status", "-p", tmp_path, columns=60, code=2).stderr
    lines = plain(said).strip().split("\n")
    assert lines[0] == "dupekit:" or lines[0].startswith("dupekit: ")
    for line in lines:
        assert cells(line) <= 60 or " " not in line
    unwrapped = dupekit("status", "-p", tmp_path, code=2).stderr
    assert unwrapped.count("\n") == 2
    assert " ".join(lines) == " ".join(unwrapped.split("\n")).strip()


def test_colours_mean_something_and_can_be_had_without(project, monkeypatch: pytest.MonkeyPatch) -> None:
    def verified() -> Said:
        return dupekit("verify", "--quick", "-p", project.path, columns=80)

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mAll is as it should be" in verified().stdout
    assert "\x1b[31mdupekit: " in dupekit("flag", "-p", project.path, columns=80, code=3).stderr
    assert "\x1b" not in dupekit("verify", "--quick", "-p", project.path).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in verified().stdout
    assert "\x1b[1mPlugins" in dupekit("plugins", "list", columns=80).stdout  # bold is no colour
    assert not COLOUR.search(dupekit("flag", "-p", project.path, columns=80, code=3).stderr)


def printed(
    monkeypatch: pytest.MonkeyPatch, width: int, *arguments: Any, encoding: str = "utf-8", **named: Any
) -> str:
    out = Shown(io.BytesIO(), encoding=encoding, newline="")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setenv("COLUMNS", str(width))
        patch.setenv("NO_COLOR", "1")
        patch.setenv("TERM", "dumb")
        table(*arguments, **named)
    out.flush()
    return out.buffer.getvalue().decode(encoding)


COLUMNS = [names("image"), texts("what is wrong"), numbers("votes of pairs"), shares("share")]
ROW = ("Guinardia_delicatula/D20140101T002405_IFCB109_00065.png", "it is too dark to be seen", 12345, 0.5)


def test_a_name_keeps_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said = printed(monkeypatch, 60, "Title", COLUMNS, [ROW])
    assert re.search(r"(?m)^Guinard\w*…\w+_00065\.png  it is too", said)
    assert "12,345   50 %" in said
    assert re.search(r" votes\n +of\n.* pairs  share\n", said)
    whole = printed(monkeypatch, 60, "Title", COLUMNS, [ROW], whole=True)
    column = "".join(re.match(r"\S*", line).group() for line in whole.split("\n")[5:])
    assert column == ROW[0]
    assert "Guinar" in printed(monkeypatch, 60, "Title", COLUMNS, [ROW], encoding="ascii")


def test_a_sentence_among_names_wraps_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "754 with a score above 0, 454 of them waiting for review"
    rows = [("suspects", Sentence(words)), ("tree", "/a" * 30)]
    shown = printed(monkeypatch, 40, "Project", [texts("what"), names("state")], rows)
    assert words in " ".join(shown.replace("suspects", "").split())
    assert shown.count("…") == 1


def test_of_many_rows_the_first_are_shown(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    rows = [(n,) for n in range(5000)]
    said = printed(monkeypatch, 60, "Title", [numbers("n")], rows, most=3, rest="--all shows all.")
    assert said == "Title\nn\n─\n0\n1\n2\nThese are the first 3 of 5,000: --all shows all.\n\n"
    table("Title", [numbers("n")], rows, most=3)
    assert capsys.readouterr().out.count("\n") == 5003  # in a pipe all


def test_in_a_pipe_it_is_whole(capsys) -> None:
    row = (*ROW[:3], None)
    table("Title", [*COLUMNS, times("at")], [(*row, "2026-01-01T00:00:00+00:00")])
    assert capsys.readouterr().out == (
        "Title\nimage\twhat is wrong\tvotes of pairs\tshare\tat\n"
        f"{ROW[0]}\tit is too dark to be seen\t12345\t-\t2026-01-01T00:00:00+00:00\n\n"
    )


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=14), min_size=1, max_size=6).map(" ".join)
PATHS = st.text("abcXYZ_/é浮", min_size=1, max_size=70)
CELLS = {Kind.TEXT: WORDS, Kind.NAME: PATHS, Kind.NUMBER: st.integers(0, 10**9), Kind.SHARE: st.floats(0, 1)}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Column], list[tuple[Any, ...]]]:
    kinds = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=7))
    headings = st.lists(
        st.sampled_from(["image", "by chance", "new label", "n"]), min_size=len(kinds), max_size=len(kinds)
    )
    columns = [Column(heading, kind) for heading, kind in zip(draw(headings), kinds, strict=True)]
    rows = draw(st.lists(st.tuples(*(CELLS[kind] for kind in kinds)), min_size=1, max_size=4))
    return columns, rows


@given(tables(), st.integers(60, 90))
def test_nothing_is_broken_in_its_middle(drawn, width: int) -> None:
    columns, rows = drawn
    with pytest.MonkeyPatch.context() as patch:
        said = printed(patch, width, "Title", columns, rows)
    lines = said.split("\n")
    assert all(cells(line) <= width for line in lines), said
    stand = words(said)
    for column in columns:
        assert words(column.heading) <= stand
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if column.kind is Kind.NUMBER:
                assert f"{cell:,}" in stand
            elif column.kind is Kind.SHARE:
                assert percent(cell) in said
            elif column.kind is Kind.TEXT:
                assert words(cell) <= stand


def test_charts_say_the_same_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spark([0, 0.5, None, 1], top=1) == "▁▅ █"
    assert spark([3, 6]) == "▅█"
    assert spark([]) == ""
    assert spark([0, 0]) == "▁▁"
    assert bar(5, top=10, width=4) == "██"
    assert bar(0.001, top=10, width=4) == "▏"
    assert bar(0, top=10) == ""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert spark([0, 0.5, None, 1], top=1) == "_+ #"
    assert bar(5, top=10, width=4) == "##"
    assert bar(0.001, top=10, width=4) == "#"


@pytest.mark.parametrize(
    ("share", "digits", "said"),
    [(0.84, 0, "84 %"), (0, 0, "0 %"), (1, 0, "100 %"), (0.001, 0, "<1 %"), (0.999, 0, ">99 %"), (0.9996, 1, ">99.9 %"), (0.125, 1, "12.5 %")],
)  # fmt: skip
def test_a_percentage_tells_some_from_none_and_all(share: float, digits: int, said: str) -> None:
    assert percent(share, digits) == said
