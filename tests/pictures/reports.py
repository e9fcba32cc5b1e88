"""Reports of made-up values: many suspects, and names that are markup."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dupekit.files.paths import real_path
from dupekit.pictures.gallery import Gallery
from dupekit.pictures.report import (
    ClassRow,
    Decision,
    Histogram,
    ReportValues,
    RoundRow,
    ShareRow,
    SuspectRow,
    write_report,
)
from dupekit.rounds.confusion import Confusion
from dupekit.rounds.references import Reference
from dupekit.rounds.rules import Rule, RuleName, Suspect

PAIRS = 10
DECISIONS = (
    None,
    Decision("correct", "", False),
    Decision("relabel", "suggested", False),
    Decision("expunge", "", False),
    Decision("unsure", "", True),
)
"""What was decided on the suspects, in turn; "suggested" stands for that label."""


def made_up(
    folder: Path, *, suspects: int, labels: Sequence[str], images: int = 600, seed: int = 0
) -> ReportValues:
    """A report whose suspects take turns with so many images, made in `folder`; `suspects` may be 0."""
    rng = np.random.default_rng(seed)
    pictures = [picture_file(folder, number, rng) for number in range(images)]
    rows = []
    for number in range(suspects):
        path, digest = pictures[number % images]
        given, suggested = labels[number % len(labels)], labels[(number * 7 + 1) % len(labels)]
        votes = PAIRS - number * PAIRS // max(suspects, 1)
        one = Suspect(number, path, digest, given, suggested, votes, 9 - number / 1000, 0.02, 0.9)
        decision = DECISIONS[number % len(DECISIONS)]
        if decision and decision.label == "suggested":
            decision = Decision("relabel", suggested, False)
        beside = [
            [Reference(0, *pictures[(number + place + side) % images], label, place == 0, 0.9) for place in range(5)]
            for side, label in ((1, given), (9, suggested))
        ]  # fmt: skip
        rows.append(SuspectRow(one, decision, *beside))
    counts = rng.integers(0, 20, (len(labels), len(labels)))
    np.fill_diagonal(counts, 400)
    return ReportValues(
        title="made up: round 1",
        round=1,
        pairs=PAIRS,
        pairs_planned=PAIRS,
        rule=Rule(RuleName.SCORE, 8),
        total=suspects,
        suspects=rows,
        classes=[ClassRow(label, 40, 0.8, 0.1, False) for label in labels],
        confusion=Confusion(list(labels), counts),
        votes=Histogram([-0.5, 0.5, 1.5], [9, 1], [0, 1]),
        scores=Histogram([-1.0, 0.0, 1.0], [9, 1], [0, 1]),
        found=None,
        by_votes=[ShareRow("10", 4, 3)],
        by_pair=[ShareRow(f"{labels[0]} → {labels[-1]}", 4, 3)],
        rounds=[RoundRow(1, 400, PAIRS, "score", suspects, 0, 0, None, 0.8)],
        facts=[("Settings", [("trainer", labels[0])])],
        dataset=str(folder),
    )


def written(folder: Path, values: ReportValues) -> Path:
    """The page of these values."""
    page = folder / "report.html"
    with page.open("wb") as out:
        write_report(out, values, Gallery(folder))
    return page


def picture_file(folder: Path, number: int, rng: np.random.Generator) -> tuple[str, str]:
    path = f"{number:04}.png"
    file = real_path(folder, path)
    side = int(rng.integers(20, 60))
    Image.fromarray(rng.integers(0, 256, (side, side + number % 9), dtype=np.uint8)).save(file)
    return path, hashlib.sha256(file.read_bytes()).hexdigest()
