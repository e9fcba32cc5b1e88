"""What somebody asks of an export: which images go out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from dupekit.errors import UsageError
from dupekit.review.style import Order, Style


class Again(StrEnum):
    """What is shown once more, by what was decided."""

    CORRECT = "correct"
    RELABEL = "relabel"
    EXPUNGE = "expunge"
    UNSURE = "unsure"
    ALL = "all"
    DISPUTED = "disputed"
    """By two people, differently: goes to one who decides."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images go out; where nothing is said, the next batch."""

    limit: int | None = None
    """So many suspects. None: as the setting `batch` says; by the rule `votes` all."""
    everything: bool = False
    """All suspects that wait."""
    audit: int = 0
    """So many images more, drawn from those that are no suspects."""
    again: Collection[str] = ()
    """No suspects, but what has these verdicts: words of `Again`."""
    sample: int | None = None
    """Of these only so many, at random."""


def checked(selection: Selection, style: Style) -> frozenset[Again]:
    """What is to be shown again. Raises UsageError for numbers that cannot be, and options that make no sense together."""
    _check_numbers(selection, style)
    try:
        again = frozenset(map(Again, selection.again))
    except ValueError as error:
        raise UsageError(
            f"There is no verdict {str(error).split(' is not')[0]} to show again.",
            hint=f"Valid are: {', '.join(Again)}; several are separated by commas.",
        ) from None
    batch = selection.limit is not None or selection.everything or selection.audit > 0
    if selection.everything and selection.limit is not None:
        raise UsageError(
            "`--limit` names a number of suspects, and `--all` means every one.",
            hint="Name one of the two only.",
        )
    if selection.sample is not None and not again:
        raise UsageError(
            "`--sample` draws from what was decided, so it goes with `--again`.",
            hint="A random share of all decisions: `--again all --sample N`. Fewer suspects: `--limit N`.",
        )
    if again and batch:
        raise UsageError(
            "`--again` shows what was decided; `--limit`, `--all` and `--audit` choose from the rest.",
            hint="Export twice, or say how many with `--sample N`.",
        )
    if again and style.order is Order.RANK:
        raise UsageError(
            "What is shown again comes in random order, so that nothing tells what was decided.",
            hint="Leave `--order rank` out.",
        )
    if Again.DISPUTED in again and len(again) > 1:
        raise UsageError(
            "What is disputed goes to one who decides, and other verdicts go to a second opinion.",
            hint="Export twice: `--again disputed`, and the others.",
        )
    return again


def _check_numbers(selection: Selection, style: Style) -> None:
    if selection.audit < 0:
        raise UsageError(f"An audit of {selection.audit} images cannot be.", hint="Name a number from 0.")
    if selection.limit is not None and selection.limit < (0 if selection.audit else 1):
        raise UsageError(
            f"A batch of {selection.limit} images cannot be.",
            hint="Name a number from 1. `--limit 0 --audit N` exports an audit alone.",
        )
    if selection.sample is not None and selection.sample < 1:
        raise UsageError(f"A sample of {selection.sample} images cannot be.", hint="Name a number from 1.")
    if style.enlarge is not None and style.enlarge < 1:
        raise UsageError(
            f"Copies cannot be enlarged {style.enlarge} times.", hint="Name a whole number from 1, or auto."
        )
