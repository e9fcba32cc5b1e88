"""What the methods of Project give back: plain values, one class a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dupekit.correct.placements import Correction
from dupekit.correct.resolve import Unapplied
from dupekit.ledger import convergence, review, rounds
from dupekit.review.manifest import Manifest
from dupekit.review.verdicts import Review, Verdict
from dupekit.rounds.rules import Dupe
from dupekit.workflow.runs import Plan


@dataclass(frozen=True, slots=True)
class Trained:
    """What `train` did, or with `dry_run` would do."""

    round: int
    begun: bool
    """Whether this call began the round."""
    plan: Plan
    chosen: bool
    """Whether the trainer was chosen by the machine, not named."""
    executor: str
    device: str
    images: int
    classes: int
    pairs: int
    """Planned."""
    todo: list[str]
    """Runs that were missing when it began."""
    failed: list[tuple[str, str]]
    """Run and error."""
    not_assessable: list[tuple[str, int]]
    agreement: float | None
    """Mean over the round's runs of the share of predictions that equal the given label."""


@dataclass(frozen=True, slots=True)
class Status:
    """Where the project stands. What belongs to a round is None or empty before the first."""

    dataset: str
    images: int
    classes: int
    problems: int
    round: rounds.Round | None
    runs: list[rounds.Run]
    pairs_done: int
    flags: int
    exports: list[review.Export]
    verdicts: dict[str, int]
    unapplied: list[Unapplied]
    """Decisions of the open round that `apply` does not make, for the dataset is not what was decided on any more."""
    ignored: int
    applications: list[tuple[str, str, str]]
    rounds: list[convergence.RoundFigures]
    acceptance: convergence.Acceptance | None
    """Of the last round that is reviewed, wholly or in part."""


@dataclass(frozen=True, slots=True)
class Flagged:
    round: int
    pairs: int
    """Complete pairs, so also the largest number of votes there can be."""
    pairs_planned: int
    threshold: int
    dupes: list[Dupe]
    """Most suspicious first."""
    ignored: int
    """How many more reach the threshold but are on the ignore list."""
    outdated: int
    """Images of the round that are gone or changed since; they are not flagged."""


@dataclass(frozen=True, slots=True)
class Exported:
    round: int
    tree: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Collected:
    round: int
    tree: Path
    review: Review
    changed: list[Verdict]
    """The verdicts that differ from what was recorded of this tree before."""
    overruled: list[Verdict]
    """Those that do not count, for a later collect of another tree decided otherwise."""
    closed: bool
    """Whether the round has ended, so that its labels are not applied any more."""
    too_late: list[Verdict]
    """Where the round has ended: those that are otherwise than what was applied."""
    events: int
    """New ones in the tree's own event log."""
    remarks: list[str]
    """For the person who collects: what is odd about the tree, and what does not count. Decides nothing."""


@dataclass(frozen=True, slots=True)
class Applied:
    round: int
    destination: Path
    files: int
    corrections: list[Correction]
    patch: Path
    unread: list[str]
    """Images that the file system did not let the last scan read: they are not in the corrected dataset."""
    unapplied: list[Unapplied]
    """Decisions that change nothing, for the dataset is not what was decided on any more."""

    @property
    def expunged(self) -> list[Correction]:
        """Of the corrections those that drop an image."""
        return [correction for correction in self.corrections if not correction.new_label]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did to the ignore list."""

    added: int
    known: int
    """Were on the list already."""
    unknown_labels: dict[str, int]
    """Label that is no class of this dataset -> its entries, which are on the list all the same."""
