"""Report: the suspects of the last round beside typical images, and its figures, as one page that stands alone."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dupekit.files.names import escape
from dupekit.ledger import agreement as counted_agreement
from dupekit.ledger import convergence, predictions, rounds, tallies, verdicts
from dupekit.ledger.convergence import Acceptance
from dupekit.ledger.rounds import Round
from dupekit.ledger.tallies import Figures
from dupekit.pictures import report as page
from dupekit.pictures.gallery import Gallery
from dupekit.pictures.report import (
    ClassRow,
    Decision,
    Histogram,
    ReportValues,
    RoundRow,
    ShareRow,
    SuspectRow,
)
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.confusion import Confusion, confusion
from dupekit.rounds.rules import Rule, RuleName
from dupekit.settings import Settings
from dupekit.system import stamp
from dupekit.system.progress import Progress, stage
from dupekit.workflow.advice import standing
from dupekit.workflow.agreement import agreement
from dupekit.workflow.flag import rule_of
from dupekit.workflow.groups import twins
from dupekit.workflow.last_round import dataset_of, last_round
from dupekit.workflow.page_place import page_place, refuse_without_pictures, write_page
from dupekit.workflow.references import references
from dupekit.workflow.session import Session

BESIDE = 5
"""Typical images of each class beside a suspect."""
CANDIDATES = 40
"""Of a class, which these are chosen from: so a page has at most so many thumbnails more a class."""
LIMIT = 5000
"""Suspects in a report where nobody says how many."""
PAIRS = 30
"""Class pairs whose share found wrong is told."""
BINS = 30
"""Of the histogram of scores."""
PACKAGES = ("dupekit", "numpy", "pillow", "torch", "torchvision", "onnxruntime-gpu", "onnxruntime")
"""Whose versions a report tells, where they are installed."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A page that was written."""

    file: Path
    round: int
    suspects: int
    """In it, most suspicious first."""
    total: int
    """Of the round."""
    pictures: int
    unreadable: int
    """Images that are there with the reason in their place."""
    size_bytes: int


def report(session: Session, out: Path | None, *, limit: int = LIMIT, progress: Progress) -> Reported:
    """Writes the page, default rounds/NN/report.html; reads only, so that it may be made while a training goes on.

    Raises NothingToDo while no pair of the round is complete, UsageError where `out` is a file that dupekit did not write, or lies
    in the dataset or in a review tree, and where no image at all can be read.
    """
    with last_round(session, progress) as current:
        file = page_place(session, out, default=session.folder(current.number).path / "report.html")
        with stage(progress, "reading the ledger"):
            values = _values(session, current, limit)
        gallery = Gallery(dataset_of(session, current), session.settings.max_pixels)

    def write(out: BinaryIO) -> page.Written:
        written = page.write_report(out, values, gallery, progress=progress)
        refuse_without_pictures(gallery.dataset, pictures=written.pictures, unreadable=written.unreadable)
        return written

    written = write_page(file, write)
    return Reported(
        file=file,
        round=values.round,
        suspects=len(values.suspects),
        total=values.total,
        pictures=written.pictures,
        unreadable=written.unreadable,
        size_bytes=file.stat().st_size,
    )


def _values(session: Session, current: Round, limit: int) -> ReportValues:
    ledger, number = session.ledger, current.number
    rule = rule_of(current, session.settings)
    counted = tallies.figures(ledger, number)
    classes = _classes(session)
    labels = [one.label for one in classes]
    found = standing(session, current).found
    if found and current.closed:  # what is left of it is the next round's to say
        found = replace(found, next_batch=None, left=None, stop=False, missing=None)
    return ReportValues(
        title=f"{session.root.name}: round {number}",
        round=number,
        pairs=current.tallied_pairs,
        pairs_planned=current.pairs,
        rule=rule,
        total=tallies.count_of_round(ledger, number, rule),
        suspects=_suspects(session, current, rule, limit),
        classes=classes,
        confusion=_confusion(session, number, labels),
        votes=_votes(counted, rule, current.tallied_pairs),
        scores=_scores(counted, rule),
        found=found,
        **_accepted(convergence.acceptance(ledger), number),
        rounds=_rounds(session),
        facts=_facts(session, current),
        dataset=escape(str(dataset_of(session, current))),
    )


def _suspects(session: Session, current: Round, rule: Rule, limit: int) -> list[SuspectRow]:
    ledger, number = session.ledger, current.number
    found = tallies.suspects_of_round(ledger, number, rule, limit=limit)
    typical = references(session, number, candidates=CANDIDATES)
    decided = typical.standings.verdicts
    disputed = verdicts.disputed(ledger, number)
    others = twins(session.folder(number), [one.image for one in found])
    rows = []
    for one in found:
        verdict = decided.get(one.image)
        decision = Decision(verdict.verdict, verdict.label, one.image in disputed) if verdict else None
        given, suggested = (typical.beside(one.image, label, BESIDE) for label in (one.given, one.suggested))
        rows.append(SuspectRow(one, decision, given, suggested, others.get(one.image, [])))
    return rows


def _classes(session: Session) -> list[ClassRow]:
    return [
        ClassRow(one.label, one.images, one.agreement, one.chance, one.near_chance)
        for one in agreement(session).classes
    ]


def _confusion(session: Session, number: int, labels: list[str]) -> Confusion:
    found = predictions.confused(session.ledger, number)
    return confusion(sorted({*labels, *(one.predicted for one in found)}), found)


def _votes(counted: Figures, rule: Rule, pairs: int) -> Histogram:
    edges = np.arange(pairs + 2) - 0.5
    return _histogram(edges, counted.votes, rule.flags(counted.votes, counted.scores, counted.contradicted))


def _scores(counted: Figures, rule: Rule) -> Histogram:
    """One of its edges is 0, where the models begin to prefer another class."""
    low, high = float(counted.scores.min()), float(counted.scores.max())
    width = max((high - low) / BINS, 1e-3)
    edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    if len(edges) < 2:
        edges = np.array([0.0, width])
    return _histogram(edges, counted.scores, rule.flags(counted.votes, counted.scores, counted.contradicted))


def _histogram(edges: NDArray[Any], of: NDArray[Any], flagged: NDArray[np.bool_]) -> Histogram:
    every, some = np.histogram(of, edges)[0], np.histogram(of[flagged], edges)[0]
    return Histogram(edges.round(4).tolist(), every.tolist(), some.tolist())


def _accepted(found: Acceptance | None, number: int) -> dict[str, list[ShareRow]]:
    """What people made of this round's suggestions."""
    if found is None or found.round != number:
        return {"by_votes": [], "by_pair": []}
    return {
        "by_votes": [ShareRow(str(one.votes), one.reviewed, one.accepted) for one in found.by_votes],
        "by_pair": [
            ShareRow(f"{one.given} → {one.suggested}", one.reviewed, one.accepted)
            for one in found.by_pair[:PAIRS]
        ],
    }


def _rounds(session: Session) -> list[RoundRow]:
    settings = session.settings
    agreed = {one.round: one.agreement for one in counted_agreement.by_round(session.ledger)}
    return [
        RoundRow(
            round=one.round,
            images=one.images,
            pairs=one.pairs,
            rule="score" if one.rule.name is RuleName.SCORE else f"votes, {one.rule.threshold}",
            suspects=one.suspects,
            reviewed=one.reviewed,
            wrong=one.accepted,
            share=one.share,
            agreement=agreed.get(one.round),
        )
        for one in convergence.by_round(session.ledger, lambda found: rule_of(found, settings))
    ]


def _facts(session: Session, current: Round) -> list[tuple[str, list[tuple[str, str]]]]:
    runs = rounds.runs(session.ledger, current.number)
    seconds = sum(run.seconds or 0 for run in runs)
    about = [
        ("project", escape(str(session.root))),
        ("dataset", escape(str(dataset_of(session, current)))),
        ("round begun", stamp.in_words(current.begun)),
        ("report made", stamp.in_words(stamp.now())),
        ("images in the round", f"{current.images:,}"),
        ("pairs", f"{current.tallied_pairs} of {current.pairs}"),
        ("time of all runs", f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"),
    ]
    settings = {name: value for name, value in current.plan.items() if name not in ("view", "imported")}
    plan = [(name, _shown(value)) for name, value in _flat(settings)]
    if current.plan.get("imported"):
        plan = [("imported", file["name"]) for file in current.plan["imported"]["files"]]
    return [
        ("This report", about),
        ("Settings of the round", plan),
        *_class_view(rounds.view_of(current)),
        ("Settings of the project", _project_settings(session.settings)),
        ("Versions", _versions()),
    ]


def _class_view(view: ClassView | None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if view is not None:
        rows = [(name, ", ".join(labels)) for name, labels in view.combined.items()]
        left_out = ", ".join(view.left_out) or "none"
        yield f"Class view, by the column {view.column}: trained as", [*rows, ("left out", left_out)]


def _project_settings(settings: Settings) -> list[tuple[str, str]]:
    return [(name, _shown(value)) for name, value in settings.model_dump(mode="json").items()]


def _flat(values: dict[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _shown(value: object) -> str:
    return "–" if value is None or value == {} else str(value)


def _versions() -> list[tuple[str, str]]:
    found = [("Python", platform.python_version()), ("system", platform.platform())]
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found
