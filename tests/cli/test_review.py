"""`dupekit review` as a user types it: the address, what it says at the end, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dupekit.project import Project
from tests.pictures.page.serving import make_tree, said
from tests.reviewed import exported_project
from tests.support import dupekit

PATHS = {f"a/{n}.png": "b" for n in range(6)}


class Running:
    """A real `dupekit review`, whose page is there."""

    def __init__(self, process: subprocess.Popen[str], told: list[str]) -> None:
        self.process, self.told = process, told
        self.address = next(line.strip() for line in told if line.startswith("http://"))

    def decide(self, numbers: list[int], decision: str, host: str | None = None) -> dict[str, object]:
        origin = "/".join(self.address.split("/")[:3])
        url = self.address if host is None else self.address.replace(httpx.URL(self.address).host, host)
        headers = {"Origin": origin, "Host": origin.removeprefix("http://")}
        seen = httpx.get(f"{url}state", headers=headers).raise_for_status().json()["verdicts"]
        body = {"client": "c", "numbers": numbers, "decision": decision, "seen": [seen[n] for n in numbers]}
        return dict(httpx.post(f"{url}decide", json=body, headers=headers).raise_for_status().json())

    def ended(self, by: signal.Signals = signal.SIGINT) -> str:
        began = time.monotonic()
        self.process.send_signal(by)
        out, errors = self.process.communicate(timeout=30)
        assert time.monotonic() - began < 5  # a second by itself; this machine may be busy
        assert errors == ""
        assert self.process.returncode == 0
        return out


@contextlib.contextmanager
def running(*arguments: object, cwd: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "dupekit", "review", *map(str, arguments), "--no-open"]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            told = []
            for line in process.stdout:
                told.append(line)
                if line.startswith("Stop"):
                    break
            else:
                raise AssertionError(process.communicate()[1])
            yield Running(process, told)
        finally:
            process.kill()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return exported_project(tmp_path, PATHS)


def test_a_review_from_the_first_page_to_collect(project: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    with running(cwd=project.path) as page:
        assert page.told[0] == f"Reviewing {tree}: 0 of 6 images are decided, 6 open.\n"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", page.address)
        assert len(page.decide([0, 1, 2], "right")["moved"]) == 3
        assert len(page.decide([3], "suggested")["moved"]) == 1
        out = page.ended()
    assert out == (
        f"4 images decided on this page. 4 of 6 images are decided, 2 open.\nNext: dupekit collect {tree}\n"
    )
    assert len((project.folder_of(project.tree()[0]) / "after.txt").read_text().splitlines()) == 6
    verdicts = json.loads(dupekit("collect", tree, "--json", "-p", project.path).stdout)["verdicts"]
    assert {v["path"]: (v["verdict"], v["label"]) for v in verdicts if v["verdict"] != "open"} == {
        "a/0.png": ("correct", "a"),
        "a/1.png": ("correct", "a"),
        "a/2.png": ("correct", "a"),
        "a/3.png": ("relabel", "b"),
    }


def test_after_a_kill_another_one_goes_on(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    with running(tree, cwd=tmp_path) as page:
        page.decide([0, 1], "expunge")
        port = httpx.URL(page.address).port
        page.process.kill()
        page.process.wait()
    with running(tree, "--port", port, cwd=tmp_path) as page:
        assert "2 of 9 images are decided, 7 open" in page.told[0]
        assert httpx.URL(page.address).port == port
        page.decide([2], "unsure")
        out = page.ended(signal.SIGTERM)
    assert "1 image decided on this page. 3 of 9 images are decided, 6 open." in out
    assert f"give the folder {tree} back" in out
    assert [verdict for verdict, _ in said(tree)] == ["expunge", "expunge", "unsure", *["open"] * 6]


def test_others_are_let_in_only_where_that_is_said(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        done = dupekit("review", tree, "--host", host, code=2)
        assert f"At {host}, others on the network could reach the page." in done.stderr
        assert "add --allow" in done.stderr.replace("\n", " ")
    assert (
        "is no address of this machine"
        in dupekit("review", tree, "--host", "no.such.invalid", "--allow", code=2).stderr
    )
    with running(tree, "--host", "0.0.0.0", "--allow", cwd=tmp_path) as page:
        assert httpx.URL(page.address).host == socket.gethostname().lower()
        assert page.decide([0], "right", host="127.0.0.1")["moved"]
        other = page.address.replace(httpx.URL(page.address).host, "127.0.0.1")
        assert httpx.get(f"{other}tree", headers={"Host": "evil.example"}).status_code == 403
        page.process.send_signal(signal.SIGINT)
        assert "is not encrypted" in page.process.communicate(timeout=30)[1]


def test_without_the_server_it_says_what_to_install(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    for missing in ("uvicorn", "starlette"):
        code = f"import sys; sys.modules[{missing!r}] = None; from dupekit.cli.app import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "review", str(tree)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert f"{missing} is not installed" in done.stderr
        assert 'pip install "dupekit[review]"' in done.stderr


def test_what_cannot_be_reviewed_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in dupekit("review", tmp_path / "none", code=1).stderr
    assert "dupekit review TREE" in dupekit("review", cwd=tmp_path, code=2).stderr
    (tmp_path / "folder").mkdir()
    assert "has no folder .dupekit" in dupekit("review", tmp_path / "folder", code=1).stderr
    tree = make_tree(tmp_path / "empty", images=0)
    assert "no images were exported to it" in dupekit("review", tree, code=2).stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = dupekit("review", make_tree(tmp_path), "--port", port, code=2)
    assert f"Port {port} of 127.0.0.1 cannot be used: Address already in use." in done.stderr
