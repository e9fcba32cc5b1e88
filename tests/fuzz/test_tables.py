"""Tables that people hand in: a value, or an error that names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupekit.correct.patch import plan_patched, read_patch
from dupekit.correct.placements import Source
from dupekit.errors import DatasetChanged, DupekitError, UsageError
from dupekit.exchange.read import read_list, read_predictions
from dupekit.files.names import unescape
from dupekit.project import Project
from dupekit.review.ignore_list import from_csv
from dupekit.rounds.class_config import read_class_config
from dupekit.settings import read_settings
from tests.fuzz.hostile import NASTY_TEXTS, bounded, damaged, unrecordable

quickly = settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])

DIGEST = "0123456789abcdef" * 4
PATCH = (
    "path,action,old_label,new_label,new_path,votes,score,decided,digest\n"
    f"a/1.png,relabel,a,b,b/1.png,9,4.5,2026-01-01,{DIGEST}\n"
    f"a/2.png,expunge,a,,,9,4.5,2026-01-01,{DIGEST}\n"
)
IGNORE = f"digest,label,path,added\n{DIGEST},a,a/1.png,2026-01-01\n"
CLASSES = "class,new name\na,x\nb,\n"
PREDICTIONS = "path,a,b\na/1.png,0.25,0.75\nb/1.png,1,0\n"
LONG = "path,class,probability\na/1.png,a,1\n"
HUGE = ("9" * 5000, "1e999", "nan", "-1", "0x10", "１", "1_0")


def tables(*valid: str) -> st.SearchStrategy[bytes]:
    """A valid table with some cells changed, as one of many spreadsheets saves it, perhaps with bytes changed."""

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        rows = [line.split(",") for line in draw(st.sampled_from(valid)).splitlines()]
        for _ in range(draw(st.integers(0, 3))):
            row = rows[draw(st.integers(0, len(rows) - 1))]
            cell = st.sampled_from((*NASTY_TEXTS, *HUGE)) | st.text(st.characters(), max_size=4)
            row[draw(st.integers(0, len(row) - 1))] = draw(cell)
        if draw(st.booleans()):
            rows.append(list(draw(st.sampled_from(rows))))
        delimiter, end = draw(st.sampled_from(",;\t")), draw(st.sampled_from(("\n", "\r\n", "\r")))
        text = end.join(delimiter.join(row) for row in rows)
        start = draw(st.sampled_from((b"", b"\xef\xbb\xbf", b"\xff\xfe")))
        content = start + text.encode(draw(st.sampled_from(("utf-8", "utf-16", "cp1252"))), errors="replace")
        return draw(st.just(content) | damaged(content))

    return one()


@quickly
@given(tables(PATCH))
def test_patch(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "patch.csv"
    file.write_bytes(content)
    sources = {
        "a": [Source(number, f"a/{number}.png", "a", 5, 7, DIGEST) for number in (1, 2)],
        "b": [Source(3, "b/3.png", "b", 5, 7, DIGEST)],
    }
    with bounded():
        try:
            rows = read_patch(file)
            plan = plan_patched(sources, rows, original=None, reverse=False)
        except (UsageError, DatasetChanged):
            return
    placements = [one for label in plan.classes() for one in plan.of_class(label)]
    for placement in placements:
        parts = unescape(placement.path).split("/")
        assert len(parts) > 1
        assert not {"", ".", ".."} & set(parts)
    assert len({placement.path for placement in placements}) == len(placements)


@quickly
@given(tables(IGNORE))
def test_ignore_list(content: bytes) -> None:
    with bounded():
        try:
            entries = from_csv(content, "ignore.csv")
        except UsageError as error:
            assert "ignore.csv, line" in str(error)  # noqa: PT017 - most content is refused
            return
    assert all(unrecordable([one.digest, one.label, one.path, one.added]) is None for one in entries)


@quickly
@given(tables(CLASSES))
def test_class_configuration(content: bytes) -> None:
    with bounded():
        try:
            view = read_class_config(content, "classes.csv", column=None, images={"a": 3, "b": 4})
        except UsageError:
            return
    assert set(view.classes) == {"a", "b"}
    assert unrecordable(list(view.classes.values())) is None


@quickly
@given(tables(PREDICTIONS, LONG), st.sampled_from((".csv", ".tsv")))
def test_predictions(tmp_path: Path, content: bytes, ending: str) -> None:
    file = tmp_path / f"predictions{ending}"
    file.write_bytes(content)
    with bounded():
        try:
            found = read_predictions(file)
        except UsageError:
            return
    assert found.probabilities.shape == (len(found.images), len(found.classes))
    assert abs(found.probabilities.sum(axis=1) - 1).max() < 0.02


@quickly
@given(damaged(b"a/1.png\nb/1.png\n", binary=True))
def test_list_of_names(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "paths.txt").write_bytes(content)
    with bounded():
        try:
            names = read_list(tmp_path / "paths.txt")
        except UsageError:
            return
    assert all(names)


SETTINGS = (
    b'dataset = "data"\n', b"max_pixels = 1000\n", b"pairs = 10\n", b"seed = 3\n", b'trainer = "fake"\n', b"threshold = 2\n",
    b'class_config = "a.csv"\n', b"[options]\ntrainer = {a = 1}\n", b"batch = 9\n",
)  # fmt: skip


@quickly
@given(
    st.lists(st.sampled_from(SETTINGS), unique=True).map(b"".join).flatmap(damaged)
    | st.tuples(
        st.sampled_from(
            ("seed", "pairs", "max_pixels", "batch", "threshold", "class_min", "class_max", "stage")
        ),
        st.sampled_from(("0", "-1", "9" * 30, "1e400", "nan", "inf", "true", '"1"', "[]", "1979-05-27")),
    ).map(lambda pair: f'dataset = "data"\n{pair[0]} = {pair[1]}\n'.encode())
)
def test_settings(tmp_path: Path, content: bytes) -> None:
    check_settings(tmp_path / "dupekit.toml", content)


@pytest.mark.parametrize(
    ("start", "repeated"),
    [(b"x = ", b"["), (b"x = ", b"{a="), (b"seed = ", b"9"), (b"", b"a."), (b"[", b"a.")],
)
def test_settings_that_go_deep(tmp_path: Path, start: bytes, repeated: bytes) -> None:
    check_settings(tmp_path / "dupekit.toml", start + repeated * 50_000 + b"b = 1")


def check_settings(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with bounded():
        try:
            found = read_settings(file)
        except UsageError:
            return
    assert unrecordable(found.model_dump(mode="json", exclude={"options"})) is None


def test_a_cell_without_end(tmp_path: Path) -> None:
    content = b'path,"' + b"x" * 10_000_000
    (tmp_path / "patch.csv").write_bytes(content)
    (tmp_path / "predictions.csv").write_bytes(content)
    with bounded():
        with pytest.raises(UsageError):
            read_patch(tmp_path / "patch.csv")
        with pytest.raises(UsageError):
            read_predictions(tmp_path / "predictions.csv")
        with pytest.raises(UsageError):
            from_csv(content, "ignore.csv")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables(IGNORE))
def test_the_ignore_list_takes_all_or_nothing(project: Project, content: bytes) -> None:
    before = project.ignores()
    try:
        project.import_ignores(content, "in.csv")
    except DupekitError:
        assert project.ignores() == before
