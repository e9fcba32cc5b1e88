"""A real network share: Samba on the loopback interface, smbclient at work on it, and watchers on both sides.

On the client's side the share is mounted through FUSE by smbnetfs, which is made of Samba's own client library. The
kernel's cifs is not tried: the kernels of many virtual machines and containers lack it.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable
from dupekit.files.write import read_lines
from dupekit.project import Project
from dupekit.review.manifest import MARKER
from dupekit.system.mounts import is_network
from tests.pictures.page.serving import served
from tests.review.trees import (
    A_IN_B,
    ONE_IN_B,
    RIGHT_1,
    RIGHT_A,
    check,
    make_tree,
    renew,
    watching,
)  # fmt: skip
from tests.support import until

SMBD = shutil.which("smbd") or shutil.which("smbd", path="/usr/sbin")
pytestmark = [
    pytest.mark.samba,
    pytest.mark.skipif(not (SMBD and shutil.which("smbclient")), reason="samba and smbclient are needed"),
]


@dataclass
class Share:
    """A folder that is a share, as long as the server runs."""

    folder: Path
    state: Path
    port: int

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        command = [str(SMBD), "--foreground", "--no-process-group", f"--configfile={self.state}/smb.conf"]
        # A session of its own: when it ends, smbd ends its whole process group, which must not be ours.
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as server:

            def answers() -> bool:
                assert server.poll() is None, "smbd ended"
                with contextlib.suppress(subprocess.CalledProcessError):
                    self.client("ls")
                    return True
                return False

            try:
                until(answers)
                yield
            finally:
                server.terminate()

    def client(self, commands: str) -> None:
        """Has smbclient do something there."""
        subprocess.run(
            ["smbclient", "-s", self.state / "smb.conf", "-N", "-p", str(self.port), "//127.0.0.1/tree", "-c", commands],
            check=True, timeout=30, capture_output=True, cwd=self.state.parent,
        )  # fmt: skip

    @contextlib.contextmanager
    def mounted(self, at: Path) -> Iterator[Path]:
        """The share's folder as a client has it. Skips where this machine lets nobody mount."""
        at.mkdir(exist_ok=True)
        here = at / f"127.0.0.1:{self.port}" / "tree"
        with subprocess.Popen(
            ["smbnetfs", "-f", at],
            env={**os.environ, "HOME": str(self.state)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                until(lambda: process.poll() is not None or (at.is_mount() and here.is_dir()))
                if process.returncode is not None:
                    assert process.stderr is not None
                    pytest.skip(f"smbnetfs cannot mount here: {process.stderr.read().decode()[-300:]}")
                assert is_network(here)
                yield here
            finally:
                process.terminate()
                process.wait(30)


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """The share that the folder "tree" is to be."""
    state = tmp_path / "samba"
    (state / ".smb").mkdir(parents=True)
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
        + f"\n[tree]\npath = {tmp_path / 'tree'}\nread only = no\nguest ok = yes\n"
    )
    # For smbnetfs, which looks for both in the home folder, and wants them to be nobody else's.
    shutil.copy(config, state / ".smb")
    (state / ".smb" / "smbnetfs.conf").write_text("smb_query_browsers false\n")
    for file in (state / ".smb").iterdir():
        file.chmod(0o600)
    return Share(tmp_path / "tree", state, port)


mounting = pytest.mark.skipif(
    not (shutil.which("smbnetfs") and os.access("/dev/fuse", os.W_OK)),
    reason="smbnetfs and /dev/fuse are needed",
)


def told(tree: Path) -> list[str]:
    """What after.txt says on the server; nothing for the moment in which smbnetfs, to replace it, deletes it."""
    file = tree / MARKER / "after.txt"
    with contextlib.suppress(FileNotFoundError):
        return read_lines(file)
    return []


def test_the_watcher_beside_the_server_sees_what_clients_do(share, tmp_path) -> None:
    tree = make_tree(tmp_path)
    shutil.copytree(tree, tmp_path / "fresh")
    with share.served(), watching(tree):
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
            share.client(commands)
            until(lambda expected=expected: told(tree) == check(tree, expected))


@pytest.mark.slow
@mounting
def test_the_watcher_on_a_client_sees_what_everyone_does(share, tmp_path) -> None:
    tree = make_tree(tmp_path)
    shutil.copytree(tree, tmp_path / "fresh")
    steps: list[tuple[Callable[[Path], object], dict[str, tuple[str, str]]]] = [
        (lambda _: share.client("del a\\x_09_1.png"), RIGHT_1),
        (lambda _: share.client("rename a b\\a"), A_IN_B),
        (lambda _: (tree / "a" / "x_09_1.png").unlink(), RIGHT_1),
        (lambda here: (here / "a" / "x_09_1.png").unlink(), RIGHT_1),
        (lambda here: (here / "a" / "x_09_1.png").rename(here / "b" / "x_09_1.png"), ONE_IN_B),
        (lambda here: shutil.move(here / "a", here / "b" / "a"), A_IN_B),
        (lambda here: shutil.rmtree(here / "a"), RIGHT_A),
    ]
    with share.served(), share.mounted(tmp_path / "mnt") as here, watching(here, "--poll", "0.5"):
        for step, expected in steps:
            renew(tree, tmp_path / "fresh")
            until(lambda: told(tree) == check(tree, {}))
            step(here)
            until(lambda expected=expected: told(tree) == check(tree, expected))


@mounting
def test_a_share_that_goes_away_was_not_emptied(share, tmp_path) -> None:
    """First the server goes, then the mount; each comes back, and meanwhile a file was deleted beside the server."""
    tree, log = make_tree(tmp_path), tmp_path / "log.txt"

    def said(text: str) -> bool:
        return text in log.read_text().rstrip().rpartition("\n")[2]

    with log.open("wb") as file, contextlib.ExitStack() as mount, contextlib.ExitStack() as server:
        server.enter_context(share.served())
        here = mount.enter_context(share.mounted(tmp_path / "mnt"))
        with watching(here, "--poll", "0.5", said=file) as watcher:
            server.close()
            until(lambda: said("Nothing is taken as deleted."))
            (tree / "a" / "x_09_1.png").unlink()
            assert len(told(tree)) == 4
            server.enter_context(share.served())
            until(lambda: told(tree) == check(tree, RIGHT_1))
            until(lambda: said("recovered"))

            mount.close()
            until(lambda: said("Nothing is taken as deleted."))
            (tree / "a" / "x_09_2.png").unlink()
            assert len(told(tree)) == 3
            mount.enter_context(share.mounted(tmp_path / "mnt"))
            until(lambda: told(tree) == check(tree, RIGHT_A))
            until(lambda: said("recovered"))

            server.close()
            until(lambda: said("Nothing is taken as deleted."))
            watcher.terminate()
            assert watcher.wait(60) == 1
    assert said("stopped; after.txt is NOT current")


@mounting
def test_collect_from_a_client(share, tmp_path, trained: Project) -> None:
    tree = trained.export(tmp_path / "tree").tree
    with share.served():
        first, *others = (path.relative_to(tree) for path in sorted(tree.glob("*/*.png")))
        with share.mounted(tmp_path / "mnt") as here:
            share.client(f"del {str(first).replace('/', chr(92))}")
            found = trained.collect(here, confirm=lambda _: True)
            assert [v.now_at for v in found.review.verdicts if v.now_at] == [str(path) for path in others]
            assert sum(v.verdict == "correct" for v in found.review.verdicts) == 1
        with pytest.raises(TreeUnavailable, match="not available"):
            trained.collect(here)


@mounting
def test_two_people_review_on_pages_of_their_own(share, tmp_path) -> None:
    """One beside the server, the other on a client, where neither the system's way to move nor second names exist."""
    tree = make_tree(tmp_path)
    with (
        share.served(),
        share.mounted(tmp_path / "mnt") as here,
        served(here, poll_s=0.5) as client,
        served(tree) as server,
    ):
        taken = tree / "_right" / "a" / "x_09_1.png"
        taken.parent.mkdir()
        taken.write_text("a note")
        right = client.decide([0], "right")
        assert right["moved"] == [[0, "correct", "a"]]
        assert taken.read_text() == "a note"
        new = client.decide([1, 2], "class", "new class")
        assert [moved[0] for moved in new["moved"]] == [1, 2]
        check(tree, RIGHT_1 | dict.fromkeys(("a/2.png", "b/3.png"), ("relabel", "new class")))
        server.until_shown(2, "relabel", "new class")
        server.decide([2], "expunge")
        # It may not have looked yet, and is told all the same.
        (refused,) = client.undo(new["action"])["refused"]
        assert refused["number"] == 2
        client.until_shown(2, "expunge", "b")
        assert client.undo(right["action"])["moved"] == [[0, "open", "a"]]
        check(tree, {"b/3.png": ("expunge", "b")})
        assert (taken.read_text(), len(list(tree.rglob("*_09_*")))) == ("a note", 5)
