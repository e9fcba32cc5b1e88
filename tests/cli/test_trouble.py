"""What the commands say where the system refuses, a place is wrong, or a name cannot be printed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from dupekit.project import Project
from dupekit.review.ignore_list import to_csv
from dupekit.testing import make_dataset
from tests.faults.mounts import mounted
from tests.support import CLASSES, dupekit


def test_a_destination_below_a_file_or_a_dead_link_is_wrong_usage(trained, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    trained.flag(threshold=3)
    for place, said in (
        ("file/x", "file is no folder"),
        ("dead/x", "a link that leads nowhere"),
        ("dead/a/x", "nowhere"),
    ):
        assert said in dupekit("export", tmp_path / place, "-p", trained.path, code=2).stderr
    trained.export()
    patch = (trained.collect(finished=CLASSES), trained.apply(tmp_path / "fixed"))[1].patch
    for place, said in (("file/x", "file is no folder"), ("dead/x", "a link that leads nowhere")):
        assert said in dupekit("apply", tmp_path / place, "-p", trained.path, code=2).stderr
        by_patch = ["apply", tmp_path / place, "--patch", patch, "--dataset", trained.dataset]
        assert said in dupekit(*by_patch, code=2).stderr
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "nowhere").mkdir()  # now it leads somewhere
    dupekit("apply", tmp_path / "dead/x", "-p", trained.path)
    assert (tmp_path / "nowhere/x/amoeba").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the system")
def test_what_the_system_refuses_is_said_with_the_file_and_a_remedy(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree")
    trained.collect()
    after = trained.folder_of(trained.tree()[0]) / "after.txt"
    after.unlink()
    after.mkdir()
    said = dupekit("collect", "-p", trained.path, code=1).stderr
    assert f"dupekit: {after} cannot be read or written: Is a directory.\n" in said
    assert "Nothing that was recorded is lost." in said
    after.rmdir()
    # As on a full disk, writing fails, and the system names no file. The second limit lets the lock's own file pass.
    next((tmp_path / "tree/amoeba").glob("*.png")).rename(tmp_path / "tree/amoeba" / f"{'a' * 240}.png")
    for bytes_max, file in ((0, trained.path / "lock.holder"), (200, after)):
        code = (
            f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_max}, {bytes_max}));"
            "from dupekit.cli.app import main; main()"
        )
        command = [sys.executable, "-c", code, "collect", "-p", str(trained.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{file} cannot be read or written: File too large." in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a file system is mounted")
def test_of_a_copy_the_full_disk_is_named(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    small = tmp_path / "small"
    small.mkdir()
    with mounted(small, "-t", "tmpfs", "-o", "size=8k", "tmpfs"):
        said = dupekit("export", small / "tree", "-p", trained.path, code=1).stderr
        assert said.startswith(f"dupekit: {small}/.tree.")
        assert "No space left on device.\nMake room there" in said
        assert list(small.iterdir()) == []


def test_names_that_the_encoding_lacks_end_nothing(tmp_path, fast) -> None:
    names = ("Ä_09_ﬁ", "ciliate", "diatom")
    make_dataset(tmp_path / "data", classes=names, per_class=6, seed=3)
    made = Project.create(tmp_path / "data", tmp_path / "project")
    made.scan()
    made.ignore(["Ä_09_ﬁ/0001.png"])
    for encoding in ("ascii", "cp1252", "utf-8"):
        options: dict[str, Any] = {
            "capture_output": True,
            "env": {**os.environ, "PYTHONIOENCODING": encoding},
        }
        listed = [sys.executable, "-m", "dupekit", "ignore", "list", "-p", str(made.path)]
        done = subprocess.run(listed, check=True, **options)
        escaped = {"ascii": b"\\xc4_09_\\ufb01", "cp1252": b"\xc4_09_\\ufb01", "utf-8": names[0].encode()}
        assert escaped[encoding] in done.stdout
        as_json = subprocess.run([*listed, "--json"], check=True, **options).stdout
        assert json.loads(as_json.decode(encoding))[0]["label"] == names[0]
        exported = subprocess.run([*listed[:-3], "export", "-", *listed[-2:]], check=True, **options).stdout
        assert exported.decode() == to_csv(made.ignores())
        wrong = subprocess.run([*listed[:-3], "add", "Ä/ﬁ", *listed[-2:]], check=False, **options)
        assert wrong.returncode == 2
        assert b"Traceback" not in wrong.stderr


def test_a_tree_that_may_only_be_read_is_collected_and_not_watched(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    command = ["mount", "--bind", str(tree), str(tree)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user or system may not mount")
    try:
        command = ["mount", "-o", "remount,bind,ro", str(tree)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this system mounts nothing read-only")
        said = dupekit("watch", tree, "-p", trained.path, code=1).stderr
        assert said.startswith(
            f"dupekit: {tree}/.dupekit/watch.lock cannot be read or written: Read-only file system.\n"
        )
        assert "have it mounted for writing" in said
        assert "Nothing was recorded" in dupekit("collect", tree, "-p", trained.path).stdout
    finally:
        subprocess.run(["umount", str(tree)], check=True)


def test_watch_says_which_tree_it_needs(trained, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    said = dupekit("watch", cwd=tmp_path / "elsewhere", code=2).stderr
    assert said.startswith("dupekit: Which review tree?")
    assert "dupekit watch TREE" in said
    assert "init" not in said
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree").tree.rename(tmp_path / "away")
    for words, place in (
        (["watch", "nowhere"], "nowhere"),
        (["watch", "nowhere", "-p", trained.path], "nowhere"),
        (["watch", "-p", trained.path], tmp_path / "tree"),
    ):
        said = dupekit(*words, cwd=tmp_path / "elsewhere", code=1).stderr
        assert said == (
            f"dupekit: {place} does not exist.\n"
            "Check the path and that its share is mounted. Nothing was taken as deleted.\n"
        )
    assert "no folder .dupekit" in dupekit("watch", ".", cwd=tmp_path / "elsewhere", code=1).stderr


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


ESCAPE = "\x1b[31m"


def test_nothing_that_is_printed_steers_the_terminal(tmp_path, fast) -> None:
    make_dataset(tmp_path / "data", classes=(f"a{ESCAPE}", "b\u202e"), per_class=2)
    place = tmp_path / f"project{ESCAPE}"
    said = [dupekit("init", tmp_path / "data", "-p", place)]
    said += [dupekit(*command, "-p", place, code=code) for command, code in (
        (("scan",), 0), (("status",), 0), (("export", tmp_path / f"data/{ESCAPE}"), 3), (("watch",), 3),
        (("watch", tmp_path / ESCAPE), 1), (("history", f"x{ESCAPE}"), 2), (("ignore", "add", ESCAPE), 2),
        (("apply", tmp_path / ESCAPE, "--patch", tmp_path / f"{ESCAPE}.csv", "--dataset", tmp_path), 2),
        (("ignore", "import", tmp_path / ESCAPE), 2),
    )]  # fmt: skip
    said.append(dupekit("init", tmp_path / f"none{ESCAPE}", code=2))
    said.append(dupekit("flag", f"--no{ESCAPE}", code=2))
    for one in said:
        assert "\x1b" not in one.stdout + one.stderr
        assert "\u202e" not in one.stdout + one.stderr
    assert any("\\u001b[31m" in one.stdout for one in said)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirections")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{} plugins list >&-", 0),
        ("{} plugins list 2>&- <&-", 0),
        ("{} plugins list --json >&- 2>&-", 0),
        ("{} plugins list | true", 0),
        ("{} flag -p /nowhere 2>&-", 2),
        ("{} flag -p /nowhere >&- 2>&- <&-", 2),
        ("{} plugins list >/dev/full", 1),
    ],
)
def test_streams_that_are_closed_or_full_end_no_command_otherwise(command: str, code: int) -> None:
    shell = "set -o pipefail; " + command.format(f"{sys.executable} -m dupekit")
    done = run(["bash", "-c", shell])
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_goes_away_ends_no_training(project: Project, fast) -> None:
    shell = f"{sys.executable} -m dupekit train --pairs 1 --trainer fake --validator fake -p {project.path} | true"
    run(["bash", "-c", shell])
    assert [run.state for run in project.status().runs] == ["done", "done"]


def test_another_locale_does_not_rename_every_file(tmp_path) -> None:
    make_dataset(tmp_path / "data", classes=("Müller", "b"), per_class=2)
    dupekit("init", tmp_path / "data", "-p", tmp_path / "project")
    strange = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(
        [sys.executable, "-m", "dupekit", "scan", "--json", "-p", str(tmp_path / "project")], env=strange
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["read"], found["gone"]) == (0, 0)
    assert {"name": "Müller", "images": 2, "different": 2} in found["classes"]
