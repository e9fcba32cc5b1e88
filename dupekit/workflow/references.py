"""References: typical images of the classes of a round, and look-alikes of its images, as pages and trees show them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.cache import Cache
from dupekit.dataset.columns import numbered
from dupekit.ledger import rounds, standing
from dupekit.ledger.standing import Standings
from dupekit.review.verdicts import Verdict
from dupekit.rounds.references import Reference, Space, nearest, typical
from dupekit.workflow.flag import rule_of
from dupekit.workflow.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Of one round. Images are given by their numbers in the ledger, labels as escaped text."""

    standings: Standings
    by_class: dict[str, NDArray[np.intp]]
    """Label -> rows of the standings that can stand for it, best first."""
    candidates: int
    contents: NDArray[np.int64]
    """The same number for byte-identical images."""
    space: Space | None
    """None where the cache has no features."""
    in_space: NDArray[np.bool_]
    """Which images have features."""
    without: NDArray[np.bool_]
    """Which stand for nothing, and are like nothing."""
    _directions: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _known: dict[int, Reference] = field(default_factory=dict)

    def typical(self, label: str, count: int) -> list[Reference]:
        """The most typical images of a class: those that the models are surest of, and among these confirmed ones first. No
        suspects, and nothing that was decided otherwise; fewer, or none, where there are no more."""
        return [self._reference(row) for row in self.by_class.get(label, [])[:count]]

    def beside(self, image: int, label: str, count: int) -> list[Reference]:
        """Typical images of a class to compare an image with: of its `candidates` most typical those nearest to it, as far as
        there are features. Without itself and its byte-identical copies."""
        row = self._row(image)
        rows = self.by_class.get(label, np.zeros(0, np.intp))[: self.candidates]
        if row is None or not len(rows):
            return [self._reference(other) for other in rows[:count]]
        other = self.contents[rows] != self.contents[row]
        if self.space is None or not self.in_space[row]:
            return [self._reference(found) for found in rows[other][:count]]
        if label not in self._directions:
            self._directions[label] = self._of_known(self.space, rows)
        alike = self._directions[label] @ self.space.directions(np.array([row]))[0]
        alike = np.where(self.in_space[rows], alike, -np.inf)
        order = [at for at in np.argsort(-alike, kind="stable").tolist() if other[at]]
        return [self._reference(rows[at], alike[at]) for at in order[:count]]

    def alike(self, image: int, count: int) -> list[Reference]:
        """The images most like one, whatever their label; none where there are no features. For many images at once take
        `all_alike`, which compares them in one pass."""
        return self.all_alike([image], count).get(image, [])

    def all_alike(
        self, images: Sequence[int], count: int, *, among: Collection[int] | None = None
    ) -> dict[int, list[Reference]]:
        """Image -> the images most like it, nearest first, of the whole round or only of those in `among`. Without the image, its
        byte-identical copies, what is to be thrown out, and files that are gone or changed; of identical ones with one label one.
        Images without features are not in it."""
        rows = {
            image: row for image in images if (row := self._row(image)) is not None and self.in_space[row]
        }
        if self.space is None or not rows:
            return {}
        offered = self._offered(among)
        found = nearest(self.space, np.array([*rows.values()], np.intp), offered, self.contents, count=count)
        return {
            image: [self._reference(row, value) for row, value in zip(near, alike, strict=True) if row >= 0]
            for image, near, alike in zip(rows, found.rows.tolist(), found.similarity.tolist(), strict=True)
        }

    def _offered(self, among: Collection[int] | None) -> NDArray[np.intp]:
        s = self.standings
        good = self.in_space & s.unchanged & ~self.without
        if among is not None:
            good &= np.isin(s.images, np.fromiter(among, np.int64, len(among)))
        seen: set[tuple[int, str]] = set()
        kept = []
        for row in np.flatnonzero(good).tolist():
            decided = s.verdicts.get(int(s.images[row]))
            key = (int(self.contents[row]), decided.label if decided else s.given[row])
            if key not in seen and not (decided and decided.verdict is Verdict.EXPUNGE):
                seen.add(key)
                kept.append(row)
        return np.array(kept, np.intp)

    def _of_known(self, space: Space, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        known = self.in_space[rows]
        found = np.zeros((len(rows), len(space.middle)), np.float32)
        found[known] = space.directions(rows[known])
        return found

    def _row(self, image: int) -> int | None:
        at = int(np.searchsorted(self.standings.images, image))
        return at if at < len(self.standings.images) and self.standings.images[at] == image else None

    def _reference(self, row: int, similarity: float | None = None) -> Reference:
        """Of a typical image there is one, however often it is shown: beside a large tree's images, half a million times."""
        known = self._known.get(row)
        if known is None:
            s = self.standings
            image = int(s.images[row])
            decided = s.verdicts.get(image)
            sure = decided is not None and decided.verdict in (Verdict.CORRECT, Verdict.RELABEL)
            known = self._known[row] = Reference(
                image=image,
                path=s.paths[row],
                digest=s.digests[row],
                label=decided.label if decided and sure else s.given[row],
                confirmed=sure or bool(s.ignored[row]),
                probability_given=float(s.probability_given[row]),
            )
        if similarity is None or similarity == -np.inf:
            return known
        return replace(known, similarity=float(similarity))


def references(
    session: Session, number: int, *, candidates: int = 40, without: Collection[int] = ()
) -> References:
    """Of a round, from what was counted and decided so far; reads only. Features are those in the cache, and never computed.

    `beside` chooses among so many `candidates` of a class. The images in `without`, and their byte-identical copies, are no
    references.
    """
    ledger = session.ledger
    found = standing.standings(ledger, number)
    rule = rule_of(rounds.get(ledger, number), session.settings)
    suspects = rule.flags(found.votes, found.scores, found.contradicted) & ~found.ignored
    verdicts = found.verdicts
    correct = [image for image, one in verdicts.items() if one.verdict is Verdict.CORRECT]
    otherwise = [image for image, one in verdicts.items() if one.verdict is not Verdict.CORRECT]
    names, labels = np.unique(np.array(found.given, dtype=object), return_inverse=True)
    contents = numbered(found.digests)
    left_out = np.isin(contents, contents[np.isin(found.images, list(without))])
    barred = suspects | np.isin(found.images, otherwise)
    by_class = typical(
        labels,
        found.probability_given,
        contents,
        confirmed=found.ignored | np.isin(found.images, correct),
        barred=barred | left_out | ~found.unchanged,
    )
    space, in_space = _space(session, number, found)
    return References(
        standings=found,
        by_class={str(names[label]): rows for label, rows in by_class.items()},
        candidates=candidates,
        contents=contents,
        space=space,
        in_space=in_space,
        without=left_out,
    )


def _space(session: Session, number: int, found: Standings) -> tuple[Space | None, NDArray[np.bool_]]:
    cache = Cache(session.root / "cache")
    rows = cache.vectors(found.digests, named=session.folder(number).features()) if found.digests else None
    if rows is None:
        return None, np.zeros(len(found.digests), bool)
    known = rows.at >= 0
    return Space.of(lambda some: rows[some], np.flatnonzero(known)), known
