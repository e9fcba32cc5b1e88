"""The page follows the tree: what others do, when it goes away, when the server ends and another one begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dupekit.errors import TreeUnavailable, UsageError
from dupekit.pictures.page.state import State
from dupekit.review.manifest import MARKER
from dupekit.review.match import Index
from dupekit.review.moves import Decision, Moves
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.watch.watcher import Snapshot
from tests.pictures.page.serving import Served, said, served
from tests.support import until

FIRST = "amoeba/ciliate_ with cilia_09_0.png"


def test_what_a_file_manager_does_is_told(page: Served, tree: Path) -> None:
    with page.events(after=page.get("state")["version"]) as events:
        (tree / "_done" / "amoeba").parent.mkdir(exist_ok=True)
        (tree / "amoeba").rename(tree / "_done" / "amoeba")
        told = next(events)
        assert told["changes"] == [[number, "relabel", "ciliate: with cilia", True] for number in (0, 3, 6)]
        assert (told["by"], told["trouble"]) == (None, None)
        done = page.decide([0, 1], "expunge")
        told = next(events)
        assert told["changes"] == [
            [0, "expunge", "amoeba", True],
            [1, "expunge", "ciliate: with cilia", True],
        ]
        assert told["by"] == page.client
        page.undo(done["action"])
        assert next(events)["changes"][0] == [0, "relabel", "ciliate: with cilia", True]
        (tree / "_done" / FIRST).unlink()
        assert next(events)["changes"] == [[0, "correct", "amoeba", False]]
        (tree / "stranger.png").write_text("copied here")
        told = next(events)
        assert (told["changes"], told["strangers"]) == ([], 1)
    assert page.get("state")["strangers"] == 1


def test_a_page_that_missed_something_is_told(page: Served, tree: Path) -> None:
    version = page.get("state")["version"]
    page.decide([0], "right")
    page.decide([1], "unsure")
    with page.events(after=version) as events:
        first, second = next(events), next(events)
        assert [first["changes"][0][:2], second["changes"][0][:2]] == [[0, "correct"], [1, "unsure"]]
    for unknown in (10**9, -5):
        with page.events(after=unknown) as events:
            told = next(events)
            assert (told["version"], len(told["changes"])) == (page.get("state")["version"], 9)


def test_a_tree_that_goes_away_is_trouble_until_it_comes_back(tree: Path) -> None:
    with served(tree, poll_s=0.5) as page:
        page.decide([0], "right")
        tree.rename(tree.with_name("unmounted"))
        # Before the page has noticed, and after.
        (refused,) = page.decide([1], "right")["refused"]
        assert refused["reason"]
        assert not tree.exists()
        until(lambda: page.get("state")["trouble"] is not None)
        state = page.get("state")
        assert "Nothing is taken as deleted" in state["trouble"]
        assert state["verdicts"][0] == ["correct", "amoeba"]
        assert all(state["present"])
        (refused,) = page.decide([1], "right")["refused"]
        assert refused["reason"] == state["trouble"]
        tree.mkdir()  # a place where something is mounted, and is not now
        assert page.decide([1], "right")["refused"]
        assert list(tree.iterdir()) == []
        tree.rmdir()
        tree.with_name("unmounted").rename(tree)
        until(lambda: page.get("state")["trouble"] is None)
        assert page.decide([1], "right")["refused"] == []
        assert said(tree) == page.get("state")["verdicts"]


def test_two_pages_follow_each_other(tree: Path) -> None:
    with served(tree) as one, served(tree) as two:
        done = one.decide([0, 3], "suggested")
        two.until_shown(3, "relabel", "ciliate: with cilia")
        two.decide([3], "right")
        one.until_shown(3, "correct", "amoeba")
        answer = one.undo(done["action"])
        assert ([number for number, *_ in answer["moved"]], [r["number"] for r in answer["refused"]]) == (
            [0],
            [3],
        )
        two.until_shown(0, "open", "amoeba")
        assert said(tree) == one.get("state")["verdicts"]
        until(lambda: two.get("state")["verdicts"] == said(tree))


def test_another_page_goes_on_where_the_first_one_ended(tree: Path) -> None:
    with served(tree) as page:
        page.decide([0, 1, 2], "suggested")
        before, address = page.get("state")["verdicts"], page.server.address
    with served(tree) as page:
        assert page.get("state")["verdicts"] == before == said(tree)
        assert page.server.address != address
        assert page.decide([0], "right")["refused"] == []


def test_it_ends_at_once_with_streams_open(tree: Path) -> None:
    ended = threading.Event()
    with served(tree) as page:

        def listen() -> None:
            with page.events(after=page.get("state")["version"]) as events:
                list(events)
            ended.set()

        threads = [threading.Thread(target=listen) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: page.server.state.waiting == 3)
        began = time.monotonic()
        page.server.stop()
        for thread in threads:
            thread.join(5)
    assert ended.is_set()
    assert time.monotonic() - began < 2


def test_a_listener_that_goes_away_is_forgotten(page: Served) -> None:
    with page.events(after=0) as events:
        next(events)
        assert page.server.state.waiting == 1
    until(lambda: not page.server.state.waiting)


def test_a_port_that_is_taken_is_said(page: Served, tree: Path) -> None:
    port = int(page.server.base.strip("/").rpartition(":")[2])
    with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 cannot be used: Address already in use"), served(tree, port=port):  # fmt: skip
        pass


def test_what_is_no_tree_is_not_served(tree: Path) -> None:
    (tree / "rotifer" / "link").symlink_to(tree)
    with pytest.raises(TreeUnavailable, match="is a link"), served(tree):
        pass


def snapshot(tree: Path, began_s: float) -> Snapshot:
    review = read_tree(tree, tree_manifest(tree)).review
    return Snapshot(review, None, (), False, began_s + 1, True, {}, began_s, False)


def test_a_look_that_began_before_a_move_does_not_take_it_back(tree: Path) -> None:
    manifest = tree_manifest(tree)
    moves = Moves(tree, manifest, Index(manifest))
    clock: Sequence[float] = iter(range(1, 100))  # type: ignore[assignment]
    state = State(manifest, moves, clock=lambda: next(clock))  # type: ignore[call-overload]
    early = snapshot(tree, 0.5)
    state.found(early)
    file = manifest.files[0]
    path = moves.move(file, file.path, moves.wanted(file, Decision.RIGHT))
    state.moved(0, path)  # at 1
    state.tell([0], "me")
    version = state.whole()["version"]
    state.found(replace(early, at_s=2.0))
    assert state.whole()["verdicts"][0] == ["correct", "amoeba"]
    assert state.since(version) == []
    # Somebody moved it on while that look was taken: then the look is right.
    (tree / path).rename(tree / FIRST)
    state.found(early)
    assert state.whole()["verdicts"][0] == ["open", "amoeba"]
    # And a look that began later is always.
    path = moves.move(file, file.path, moves.wanted(file, Decision.EXPUNGE))
    state.moved(0, path)  # at 2
    state.found(replace(early, began_s=3.0))
    assert state.whole()["verdicts"][0] == ["open", "amoeba"]


def test_whatever_ends_the_following_is_told(tree: Path) -> None:
    def seen(snapshot: Snapshot) -> None:
        if snapshot.review and snapshot.review.verdicts[0].now_at is None:
            raise ValueError("nobody thought of this")

    with served(tree, seen=seen) as page:
        assert page.get("state")["trouble"] is None
        (tree / FIRST).unlink()
        until(lambda: "not followed any more" in (page.get("state")["trouble"] or ""))
        assert page.decide([1], "right")["refused"]


def test_the_log_of_events_is_kept(tree: Path) -> None:
    with served(tree) as page:
        page.decide([0], "expunge")
        until(lambda: f"_expunge/{FIRST}" in (tree / MARKER / "after.txt").read_text())
    assert "_expunge" in (tree / MARKER / "events.jsonl").read_text()
