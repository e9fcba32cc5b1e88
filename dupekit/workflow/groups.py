"""Near-duplicates: found before a round's first split, so that they stay in one half; and shown beside each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from dupekit.dataset.cache import Cache
from dupekit.errors import JobError
from dupekit.jobs.folder import Plan, RoundFolder
from dupekit.jobs.images import RoundImages
from dupekit.ledger.images import ClassSize
from dupekit.rounds.near_duplicates import SQUARE_PX, Twin, comparable, near_duplicates
from dupekit.system.progress import Progress
from dupekit.workflow.plan import Work, refuse_few_classes
from dupekit.workflow.session import Session


def with_groups(session: Session, work: Work, progress: Progress) -> Work:
    """The work with the groups that its images form; unchanged where its plan asks for none, or they are known: of a round that
    was begun they are made again only where images.npz was lost.

    Classes that then have fewer than `class_min` groups cannot be split, and are left out. Raises DatasetError where fewer than
    two are left, DatasetChanged where a file is not what the last scan saw.
    """
    if not (work.plan.near_duplicates and work.todo) or work.of_round.groups is not None:
        return work
    if not work.begins:
        ensure_groups(session, work.folder, work.plan, progress)
        return replace(work, of_round=work.folder.of_round)
    of_round, small = _without_small(_grouped(session, work.of_round, progress), work.plan.class_min)
    refuse_few_classes(of_round.classes, work.plan.class_min, work.plan.view)
    return replace(
        work,
        of_round=of_round,
        not_assessable=sorted([*work.not_assessable, *small], key=lambda one: one.name),
    )


def ensure_groups(session: Session, folder: RoundFolder, plan: Plan, progress: Progress) -> None:
    """Sees to it that the images of a round that was begun are in groups again where images.npz was written anew, if its plan
    asks for groups. Raises DatasetChanged where a file is not what the last scan saw."""
    if plan.near_duplicates and folder.of_round.groups is None:
        folder.write_images(_grouped(session, folder.of_round, progress))


def _grouped(session: Session, of_round: RoundImages, progress: Progress) -> RoundImages:
    images = of_round.as_images()
    cache = Cache(session.root / "cache", max_pixels=session.settings.max_pixels)
    compared = images.take(comparable(images.sizes, images.digests))
    squares = cache.pixels(compared, size_px=SQUARE_PX, channels=1, fit="shrink", progress=progress)
    groups = near_duplicates(squares, images.sizes, images.digests, progress)
    return replace(of_round, groups=groups)


def twins(folder: RoundFolder, images: Collection[int]) -> dict[int, list[Twin]]:
    """Image, by its number in the ledger -> the others of its group, identical ones first, where there are any. Without their file
    nothing is known of them."""
    try:
        of_round = folder.of_round
    except JobError:
        return {}
    groups, ids = of_round.group_numbers, of_round.ids
    rows = np.flatnonzero(np.isin(ids, np.fromiter(images, np.int64, len(images))))
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], groups[rows], side="left")
    end = np.searchsorted(groups[order], groups[rows], side="right")
    found = {}
    for row, start, stop in zip(rows.tolist(), first.tolist(), end.tolist(), strict=True):
        others = [other for other in order[start:stop].tolist() if other != row]
        same = [of_round.digests[other] == of_round.digests[row] for other in others]
        both = sorted(zip(others, same, strict=True), key=lambda one: not one[1])
        if both:
            found[int(ids[row])] = [
                Twin(of_round.paths[other], of_round.paths[other].partition("/")[0], identical)
                for other, identical in both
            ]
    return found


def _without_small(of_round: RoundImages, class_min: int) -> tuple[RoundImages, list[ClassSize]]:
    """The images of classes with at least `class_min` groups, and the other classes."""
    labels, groups = of_round.labels, of_round.group_numbers
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    count = np.bincount(pairs[0], minlength=len(of_round.classes))
    images = np.bincount(labels, minlength=len(of_round.classes))
    small = [
        ClassSize(of_round.classes[at], int(images[at]), int(count[at]))
        for at in np.flatnonzero(count < class_min).tolist()
    ]
    if not small:
        return of_round, []
    classes, rows = np.flatnonzero(count >= class_min), np.flatnonzero((count >= class_min)[labels])
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    kept = replace(
        of_round,
        classes=[of_round.classes[at] for at in classes.tolist()],
        folders=of_round.folders and [of_round.folders[at] for at in classes.tolist()],
        ids=of_round.ids[rows],
        paths=of_round.paths.take(rows),
        digests=of_round.digests.take(rows),
        sizes=of_round.sizes[rows],
        labels=np.searchsorted(classes, labels[rows]).astype(np.int32),
        groups=first[group],
    )
    return kept, small
