"""What an evaluation trains on, before and after a correction, and what it tests with: the images of a round, and those of a
test folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dupekit.dataset.columns import DigestColumn, TextColumn
from dupekit.dataset.scan import Content, list_dataset, read_files
from dupekit.errors import DatasetError, NothingToDo, UsageError
from dupekit.files.names import escape, sort_key
from dupekit.files.paths import absolute
from dupekit.jobs.evaluation import Arm, EvaluationPlan, LeftOut, Trial
from dupekit.jobs.images import RoundImages
from dupekit.ledger import applications, standing
from dupekit.ledger.rounds import Round
from dupekit.review.verdicts import Verdict
from dupekit.rounds.class_view import ClassView
from dupekit.rounds.holdout import FOLDS, Folds, folds
from dupekit.rounds.split import seed_for
from dupekit.system.progress import Progress
from dupekit.workflow.flag import rule_of
from dupekit.workflow.session import Session

_TEST = 3  # what a seed is drawn for


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A round's images, and what its correction made of their labels."""

    images: RoundImages
    given: list[str]
    """As they are trained."""
    label: list[str | None]
    """After it; None: expunged, or of a class that the round leaves out."""
    view: ClassView | None

    def trained_as(self, label: str) -> str | None:
        """The class that one of the dataset's is trained as, also one that is new; None: the round leaves it out."""
        known = self.view.classes if self.view else {}
        return known.get(label, label)

    def classes(self, more: Sequence[str] = ()) -> list[str]:
        return sorted({label for label in (*self.given, *self.label, *more) if label}, key=sort_key)

    def file(
        self, labels: Sequence[str | None], classes: Sequence[str], test: TestFolder | None
    ) -> RoundImages:
        """The images that have a label, then those that test."""
        number = {label: at for at, label in enumerate(classes)}
        rows = np.array([at for at, label in enumerate(labels) if label is not None], np.int64)
        images = self.images
        if test is None and len(rows) == len(images):
            own = np.array([number[label] for label in labels if label is not None], np.int32)
            return replace(images, classes=list(classes), folders=None, labels=own, groups=None)
        more = test or TestFolder([], [], [], [], [])
        return RoundImages(
            dataset=images.dataset,
            movable=images.movable,
            classes=list(classes),
            folders=None,
            ids=np.concatenate([images.ids[rows], self.numbers_for(test)]),
            paths=TextColumn.of(chain(images.paths.take(rows), more.paths)),
            digests=DigestColumn.of(chain(images.digests.take(rows), more.digests)),
            sizes=np.concatenate([images.sizes[rows], np.array(more.sizes, np.int32).reshape(-1, 2)]),
            labels=np.array(
                [number[label] for label in chain(labels, more.labels) if label is not None], np.int32
            ),
        )

    def numbers_for(self, test: TestFolder | None) -> NDArray[np.int64]:
        """Numbers that no image of the round has."""
        first = int(self.images.ids[-1]) + 1
        return np.arange(first, first + len(test.paths) if test else first)


@dataclass(frozen=True, slots=True, eq=False)
class TestFolder:
    """The images of a test folder that can test, as columns."""

    __test__ = False  # for pytest, which would take it for a test

    paths: list[str]
    """Absolute, escaped."""
    digests: list[str]
    sizes: list[tuple[int, int]]
    labels: list[str]
    left_out: list[LeftOut]


@dataclass(frozen=True, slots=True, eq=False)
class Arms:
    """What is trained and tested, and how much of it there is."""

    trial: Trial
    sizes: dict[Arm, NDArray[np.int64]]
    """Of each class: images that can be trained on."""
    overlap: float
    """As of `rounds.comparison.compare`."""
    kept_out: int
    relabelled: int
    expunged: int
    overruled: int
    """Test images under a label that the review has taken from their content."""
    undecided: int | None
    """Suspects without a verdict, where the test images are those that nobody disputed."""
    left_out: list[LeftOut]


def corrected(session: Session, number: int, of_round: RoundImages, view: ClassView | None) -> Corrected:
    """Raises NothingToDo where no label is another than before."""
    made = applications.labels(session.ledger, number)
    given = [of_round.classes[label] for label in of_round.labels.tolist()]
    found = Corrected(of_round, given, list(given), view)
    for row, key in enumerate(zip(of_round.digests, of_round.given, strict=True)):
        if key in made:
            label = made[key]
            found.label[row] = found.trained_as(label) if label else None
    if found.label == given:
        raise NothingToDo(
            f"The corrected dataset of round {number} is as the original: no label was changed{', as the round trains them' if made else ''}.",
            hint="There is something to compare once the review has found a wrong label and `dupekit apply` was run.",
        )
    return found


def undisputed(session: Session, current: Round, found: Corrected, plan: EvaluationPlan) -> Arms:
    """Tested with the round's own images, of which none is a suspect or was decided to be wrong, nor is a copy of such a one.

    Raises NothingToDo where there are too few.
    """
    images = found.images
    disputed = _disputed(session, current, images)
    sure = ~disputed.images
    labels, groups = images.labels, images.group_numbers

    @cache
    def dealt(rotation: int) -> Folds:
        return folds(labels, groups, sure, seed=seed_for(plan.seed, current.number, _TEST, rotation))

    tested = dealt(0).tested
    if len(np.unique(labels[tested])) < 2:
        raise NothingToDo(
            f"Only {int(sure.sum()):,} of the {len(labels):,} images of round {current.number} have a label that nobody disputed:"
            " too few of two classes to test with.",
            hint="Name a folder of images whose labels you trust, a sub-folder a class: --test FOLDER",
        )
    numbers = images.ids

    def held_out(seed: int) -> NDArray[np.int64]:
        rotation, fold = divmod(seed - 1, FOLDS)  # with more seeds the same images are dealt anew
        kept_out: NDArray[np.int64] = numbers[dealt(rotation).fold == fold]
        return kept_out

    classes = found.classes()
    of_class = np.array([classes.index(name) for name in images.classes])
    held = len(held_out(1))
    return _arms(
        found,
        plan,
        {Arm.BEFORE: found.given, Arm.AFTER: found.label},
        held_out,
        numbers[tested],
        of_class[labels[tested]],
        None,
        overlap=held / (len(labels) - held),
        undecided=disputed.undecided,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Disputed:
    images: NDArray[np.bool_]
    """A mask of the round's images."""
    undecided: int
    """Of these, suspects without a verdict, or with one of somebody who was unsure."""


def _disputed(session: Session, current: Round, images: RoundImages) -> _Disputed:
    counted = standing.standings(session.ledger, current.number)
    disputed = np.ones(len(images), bool)  # of what was not counted nothing is known
    suspect = rule_of(current, session.settings).flags(counted.votes, counted.scores, counted.contradicted)
    suspect &= ~counted.ignored
    disputed[np.isin(images.ids, counted.images[~suspect])] = False
    wrong = [image for image, one in counted.verdicts.items() if one.verdict is not Verdict.CORRECT]
    disputed[np.isin(images.ids, wrong)] = True
    decided = [image for image in wrong if counted.verdicts[image].verdict is not Verdict.UNSURE]
    undecided = suspect & ~np.isin(counted.images, decided)
    return _Disputed(disputed, int(undecided.sum()))


def with_folder(found: Corrected, test: TestFolder, plan: EvaluationPlan) -> Arms:
    """Tested with a folder; what of the round is in it, or like an image of it, is kept out of all trainings.

    Raises UsageError where that is most of the round.
    """
    images, contents = found.images, set(test.digests)
    groups = images.group_numbers
    same = np.array([digest in contents for digest in images.digests], bool)
    out = np.isin(groups, groups[same])
    if out.sum() > len(out) / 2:
        raise UsageError(
            f"--test: {int(out.sum()):,} of the {len(out):,} images of the dataset lie in that folder, too. What tests is not trained on, and"
            " little would be left.",
            hint="Name a folder of other images, or leave --test out.",
        )
    numbers = found.numbers_for(test)
    classes = found.classes(test.labels)
    labels = {
        arm: [None if kept_out else label for label, kept_out in zip(of_arm, out.tolist(), strict=True)]
        for arm, of_arm in ((Arm.BEFORE, found.given), (Arm.AFTER, found.label))
    }
    truth = np.array([classes.index(label) for label in test.labels], np.int64)
    return _arms(found, plan, labels, lambda _: numbers, numbers, truth, test, overlap=0.0, undecided=None)


def _arms(
    found: Corrected,
    plan: EvaluationPlan,
    labels: Mapping[Arm, Sequence[str | None]],
    held_out: Callable[[int], NDArray[np.int64]],
    tested: NDArray[np.int64],
    truth: NDArray[np.int64],
    test: TestFolder | None,
    *,
    overlap: float,
    undecided: int | None,
) -> Arms:
    classes = found.classes(test.labels if test else ())
    before, after = labels[Arm.BEFORE], labels[Arm.AFTER]
    taken = {
        (digest, old)
        for digest, old, new in zip(found.images.digests, found.given, found.label, strict=True)
        if old != new
    }
    return Arms(
        Trial(plan, {arm: found.file(labels[arm], classes, test) for arm in Arm}, held_out, tested, truth),
        sizes={arm: _sizes(labels[arm], classes) for arm in Arm},
        overlap=overlap,
        kept_out=sum(old is None for old in before),
        relabelled=sum(new is not None and old != new for old, new in zip(before, after, strict=True)),
        expunged=sum(old is not None and new is None for old, new in zip(before, after, strict=True)),
        overruled=sum(key in taken for key in zip(test.digests, test.labels, strict=True)) if test else 0,
        undecided=undecided,
        left_out=test.left_out if test else [],
    )


def _sizes(labels: Sequence[str | None], classes: Sequence[str]) -> NDArray[np.int64]:
    number = {label: at for at, label in enumerate(classes)}
    return np.bincount([number[label] for label in labels if label is not None], minlength=len(classes))


def read_folder(folder: Path, session: Session, found: Corrected, progress: Progress) -> TestFolder:
    """The images of a folder whose sub-folders are the dataset's classes. Raises DatasetError where it has none of two of them."""
    folder = absolute(folder)
    try:
        listing = list_dataset(folder, follow_symlinks=session.settings.follow_symlinks)
    except DatasetError as error:
        raise DatasetError(f"--test: {error.message}", hint=error.hint) from None
    contents: list[Content] = []
    for content in read_files(folder, listing.files, max_pixels=session.settings.max_pixels):
        if len(contents) % 64 == 0:
            progress("reading the test images", len(contents), len(listing.files))
        contents.append(content)
    progress("reading the test images", len(contents), len(listing.files))
    reasons = _reasons(contents, found)
    tested = [content for content in contents if content.file.path not in reasons]
    trained = (found.trained_as(content.file.label) for content in tested)
    labels = [label for label in trained if label is not None]  # the others have a reason
    left_out = [LeftOut(path=path, reason=reason) for path, reason in sorted(reasons.items())]
    if len(set(labels)) < 2:
        usable = f"only those of {labels[0]}" if labels else "none"
        example = f" {left_out[0].path}: {left_out[0].reason}." if left_out else ""
        raise DatasetError(
            f"--test: of the {len(contents):,} images in {escape(str(folder))} {usable} can test; two classes of the dataset are"
            f" needed.{example}",
            hint="Its folders must be named as the dataset's, and hold images of their own.",
        )
    return TestFolder(
        [f"{escape(str(folder))}/{content.file.path}" for content in tested],
        [content.digest for content in tested],
        [(content.width, content.height) for content in tested],
        labels,
        left_out,
    )


def _reasons(contents: Sequence[Content], found: Corrected) -> dict[str, str]:
    """Path -> why the image cannot test."""
    reasons = {}
    classes = set(found.classes())
    labels: dict[str, set[str]] = defaultdict(set)
    for content in contents:
        label = found.trained_as(content.file.label)
        if label is None:
            reasons[content.file.path] = f"the round leaves the class {content.file.label} out"
        elif label not in classes:
            reasons[content.file.path] = f"the dataset has no class {content.file.label}"
        elif content.problem:
            reasons[content.file.path] = content.problem
        else:
            labels[content.digest].add(label)
    seen: set[str] = set()
    for content in contents:
        if content.file.path in reasons:
            continue
        if len(labels[content.digest]) > 1:
            reasons[content.file.path] = "the same image lies in two classes"
        elif content.digest in seen:
            reasons[content.file.path] = "a copy of another one there"
        seen.add(content.digest)
    return reasons
