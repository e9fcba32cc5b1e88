"""The ignore list as CSV, and what it goes by."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit import Choices
from dupekit.errors import UsageError
from dupekit.files.names import escape
from dupekit.project import Project
from dupekit.review.ignore_list import Ignored, from_csv, to_csv
from dupekit.workflow.collect import all_finished

DIGEST, OTHER = "0123456789abcdef" * 4, "f" * 64
# What a name on disk can be: undecodable bytes come as surrogates.
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).map(escape)
ENTRIES = st.builds(
    Ignored,
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    label=NAMES.filter(str.strip),
    path=NAMES,
    added=st.just("2026-01-01T00:00:00+00:00"),
)


@given(entries=st.lists(ENTRIES, unique_by=lambda e: (e.digest, e.label)), spoil=st.booleans())
def test_what_was_exported_is_imported(entries: list[Ignored], spoil: bool) -> None:
    text = to_csv(entries)
    if spoil:  # as a spreadsheet on Windows saves it
        text = "\ufeff" + text.replace("\n", "\r\n")
    assert from_csv(text.encode(), "list.csv") == entries


@pytest.mark.parametrize(
    "content",
    [
        f"label,digest\na,{DIGEST}\n",
        f"digest,label\n{DIGEST.upper()},a",
        f"digest, label\n\n {DIGEST} ,a\n\n",
    ],
)
def test_digest_and_label_suffice(content: str) -> None:
    assert from_csv(content.encode(), "list.csv") == [Ignored(DIGEST, "a", "", "")]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_a_spreadsheet_saves_is_read(delimiter: str) -> None:
    rows = [
        ("digest", "label", "path", "added"),
        (DIGEST, "a, b", "a, b/1,2.png", "2026"),
        (OTHER, '"c;"', "", ""),
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    content = "\ufeff" + text.getvalue() + delimiter * 3 + "\r\n"
    assert from_csv(content.encode(), "list.csv") == [
        Ignored(DIGEST, "a, b", "a, b/1,2.png", "2026"),
        Ignored(OTHER, '"c;"', "", ""),
    ]


HEAD = "digest,label,path,added\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the heading is ''"),
        (f"digest label\n{DIGEST} a\n".encode(), "line 1: the heading is 'digest label'"),
        (f"digest;label\n{DIGEST},a\n".encode(), "line 2: it has 1 cells, the heading 2"),
        (f"digest,label,notes\n{DIGEST},a,x\n".encode(), "line 1: the heading"),
        (f"digest,label,label\n{DIGEST},a,a\n".encode(), "line 1: the heading"),
        (f"digest,path\n{DIGEST},a\n".encode(), "line 1: the heading"),
        (f"{HEAD}{DIGEST},a,a/1,\n{DIGEST[1:]},a,,\n".encode(), "line 3: '123.*' is no digest"),
        (f"{HEAD}{DIGEST[1:]}g,a,,\n".encode(), "line 2: .* is no digest"),
        (f"{HEAD}{DIGEST}, ,,\n".encode(), "line 2: ' ' is no label"),
        (f"{HEAD}{DIGEST},a/b,,\n".encode(), "line 2: 'a/b' is no label"),
        (f"{HEAD}{DIGEST},a\\b,,\n".encode(), "line 2: .* is not escaped text"),
        (f'{HEAD}{DIGEST},"a\nb",,\n'.encode(), "line 3: .* is not escaped text"),
        (f"{HEAD}{DIGEST},a,a\\b,\n".encode(), "line 2: .* is not escaped text"),
        (f"{HEAD}{DIGEST},a,\n".encode(), "line 2: it has 3 cells, the heading 4"),
        (f"{HEAD}{DIGEST},a,,\n{OTHER},a,,\n{DIGEST},a,x,\n".encode(), "line 4: .* stand in line 2 already"),
        (f'{HEAD}{DIGEST},"a,,\n'.encode(), "line 2: it is not CSV"),
        (f"{HEAD}{DIGEST},a,,\n{OTHER},caf\xe9,,\n".encode("latin-1"), "line 3: it is not UTF-8"),
        (f"{HEAD}{DIGEST},a,,\n".encode("utf-16"), "line 1: it is not UTF-8"),
        (f"{HEAD}{DIGEST},a\0,,\n".encode(), "line 2"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_imported(project: Project, content: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=rf"^list\.csv, {message}.*Nothing was imported"):
        project.import_ignores(content, "list.csv")
    assert project.ignores() == []


def test_an_import_says_what_was_new_known_or_of_no_class(project: Project) -> None:
    project.ignore(["ciliate/wrong_amoeba.png"])
    (entry,) = project.ignores()
    lines = f"{to_csv([entry])}{DIGEST},amoeba,,\n{OTHER},Noctiluca,,\n"
    found = project.import_ignores(lines.encode(), "list.csv")
    assert (found.added, found.known, found.unknown_labels) == (2, 1, {"Noctiluca": 1})
    assert {(i.digest, i.label) for i in project.ignores()} == {
        (entry.digest, "ciliate"), (DIGEST, "amoeba"), (OTHER, "Noctiluca"),
    }  # fmt: skip
    again = project.import_ignores(lines.encode(), "list.csv")
    assert (again.added, again.known) == (0, 3)


def test_the_list_survives_moved_and_renamed_files_and_goes_to_another_project(
    trained: Project, dataset: Path, tmp_path: Path, fast
) -> None:
    trained.flag(threshold=3)
    tree = trained.export().tree
    for file in tree.glob("[!.]*/*.png"):
        file.unlink()
    trained.collect(finished=all_finished)
    listed = trained.ignores()
    assert len(listed) == 2
    (dataset / "ciliate" / "deeper").mkdir()
    (dataset / "ciliate" / "wrong_amoeba.png").rename(dataset / "ciliate" / "deeper" / "renamed.png")
    (dataset / "amoeba" / "wrong_diatom.png").rename(dataset / "amoeba" / "other.png")
    trained.next_round(dataset)
    assert not trained.train(Choices(pairs=3, **fast)).failed
    assert trained.ignores() == listed
    flagged = trained.flag(threshold=3)
    assert (flagged.suspects, flagged.ignored) == ([], 2)

    other = Project.create(shutil.copytree(dataset, tmp_path / "copy"), tmp_path / "other")
    other.scan()
    assert not other.train(Choices(pairs=3, **fast)).failed
    assert {dupe.path for dupe in other.flag(threshold=3).suspects} == {
        "ciliate/deeper/renamed.png", "amoeba/other.png",
    }  # fmt: skip
    assert other.import_ignores(to_csv(listed).encode(), "list.csv").added == 2
    assert other.flag(threshold=3).suspects == []


def test_under_another_label_or_edited_it_is_another_image(trained: Project, dataset: Path) -> None:
    trained.ignore(["amoeba/0003.png"])
    (dataset / "amoeba" / "0003.png").rename(dataset / "diatom" / "0003_.png")
    trained.scan()
    assert trained.ignore(["diatom/0003_.png"]) == 1


def test_an_image_that_cannot_be_read_is_refused_and_nothing_added(
    dataset: Path, tmp_path: Path, monkeypatch
) -> None:
    (dataset / "amoeba" / "damaged.png").write_text("no image")
    (dataset / "amoeba" / "unread.png").write_text("no image either")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "unread.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    for name, why in (("damaged", "not a readable image"), ("unread", "cannot be read: Permission denied")):
        with pytest.raises(
            UsageError, match=rf"amoeba/{name}\.png cannot go on the ignore list: {why}"
        ) as caught:
            project.ignore(["amoeba/0003.png", f"amoeba/{name}.png"])
        assert "dupekit scan" in caught.value.hint
    assert project.ignores() == []
