"""Where a comparison of two trainings is unfair, or shows little: said in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dupekit.rounds.in_words import counted

FEW = 5
"""Test images of a class, of which each then decides over a fifth of its recall."""
SHOWN = 3
"""Classes that are named."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What was compared; arrays with a number a class."""

    classes: Sequence[str]
    images_before: NDArray[np.integer]
    images_after: NDArray[np.integer]
    tested: NDArray[np.integer]
    undecided: int | None
    """Suspects without a verdict, where the test images are those that nobody disputed."""
    relabelled: int
    expunged: int
    overruled: int
    """Test images under a label that the review has taken from their content."""


def warnings(one: Setting) -> list[str]:
    """A sentence or two each, the gravest first."""
    return list(_warnings(one))


def _warnings(one: Setting) -> Iterator[str]:
    before, after, tested = (np.asarray(a) for a in (one.images_before, one.images_after, one.tested))
    if not one.relabelled and not one.expunged:
        yield (
            "Both trained on the same images and labels: what the review changed was kept out for the test, or is not"
            " in the round. The figures compare nothing."
        )
    if one.overruled:
        yield (
            f"{counted(one.overruled, 'test image')} {_have(one.overruled)} a label that the review found wrong. That favours the"
            " models from before. Correct the test folder, too."
        )
    if one.undecided is not None:
        yield f"{_chosen_by_review(one.undecided)} A folder of images with labels that you trust says more: --test FOLDER"
    new, lost = (before == 0) & (after > 0), (before > 0) & (after == 0)
    if new.any():
        yield f"Only the corrected dataset has {_named(one.classes, new)}: models from before cannot predict that."
    if lost.any():
        yield f"Only the original has {_named(one.classes, lost)}: models from after cannot predict that."
    gained = (before > 0) & (after >= 2 * before)
    shrunk = (after > 0) & (2 * after <= before)
    if gained.any():
        yield f"{_sentence(_named(one.classes, gained))} at least doubled: the meaning may have changed."
    if shrunk.any():
        yield f"{_sentence(_named(one.classes, shrunk))} lost half or more of the images."
    if one.expunged:
        yield (
            f"{counted(one.expunged, 'image')} {'was' if one.expunged == 1 else 'were'} expunged: the models from after have seen"
            " fewer."
        )
    untested = (tested == 0) & ((before > 0) | (after > 0))
    few = (tested > 0) & (tested < FEW)
    if untested.any():
        yield f"No test image is of {_named(one.classes, untested)}: nothing is known of that."
    if few.any():
        yield (
            f"Fewer than {FEW} test images each are of {_named(one.classes, few)}. The figures of such a class say next to nothing, and"
            " weigh in balanced accuracy and macro-F1 as much as any other's."
        )


def _chosen_by_review(undecided: int) -> str:
    said = "The test images are those whose label nobody disputed."
    if undecided:
        return (
            f"{said} {counted(undecided, 'suspect')} without a verdict {'is' if undecided == 1 else 'are'} not among them: the change"
            " may be larger than it looks."
        )
    return f"{said} Suspects that were confirmed are among them, what was relabelled is not: the change may be smaller than it looks."


def _named(classes: Sequence[str], which: NDArray[np.bool_]) -> str:
    """As in "the class a", "the classes a and b", "30 classes (a, b, c ...)"."""
    names = [classes[at] for at in np.flatnonzero(which).tolist()]
    if len(names) == 1:
        return f"the class {names[0]}"
    if len(names) <= SHOWN:
        return f"the classes {', '.join(names[:-1])} and {names[-1]}"
    return f"{len(names):,} classes ({', '.join(names[:SHOWN])} ...)"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
