"""Files are moved without following a link and never over another, whatever the file system can do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dupekit.files import inside
from dupekit.files.inside import entered, move, read_inside

Refuse = Callable[[], None]


def _no_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS, where the system knows the call and the file system does not."""

    def refuse(*_: Any) -> int:
        import ctypes

        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(inside, "_system_call", lambda: (refuse, 1))


def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture(params=["by the system", "by links", "by a look"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "by the system":
        _no_system_call(monkeypatch)
    if request.param == "by a look":
        _no_links(monkeypatch)
    return str(request.param)


def moved(root: Path, source: str, target: str) -> None:
    (folder, _, name), (into, _, new) = source.rpartition("/"), target.rpartition("/")
    with entered(root, folder) as here, entered(root, into, make=True) as there:
        move(here, name, there, new)


def test_a_file_is_moved(tmp_path: Path, way: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_text("one")
    moved(tmp_path, "a/1", "b/c/2")
    assert (tmp_path / "b" / "c" / "2").read_text() == "one"
    assert (tmp_path / "b" / "c" / "2").stat().st_nlink == 1
    assert list((tmp_path / "a").iterdir()) == []


def test_a_file_is_never_moved_over_another(tmp_path: Path, way: str) -> None:
    for name in ("1", "2"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("2", "folder", "link"):
        with pytest.raises(FileExistsError):
            moved(tmp_path, "1", taken)
    assert [(tmp_path / name).read_text() for name in ("1", "2")] == ["1", "2"]
    assert (tmp_path / "link").is_symlink()


def test_only_a_file_itself_is_moved(tmp_path: Path, way: str) -> None:
    (tmp_path / "1").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "1")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(OSError, match="it is a link or no file"):
            moved(tmp_path, name, "b/2")
    with pytest.raises(FileNotFoundError):
        moved(tmp_path, "none", "b/2")
    assert list((tmp_path / "b").iterdir()) == []


def test_who_comes_second_leaves_no_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making the new name and taking the old one away, another program moves the file elsewhere."""
    _no_system_call(monkeypatch)
    (tmp_path / "1").write_text("one")
    link = os.link

    def slow(*names: Any, **options: Any) -> None:
        link(*names, **options)
        (tmp_path / "1").rename(tmp_path / "elsewhere")

    monkeypatch.setattr(os, "link", slow)
    with pytest.raises(FileNotFoundError):
        moved(tmp_path, "1", "2")
    assert [file.name for file in tmp_path.iterdir()] == ["elsewhere"]


def test_the_last_name_of_a_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_system_call(monkeypatch)
    (tmp_path / "1").write_text("one")
    link = os.link

    def slow(*names: Any, **options: Any) -> None:
        link(*names, **options)
        (tmp_path / "1").unlink()

    monkeypatch.setattr(os, "link", slow)
    moved(tmp_path, "1", "2")
    assert (tmp_path / "2").read_text() == "one"


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../x",
        "a/../../x",
        "a//b",
        ".",
        "/etc",
        "a/",
        r"\u002e\u002e",
        r"a\u002f..\u002f..",
        r"a\u0000",
        r"\x2e",
        r"\ud800",
    ],
)
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    with pytest.raises(OSError, match="it is no path below"), entered(tmp_path / "root", path, make=True):
        pass
    (tmp_path / "1").write_text("secret")
    with pytest.raises(OSError, match="it is no path below"):
        read_inside(
            tmp_path / "root", f"a/{path}".rstrip("/") + r"\u002f..\u002f..\u002f..\u002f1", at_most=100
        )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["1", "root"]


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "away" / "b").mkdir(parents=True)
    (tmp_path / "away" / "b" / "1").write_text("secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "away")
    (tmp_path / "root" / "1").symlink_to(tmp_path / "away" / "b" / "1")
    for path in ("a", "a/b", "a/new"):
        with pytest.raises(OSError, match="it is a link"), entered(tmp_path / "root", path, make=True):
            pass
    for path in ("1", "a/b/1"):
        with pytest.raises(OSError, match="it is a link"):
            read_inside(tmp_path / "root", path, at_most=100)
    assert [one.name for one in (tmp_path / "away").iterdir()] == ["b"]


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("12345")
    assert read_inside(tmp_path, "1", at_most=5) == b"12345"
    with pytest.raises(OSError, match="too large"):
        read_inside(tmp_path, "1", at_most=4)
