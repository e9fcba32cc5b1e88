"""Slips of the hand that look like work: which verdicts, about to be recorded, are probably not meant.

Deleting or moving a file at a time is the work itself, and so is deleting all files of a class that were labelled
right. One key press more, and a folder is gone, lies in another, or comes back from a backup; so do files that a
transfer lost. Such things are told by what they leave: folders that are gone or lie where none was, names in a
place of their own, sums over many folders, and what was recorded before.

Each rule is a function of the evidence and of the verdicts that no rule before it has asked about, and returns what
it would ask. To drop one: its function, its line in `RULES`, its words in `questions`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dupekit.files.names import same_name_key
from dupekit.review.evidence import Evidence
from dupekit.review.manifest import EXPUNGE, MARKER, UNSURE
from dupekit.review.questions import Kind, Question
from dupekit.review.tree_paths import above, name_key, top, top_key
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

_PART = re.compile(r"\.(?P<rsync>.+)\.[A-Za-z0-9]{6}|(?P<other>.+)\.(?:part|partial|filepart|crdownload|tmp)")
"""Names that rsync, WinSCP, browsers and others give a file until it has arrived."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Verdicts that may be a slip, and what a question about them says."""

    kind: Kind
    verdicts: Sequence[FileVerdict]
    folders: tuple[str, ...] = ()
    target: str | None = None
    because: str | None = None

    def question(self, evidence: Evidence) -> Question:
        count, near = len(self.verdicts), evidence.misspelt.get(self.target or "")
        share = count / len(evidence.review.verdicts)
        return Question(self.kind, self.folders, self.target, count, share, self.because, near)


Rule = Callable[[Evidence, Sequence[FileVerdict]], list[Suspicion]]
"""The second argument: the changed verdicts that no question covers yet."""
Groups = dict[str, list[FileVerdict]]


def slips(evidence: Evidence) -> list[Question]:
    """What to confirm before these verdicts are recorded."""
    questions: list[Question] = []
    unasked = list(evidence.changed)
    for rule in RULES:
        found = rule(evidence, unasked)
        questions += [one.question(evidence) for one in found]
        asked = {v.file.path for one in found for v in one.verdicts}
        unasked = [v for v in unasked if v.file.path not in asked]
    return questions


def _all_deleted(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """No exported file is left."""
    missing = _missing(unasked)
    asks = len(missing) >= ASK_FILES and not evidence.review.places()
    return [Suspicion(Kind.EMPTIED, missing)] if asks else []


def _hidden(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Files lie in the marker folder under names of files that are missing."""
    there = set(map(name_key, evidence.listing.hidden))
    those = [v for v in _missing(unasked) if name_key(v.file.path) in there]
    return [Suspicion(Kind.HIDDEN, those, (MARKER,))] if those else []


def _broken_off(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Part of a file that is missing, or files of whole classes that a watcher saw and that are missing."""
    missing = _missing(unasked)
    awaited = {same_name_key(v.file.path) for v in missing}
    for path in evidence.review.strangers:
        parent, slash, name = path.rpartition("/")
        part = _PART.fullmatch(name)
        if part and same_name_key(f"{parent}{slash}{part['rsync'] or part['other']}") in awaited:
            because = f"{path} is part of one that was being copied"
            return [Suspicion(Kind.TRANSFER, missing, because=because)]
    if empty := _placeholder(evidence, missing):
        because = f"{empty} is empty, as a cloud service leaves a file until it is fetched"
        return [Suspicion(Kind.TRANSFER, missing, because=because)]
    lost = [v for v in missing if v.file.path in (evidence.seen or ())]
    if _many(evidence, [v for v in lost if not evidence.left_in[top_key(v.file.path)]]):
        because = f"{MARKER}/after.txt, written where it was reviewed, lists {len(lost)} of them"
        return [Suspicion(Kind.TRANSFER, missing, because=because)]
    return []


def _placeholder(evidence: Evidence, missing: Sequence[FileVerdict]) -> str | None:
    """An empty file that may stand for one of those that are missing: of its kind, which were not empty."""
    kinds = {PurePath(v.file.path).suffix.lower() for v in missing if v.file.size != 0}
    for path in evidence.review.strangers:
        seen = evidence.listing.files.get(path)
        if seen is not None and seen.size == 0 and PurePath(path).suffix.lower() in kinds:
            return path
    return None


def _moved(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """A folder lies in another one: by its name, or by the names of folders above a file."""
    groups: dict[tuple[str, str], list[FileVerdict]] = defaultdict(list)
    for v in unasked:
        if v.verdict != Verdict.UNSURE and v.now_at and (slip := _slipped(evidence, v, v.now_at)):
            groups[slip].append(v)
    return [
        Suspicion(Kind.MOVED, those, (folder,), target, _as_left(those))
        for (folder, target), those in groups.items()
    ]


def _slipped(evidence: Evidence, v: FileVerdict, now_at: str) -> tuple[str, str] | None:
    """The folder that was moved, as it is named there, and the folder at the top that it lies in now."""
    places = above(now_at)
    for place in places[1:]:
        name = place.rpartition("/")[2]
        if (
            same_name_key(place) not in evidence.homes
            and same_name_key(name) in evidence.tops
            and same_name_key(name) != top_key(v.file.path)
        ):
            return name, places[0]
    if v.in_its_class or places[0] in evidence.new_tops:
        return None  # in a new folder at the top, more came along than a sub-folder
    if same := _same_folders(v.file.path, now_at):
        place, home = places[-same], above(v.file.path)[-same]
        if same_name_key(place) not in evidence.homes or evidence.gone(home):
            return home, places[0]
    return None


def _turned(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Recorded as expunge or unsure, and now deleted, or all in one other folder."""
    found = []
    for verdict, special in ((Verdict.EXPUNGE, EXPUNGE), (Verdict.UNSURE, UNSURE)):
        recorded = {path for path, d in evidence.decided.items() if d.here and d.verdict == verdict}
        groups: dict[str | None, list[FileVerdict]] = defaultdict(list)
        for v in unasked:
            # What lies in its class again, `_restored` asks.
            if v.file.path in recorded and v.verdict != Verdict.UNSURE and not v.in_its_class:
                groups[top(v.now_at)].append(v)
        for target, those in groups.items():
            all_of_many = len(those) == len(recorded) >= ASK_FILES
            lost = verdict == Verdict.EXPUNGE and target is None  # "thrown out the bad ones" for good
            if lost or all_of_many or not evidence.stands(special):
                found.append(Suspicion(Kind.TURNED, those, (special,), target))
    return found


def _renamed(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """A folder is gone, and its files lie in a new one; or all that is left of them in one other."""
    paths = {v.file.path for v in unasked}
    targets: dict[str, Groups] = defaultdict(dict)
    for folder, those in sorted(_by_gone_folder(evidence, evidence.changed).items()):
        places: dict[str | None, list[FileVerdict]] = defaultdict(list)
        for v in those:
            places[top(v.now_at)].append(v)
        missing = len(places.pop(None, ()))
        for place, there in places.items():
            # Files carried one by one into several classes are work.
            together = len(places) == 1 and len(there) > missing
            decided = [v for v in there if v.verdict != Verdict.UNSURE and v.file.path in paths]
            elsewhere = [v for v in decided if not v.in_its_class]
            if place and elsewhere and (together or place in evidence.new_tops):
                targets[place][folder] = elsewhere
    return [
        Suspicion(Kind.RENAMED, _all_of(folders), tuple(folders), place) for place, folders in targets.items()
    ]


def _copied(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """A new folder, at any depth, holds second copies, and with them files whose originals were deleted."""
    at_home: dict[str, list[str]] = defaultdict(list)
    for v in evidence.review.verdicts:
        if v.now_at and same_name_key(v.now_at) == same_name_key(v.file.path):
            at_home[name_key(v.now_at)].append(v.now_at)
    pairs = set()
    for path in evidence.review.strangers:
        for original in at_home.get(name_key(path), ()):
            home, copy = _roots(original, path)
            stands_for_something = "/" not in copy and copy not in evidence.new_tops
            if copy and same_name_key(copy) not in evidence.homes and not stands_for_something:
                pairs.add((home, copy))
    groups: dict[tuple[str, str], list[FileVerdict]] = defaultdict(list)
    for v in unasked:
        if v.verdict != Verdict.UNSURE and v.now_at and (pair := _roots(v.file.path, v.now_at)) in pairs:
            groups[pair].append(v)
    return [
        Suspicion(Kind.COPIED, those, (home or "the tree",), copy, _as_left(those))
        for (home, copy), those in groups.items()
    ]


def _new(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Many files in a new folder at the top: a class, or a misspelt one, or notes, or a copy of a class."""
    groups: Groups = defaultdict(list)
    for v in unasked:
        place = top(v.now_at)
        if v.verdict == Verdict.RELABEL and place in evidence.new_tops:
            groups[place].append(v)
    held = Counter(top(v.file.path) for v in evidence.review.verdicts) if groups else Counter()
    special = evidence.carried or (evidence.stands(EXPUNGE) and evidence.stands(UNSURE))
    found = []
    for place, those in groups.items():
        of_class = Counter(v.file.path.partition("/")[0] for v in those)
        copied = any(
            count == held[name] > 1 and same_name_key(name) in same_name_key(place)
            for name, count in of_class.items()
        )
        if len(those) >= ASK_FILES or copied or not special or place in evidence.misspelt:
            found.append(Suspicion(Kind.NEW, those, tuple(name for name, _ in of_class.most_common()), place))
    return found


def _deleted(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Folders are gone with what lay in them."""
    groups = _by_gone_folder(evidence, _missing(unasked))
    those = _all_of(groups)
    asks = those and len(those) >= ASK_SHARE * len(evidence.review.verdicts)
    return [Suspicion(Kind.DELETED, those, _largest_first(groups))] if asks else []


def _emptied(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Nothing is left of many classes; in a tree that has travelled, of some."""
    groups: Groups = defaultdict(list)
    for v in _missing(unasked):
        if not evidence.left_in[top_key(v.file.path)]:
            groups[v.file.path.partition("/")[0]].append(v)
    those, names = _all_of(groups), _largest_first(groups)
    if _many(evidence, those, ASK_EMPTIED_SHARE):
        return [Suspicion(Kind.EMPTIED, those, names)]
    if evidence.carried and evidence.seen is None and _many(evidence, those):
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        because = f"in this tree, which comes from another place, nothing is left of {shown}"
        return [Suspicion(Kind.TRANSFER, those, because=because)]
    return []


def _restored(evidence: Evidence, unasked: Sequence[FileVerdict]) -> list[Suspicion]:
    """Decisions that would be taken back because files lie as exported: a fresh copy, or a restored one."""
    acts = {
        v.file.path
        for v in evidence.review.verdicts
        if (d := evidence.decided.get(v.file.path))
        and d.verdict != Verdict.UNSURE  # an image put aside, and back, loses nothing
        and (d.verdict, d.label) != (Verdict.RELABEL, v.file.suggested)
    }
    those = [v for v in unasked if v.file.path in acts and v.in_its_class]
    asks = _many(evidence, those) or len(those) == len(acts) >= ASK_FILES
    return [Suspicion(Kind.RESTORED, those)] if asks else []


def _discarded(evidence: Evidence, _: Sequence[FileVerdict]) -> list[Suspicion]:
    """Where nothing was recorded yet: _expunge or _unsure is gone, perhaps with what lay in it.

    Which of the missing files that were, nothing tells; so it asks about all, also about those that were asked about.
    """
    if evidence.carried or len(evidence.changed) < len(evidence.review.verdicts):
        return []  # some packers lose empty folders; and what was recorded as lying there, `_turned` knows
    missing = _missing(evidence.changed)
    gone = tuple(special for special in (EXPUNGE, UNSURE) if not evidence.stands(special))
    asks = gone and 0 < len(missing) < len(evidence.review.verdicts)
    return [Suspicion(Kind.DISCARDED, missing, gone)] if asks else []


RULES: tuple[Rule, ...] = (
    # One question for a whole tree, before others ask about each of its parts.
    _all_deleted,
    # What names a file: these know best why one is missing, whichever folders are gone or empty besides.
    _hidden,
    _broken_off,
    # What names a folder and where it is now. A folder that kept its name is surer than one that is only known by
    # what was recorded, that than one that is gone while its files are together elsewhere, and last come new folders,
    # which may be meant. So _unsure put into a class is moved, not turned, and a renamed class is not also a new one.
    _moved,
    _turned,
    _renamed,
    _copied,
    _new,
    # What is only a sum: of folders that are gone, which no work needs, before those that are emptied, which it may.
    _deleted,
    _emptied,
    _restored,
    # Asks about all that are missing, so that what can be told of some of them is said first.
    _discarded,
)


def _many(evidence: Evidence, those: Sequence[FileVerdict], share: float = ASK_SHARE) -> bool:
    return len(those) >= ASK_FILES and len(those) >= share * len(evidence.review.verdicts)


def _missing(verdicts: Iterable[FileVerdict]) -> list[FileVerdict]:
    return [v for v in verdicts if v.now_at is None]


def _by_gone_folder(evidence: Evidence, verdicts: Iterable[FileVerdict]) -> Groups:
    """Uppermost folder that is gone -> verdicts on what was exported to it."""
    groups: Groups = defaultdict(list)
    for v in verdicts:
        if folder := evidence.gone(v.file.path):
            groups[folder].append(v)
    return groups


def _all_of(groups: Groups) -> list[FileVerdict]:
    return [v for group in groups.values() for v in group]


def _largest_first(groups: Groups) -> tuple[str, ...]:
    return tuple(sorted(groups, key=lambda name: (-len(groups[name]), name)))


def _as_left(those: Iterable[FileVerdict]) -> str | None:
    if all(v.in_its_class for v in those):
        return "They would count as left where they were, and get the suggested labels."
    return None


def _same_folders(one: str, other: str) -> int:
    """How many folders right above two files have equal names, the uppermost of each left out."""
    count = 0
    for a, b in zip(reversed(one.split("/")[1:-1]), reversed(other.split("/")[1:-1]), strict=False):
        if same_name_key(a) != same_name_key(b):
            break
        count += 1
    return count


def _roots(original: str, copy: str) -> tuple[str, str]:
    """The folders that hold two files at equal paths below them: ("a/x", "b") for "a/x/y/1" and "b/y/1"."""
    a, b = original.split("/")[:-1], copy.split("/")[:-1]
    while a and b and same_name_key(a[-1]) == same_name_key(b[-1]):
        a, b = a[:-1], b[:-1]
    return "/".join(a), "/".join(b)
