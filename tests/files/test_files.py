from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.errors import LockedError
from dupekit.files.lock import exclusive
from dupekit.files.names import NAME_MAX_BYTES, escape, free_name, portable_name, same_name_key, unescape
from dupekit.files.paths import real_path
from dupekit.files.write import atomic_write, read_lines, write_lines, write_text

# What os.listdir may give: any text, with undecodable bytes as surrogates.
names = st.one_of(
    st.text(min_size=1).filter(lambda s: "/" not in s and "\0" not in s),
    st.binary(min_size=1, max_size=60).map(os.fsdecode).filter(lambda s: "/" not in s and "\0" not in s),
)


@given(names)
def test_escaping_is_reversible_and_safe(name: str) -> None:
    text = escape(name)
    assert unescape(text) == name
    assert text.isprintable() or all(ord(c) > 0x9F for c in text if not c.isprintable())
    assert len(text.splitlines()) == 1
    text.encode()  # no lone surrogates


@pytest.mark.parametrize(
    ("name", "text"),
    [("a\nb", r"a\nb"), ("tab\t", r"tab\t"), ("b\\n", r"b\\n"), (os.fsdecode(b"\xff.png"), r"\xff.png"),
     ("\u2028", r"\u2028"), ("\x85", r"\u0085"), ("Ängström", "Ängström")],
)  # fmt: skip
def test_escapes_are_readable(name: str, text: str) -> None:
    assert escape(name) == text


@given(st.lists(names.map(escape), unique=True))
def test_listings_keep_every_name(tmp_path_factory: pytest.TempPathFactory, paths: list[str]) -> None:
    file = tmp_path_factory.mktemp("lines") / "before.txt"
    write_lines(file, paths)
    assert read_lines(file) == sorted(paths, key=str.encode)


@given(st.lists(names, max_size=30))
def test_free_names_never_collide_and_fit(wanted: list[str]) -> None:
    taken: set[str] = set()
    for name in wanted:
        free = free_name(portable_name(name), taken)
        assert len(free.encode()) <= NAME_MAX_BYTES
        assert same_name_key(free) not in taken
        assert not set(free) & set('<>:"/\\|?*\n\t')
        assert free == free.rstrip(". ") or len(free.encode()) > 200
        taken.add(same_name_key(free))


@pytest.mark.parametrize(
    ("taken", "free"),
    [("IMG.PNG", "img (2).png"), ("other.png", "img.png")],
)
def test_names_that_differ_in_case_only_are_numbered(taken: str, free: str) -> None:
    assert free_name("img.png", {same_name_key(taken)}) == free


def test_unicode_twins_are_the_same_name() -> None:
    assert same_name_key("Å.png") == same_name_key("A\u030a.png")


def test_long_names_keep_their_extension() -> None:
    name = free_name("ä" * 200 + ".jpeg", set())
    assert name.endswith(".jpeg")
    assert len(name.encode()) in (254, 255)


@pytest.mark.parametrize("name", ["CON", "nul.png", "lpt1"])
def test_names_reserved_on_windows_are_changed(name: str) -> None:
    assert portable_name(name) == f"_{name}"


def test_a_failed_write_leaves_the_old_content(tmp_path) -> None:
    file = tmp_path / "f.txt"
    write_text(file, "old")

    def fail() -> None:
        with atomic_write(file) as out:
            out.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_written_files_follow_the_umask(tmp_path) -> None:
    file = tmp_path / "f.txt"
    write_text(file, "x")
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_of_undecodable_bytes_is_found_on_disk(tmp_path) -> None:
    (tmp_path / os.fsdecode(b"\xe9t\xe9.png")).write_bytes(b"x")
    (file,) = tmp_path.iterdir()
    assert real_path(tmp_path, escape(file.name)).read_bytes() == b"x"


HOLD = """
import sys, pathlib
from dupekit.files.lock import exclusive
with exclusive(pathlib.Path(sys.argv[1]), "train"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path) -> None:
    lock = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"`dupekit train`, process {holder.pid} on "):
            exclusive(lock, "scan").__enter__()
        holder.kill()
        holder.wait()
        with exclusive(lock, "scan"):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "folder"])
@pytest.mark.parametrize("name", ["lock", "lock.holder"])
def test_a_lock_is_written_through_nothing(tmp_path: Path, kind: str, name: str) -> None:
    precious, place = tmp_path / "precious.png", tmp_path / "project" / name
    precious.write_bytes(b"an image")
    place.parent.mkdir()
    {
        "link": lambda: place.symlink_to(precious),
        "link to nothing": lambda: place.symlink_to(tmp_path / "new"),
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
    }[kind]()
    heals = name == "lock.holder" and kind != "folder"  # what says who is at work is made anew each time
    refused = contextlib.nullcontext() if heals else pytest.raises(OSError, match=name)
    with refused, exclusive(tmp_path / "project" / "lock", "test"):
        pass
    assert precious.read_bytes() == b"an image"
    assert not (tmp_path / "new").exists()
    place.rmdir() if kind == "folder" else place.unlink(missing_ok=True)
    with exclusive(tmp_path / "project" / "lock", "test"):
        pass
