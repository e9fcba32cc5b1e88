from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dupekit.apply import Correction, Placement, Source, plan_dataset, write_dataset, write_patch
from dupekit.errors import DatasetChanged, UsageError
from dupekit.files import digest_file, real_path


def source(dataset: Path, number: int, path: str, content: str = "") -> Source:
    file = real_path(dataset, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content or path)
    stat = file.stat()
    return Source(number, path, path.partition("/")[0], stat.st_size, stat.st_mtime_ns, digest_file(file))


def correction(of: Source, new_label: str) -> Correction:
    return Correction(of.image, of.path, of.label, new_label, 9, 1.5, "2026-01-01T00:00:00+00:00")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def sources(dataset: Path) -> list[Source]:
    return [
        source(dataset, i, path) for i, path in enumerate(["a/1.png", "a/s/2.png", "b/1.png", "b/3.png"], 1)
    ]


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def placed(placements: list[Placement]) -> dict[str, str]:
    return {placement.source.path: placement.path for placement in placements}


def test_without_corrections_the_dataset_comes_back(dataset, sources, tmp_path) -> None:
    write_dataset(plan_dataset(sources, {}), dataset, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(dataset)
    assert (tmp_path / "out/a/1.png").stat().st_mtime_ns == (dataset / "a/1.png").stat().st_mtime_ns


def test_relabelled_files_move_and_expunged_ones_go(dataset, sources, tmp_path) -> None:
    made = {2: correction(sources[1], "new"), 4: correction(sources[3], "")}
    placements = plan_dataset(sources, made)
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
    placements = plan_dataset(sources, made)
    assert placed(placements)["b/1.png"] == "b/1.png"
    write_dataset(placements, dataset, tmp_path / "out")
    assert contents(tmp_path / "out")["b/1 (2).png"] == "a/1.png"
    assert contents(tmp_path / "out")["b/1 (3).PNG"] == "c/1.PNG"


def test_swapped_files_swap(dataset, sources, tmp_path) -> None:
    made = {1: correction(sources[0], "b"), 3: correction(sources[2], "a")}
    write_dataset(plan_dataset(sources, made), dataset, tmp_path / "out")
    assert contents(tmp_path / "out")["b/1.png"] == "a/1.png"
    assert contents(tmp_path / "out")["a/1.png"] == "b/1.png"


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_links(dataset, sources, tmp_path, mode) -> None:
    write_dataset(plan_dataset(sources, {}), dataset, tmp_path / "out", mode=mode)
    assert contents(tmp_path / "out") == contents(dataset)
    linked = tmp_path / "out" / "a" / "1.png"
    assert linked.is_symlink() == (mode == "symlink")
    assert linked.samefile(dataset / "a" / "1.png")


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize("change", ["content", "gone"])
def test_a_file_that_changed_stops_it_and_leaves_nothing(dataset, sources, tmp_path, mode, change) -> None:
    if change == "gone":
        (dataset / "b/3.png").unlink()
    else:
        (dataset / "b/3.png").write_text("another content")
    with pytest.raises(DatasetChanged, match="not what the last scan saw"):
        write_dataset(plan_dataset(sources, {}), dataset, tmp_path / "out", mode=mode)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("place", ["data", "data/below", ".", "there", "link"])
def test_no_destination_may_touch_anything(dataset, sources, tmp_path, place) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"exists already|lies inside"):
        write_dataset(plan_dataset(sources, {}), dataset, tmp_path / place)
    assert contents(tmp_path) == before


def test_a_destination_inside_the_dataset_by_way_of_a_link_is_refused(dataset, sources, tmp_path) -> None:
    (tmp_path / "way").symlink_to(dataset)
    with pytest.raises(UsageError, match="lies inside"):
        write_dataset(plan_dataset(sources, {}), dataset, tmp_path / "way" / "out")


def test_the_patch_holds_every_correction(dataset, sources, tmp_path) -> None:
    made = [correction(sources[3], ""), correction(sources[0], "b")]
    write_patch(tmp_path / "patch.csv", made, plan_dataset(sources, {c.image: c for c in made}))
    with (tmp_path / "patch.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["action"], row["new_label"], row["new_path"]) for row in rows] == [
        ("a/1.png", "relabel", "b", "b/1 (2).png"),
        ("b/3.png", "expunge", "", ""),
    ]
    assert rows[0]["votes"] == "9"
