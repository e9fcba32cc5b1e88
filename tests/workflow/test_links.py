"""Links and pipes where files of a tree's marker folder, or the project's own, should lie: none is written or waited for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.errors import DupekitError, TreeUnavailable
from dupekit.project import Project
from dupekit.review.event_log import EVENTS, Event, append_events
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import tree_manifest
from dupekit.review.watch.watcher import follow

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there, links are made by administrators only")


@pytest.fixture
def exported(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.export(tmp_path / "tree")
    return trained


@pytest.fixture
def victim(dataset: Path) -> Path:
    """A file that nothing may change: an image of the dataset."""
    return min((dataset / "amoeba").iterdir())


def _link(place: Path, victim: Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(victim)


def _pipe(place: Path, _: Path) -> None:
    place.unlink(missing_ok=True)
    os.mkfifo(place)


FOREIGN: dict[str, Callable[[Path, Path], None]] = {"link": _link, "pipe": _pipe}
NAMES = ("manifest.json", "before.txt", "after.txt", EVENTS, "watch.lock", "watch.lock.holder")


def watched_once(tree: Path, kept_in: Path) -> None:
    stop = threading.Event()
    stop.set()
    for _ in follow(tree, tree_manifest(tree), kept_in, stop=stop):
        append_events(kept_in / EVENTS, [Event("2026-01-01T00:00:00+00:00", "deleted", "a/1.png")])


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize("where", ["tree", "project"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_through_what_lies_there(
    exported: Project, victim: Path, tmp_path: Path, name: str, where: str, how: str
) -> None:
    tree = tmp_path / "tree"
    folder = tree / MARKER if where == "tree" else exported.folder_of(exported.tree()[0])
    content = victim.read_bytes()
    FOREIGN[how](folder / name, victim)
    for command in (
        lambda: watched_once(tree, folder),
        lambda: exported.collect(tree),
        lambda: exported.verify(quick=True),
    ):
        try:
            command()
        except (DupekitError, OSError) as error:
            assert name in str(error)  # noqa: PT017 - or none: what is written anew takes its place
    assert victim.read_bytes() == content


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize("name", ["lock", "lock.holder"])
def test_nor_the_projects_lock(exported: Project, victim: Path, name: str, how: str) -> None:
    content = victim.read_bytes()
    FOREIGN[how](exported.path / name, victim)
    try:
        exported.collect()
    except OSError as error:
        assert name in str(error)  # noqa: PT017
    assert victim.read_bytes() == content


@pytest.mark.parametrize("how", FOREIGN)
def test_nor_what_runs_read_and_write(trained: Project, victim: Path, fast: dict[str, str], how: str) -> None:
    content = victim.read_bytes()
    folder = trained.path / "rounds" / "01"
    (folder / "runs" / "p04-a").mkdir()
    FOREIGN[how](folder / "images.npz", victim)
    FOREIGN[how](folder / "splits" / "p04.npy", victim)
    for name in ("job.json", "result.json", "predictions.npz"):
        FOREIGN[how](folder / "runs" / "p04-a" / name, victim)
    assert not trained.train(Choices(pairs=4, **fast)).failed
    assert not trained.verify(quick=True).differences
    for log in (folder / "runs" / "worker-1.log", folder / "runs" / "p05-a" / "log.txt"):
        log.parent.mkdir(exist_ok=True)
        FOREIGN[how](log, victim)
    with contextlib.suppress(OSError):
        trained.train(Choices(pairs=5, **fast))
    assert victim.read_bytes() == content


def test_a_marker_that_is_a_link_is_none(exported: Project, tmp_path: Path) -> None:
    marker = tmp_path / "tree" / MARKER
    before = sorted(path.name for path in marker.iterdir())
    marker.rename(tmp_path / "elsewhere")
    marker.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TreeUnavailable, match="is a link"):
        exported.collect(tmp_path / "tree")
    with pytest.raises(TreeUnavailable, match="is a link"):
        watched_once(tmp_path / "tree", marker)
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == before  # nothing written through it
