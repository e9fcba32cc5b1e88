"""Slips of the hand that look like work: which verdicts, about to be recorded, are probably not meant.

Deleting or moving a file at a time is the work itself, and so is deleting all files of a class that were labelled
right. One key press more, and a folder is gone, lies in another, or comes back from a backup; so do files that a
transfer lost. Such things are told by what they leave: folders that are gone or lie where none was, names in a
place of their own, sums over many folders, and what was recorded before. Each verdict is asked about once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dupekit.files.names import same_name_key
from dupekit.review.manifest import EXPUNGE, MARKER, UNSURE, Manifest
from dupekit.review.questions import Kind, Question
from dupekit.review.survey import Survey
from dupekit.review.verdicts import EXPUNGED, RELABEL, UNDECIDED, Review, Verdict, class_of, meaning

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
class Earlier:
    """What counts of an image before a collect."""

    verdict: str
    label: str
    tree: str
    """Where the tree was exported to in which it was decided, escaped."""
    here: bool
    """Whether that is the tree that is being collected."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known when verdicts are about to be recorded."""

    manifest: Manifest
    review: Review
    changed: Sequence[Verdict]
    """The verdicts that differ from what was recorded of this tree before. About nothing else is asked, so that
    nothing is asked twice."""
    survey: Survey
    decided: Mapping[str, Earlier]
    """By the path of the exported file."""
    carried: bool = False
    """Whether the tree lies at another place than the one it was exported to."""
    seen: frozenset[str] | None = None
    """What .dupekit/after.txt lists: the files that were there when a watcher without a project looked last."""


def slips(evidence: Evidence) -> list[Question]:
    """What to confirm before these verdicts are recorded."""
    return _Search(evidence).questions()


@dataclass(slots=True)
class _Search:
    evidence: Evidence
    pool: list[Verdict] = field(default_factory=list)
    """Changed verdicts that no question covers yet."""
    found: list[Question] = field(default_factory=list)
    homes: set[str] = field(default_factory=set)
    """Keys of all folders that files were exported to, and of those above them."""
    left_in: Counter[str] = field(default_factory=Counter)
    """Key of a folder at the top -> exported files of it that lie in it now."""
    standing: frozenset[str] = frozenset()
    tops: set[str] = field(default_factory=set)
    """Keys of the folders at the top that stand for something, whether they are there or not."""
    judged: dict[str, bool] = field(default_factory=dict)

    def questions(self) -> list[Question]:
        verdicts = self.evidence.review.verdicts
        self.pool = list(self.evidence.changed)
        self.standing = self.evidence.survey.folders
        self.tops = {same_name_key(name) for name in (*self.evidence.manifest.folders, EXPUNGE, UNSURE)}
        for v in verdicts:
            self.homes.update(map(same_name_key, _above(v.file.path)))
            if v.now_at and _top_key(v.now_at) == _top_key(v.file.path):
                self.left_in[_top_key(v.now_at)] += 1
        missing = self.missing()
        if len(missing) >= ASK_FILES and not any(v.now_at for v in verdicts):
            self.ask(missing, "emptied")
        signs: tuple[Callable[[], None], ...] = (
            self.hidden, self.broken_off, self.moved, self.turned, self.renamed, self.copied, self.new,
            self.deleted, self.emptied, self.restored, self.discarded,
        )  # fmt: skip
        for sign in signs:
            sign()
        return self.found

    def ask(
        self,
        those: Iterable[Verdict],
        kind: Kind,
        folders: Iterable[str] = (),
        target: str = "",
        because: str = "",
    ) -> None:
        claimed = {v.file.path for v in those}
        self.pool = [v for v in self.pool if v.file.path not in claimed]
        share = len(claimed) / len(self.evidence.review.verdicts)
        self.found.append(Question(kind, tuple(folders), target, len(claimed), share, because))

    def missing(self) -> list[Verdict]:
        return [v for v in self.pool if not v.now_at]

    def many(self, those: Sequence[Verdict], share: float = ASK_SHARE) -> bool:
        return len(those) >= ASK_FILES and len(those) >= share * len(self.evidence.review.verdicts)

    def gone(self, path: str) -> str:
        """The uppermost folder of a path that is no more; empty where all stand."""
        return next((folder for folder in _above(path) if same_name_key(folder) not in self.standing), "")

    def is_new(self, top: str) -> bool:
        """Whether a folder at the top would be a class that the dataset has not."""
        if top not in self.judged:
            manifest = self.evidence.manifest
            known = {EXPUNGE, UNSURE, *map(same_name_key, manifest.folders.values())}
            key = same_name_key(top)
            self.judged[top] = (
                not (key in known or key in self.tops or key in self.homes) and class_of(top, manifest) == top
            )
        return self.judged[top]

    # Signs, from the surest to those that take a sum.

    def hidden(self) -> None:
        """Files lie in the marker folder under names of files that are missing."""
        there = {_name_key(path) for path in self.evidence.survey.hidden}
        if those := [v for v in self.missing() if _name_key(v.file.path) in there]:
            self.ask(those, "hidden", [MARKER])

    def broken_off(self) -> None:
        """Part of a file that is missing, or files of whole classes that a watcher saw and that are missing."""
        missing = self.missing()
        awaited = {same_name_key(v.file.path) for v in missing}
        for path in self.evidence.review.strangers:
            parent, slash, name = path.rpartition("/")
            part = _PART.fullmatch(name)
            if part and same_name_key(f"{parent}{slash}{part['rsync'] or part['other']}") in awaited:
                self.ask(missing, "transfer", because=f"{path} is part of one that was being copied")
                return
        if self.evidence.seen is not None:
            lost = [v for v in missing if v.file.path in self.evidence.seen]
            if self.many([v for v in lost if not self.left_in[_top_key(v.file.path)]]):
                because = f"{MARKER}/after.txt, written where it was reviewed, lists {len(lost)} of them"
                self.ask(missing, "transfer", because=because)

    def moved(self) -> None:
        """A folder lies in another one: by its name, or by the names of folders above a file."""
        groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
        for v in self.pool:
            if v.now_at and v.verdict != UNDECIDED and (slip := self.slipped(v)):
                groups[slip].append(v)
        for (folder, target), those in groups.items():
            self.ask(those, "moved", [folder], target, _left(those))

    def slipped(self, v: Verdict) -> tuple[str, str] | None:
        """The folder that was moved, as it is named there, and the folder at the top that it lies in now."""
        manifest = self.evidence.manifest
        above = _above(v.now_at)
        for place in above[1:]:
            name = place.rpartition("/")[2]
            if (
                same_name_key(place) not in self.homes
                and same_name_key(name) in self.tops
                and meaning(v.file, name, manifest) != (v.verdict, v.label)
            ):
                return name, above[0]
        if _top_key(v.now_at) == _top_key(v.file.path) or self.is_new(above[0]):
            return None  # in a new folder at the top, more came along than a sub-folder
        same = _same_folders(v.file.path, v.now_at)
        if same:
            place, home = above[-same], _above(v.file.path)[-same]
            if same_name_key(place) not in self.homes or self.gone(home):
                return home, above[0]
        return None

    def turned(self) -> None:
        """Recorded as expunge or unsure, and now deleted, or all in one other folder."""
        for verdict, special in ((EXPUNGED, EXPUNGE), (UNDECIDED, UNSURE)):
            recorded = [p for p, d in self.evidence.decided.items() if d.here and d.verdict == verdict]
            groups: dict[str, list[Verdict]] = defaultdict(list)
            of_these = set(recorded)
            for v in self.pool:
                back = _top_key(v.now_at) == _top_key(v.file.path)  # what that undoes, `restored` asks
                if v.file.path in of_these and v.verdict != UNDECIDED and not back:
                    groups[_top(v.now_at)].append(v)
            for target, those in groups.items():
                all_of_many = len(those) == len(recorded) >= ASK_FILES
                lost = verdict == EXPUNGED and not target  # "thrown out the bad ones" for good
                if lost or all_of_many or special not in self.standing:
                    self.ask(those, "turned", [special], target)

    def renamed(self) -> None:
        """A folder is gone, and its files lie in a new one; or all that is left of them in one other."""
        gone: dict[str, list[Verdict]] = defaultdict(list)
        for v in self.evidence.changed:
            if folder := self.gone(v.file.path):
                gone[folder].append(v)
        unasked = {v.file.path for v in self.pool}
        targets: dict[str, dict[str, list[Verdict]]] = defaultdict(dict)
        for folder, those in sorted(gone.items()):
            places: dict[str, list[Verdict]] = defaultdict(list)
            for v in those:
                places[_top(v.now_at)].append(v)
            missing = len(places.pop("", ()))
            for top, there in places.items():
                # Files carried one by one into several classes are work.
                together = len(places) == 1 and len(there) > missing
                decided = [v for v in there if v.verdict != UNDECIDED and v.file.path in unasked]
                elsewhere = [v for v in decided if _top_key(v.file.path) != same_name_key(top)]
                if elsewhere and (together or self.is_new(top)):
                    targets[top][folder] = elsewhere
        for top, of_folders in targets.items():
            self.ask([v for those in of_folders.values() for v in those], "renamed", of_folders, top)

    def copied(self) -> None:
        """A new folder, at any depth, holds second copies, and with them files whose originals were deleted."""
        at_home: dict[str, list[str]] = defaultdict(list)
        for v in self.evidence.review.verdicts:
            if v.now_at and same_name_key(v.now_at) == same_name_key(v.file.path):
                at_home[_name_key(v.now_at)].append(v.now_at)
        pairs = set()
        for path in self.evidence.review.strangers:
            for original in at_home.get(_name_key(path), ()):
                pair = _roots(original, path)
                if pair[1] and same_name_key(pair[1]) not in self.homes and not self.is_known(pair[1]):
                    pairs.add(pair)
        groups: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
        for v in self.pool:
            if v.now_at and v.verdict != UNDECIDED and (pair := _roots(v.file.path, v.now_at)) in pairs:
                groups[pair].append(v)
        for (home, copy), those in groups.items():
            self.ask(those, "copied", [home or "the tree"], copy, _left(those))

    def is_known(self, folder: str) -> bool:
        """Whether it is a folder at the top that stands for something."""
        return "/" not in folder and not self.is_new(folder)

    def new(self) -> None:
        """Many files in a new folder at the top: a class, or a misspelt one, or notes, or a copy of a class."""
        groups: dict[str, list[Verdict]] = defaultdict(list)
        for v in self.pool:
            if v.now_at and v.verdict == RELABEL and self.is_new(_top(v.now_at)):
                groups[_top(v.now_at)].append(v)
        special = self.evidence.carried or all(name in self.standing for name in (EXPUNGE, UNSURE))
        for top, those in groups.items():
            of_class = Counter(_top(v.file.path) for v in those)
            held = Counter(_top(v.file.path) for v in self.evidence.review.verdicts)
            copies = [
                name
                for name, count in of_class.items()
                if count == held[name] > 1 and same_name_key(name) in same_name_key(top)
            ]
            if len(those) >= ASK_FILES or copies or not special:
                self.ask(those, "new", [name for name, _ in of_class.most_common()], top)

    def deleted(self) -> None:
        groups: dict[str, list[Verdict]] = defaultdict(list)
        for v in self.missing():
            if folder := self.gone(v.file.path):
                groups[folder].append(v)
        those = [v for group in groups.values() for v in group]
        if those and len(those) >= ASK_SHARE * len(self.evidence.review.verdicts):
            self.ask(those, "deleted", sorted(groups, key=lambda name: (-len(groups[name]), name)))

    def emptied(self) -> None:
        """Nothing is left of many classes; in a tree that has travelled, of some."""
        groups: dict[str, list[Verdict]] = defaultdict(list)
        for v in self.missing():
            if not self.left_in[_top_key(v.file.path)]:
                groups[_top(v.file.path)].append(v)
        those = [v for group in groups.values() for v in group]
        names = sorted(groups, key=lambda name: (-len(groups[name]), name))
        if self.many(those, ASK_EMPTIED_SHARE):
            self.ask(those, "emptied", names)
        elif self.evidence.carried and self.evidence.seen is None and self.many(those):
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            because = f"in this tree, which comes from another place, nothing is left of {shown}"
            self.ask(those, "transfer", because=because)

    def restored(self) -> None:
        """Decisions that would be taken back because files lie as exported: a fresh copy, or a restored one."""
        decided = self.evidence.decided
        acts = {
            v.file.path
            for v in self.evidence.review.verdicts
            if (d := decided.get(v.file.path))
            and d.verdict != UNDECIDED  # an image put aside, and back, loses nothing
            and (d.verdict, d.label) != (RELABEL, v.file.suggested)
        }
        those = [
            v
            for v in self.pool
            if v.file.path in acts and v.now_at and _top_key(v.now_at) == _top_key(v.file.path)
        ]
        if self.many(those) or len(those) == len(acts) >= ASK_FILES:
            self.ask(those, "restored")

    def discarded(self) -> None:
        """Where nothing was recorded yet: _expunge or _unsure is gone, perhaps with what lay in it."""
        if self.evidence.carried or len(self.evidence.changed) < len(self.evidence.review.verdicts):
            return  # some packers lose empty folders; and what was recorded as lying there, `turned` knows
        missing = [v for v in self.evidence.changed if not v.now_at]
        gone = [special for special in (EXPUNGE, UNSURE) if special not in self.standing]
        if gone and 0 < len(missing) < len(self.evidence.review.verdicts):
            self.ask(missing, "discarded", gone)


def unusable(review: Review, manifest: Manifest) -> dict[str, int]:
    """Folders at the top whose names no class can have -> how many images lie there, read as unsure."""
    found = Counter(_top(v.now_at) for v in review.verdicts if v.verdict == UNDECIDED and "/" in v.now_at)
    return {
        top: n for top, n in found.items() if same_name_key(top) != UNSURE and not class_of(top, manifest)
    }


def overturned(changed: Sequence[Verdict], decided: Mapping[str, Earlier]) -> list[tuple[Verdict, Earlier]]:
    """Of verdicts just recorded, those that take the place of another one, decided in another tree."""
    found = [(v, decided[v.file.path]) for v in changed if v.file.path in decided]
    return [(v, d) for v, d in found if not d.here and (d.verdict, d.label) != (v.verdict, v.label)]


def _left(those: Iterable[Verdict]) -> str:
    own = all(_top_key(v.now_at) == _top_key(v.file.path) for v in those)
    return "They would count as left where they were, and get the suggested labels." if own else ""


def _above(path: str) -> list[str]:
    """The folders above a file, uppermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _top(path: str) -> str:
    """The folder at the top; of a file that lies beside the folders, and of none, empty."""
    folder, slash, _ = path.partition("/")
    return folder if slash else ""


def _top_key(path: str) -> str:
    return same_name_key(_top(path))


def _name_key(path: str) -> str:
    return same_name_key(path.rpartition("/")[2])


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
