"""Whatever is decided, undone and moved by hand, in any order: the page shows what `collect` reads, and no file is lost."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from dupekit.pictures.page.decisions import Decisions, Outcome
from dupekit.pictures.page.state import Opinion, State
from dupekit.review.listing import list_tree
from dupekit.review.match import Index
from dupekit.review.moves import Decision, Moves
from dupekit.review.verdicts import Review, read_tree, tree_manifest
from dupekit.review.watch.watcher import Snapshot
from dupekit.review.write_tree import plan_tree, write_tree
from tests.review.trees import dupes_in

# There are namesakes of other content (001), and equal contents of other names (same and other).
IMAGES = {
    "amoeba/001.png": ("one", "rotifer"),
    "amoeba/two words.png": ("two", "diatom_ä"),
    "amoeba/_done.png": ("three", "rotifer"),
    "ciliate: with cilia/001.png": ("five", "rotifer"),
    "ciliate: with cilia/other.png": ("six", "amoeba"),
    "ciliate: with cilia/sub folder/é_1.png": ("seven", "amoeba"),
    "diatom_ä/same.png": ("six", "amoeba"),
    "diatom_ä/sub/001.png": ("nine", "rotifer"),
}
ALIKE = {
    f"{label}/001.png": ("one", "rotifer")
    for label in ("amoeba", "ciliate: with cilia", "diatom_ä", "diatom_ä/sub", "rotifer/sub")
}
"""One image, five times, under one name."""
CLASSES = ["amoeba", "ciliate: with cilia", "diatom_ä", "rotifer"]
LABELS = [*CLASSES, "new", "NEW", "ciliate_ with cilia", "Amoeba", "_done", "../up", "sub"]
PLACES = [
    "amoeba",
    "rotifer",
    "_right",
    "_expunge/deeper",
    "_unsure",
    "_done",
    "_done/amoeba",
    "new",
    "_right/amoeba",
]

image = st.integers(0, 99)
some = st.lists(image, min_size=1, max_size=len(IMAGES))


class Reviewing(RuleBasedStateMachine):
    """A page, asked without a server, a person with a file manager, and looks at the tree now and then."""

    folder: Path
    images: Mapping[str, tuple[str, str]] = IMAGES
    fresh = itertools.count()

    @initialize()
    def begin(self) -> None:
        root = self.folder / str(next(self.fresh))
        manifest = plan_tree(
            dupes_in(root / "data", dict(self.images)), CLASSES, round_number=1, pairs=10, created=""
        )
        write_tree(manifest, root / "data", root / "tree")
        self.tree, self.trash = root / "tree", root / "trash"
        self.trash.mkdir()
        self.manifest = tree_manifest(self.tree)
        self.time = 1.0
        moves = Moves(self.tree, self.manifest, Index(self.manifest))
        self.state = State(self.manifest, moves, clock=self.tick)
        self.page = Decisions(self.manifest, moves, self.state)
        self.actions: list[Outcome] = []
        self.by_hand = False
        """Whether somebody moved something since the last look."""
        self.unclear = False
        """Whether images that are alike were moved by hand. Where each came from nothing tells then but a look: what is put
        back to such a place may be read as its twin, and the page says so from the next look on."""
        self.files = self.contents()
        self.look()

    def tick(self) -> float:
        self.time += 1
        return self.time

    def review(self) -> Review:
        return read_tree(self.tree, self.manifest).review

    def contents(self) -> Counter[str]:
        there = [self.tree / path for path in list_tree(self.tree).files]
        return Counter(file.read_text() for file in [*there, *self.trash.iterdir()])

    def shown(self, number: int) -> Opinion:
        return self.state.opinion(number)

    @rule()
    def look(self) -> None:
        began = self.tick()
        self.state.found(Snapshot(self.review(), None, (), False, began, True, {}, began, False))
        self.by_hand = False

    @rule(numbers=some, decision=st.sampled_from(list(Decision)), label=st.sampled_from(LABELS))
    def decide(self, numbers: list[int], decision: Decision, label: str) -> None:
        numbers = list({number % len(self.images) for number in numbers})
        seen = [self.shown(number) for number in numbers]
        called = label if decision is Decision.CLASS else None
        done = self.page.decide(numbers, decision, called, seen, client="me")
        assert sorted(done.moved + [one.number for one in done.refused]) == sorted(numbers)
        assert all(one.reason.endswith((".", "?")) for one in done.refused)
        self.actions.append(done)
        self.by_hand |= self.unclear

    @rule(which=st.integers(0, 99))
    def undo(self, which: int) -> None:
        if self.actions:
            action = self.actions[which % len(self.actions)]
            self.actions.append(self.page.undo(action.action, client="me"))
            self.by_hand |= self.unclear

    @rule(number=image, place=st.sampled_from([*PLACES, "home", "trash"]))
    def move_by_hand(self, number: int, place: str) -> None:
        number %= len(self.images)
        if self.images is ALIKE and "amoeba" in place:
            return  # put by hand where another copy would lie, it is that one: nothing tells them apart
        found = self.review().verdicts[number]
        if found.now_at is None:
            source = next(self.trash.glob(f"{number} *"), None)
            if source is None:  # its twin was deleted
                return
        else:
            source = self.tree / found.now_at
        name = found.file.path.rpartition("/")[2]
        target = self.tree / (found.file.path if place == "home" else f"{place}/{name}")
        if place == "trash":
            target = self.trash / f"{number} {next(self.fresh)}"
        if target.exists() or source.parent == self.trash == target.parent:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
        self.by_hand = True
        self.unclear |= self.images is ALIKE

    @invariant()
    def the_page_shows_what_collect_reads(self) -> None:
        if hasattr(self, "tree") and not self.by_hand:
            read = [Opinion(v.verdict, v.label) for v in self.review().verdicts]
            assert [self.shown(number) for number in range(len(self.images))] == read

    @invariant()
    def no_file_is_lost(self) -> None:
        if hasattr(self, "tree"):
            assert self.contents() == self.files

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            shutil.rmtree(self.tree.parent)


class ReviewingAlike(Reviewing):
    images = ALIKE


@pytest.mark.parametrize("machine", [Reviewing, ReviewingAlike])
def test_the_page_shows_what_collect_reads(machine: type[Reviewing], in_memory: Path) -> None:
    machine.folder = in_memory
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
