from __future__ import annotations

import csv
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dupekit.correct.build import write_dataset
from dupekit.correct.patch import write_patch
from dupekit.correct.placements import DatasetPlan, Source, plan_dataset
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files.names import escape
from tests.correct.datasets import by_class, contents, correction, source


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def sources(dataset: Path) -> list[Source]:
    return [
        source(dataset, i, path) for i, path in enumerate(["a/1.png", "a/s/2.png", "b/1.png", "b/3.png"], 1)
    ]


def placed(placements: DatasetPlan) -> dict[str, str]:
    return {placement.source.path: placement.path for placement in placements}


def test_without_corrections_the_dataset_comes_back(dataset, sources, tmp_path) -> None:
    write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(dataset)
    assert (tmp_path / "out/a/1.png").stat().st_mtime_ns == (dataset / "a/1.png").stat().st_mtime_ns


def test_relabelled_files_move_and_expunged_ones_go(dataset, sources, tmp_path) -> None:
    made = {2: correction(sources[1], "new"), 4: correction(sources[3], "")}
    placements = plan_dataset(by_class(sources), made)
    assert placed(placements) == {"a/1.png": "a/1.png", "a/s/2.png": "new/s/2.png", "b/1.png": "b/1.png"}
    write_dataset(placements, dataset, tmp_path / "out")
    assert contents(tmp_path / "out") == {
        "a/1.png": "a/1.png",
        "new/s/2.png": "a/s/2.png",
        "b/1.png": "b/1.png",
    }


def test_a_name_that_is_taken_loses_neither_file(dataset, sources, tmp_path) -> None:
    sources.append(source(dataset, 5, "c/1.PNG"))
    made = {1: correction(sources[0], "b"), 5: correction(sources[4], "b")}
    placements = plan_dataset(by_class(sources), made)
    assert placed(placements)["b/1.png"] == "b/1.png"
    write_dataset(placements, dataset, tmp_path / "out")
    assert contents(tmp_path / "out")["b/1 (2).png"] == "a/1.png"
    assert contents(tmp_path / "out")["b/1 (3).PNG"] == "c/1.PNG"


def test_swapped_files_swap(dataset, sources, tmp_path) -> None:
    made = {1: correction(sources[0], "b"), 3: correction(sources[2], "a")}
    write_dataset(plan_dataset(by_class(sources), made), dataset, tmp_path / "out")
    assert contents(tmp_path / "out")["b/1.png"] == "a/1.png"
    assert contents(tmp_path / "out")["a/1.png"] == "b/1.png"


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_links(dataset, sources, tmp_path, mode) -> None:
    write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode=mode)
    assert contents(tmp_path / "out") == contents(dataset)
    linked = tmp_path / "out" / "a" / "1.png"
    assert linked.is_symlink() == (mode == "symlink")
    assert linked.samefile(dataset / "a" / "1.png")


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize("change", ["content", "content behind size and time", "gone"])
def test_a_file_that_changed_stops_it_and_leaves_nothing(dataset, sources, tmp_path, mode, change) -> None:
    file = dataset / "b/3.png"
    before = file.stat()
    if change == "gone":
        file.unlink()
    elif change == "content":
        file.write_text("another content")
    else:
        file.write_bytes(file.read_bytes()[::-1])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DatasetChanged, match="not what the last scan saw"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode=mode)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
@pytest.mark.parametrize("what", ["pipe", "folder", "link to other content"])
def test_what_took_the_place_of_a_file_is_not_linked(dataset, sources, tmp_path, mode, what) -> None:
    (dataset / "b/3.png").unlink()
    if what == "pipe":
        os.mkfifo(dataset / "b/3.png")
    elif what == "folder":
        (dataset / "b/3.png").mkdir()
    else:
        (dataset / "b/3.png").symlink_to(dataset / "a/1.png")
    with pytest.raises(DatasetChanged, match="not what the last scan saw"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode=mode)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
@pytest.mark.parametrize("above", [False, True])
def test_links_lead_to_the_file_behind_a_link(dataset, sources, tmp_path, mode, above) -> None:
    there = dataset / ("b" if above else "b/3.png")
    there.rename(tmp_path / "elsewhere")
    there.symlink_to(tmp_path / "elsewhere")
    write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode=mode)
    made, real = tmp_path / "out/b/3.png", (tmp_path / "elsewhere" / ("3.png" if above else "")).resolve()
    assert made.readlink() == real if mode == "symlink" else not made.is_symlink() and made.samefile(real)


@pytest.mark.parametrize("place", ["data", "data/below", ".", "there", "link"])
def test_no_destination_may_touch_anything(dataset, sources, tmp_path, place) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"exists already|lies inside"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / place)
    assert contents(tmp_path) == before


def test_a_destination_inside_the_dataset_by_way_of_a_link_is_refused(dataset, sources, tmp_path) -> None:
    (tmp_path / "way").symlink_to(dataset)
    with pytest.raises(UsageError, match="lies inside"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "way" / "out")


def test_the_patch_holds_every_correction(dataset, sources, tmp_path) -> None:
    made = [correction(sources[3], ""), correction(sources[0], "b")]
    write_patch(
        tmp_path / "patch.csv", made, plan_dataset(by_class(sources), {c.image: c for c in made}).new_paths
    )
    with (tmp_path / "patch.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["action"], row["new_label"], row["new_path"]) for row in rows] == [
        ("a/1.png", "relabel", "b", "b/1 (2).png"),
        ("b/3.png", "expunge", "", ""),
    ]
    assert rows[0]["votes"] == "9"
    assert rows[0]["digest"] == sources[0].digest


def test_a_moved_file_and_a_folder_of_its_name_both_stay(dataset, tmp_path) -> None:
    paths = ["a/x.png", "b/X.png/1.png", "a/y.png/2.png", "b/Y.png", "c/é.png", "a/e\u0301.png"]
    sources = [source(dataset, i, path) for i, path in enumerate(paths)]
    made = {0: correction(sources[0], "b"), 2: correction(sources[2], "b"), 5: correction(sources[5], "c")}
    placements = plan_dataset(by_class(sources), made)
    assert placed(placements) == {
        "a/x.png": "b/x (2).png",
        "b/X.png/1.png": "b/X.png/1.png",
        "a/y.png/2.png": "b/y (2).png/2.png",
        "b/Y.png": "b/Y.png",
        "c/é.png": "c/é.png",
        "a/e\u0301.png": "c/e\u0301 (2).png",
    }
    write_dataset(placements, dataset, tmp_path / "out")
    assert sorted(contents(tmp_path / "out").values()) == sorted(paths)


@pytest.mark.parametrize(
    "name", ["1\\2.png", "a\nb.png", "\x7f.png", "\udcff.png", "x\u2028.png", "sub\\/1.png"]
)
def test_names_that_are_written_escaped_are_numbered_like_others(dataset, tmp_path, name) -> None:
    """Also where the last part is not what is escaped."""
    sources = [source(dataset, i, escape(f"{label}/{name}"), label) for i, label in enumerate("abc")]
    made = {0: correction(sources[0], "b"), 2: correction(sources[2], "b")}
    placements = plan_dataset(by_class(sources), made)
    stem, _, suffix = name.rpartition(".")
    assert placed(placements) == {
        escape(f"a/{name}"): escape(f"b/{stem} (2).{suffix}"),
        escape(f"b/{name}"): escape(f"b/{name}"),
        escape(f"c/{name}"): escape(f"b/{stem} (3).{suffix}"),
    }
    write_dataset(placements, dataset, tmp_path / "out")
    assert sorted(contents(tmp_path / "out").values()) == ["a", "b", "c"]


def test_a_folder_whose_name_is_written_escaped_and_a_file_of_that_name(dataset, tmp_path) -> None:
    paths = ["a/x\\y/1.png", "b/x\\y"]
    sources = [source(dataset, i, escape(path)) for i, path in enumerate(paths)]
    placements = plan_dataset(by_class(sources), {0: correction(sources[0], "b")})
    assert placed(placements)[escape(paths[0])] == escape("b/x\\y (2)/1.png")
    write_dataset(placements, dataset, tmp_path / "out")


def test_names_that_are_one_to_the_file_system_are_refused(dataset, sources, tmp_path, monkeypatch) -> None:
    sources.append(source(dataset, 5, "a/1.PNG"))
    real = os.path.lexists  # a file system that does not tell case apart, as far as this call can see

    def lexists(path: object) -> bool:
        file = Path(str(path))
        return real(file) or real(file.with_suffix(file.suffix.swapcase()))

    monkeypatch.setattr(os.path, "lexists", lexists)
    with pytest.raises(UsageError, match="names that are one"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_destination_below_a_link_that_leads_nowhere_is_refused(dataset, sources, tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no folder"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "link" / "out")
    with pytest.raises(UsageError, match="lies inside"):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "x" / ".." / "data" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "link"]


@pytest.mark.parametrize("below", ["", "a"])
def test_a_dataset_mounted_a_second_time_is_known(dataset, sources, tmp_path, below) -> None:
    (tmp_path / "again").mkdir()
    command = ["mount", "--bind", str(dataset / below), str(tmp_path / "again")]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user or system may not mount")
    try:
        with pytest.raises(UsageError, match="lies inside"):
            write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "again" / "out")
        assert "out" not in {path.name for path in dataset.rglob("*")}
    finally:
        subprocess.run(["umount", str(tmp_path / "again")], check=True)


def test_reflinks_where_the_file_system_has_none(dataset, sources, tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    with pytest.raises(UsageError, match="reflinks cannot be made") as caught:
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode="reflink")
    assert "Btrfs" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_reflinks_are_checked_like_copies(dataset, sources, tmp_path, monkeypatch) -> None:
    def clone(target: int, request: int, origin: int) -> None:
        assert request == 0x40049409
        os.write(target, os.pread(origin, 1 << 20, 0))

    monkeypatch.setattr("fcntl.ioctl", clone)
    write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out", mode="reflink")
    assert contents(tmp_path / "out") == contents(dataset)
    (dataset / "b/3.png").write_text("other")
    with pytest.raises(DatasetChanged):
        write_dataset(plan_dataset(by_class(sources), {}), dataset, tmp_path / "out2", mode="reflink")


def test_reflinks_on_a_real_btrfs(tmp_path) -> None:
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("mkfs.btrfs is not installed")
    (tmp_path / "disk").mkdir()
    with (tmp_path / "image").open("wb") as file:
        file.truncate(200 << 20)
    subprocess.run(["mkfs.btrfs", "-q", tmp_path / "image"], check=True)
    command = ["mount", "-o", "loop", str(tmp_path / "image"), str(tmp_path / "disk")]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user or kernel cannot mount Btrfs")
    try:
        dataset = tmp_path / "disk" / "data"
        sources = [source(dataset, 1, "a/1.png", "x" * 9_000_000), source(dataset, 2, "b/2.png", "y" * 9000)]
        out = tmp_path / "disk" / "out"
        write_dataset(plan_dataset(by_class(sources), {}), dataset, out, mode="reflink")
        assert contents(out) == contents(dataset)
        (out / "a/1.png").write_text("changed")  # a clone, not a link
        assert (dataset / "a/1.png").read_text() == "x" * 9_000_000
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
