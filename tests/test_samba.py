"""A real network share: Samba on the loopback interface, smbclient at work on it, a watcher beside the server.

The watcher on the client's side needs a mounted share, which is not tried here: mounting needs rights that a test
should not have. Polling, which is all that works there, is tested in tests/test_watch.py.
"""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dupekit.files import read_lines
from dupekit.manifest import MARKER
from tests.test_file_operations import (
    A_IN_B,
    ONE_IN_B,
    RIGHT_1,
    RIGHT_A,
    check,
    make_tree,
    renew,
    until,
    watching,
)  # fmt: skip

SMBD = shutil.which("smbd") or shutil.which("smbd", path="/usr/sbin")
pytestmark = [
    pytest.mark.samba,
    pytest.mark.skipif(not (SMBD and shutil.which("smbclient")), reason="samba and smbclient are needed"),
]


@pytest.fixture
def share(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A review tree that is a share, and a function that has smbclient do something there."""
    tree, state = make_tree(tmp_path), tmp_path / "samba"
    state.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = ("pid", "lock", "state", "cache")
    lines = [f"{name} directory = {state}" for name in folders]
    config = state / "smb.conf"
    config.write_text(
        f"[global]\nserver role = standalone server\nmap to guest = Bad User\nguest account = {getpass.getuser()}\n"
        f"interfaces = lo\nbind interfaces only = yes\nsmb ports = {port}\nprivate dir = {state}\n"
        f"ncalrpc dir = {state}/ncalrpc\nlog file = {state}/log\nload printers = no\ndisable spoolss = yes\n"
        + "\n".join(lines)
        + f"\n[tree]\npath = {tree}\nread only = no\nguest ok = yes\n"
    )

    def client(commands: str) -> None:
        subprocess.run(
            ["smbclient", "-s", config, "-N", "-p", str(port), "//127.0.0.1/tree", "-c", commands],
            check=True, timeout=30, capture_output=True, cwd=tmp_path,
        )  # fmt: skip

    def answers() -> bool:
        assert server.poll() is None, "smbd ended"
        try:
            client("ls")
        except subprocess.CalledProcessError:
            return False
        return True

    command = [str(SMBD), "--foreground", "--no-process-group", f"--configfile={config}"]
    # A session of its own: when it ends, smbd ends its whole process group, which must not be ours.
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            until(answers)
            yield tree, client
        finally:
            server.terminate()


def test_the_watcher_beside_the_server_sees_what_clients_do(share, tmp_path) -> None:
    tree, client = share
    shutil.copytree(tree, tmp_path / "fresh")
    (tmp_path / "x_09_1.png").write_text("one")
    with watching(tree):
        for commands, expected in [
            ("del a\\x_09_1.png", RIGHT_1),
            ("deltree a", RIGHT_A),
            ("rename a\\x_09_1.png b\\x_09_1.png", ONE_IN_B),
            ("rename a b\\a", A_IN_B),
            ("mkdir new; rename a\\x_09_1.png new\\1.png", {"a/1.png": ("relabel", "new")}),
            ("cd b; put x_09_1.png; del ..\\a\\x_09_1.png", ONE_IN_B),  # a move across drives
            ("recurse; mask *_1.png; cd a; del x_09_1.png", RIGHT_1),
            ("mkdir $RECYCLE.BIN; rename a\\x_09_1.png $RECYCLE.BIN\\1.png", RIGHT_1),
        ]:
            renew(tree, tmp_path / "fresh")
            (tmp_path / "x_09_1.png").write_text("one")
            client(commands)
            after = check(tree, expected)
            until(lambda after=after: read_lines(tree / MARKER / "after.txt") == after)
