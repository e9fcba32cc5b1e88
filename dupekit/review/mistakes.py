"""Slips of the hand that look like work: which verdicts, about to be recorded, are probably not meant.

Deleting or moving a file at a time is the work itself, and so is deleting all files of a class that were labelled
right. One key press more, and a folder is gone or lies in another one; a transfer loses files, a backup brings them back.
Asked about is what could change a label or the ignore list that nobody meant to change, and nothing else: what lies
untouched decides nothing, and what lies in `_unsure` changes nothing.

Each rule is a function of the evidence and of the verdicts that no rule before it has asked about.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dupekit.files.names import same_name_key
from dupekit.review.evidence import Evidence
from dupekit.review.manifest import DONE, EXPUNGE, MARKER, RIGHT, UNSURE
from dupekit.review.questions import Kind, Question, named
from dupekit.review.tree_paths import above
from dupekit.review.verdicts import FileVerdict, Verdict

ASK_SHARE = 0.1
"""Folders deleted with together at least this share of the tree's files are asked about: with less, at most a
tenth of the review is lost to a slip, and tidying away a few small classes of a long tail raises no question."""
ASK_FILES = 10
"""Where what was done may well be work, it is asked about from this many files: that two of two suspects were
labelled right is ordinary, that all of many were is rare, and a sync tool gone wrong looks the same."""
ASK_EMPTIED_SHARE = 0.5
"""Deleting all files of a class and leaving the folder is what a technician is asked to do where all were labelled
right. Only where such classes held this share of the tree is it worth a question."""

_RIGHT = "Were all of these labelled right?"

_PART = re.compile(r"\.(?P<rsync>.+)\.[A-Za-z0-9]{6}|(?P<other>.+)\.(?:part|partial|filepart|crdownload|tmp)")
"""Names that rsync, WinSCP, browsers and others give a file until it has arrived."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Verdicts that may be a slip, and what a question about them says."""

    kind: Kind
    verdicts: Sequence[FileVerdict]
    found: str
    asks: str = _RIGHT
    folders: tuple[str, ...] = ()
    target: str | None = None

    def question(self, of: int) -> Question:
        count = len(self.verdicts)
        return Question(self.kind, count, count / of, self.found, self.asks, self.folders, self.target)


_DISCARDED = (
    (Verdict.EXPUNGE, EXPUNGE, "to be dropped"),
    (Verdict.RELABEL, DONE, "wrong"),
    (Verdict.UNSURE, UNSURE, "unsure"),
)
"""What is recorded, the folder that stands for it, and a word for it."""

Rule = Callable[[Evidence, Sequence[FileVerdict]], list[Suspicion]]
"""The second argument: the changed verdicts that no question covers yet."""
Groups = dict[str, list[FileVerdict]]


def slips(evidence: Evidence) -> list[Question]:
    """What to confirm before these verdicts are recorded."""
    questions: list[Question] = []
    unasked = list(evidence.changed)
    for rule in RULES:
        found = rule(evidence, unasked)
        questions += [one.question(len(evidence.review.verdicts)) for one in found]
        asked = {v.file.path for one in found for v in one.verdicts}
        unasked = [v for v in unasked if v.file.path not in asked]
    return questions


def _broken_off(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Part of a file that is missing, files of whole classes that a watcher saw and that are missing; or, in a tree that
    has travelled, classes of which nothing is left."""
    missing = _missing(unasked)
    of_lost_classes = [v for v in missing if v.file.given not in evidence.left]
    lost = [v for v in missing if v.file.path in (evidence.seen or ())]
    if part := _part(evidence, missing):
        because = f"{part} is part of one that was being copied"
    elif empty := _placeholder(evidence, missing):
        because = f"{empty} is empty, as a cloud service leaves a file until it is fetched"
    elif _many(evidence, [v for v in lost if v.file.given not in evidence.left]):
        because = f"{MARKER}/after.txt, written where it was reviewed, lists {len(lost)} of them"
    elif evidence.carried and evidence.seen is None and _many(evidence, of_lost_classes):
        because = "this tree comes from another place, and of whole classes nothing is left"
    else:
        return []
    asks = "Has the whole tree arrived, and were all of these labelled right?"
    return [Suspicion(Kind.TRANSFER, missing, f"Files are missing, and {because}", asks)]


def _part(evidence: Evidence, missing: Sequence[FileVerdict]) -> str | None:
    """Part of a file that is missing."""
    awaited = {same_name_key(v.file.path) for v in missing}
    for path in evidence.review.strangers:
        parent, slash, name = evidence.places.of(path).rest.rpartition("/")
        part = _PART.fullmatch(name)
        if part and same_name_key(f"{parent}{slash}{part['rsync'] or part['other']}") in awaited:
            return path
    return None


def _placeholder(evidence: Evidence, missing: Sequence[FileVerdict]) -> str | None:
    """An empty file that may stand for one of those that are missing: of its kind, which were not empty."""
    kinds = {PurePath(v.file.path).suffix.lower() for v in missing if v.file.size != 0}
    for path in evidence.review.strangers:
        seen = evidence.listing.files.get(path)
        if seen is not None and seen.size == 0 and PurePath(path).suffix.lower() in kinds:
            return path
    return None


def _new(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """A new folder at the top: a class, or a misspelt one, or notes, or a renamed or copied class."""
    groups: Groups = defaultdict(list)
    for v in unasked:
        if v.verdict is Verdict.RELABEL and v.label in evidence.new and not v.in_its_class:
            groups[v.label].append(v)
    found = []
    for label, those in sorted(groups.items()):
        folders = _largest_first(_by(lambda v: v.file.path.partition("/")[0], those))
        near = evidence.misspelt.get(label)
        asks = f"Is {label} a new class, and the label of all of these?" + (
            f" Did you mean {near}?" if near else ""
        )
        said = f"The folder {label} is new and holds images of {', '.join(folders[:5])}"
        found.append(Suspicion(Kind.NEW, those, said, asks, folders, label))
    return found


def _moved(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Folders as they are lie in another one, that of a class or one of the four."""
    targets: dict[str, Groups] = defaultdict(lambda: defaultdict(list))
    for v in unasked:
        if v.now_at is None or v.in_its_class or v.verdict in (Verdict.UNSURE, Verdict.OPEN):
            continue
        place = evidence.places.of(v.now_at)
        if folder := _came_along(evidence, v.file.path, place.rest):
            targets[place.special or place.folder or place.rest][folder].append(v)
    found = []
    for target, groups in targets.items():
        folders = _largest_first(groups)
        said = f"{named(folders)} {'lies' if len(folders) == 1 else 'lie'} in {target} now"
        asks = {RIGHT: _RIGHT, EXPUNGE: "Shall all of these be dropped?"}.get(
            target, f"Shall all of these get the label of {target}?"
        )
        found.append(Suspicion(Kind.MOVED, _all_of(groups), said, asks, folders, target))
    return found


def _came_along(evidence: Evidence, exported: str, rest: str) -> str | None:
    """The uppermost of the folders that a file was exported to and that lie above it still, in a place where none was."""
    then, now = above(exported), above(rest)
    same = 0
    for one, other in zip(reversed(then), reversed(now), strict=False):
        if same_name_key(one.rpartition("/")[2]) != same_name_key(other.rpartition("/")[2]):
            break
        same += 1
    if not same:
        return None
    place, home = now[-same], then[-same]
    # Into `_right/a`, while `a` stands where it was: the review page moves single files so, and leaves their folders.
    if same_name_key(place) == same_name_key(home) and same_name_key(home) in evidence.listing.folders:
        return None
    # Where such a folder was exported to, too, files may have been carried to it one by one.
    fresh = same_name_key(place) not in evidence.places.homes or same_name_key(place) == same_name_key(home)
    return home if fresh or evidence.gone(home) else None


def _discarded(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Recorded as to be dropped, wrong or unsure, and deleted now."""
    found = []
    for verdict, special, word in _DISCARDED:
        lost = [v for v in _missing(unasked) if _recorded(evidence, v) is verdict]
        if verdict is not Verdict.EXPUNGE and len(lost) < ASK_FILES and evidence.stands(special):
            # A second thought, unless a finished class was tidied away; but "thrown out the bad ones" is for good.
            lost = [v for v in lost if verdict is Verdict.RELABEL and evidence.gone(v.file.path)]
        if lost:
            said = f"Files that were recorded as {word} are deleted now"
            asks = "They would count as labelled right, and keep their labels. Is that meant?"
            found.append(Suspicion(Kind.DISCARDED, lost, said, asks, (special,)))
    return found


def _deleted(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Nothing is left of the tree, of folders, or of many classes."""
    missing = _missing(unasked)
    if len(missing) >= ASK_FILES and not evidence.review.places():
        return [Suspicion(Kind.DELETED, missing, "All files of the tree are deleted")]
    gone: Groups = defaultdict(list)
    emptied: Groups = defaultdict(list)
    for v in missing:
        if folder := evidence.gone(v.file.path):
            gone[folder].append(v)
        elif v.file.given not in evidence.left:
            emptied[v.file.path.partition("/")[0]].append(v)
    found = []
    if gone and len(_all_of(gone)) >= ASK_SHARE * len(evidence.review.verdicts):
        folders = _largest_first(gone)
        said = f"{named(folders)} {'is' if len(folders) == 1 else 'are'} gone"
        found.append(Suspicion(Kind.DELETED, _all_of(gone), said, folders=folders))
    if _many(evidence, _all_of(emptied), ASK_EMPTIED_SHARE):
        folders = _largest_first(emptied)
        said = f"{named(folders)} {'is' if len(folders) == 1 else 'are'} empty"
        found.append(Suspicion(Kind.DELETED, _all_of(emptied), said, folders=folders))
    return found


def _restored(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Decisions that would be taken back because files lie as exported: a fresh copy, or a restored one."""
    acts = {
        v.file.path
        for v in evidence.review.verdicts
        if (one := evidence.recorded.get(v.file.path))
        and one.verdict not in (Verdict.UNSURE, Verdict.OPEN)  # an image put aside, and back, loses nothing
    }
    those = [v for v in unasked if v.file.path in acts and v.in_its_class]
    asks = _many(evidence, those) or len(those) == len(acts) >= ASK_FILES
    said = "Something else was recorded before of images that lie where they were exported again"
    return [Suspicion(Kind.RESTORED, those, said, "Shall that be taken back?")] if asks else []


def _exchanged(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Identical images of two classes that would get each other's label: after it one is as wrong as the other was before."""
    wrong = {
        (v.file.digest, v.file.given, v.label): v.file.path
        for v in evidence.review.verdicts
        if _is_relabelled(v)
    }
    those = [v for v in unasked if (v.file.digest, v.label, v.file.given) in wrong and _is_relabelled(v)]
    if not those:
        return []
    first = those[0].file
    other = wrong[first.digest, those[0].label, first.given]
    said = f"Identical images of two classes would exchange their labels, such as {first.path} and {other}"
    asks = "One of the two labels is right: that image is to be deleted in the tree. Shall both change?"
    return [Suspicion(Kind.EXCHANGED, those, said, asks)]


def _unrecorded(evidence: Evidence, _: Sequence[FileVerdict]) -> list[Suspicion]:
    """Where nothing was recorded yet: one of the four is gone, perhaps with what lay in it.

    Which of the missing files that were, nothing tells; so it asks about all, also about those that were asked about. What
    lay in `_right` was right, and is.
    """
    if evidence.carried or evidence.recorded:
        return []  # some packers lose empty folders; and what was recorded as lying there, `_discarded` knows
    missing = _missing(evidence.changed)
    # A tree of an earlier dupekit has neither `_done` nor `_right`.
    expected = (EXPUNGE, UNSURE, DONE) if evidence.stands(RIGHT) else (EXPUNGE, UNSURE)
    gone = tuple(special for special in expected if not evidence.stands(special))
    if not gone or not 0 < len(missing) < len(evidence.review.verdicts):
        return []
    one = len(gone) == 1
    said = f"{named(gone)} {'is' if one else 'are'} gone, and files are missing"
    asks = f"What lay there would count as labelled right. {'Was it' if one else 'Were they'} empty?"
    return [Suspicion(Kind.DISCARDED, missing, said, asks, gone)]


RULES: tuple[Rule, ...] = (
    # What names a file knows best why one is missing, whichever folders are gone or empty besides.
    _broken_off,
    # A new class before folders in another one: a folder that was renamed takes its sub-folders along.
    _new,
    _moved,
    # What was recorded, before what is only a sum.
    _discarded,
    _deleted,
    _restored,
    _exchanged,
    # Asks about all that are missing, so that what can be told of some of them is said first.
    _unrecorded,
)


def _recorded(evidence: Evidence, v: FileVerdict) -> Verdict | None:
    one = evidence.recorded.get(v.file.path)
    return one.verdict if one else None


def _many(evidence: Evidence, those: Sequence[FileVerdict], share: float = ASK_SHARE) -> bool:
    return len(those) >= ASK_FILES and len(those) >= share * len(evidence.review.verdicts)


def _is_relabelled(v: FileVerdict) -> bool:
    return v.verdict is Verdict.RELABEL


def _missing(verdicts: Iterable[FileVerdict]) -> list[FileVerdict]:
    return [v for v in verdicts if v.now_at is None]


def _by(key: Callable[[FileVerdict], str], verdicts: Iterable[FileVerdict]) -> Groups:
    groups: Groups = defaultdict(list)
    for v in verdicts:
        groups[key(v)].append(v)
    return groups


def _all_of(groups: Groups) -> list[FileVerdict]:
    return [v for group in groups.values() for v in group]


def _largest_first(groups: Groups) -> tuple[str, ...]:
    return tuple(sorted(groups, key=lambda name: (-len(groups[name]), name)))
