"""Decisions of the page: each is a move of a file in the tree, and can be undone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from dupekit.errors import MoveRefused
from dupekit.pictures.page.state import Opinion, State
from dupekit.review.manifest import Manifest
from dupekit.review.moves import Decision, Moves
from dupekit.review.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Refusal:
    """An image that was not moved."""

    number: int
    reason: str
    """A sentence for whoever decided; how the image stands, the page says."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision on several images."""

    action: int
    """Names it, for undoing."""
    moved: list[int]
    """Numbers of the images that are as was decided now."""
    refused: list[Refusal]


@dataclass(frozen=True, slots=True)
class _Move:
    number: int
    before: str
    after: str


@dataclass(slots=True)
class Decisions:
    """Moves files, one decision after the other, and remembers where they lay."""

    manifest: Manifest
    moves: Moves
    state: State
    _touched: set[int] = field(default_factory=set)
    """Numbers of the images that were moved."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _actions: dict[int, list[_Move]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def decide(
        self,
        numbers: Sequence[int],
        decision: Decision,
        label: str | None,
        seen: Sequence[Opinion],
        *,
        client: str,
    ) -> Outcome:
        """Decides so on images, of which the page showed `seen`: what somebody else decided meanwhile stays."""
        done: list[_Move] = []
        same: list[int] = []
        refused = []
        with self._lock:
            new = self.state.new_labels() if label else []
            for number, shown in zip(numbers, seen, strict=True):
                try:
                    move = self._decide(number, decision, label, shown, new)
                except MoveRefused as error:
                    refused.append(Refusal(number, error.message))
                else:
                    if move:
                        done.append(move)
                    else:
                        same.append(number)
            return self._ended(done, same, refused, client)

    def _decide(
        self, number: int, decision: Decision, label: str | None, seen: Opinion, new: list[str]
    ) -> _Move | None:
        """None where it is so already."""
        self._require_tree()
        file, now = self.manifest.files[number], self.state.verdict(number)
        wanted = self.moves.wanted(file, decision, label, new=new)
        if (now.verdict, now.label) == (wanted.verdict, wanted.label):
            return None
        if Opinion(now.verdict, now.label) != seen:
            raise MoveRefused("Somebody else changed it meanwhile.")
        if now.now_at is None:
            raise MoveRefused(
                f"{file.path} was deleted from the tree, which says that its label is right. To decide otherwise, put"
                " it back there from the trash."
            )
        after = self.moves.move(file, now.now_at, wanted)
        self.state.moved(number, after)
        return _Move(number, now.now_at, after)

    def undo(self, action: int, *, client: str) -> Outcome:
        """Moves each image of an action back to exactly where it lay; that is an action, too, and can be undone.

        Raises KeyError where there is no such action.
        """
        done: list[_Move] = []
        refused = []
        with self._lock:
            for was in reversed(self._actions[action]):
                try:
                    self._require_tree()
                    self.moves.move_back(self.manifest.files[was.number], was.after, was.before)
                except MoveRefused as error:
                    refused.append(Refusal(was.number, error.message))
                else:
                    self.state.moved(was.number, was.before)
                    done.append(_Move(was.number, was.after, was.before))
            return self._ended(done, [], refused, client)

    def now_at(self, number: int) -> str | None:
        """Where the image lies in the tree, or that it does not, once no decision is moving it."""
        with self._lock:
            return self.state.verdict(number).now_at

    @property
    def decided(self) -> int:
        """How many images were moved and are not open now."""
        return sum(self.state.opinion(number).verdict is not Verdict.OPEN for number in self._touched)

    def _ended(self, done: list[_Move], same: list[int], refused: list[Refusal], client: str) -> Outcome:
        action = next(self._numbers)
        self._touched.update(move.number for move in done)
        self._actions[action] = done
        moved = [move.number for move in done]
        if moved:
            self.state.tell(moved, client)
        return Outcome(action, sorted(moved + same), refused)

    def _require_tree(self) -> None:
        if trouble := self.state.trouble:
            raise MoveRefused(trouble)
