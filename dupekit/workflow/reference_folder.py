"""The references that a review tree takes along, in `.dupekit/reference/`: as many as fit, and none rather than no tree."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dupekit.ledger import images, predictions
from dupekit.pictures.gallery import Gallery, Picture
from dupekit.pictures.thumbnails import Thumbnail
from dupekit.review.manifest import Manifest
from dupekit.review.reference_index import Beside, ReferenceIndex, ReferenceThumbnail, write_index
from dupekit.rounds.confusion import confusion
from dupekit.rounds.references import Reference
from dupekit.system.progress import Progress, stage
from dupekit.workflow.references import References, references
from dupekit.workflow.session import Session

SIDE_PX = 160
TYPICAL, BESIDE, ALIKE, CONFUSED = 8, 5, 6, 3
"""So many typical images a class; beside each image, of each of its two classes; look-alikes; and classes that it is confused
with."""
CANDIDATES = 16
"""What stands beside an image is chosen from so many typical ones: its class's pictures, and as many again."""
ALL_CLASSES = 150
"""Up to so many classes all have their typical images along; of more those that are concerned."""
MANY = 1000
"""In a larger tree look-alikes are sought among the pictures that are there already."""
MAX_BYTES = 10 * 2**20
"""Of all pictures; the last ones are left out."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be shown, before it is known which pictures can be made."""

    classes: dict[str, list[Reference]]
    given: dict[str, list[Reference]] = field(default_factory=dict)
    """By the path in the tree, as the following."""
    suggested: dict[str, list[Reference]] = field(default_factory=dict)
    alike: dict[str, list[Reference]] = field(default_factory=dict)

    def in_order(self) -> Iterator[Reference]:
        """The most needed first."""
        for part in (self.classes, self.given, self.suggested, self.alike):
            for found in part.values():
                yield from found


def write_references(folder: Path, session: Session, manifest: Manifest, *, progress: Progress) -> None:
    """Makes `folder` with the references of a tree. Where anything is in the way it is left out, and nothing else fails."""
    try:
        folder.mkdir()
        with stage(progress, "choosing references"):
            wanted = _wanted(session, manifest)
        made = _pictures(folder, session, wanted.in_order(), progress)
        write_index(folder, _index(wanted, made))
    except Exception as error:  # whatever it is: the tree does without
        _log.warning("The review tree has no reference pictures: %s", error)
        shutil.rmtree(folder, ignore_errors=True)


def _wanted(session: Session, manifest: Manifest) -> _Wanted:
    # Nothing of the tree stands as a reference in it: that would tell what others decided, or which images are of an audit.
    numbers = images.numbers(session.ledger, [file.original for file in manifest.files])
    found = references(session, manifest.round, candidates=CANDIDATES, without=list(numbers.values()))
    wanted = _Wanted({label: found.typical(label, TYPICAL) for label in _classes(session, manifest)})
    for file in manifest.files:
        number = numbers[file.original]
        wanted.given[file.path] = found.beside(number, file.given, BESIDE)
        wanted.suggested[file.path] = found.beside(number, file.suggested, BESIDE)
    wanted.alike.update(_alike(found, numbers, manifest, wanted))
    return wanted


def _alike(
    found: References, numbers: dict[str, int], manifest: Manifest, wanted: _Wanted
) -> Iterator[tuple[str, list[Reference]]]:
    among = {one.image for one in wanted.in_order()} if len(manifest.files) > MANY else None
    alike = found.all_alike(list(numbers.values()), ALIKE, among=among)
    for file in manifest.files:
        yield file.path, alike.get(numbers[file.original], [])


def _classes(session: Session, manifest: Manifest) -> list[str]:
    """Whose typical images go along: those of the tree first."""
    own = dict.fromkeys(label for file in manifest.files for label in (file.given, file.suggested))
    names = images.class_names(session.ledger)
    if len(names) <= ALL_CLASSES:
        return [*dict.fromkeys([*own, *names])]
    found = confusion(names, predictions.confused(session.ledger, manifest.round))
    return [*dict.fromkeys([*own, *(other for label in own for other in found.usual(label, CONFUSED))])]


def _pictures(
    folder: Path, session: Session, wanted: Iterable[Reference], progress: Progress
) -> dict[str, Thumbnail]:
    """Writes the pictures, as far as there is room; digest -> what was made of it."""
    chosen = list({one.digest: Picture(one.path, one.digest) for one in wanted}.values())
    gallery = Gallery(session.dataset, session.settings.max_pixels)
    made: dict[str, Thumbnail] = {}
    left = MAX_BYTES
    for one, picture in zip(
        chosen, gallery.thumbnails(chosen, side_px=SIDE_PX, progress=progress), strict=False
    ):
        if isinstance(picture, Thumbnail):
            left -= len(picture.content)
            if left < 0:
                break
            (folder / _name(one.digest)).write_bytes(picture.content)
            made[one.digest] = picture
    return made


def _index(wanted: _Wanted, made: dict[str, Thumbnail]) -> ReferenceIndex:
    known: dict[tuple[str, str], int] = {}
    thumbnails: list[ReferenceThumbnail] = []
    for one in wanted.in_order():
        picture = made.get(one.digest)
        if picture and (one.digest, one.label) not in known:
            known[one.digest, one.label] = len(thumbnails)
            thumbnails.append(
                ReferenceThumbnail(
                    file=_name(one.digest),
                    label=one.label,
                    confirmed=one.confirmed,
                    width=picture.width,
                    height=picture.height,
                )
            )

    def numbers(found: list[Reference]) -> list[int]:
        return [known[one.digest, one.label] for one in found if (one.digest, one.label) in known]

    return ReferenceIndex(
        thumbnails=thumbnails,
        classes={label: numbers(found) for label, found in wanted.classes.items()},
        beside={
            path: Beside(
                given=numbers(given),
                suggested=numbers(wanted.suggested[path]),
                alike=numbers(wanted.alike[path]),
            )
            for path, given in wanted.given.items()
        },
    )


def _name(digest: str) -> str:
    return f"{digest[:16]}.webp"
