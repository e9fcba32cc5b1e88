"""patch.csv on copies of the dataset, forward and in reverse."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupekit.correct.build import write_dataset
from dupekit.correct.patch import write_patch
from dupekit.correct.placements import plan_dataset
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files.names import escape
from dupekit.files.spreadsheet import read_table, table_text
from dupekit.files.write import digest_file
from dupekit.workflow.apply_patch import apply_patch
from tests.correct.datasets import by_class, correction, source
from tests.support import tree_state


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A dataset `data`, its corrected form `out`, and the patch between them."""
    paths = ["a/1.png", "a/s/2.png", "b/1.png", "b/3.png", escape('c/odd, "n\nam\\e \udcff.png'), "c/5.png"]
    sources = [source(tmp_path / "data", i, path) for i, path in enumerate(paths)]
    labels = {0: "b", 1: "new", 3: "", 4: "a"}
    corrections = [correction(sources[i], label) for i, label in labels.items()]
    placements = plan_dataset(by_class(sources), {c.image: c for c in corrections})
    write_dataset(placements, tmp_path / "data", tmp_path / "out")
    write_patch(tmp_path / "patch.csv", corrections, placements.new_paths)
    return tmp_path


def test_a_patch_makes_the_same_dataset_from_a_copy_and_back(made: Path) -> None:
    shutil.copytree(made / "data", made / "copy")
    done = apply_patch(made / "patch.csv", made / "copy", made / "patched")
    assert done.files == 5
    assert tree_state(made / "patched") == tree_state(made / "out")
    apply_patch(made / "patch.csv", made / "patched", made / "back", reverse=True, original=made / "copy")
    assert tree_state(made / "back") == tree_state(made / "data") == tree_state(made / "copy")


def test_expunged_files_need_the_original(made: Path) -> None:
    with pytest.raises(UsageError, match="1 expunged files") as caught:
        apply_patch(made / "patch.csv", made / "out", made / "back", reverse=True)
    assert "--original" in caught.value.hint
    (made / "data/b/3.png").write_text("other")
    with pytest.raises(DatasetChanged):
        apply_patch(made / "patch.csv", made / "out", made / "back", reverse=True, original=made / "data")
    (made / "data/b/3.png").unlink()
    with pytest.raises(DatasetChanged, match="to come back"):
        apply_patch(made / "patch.csv", made / "out", made / "back", reverse=True, original=made / "data")
    assert sorted(p.name for p in made.iterdir()) == ["data", "out", "patch.csv"]


def test_a_copy_that_does_not_fit_is_refused_with_every_place(made: Path) -> None:
    (made / "data/a/1.png").write_text("other")
    (made / "data/a/s/2.png").unlink()
    (made / "data/new/s").mkdir(parents=True)
    (made / "data/new/s/2.png").write_text("taken")
    with pytest.raises(DatasetChanged, match="in 3 places") as caught:
        apply_patch(made / "patch.csv", made / "data", made / "patched")
    for line in ("a/1.png: has other content", "a/s/2.png: missing", "new/s/2.png: its place is taken"):
        assert line in caught.value.message
    assert not (made / "patched").exists()


@pytest.mark.parametrize(
    "saved",
    [
        lambda b: b"\xef\xbb\xbf" + b.replace(b"\n", b"\r\n"),
        lambda b: b + b",,,,,,,,\n\n",
    ],
    ids=["bom-crlf", "empty-lines"],
)
def test_what_a_spreadsheet_does_is_borne(made: Path, saved: Callable[[bytes], bytes]) -> None:
    file = made / "patch.csv"
    file.write_bytes(saved(file.read_bytes()))
    apply_patch(file, made / "data", made / "patched")
    assert tree_state(made / "patched") == tree_state(made / "out")


def test_semicolons_are_borne(made: Path) -> None:
    with (made / "patch.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (made / "patch.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    apply_patch(made / "patch.csv", made / "data", made / "patched")
    assert tree_state(made / "patched") == tree_state(made / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: "", "no column path"),
        (lambda t: t.replace("digest", "hash", 1), "no column digest"),
        (lambda t: t.replace("votes", "voices", 1), "unknown column 'voices'"),
        (lambda t: t.replace("votes", "score", 1), "line 1: .*score stands twice"),
        (lambda t: t.replace("\na/1.png", "\n../a/1.png", 1), "is no path within a dataset"),
        (lambda t: t.replace("\na/1.png", "\n/a/1.png", 1), "is no path within a dataset"),
        (lambda t: t.replace("b/1 (2).png", "b/../../x.png", 1), "is no path within a dataset"),
        (lambda t: t.replace("b/1 (2).png", "b/..\\u002fx.png", 1), "is no path within a dataset"),
        (lambda t: t.replace("b/1 (2).png", "b/\\u0031.png", 1), "is no path within a dataset"),
        (lambda t: t.replace("b/1 (2).png", "c/1.png", 1), "does not lie in the class"),
        (lambda t: t.replace(",b,b/1 (2).png", ",.h,.h/1.png", 1), "lies where no scan of a dataset looks"),
        (lambda t: t.replace("b/1 (2).png", "b/.h/1.png", 1), "lies where no scan of a dataset looks"),
        (
            lambda t: t.replace(",b,b/1 (2).png", ",.dupekit,.dupekit/1.png", 1),
            "lies where no scan of a dataset looks",
        ),
        (
            lambda t: t.replace(",b,b/1 (2).png", ",#recycle,#recycle/1.png", 1),
            "lies where no scan of a dataset looks",
        ),
        (
            lambda t: t.replace("b/1 (2).png", "new/s", 1).replace(",b,new/s", ",new,new/s", 1),
            "new_path 'new/s' is a file, and holds 'new/s/2.png'",
        ),
        (lambda t: t.replace("\na/1.png", "\na/s", 1), "path 'a/s' is a file, and holds 'a/s/2.png'"),
        (lambda t: t.replace("relabel", "delete", 1), "not relabel or expunge"),
        (lambda t: t + t.splitlines(keepends=True)[1], "'a/1.png' stands twice"),
        (lambda t: t + "a/9.png,relabel\n", "line 6: it has 2 cells, the heading 9"),
        (lambda t: t.replace('"', "", 1), r"line \d: it (has|is not CSV)"),
        (lambda t: t[:-3] + "Z" + t[-2:], "64 hexadecimal digits"),
    ],
)
def test_a_malformed_patch_is_refused(made: Path, change: Callable[[str], str], said: str) -> None:
    file = made / "patch.csv"
    text = file.read_bytes().decode()
    file.write_bytes(change(text).encode())
    assert file.read_bytes().decode() != text
    with pytest.raises(UsageError, match=said):
        apply_patch(file, made / "data", made / "patched")
    assert sorted(p.name for p in made.iterdir()) == ["data", "out", "patch.csv"]


@pytest.mark.parametrize("label", ["con", "a:b", "-x", "x.", "x "])
def test_a_patch_makes_no_class_that_there_can_not_be(made: Path, label: str) -> None:
    text = (made / "patch.csv").read_text()
    (made / "patch.csv").write_text(text.replace(",b,b/1 (2).png", f",{label},{label}/1.png", 1))
    with pytest.raises(DatasetChanged, match=f"{label}: no class can be called so"):
        apply_patch(made / "patch.csv", made / "data", made / "patched")
    (made / "data" / label).mkdir()
    (made / "data" / label / "0.png").write_text("it is one in this dataset")
    assert apply_patch(made / "patch.csv", made / "data", made / "patched").files == 6


CELLS = ("=1+1", "+x", "-x", "@SUM(A1)", "'=x", "''=x", "'", "'x", "-1", "1")


def test_no_cell_of_a_patch_is_a_formula_and_all_are_read_as_they_were(tmp_path: Path) -> None:
    sources = [source(tmp_path / "data", i, f"{name}/{i}.png") for i, name in enumerate(CELLS)]
    labels = dict(enumerate((*CELLS[1:], CELLS[0])))
    corrections = [correction(sources[i], label) for i, label in labels.items()]
    placements = plan_dataset(by_class(sources), {c.image: c for c in corrections})
    write_dataset(placements, tmp_path / "data", tmp_path / "out")
    write_patch(tmp_path / "patch.csv", corrections, placements.new_paths)
    with (tmp_path / "patch.csv").open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert not {cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t")) and cell != "-1"}
    apply_patch(tmp_path / "patch.csv", tmp_path / "data", tmp_path / "patched")
    assert tree_state(tmp_path / "patched") == tree_state(tmp_path / "out")


@given(st.lists(st.lists(st.text("'=+-@x1.,;\"\t "), min_size=2, max_size=2).filter(any), min_size=1))
def test_whatever_a_table_holds_is_read_as_it_was(rows: list[list[str]]) -> None:
    text = table_text(("a", "b"), rows)
    read = [[*row.cells.values()] for row in read_table(text.encode(), columns=("a", "b"), needed=("a",))]
    assert read == rows


def test_a_patch_in_another_encoding_is_refused(made: Path) -> None:
    (made / "patch.csv").write_bytes((made / "patch.csv").read_text().encode("utf-16"))
    with pytest.raises(UsageError, match="not UTF-8"):
        apply_patch(made / "patch.csv", made / "data", made / "patched")


def test_the_command_needs_no_project_and_says_what_goes(made: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dupekit", "apply", *words],
            cwd=made,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    words = ("patched", "--patch", "patch.csv", "--dataset", "data")
    dry = run(*words, "--dry-run")
    assert (dry.returncode, (made / "patched").exists()) == (0, False), dry.stderr
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "Expunged\nimage\nb/3.png\n" in done.stdout
    assert "3 relabelled, 1 expunged" in done.stdout
    assert tree_state(made / "patched") == tree_state(made / "out")
    assert run("x", "--patch", "patch.csv").returncode == 2
    assert run("x", "--reverse").returncode == 2


NAMES = st.sampled_from(
    ["x.png", "X.png", "é.png", "e\u0301.png", "x (2).png", "s/x.png", "x.png/y.png", "S/x.png"]
)
LABELS = st.sampled_from(["a", "b", "A"])


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.tuples(LABELS, NAMES), st.sampled_from([None, "a", "b", "A", "new", ""]), min_size=2, max_size=14
    )
)
def test_nothing_is_lost_whatever_moves_where(wanted: dict[tuple[str, str], str | None]) -> None:
    # A file and a folder of one name cannot stand in one folder.
    chosen = {k: v for k, v in wanted.items() if k[1] != "x.png" or (k[0], "x.png/y.png") not in wanted}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for label in ("p", "q"):  # a dataset has two classes
            source(root / "data", -1, f"{label}/keep.png")
        sources = [source(root / "data", i, "/".join(key)) for i, key in enumerate(chosen)]
        sources += [source(root / "data", 90 + i, f"{x}/keep.png", keep=True) for i, x in enumerate("pq")]
        made = {
            s.image: correction(s, label)
            for s, label in zip(sources, chosen.values(), strict=False)
            if label is not None and label != s.label
        }
        placements = plan_dataset(by_class(sources), made)
        write_dataset(placements, root / "data", root / "out")
        kept = [s for s in sources if s.image not in made or made[s.image].new_label]
        found = Counter(digest_file(f) for f in (root / "out").rglob("*") if f.is_file())
        assert found == Counter(s.digest for s in kept)
        for placement in placements:
            label = (
                made[placement.source.image].new_label
                if placement.source.image in made
                else placement.source.label
            )
            assert placement.path.partition("/")[0] == label
        write_patch(root / "patch.csv", list(made.values()), placements.new_paths)
        apply_patch(root / "patch.csv", root / "out", root / "back", reverse=True, original=root / "data")
        assert tree_state(root / "back") == tree_state(root / "data")
