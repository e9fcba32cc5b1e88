"""The report: one page of all suspects beside typical images, with filters, confusion, classes and rounds.

Values in, a file out. The page holds its data as JSON and its thumbnails as lines of text, each once and in the order of their
first use, so that a browser shows the first suspects before it has read the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dupekit.pictures.gallery import Gallery, Picture, line
from dupekit.pictures.templates import json_block, render_alone
from dupekit.rounds.confusion import Confusion
from dupekit.rounds.in_words import in_words
from dupekit.rounds.near_duplicates import Twin
from dupekit.rounds.references import Reference
from dupekit.rounds.rules import Rule, RuleName, Suspect
from dupekit.rounds.yields import Yield
from dupekit.system.progress import Progress, silent

BLOCK = 240
"""Thumbnails that stand together in the page, and are looked up together."""
_FIRST = "@@FIRST@@"
"""Where the first thumbnails go."""
SCRIPTS = tuple(
    f"report/{name}.js" for name in ("parts", "pictures", "state", "cards", "list", "heatmap", "confusion", "charts", "page")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a suspect."""

    verdict: str
    """As written in the ledger: "correct", "relabel", "expunge" or "unsure"."""
    label: str
    """That the image shall have."""
    disputed: bool
    """Whether two people differ, so that it counts as unsure."""


@dataclass(frozen=True, slots=True)
class SuspectRow:
    """A suspect with what stands beside it."""

    suspect: Suspect
    decision: Decision | None
    given: Sequence[Reference]
    """Typical images of the given label."""
    suggested: Sequence[Reference]
    twins: Sequence[Twin] = ()
    """Images that are the same, or nearly."""


@dataclass(frozen=True, slots=True)
class ClassRow:
    label: str
    images: int
    agreement: float | None
    """Share of the held-out predictions of its images that name it."""
    chance: float | None
    near_chance: bool


@dataclass(frozen=True, slots=True)
class RoundRow:
    round: int
    images: int
    pairs: int
    rule: str
    suspects: int
    reviewed: int
    wrong: int
    share: float | None
    agreement: float | None
    """Of its models with the given labels."""


@dataclass(frozen=True, slots=True)
class ShareRow:
    """Of the suspects reviewed that have something in common, how many were wrong."""

    what: str
    reviewed: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of all images of the round, and of the suspects among them."""

    edges: list[float]
    """One more than there are counts."""
    images: list[int]
    suspects: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class ReportValues:
    """All that a report shows."""

    title: str
    round: int
    pairs: int
    """Counted in the votes."""
    pairs_planned: int
    rule: Rule
    total: int
    """Suspects there are; `suspects` may be the first of them only."""
    suspects: Sequence[SuspectRow]
    classes: Sequence[ClassRow]
    confusion: Confusion
    votes: Histogram
    scores: Histogram
    found: Yield | None
    """What a review has found; None before the first verdict."""
    by_votes: Sequence[ShareRow]
    by_pair: Sequence[ShareRow]
    rounds: Sequence[RoundRow]
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """Settings, versions and the like: (heading, rows of name and value)."""
    dataset: str
    """Where the images lie: absolute, escaped."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a page holds."""

    pictures: int
    unreadable: int
    """Of these, how many could not be shown."""
    side_px: int
    """Of its thumbnails, at most."""


def write_report(
    out: BinaryIO, values: ReportValues, gallery: Gallery, *, progress: Progress = silent
) -> Written:
    """Writes the page. An image that cannot be read is there with the reason in its place."""
    numbers: dict[str, int] = {}
    pictures: list[Picture] = []

    def number(path: str, digest: str) -> int:
        if path not in numbers:
            numbers[path] = len(pictures)
            pictures.append(Picture(path, digest))
        return numbers[path]

    data = _data(values, number)
    data["pictures"], data["block"] = len(pictures), BLOCK
    page = render_alone(
        "report.html",
        styles=("base.css", "report/report.css"),
        scripts=SCRIPTS,
        title=values.title,
        data=json_block(data),
        first=_FIRST,
    )
    side = gallery.side_px(pictures)
    unreadable = 0

    def blocks() -> Iterator[str]:
        nonlocal unreadable
        lines: list[str] = []
        for made in gallery.thumbnails(pictures, side_px=side, progress=progress):
            unreadable += isinstance(made, str)
            lines.append(line(made))
            if len(lines) == BLOCK:
                yield "\n".join(lines)
                lines.clear()
        if lines:
            yield "\n".join(lines)

    _stream(out, page, blocks())
    return Written(len(pictures), unreadable, side)


def _stream(out: BinaryIO, page: str, blocks: Iterator[str]) -> None:
    """The first thumbnails go before the script, all others to the end, where no browser waits for them."""
    before, _, after = page.rpartition(_FIRST)  # the last, for a name may hold anything
    out.write(before.encode())
    for number, text in enumerate(blocks):
        out.write(f'<script type="text/plain" id="pictures-{number}">{text}</script>\n'.encode())
        if not number:
            out.write(after.encode())
            after = ""
    out.write(after.encode())


def _data(values: ReportValues, number: Any) -> dict[str, Any]:
    """What the page's script reads. Labels are numbers in `classes`, images in the thumbnails."""
    labels = sorted({*(one.label for one in values.classes), *values.confusion.classes,
                     *(one.suspect.suggested for one in values.suspects), *(one.suspect.given for one in values.suspects),
                     *(twin.label for one in values.suspects for twin in one.twins)})  # fmt: skip
    at = {label: i for i, label in enumerate(labels)}
    confirmed: set[int] = set()

    def beside(found: Sequence[Reference]) -> list[int]:
        shown = []
        for one in found:
            shown.append(number(one.path, one.digest))
            if one.confirmed:
                confirmed.add(shown[-1])
        return shown

    suspects = []
    for row in values.suspects:
        one, decision = row.suspect, row.decision
        picture = number(one.path, one.digest)
        decided = [decision.verdict, decision.label, decision.disputed] if decision else None
        suspects.append(
            [picture, one.path, at[one.given], at[one.suggested], one.votes, round(one.score, 3),
             round(one.probability_given, 4), round(one.probability_suggested, 4), decided,
             beside(row.given), beside(row.suggested),
             [[twin.path, at[twin.label], twin.identical] for twin in row.twins]]
        )  # fmt: skip
    return {
        "title": values.title, "round": values.round, "pairs": values.pairs, "pairsPlanned": values.pairs_planned,
        "rule": _rule(values.rule), "total": values.total, "dataset": values.dataset,
        "labels": labels, "suspects": suspects, "confirmed": sorted(confirmed),
        "classes": [[at[c.label], c.images, c.agreement, c.chance, c.near_chance] for c in values.classes],
        "confusion": _confusion(values.confusion, at),
        "votes": asdict(values.votes), "scores": asdict(values.scores),
        "review": _review(values.found), "byVotes": [asdict(one) for one in values.by_votes],
        "byPair": [asdict(one) for one in values.by_pair], "rounds": [asdict(one) for one in values.rounds],
        "facts": values.facts,
    }  # fmt: skip


def _rule(rule: Rule) -> str:
    if rule.name is RuleName.SCORE:
        return "a score above 0: the models together prefer another class"
    return f"at least {rule.threshold} {'vote' if rule.threshold == 1 else 'votes'} for one wrong class"


def _review(found: Yield | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"words": in_words(found), "rows": [asdict(one) for one in found.table]}


def _confusion(found: Confusion, at: dict[str, int]) -> dict[str, Any]:
    """Counts that are not 0, and the order in which classes that are confused stand beside each other."""
    rows, columns = np.nonzero(found.counts)
    place = np.array([at[label] for label in found.classes], np.int64)
    cells = np.stack([place[rows], place[columns], found.counts[rows, columns]], axis=1)
    return {
        "cells": cells.tolist(),
        "order": place[similar_order(found.counts)].tolist() if len(place) else [],
    }


def similar_order(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """An order of classes in which those that are confused with each other stand near each other, shape (classes,).

    The second eigenvector of the normalised Laplacian of the shares confused, made symmetric: M. Fiedler, Czechoslovak
    Mathematical Journal 25 (1975).
    """
    if len(counts) < 3:
        return np.arange(len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = shares + shares.T
    np.fill_diagonal(alike, 0)
    alike += 1e-6  # so that all hang together
    scale = 1 / np.sqrt(alike.sum(axis=1))
    laplacian = np.eye(len(alike)) - scale[:, None] * alike * scale
    _, vectors = np.linalg.eigh(laplacian)
    found: NDArray[np.intp] = np.argsort(vectors[:, 1] * scale, kind="stable")
    return found
