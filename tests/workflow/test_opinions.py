"""Which verdict of an image counts: of reviews, second opinions, and trees that decide between them; with undo in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.ledger import Ledger, exports, ignores, opinions, steps, verdicts
from dupekit.ledger.exports import FileRecord, Purpose
from dupekit.project import Project
from dupekit.review.manifest import ExportedFile
from dupekit.review.verdicts import FileVerdict, Verdict
from tests.reviewed import export_again, exported_project
from tests.support import dupekit, parsed

Said = tuple[Verdict, str]
RIGHT, WRONG, OTHER, EXPUNGE, UNSURE, OPEN = (
    (Verdict.CORRECT, "a"),
    (Verdict.RELABEL, "b"),
    (Verdict.RELABEL, "c"),
    (Verdict.EXPUNGE, "a"),
    (Verdict.UNSURE, "a"),
    (Verdict.OPEN, "a"),
)

CASES: dict[str, tuple[Said | None, Said | None, Said | None, Said | None, bool]] = {
    # review, second, decision; what counts, and whether it is disputed
    "nobody": (None, None, None, None, False),
    "one person": (WRONG, None, None, WRONG, False),
    "only a second": (None, WRONG, None, WRONG, False),
    "they agree": (WRONG, WRONG, None, WRONG, False),
    "they disagree": (WRONG, RIGHT, None, UNSURE, True),
    "another label": (WRONG, OTHER, None, UNSURE, True),
    "one would expunge it": (RIGHT, EXPUNGE, None, UNSURE, True),
    "the first is unsure": (UNSURE, WRONG, None, WRONG, False),
    "the second is unsure": (WRONG, UNSURE, None, WRONG, False),
    "both are unsure": (UNSURE, UNSURE, None, UNSURE, False),
    "the second took it back": (WRONG, OPEN, None, WRONG, False),
    "the first took it back": (OPEN, RIGHT, None, RIGHT, False),
    "it is decided": (WRONG, RIGHT, OTHER, OTHER, False),
    "it is decided to be unsure": (WRONG, RIGHT, UNSURE, UNSURE, False),
    "the decision was taken back": (WRONG, RIGHT, OPEN, UNSURE, True),
}


@dataclass
class Bench:
    """A ledger with one round of a few images, all of them in every tree."""

    ledger: Ledger
    images: int

    def tree(self, purpose: Purpose) -> exports.Export:
        key = f"{purpose} {self.ledger.value('SELECT count(*) FROM exports')}"
        files = {f"a/{i}": FileRecord(i) for i in range(self.images)}
        exports.record(self.ledger, round_number=1, key=key, tree=f"/{key}", files=files, purpose=purpose)
        found = exports.by_key(self.ledger, key)
        assert found
        return found

    def collect(self, tree: exports.Export, said: Sequence[Said], who: str = "Ada") -> int:
        """How many verdicts changed."""
        given_now = [
            FileVerdict(
                ExportedFile(path=f"a/{i}", original=f"a/{i}", given="a", suggested="b", votes=3, score=1.0, digest=f"{i:064x}"),
                verdict, label, f"a/{i}",
            )
            for i, (verdict, label) in enumerate(said)
        ]  # fmt: skip
        return len(
            verdicts.record(
                self.ledger, tree, given_now, who=who, tree=tree.tree, finished=(), check=lambda _: None
            )
        )

    def counts(self) -> dict[int, tuple[Said, bool]]:
        found = self.ledger.rows(
            "SELECT image, verdict, label, disputed FROM current_verdicts ORDER BY image"
        )
        return {
            image: ((Verdict(verdict), label), bool(disputed)) for image, verdict, label, disputed in found
        }

    def overruled(self, tree: exports.Export, said: Said) -> list[str]:
        file = ExportedFile(
            path="a/0", original="a/0", given="a", suggested="b", votes=3, score=1.0, digest=f"{0:064x}"
        )
        return [one.tree for one in verdicts.overruled(self.ledger, tree, [FileVerdict(file, *said, "a/0")])]


def bench(path: Path, images: int = 1) -> Bench:
    ledger = Ledger(path, create=True)
    with ledger.write() as db:
        db.execute("INSERT INTO classes VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        db.execute(
            "INSERT INTO rounds (id, dataset, begun, pairs, images, plan) VALUES (1, '', '', 3, 1, '')"
        )
        db.executemany(
            "INSERT INTO images VALUES (?, ?, 1, 1, 1, ?, 1, 1, 'L', 'ok', '')",
            [(i, f"a/{i}", f"{i:064x}") for i in range(images)],
        )
        db.execute("INSERT INTO tallies SELECT 1, id, 1, digest, 3, 2, 3, 0.1, 0.8, 0.8, 1.5, 0 FROM images")
    return Bench(ledger, images)


@pytest.mark.parametrize("name", CASES)
def test_what_counts(tmp_path: Path, name: str) -> None:
    *said, expected, disputed = CASES[name]
    made = bench(tmp_path / "ledger.db")
    with made.ledger as ledger:
        for purpose, one in zip(Purpose, said, strict=True):
            tree = made.tree(purpose)
            if one == OPEN:
                made.collect(tree, [EXPUNGE])
            if one:
                assert made.collect(tree, [one]) == 1
        assert made.counts() == ({0: (expected, disputed)} if expected else {})
        counted = {expected[0]: 1} if expected else {}
        assert verdicts.counts(ledger, 1) == counted
        assert ignores.count(ledger) == (expected == RIGHT)
        wanted = {WRONG: "b", OTHER: "c", EXPUNGE: None}
        corrections = [c.new_label for c in verdicts.resolved(ledger, 1).corrections]
        assert corrections == ([wanted[expected]] if expected in wanted else [])
        assert verdicts.outstanding(ledger, 1).corrections == len(corrections)


def test_a_decision_is_taken_back_and_made_again(tmp_path: Path) -> None:
    made = bench(tmp_path / "ledger.db")
    with made.ledger as ledger:
        review, second, decision = map(made.tree, Purpose)
        made.collect(review, [WRONG])
        made.collect(second, [RIGHT], who="Grace")
        made.collect(decision, [WRONG])
        for expected in ((WRONG, False), (UNSURE, True), (WRONG, False)):
            assert made.counts() == {0: expected}
            step = steps.last(ledger)
            assert step
            steps.take_back(ledger, step)
        assert made.counts() == {}
        made.collect(second, [RIGHT])
        assert made.counts() == {0: (RIGHT, False)}


def test_who_is_overruled_and_who_is_disputed(tmp_path: Path) -> None:
    made = bench(tmp_path / "ledger.db")
    with made.ledger:
        review, second, decision, later = *map(made.tree, Purpose), made.tree(Purpose.REVIEW)
        made.collect(review, [WRONG])
        made.collect(second, [RIGHT])
        assert made.overruled(review, WRONG) == made.overruled(second, RIGHT) == []  # but disputed
        made.collect(later, [OTHER])
        assert made.overruled(review, WRONG) == [later.tree]
        assert made.overruled(second, RIGHT) == made.overruled(later, OTHER) == []
        made.collect(decision, [OTHER])
        assert made.overruled(review, WRONG) == made.overruled(second, RIGHT) == [decision.tree]
        assert made.overruled(later, OTHER) == []


def test_a_second_tree_is_open_where_the_first_is_decided(tmp_path: Path) -> None:
    made = bench(tmp_path / "ledger.db", images=3)
    with made.ledger as ledger:
        review, second = made.tree(Purpose.REVIEW), made.tree(Purpose.SECOND)
        made.collect(review, [WRONG, RIGHT, OPEN])
        assert [(one.decided, one.open) for one in exports.out(ledger, 1)] == [(2, 1), (0, 3)]
        made.collect(second, [UNSURE, OPEN, OPEN])
        made.tree(Purpose.DECISION)
        assert [(one.decided, one.open) for one in exports.out(ledger, 1)] == [(2, 1), (1, 2), (0, 3)]
        exports.withdraw(ledger, review.number)
        assert [(one.decided, one.open) for one in exports.out(ledger, 1)] == [(1, 2), (0, 3)]


Answer = st.sampled_from([RIGHT, WRONG, OTHER, EXPUNGE, UNSURE, OPEN])
Move = st.one_of(st.tuples(st.integers(0, 4), st.tuples(Answer, Answer)), st.just("undo"))


@given(moves=st.lists(Move, max_size=12))
def test_against_a_model(tmp_path_factory: pytest.TempPathFactory, moves: list) -> None:
    """Two reviews, two second opinions and a decision of two images, collected and undone in any order."""
    made = bench(tmp_path_factory.mktemp("model") / "ledger.db", images=2)
    standing: list[dict[int, tuple[int, Said]]] = []
    purposes = [*Purpose, Purpose.REVIEW, Purpose.SECOND]
    with made.ledger as ledger:
        trees = [made.tree(purpose) for purpose in purposes]
        for move in moves:
            if move == "undo":
                step = steps.last(ledger)
                assert (step is None) == (not standing)
                if step:
                    steps.take_back(ledger, step)
                    standing.pop()
                continue
            number, said = move
            before = [_last(standing, image, {number}) for image in (0, 1)]
            changed = {i: (number, one) for i, one in enumerate(said) if (before[i] or OPEN) != one}
            assert made.collect(trees[number], said) == len(changed)
            if changed:
                standing.append(changed)
        expected = {image: _counting(standing, image, purposes) for image in (0, 1)}
        assert made.counts() == {image: one for image, one in expected.items() if one}


def _last(standing: list[dict[int, tuple[int, Said]]], image: int, trees: set[int]) -> Said | None:
    """What the latest of some trees says; a tree that took its verdict back says nothing."""
    for at in range(len(standing) - 1, -1, -1):
        tree, said = standing[at].get(image, (None, OPEN))
        if tree in trees:
            if said != OPEN:
                return said
            trees = trees - {tree}
    return None


def _counting(
    standing: list[dict[int, tuple[int, Said]]], image: int, purposes: list[Purpose]
) -> tuple[Said, bool] | None:
    review, second, decision = (
        _last(standing, image, {i for i, one in enumerate(purposes) if one is purpose}) for purpose in Purpose
    )
    if decision:
        return decision, False
    if not (review and second):
        one = review or second
        return (one, False) if one else None
    if UNSURE in (review, second):
        return (second if review == UNSURE else review), False
    return (review, False) if review == second else (UNSURE, True)


@pytest.fixture
def twice(tmp_path: Path) -> Project:
    """Four images, seen by two people: they agree on two, one is disputed, and of one the second is unsure."""
    project = exported_project(tmp_path, {"a/1.png": "b", "a/2.png": "b", "a/3.png": "b", "b/4.png": "a"})
    export_again(project, {"a/1.png": "b", "a/2.png": "b", "a/3.png": "b", "b/4.png": "a"}, tmp_path / "second",
                 purpose=Purpose.SECOND)  # fmt: skip
    for tree, deleted, who in (("tree", ("1", "2", "4"), "Ada"), ("second", ("1",), "Grace")):
        for number in deleted:
            next((tmp_path / tree).glob(f"*/*{number}.png")).unlink()
        if tree == "second":
            unsure = next((tmp_path / tree).glob("*/*4.png"))
            unsure.rename(tmp_path / tree / "_unsure" / unsure.name)
        project.collect(tmp_path / tree, who=who, finished=["a"], confirm=lambda _: True)
    return project


def test_the_status_shows_agreement_and_who_said_what(twice: Project) -> None:
    found = twice.status()
    assert found.two_people
    assert (found.two_people.images, found.two_people.agreed, found.two_people.share) == (3, 2, 2 / 3)
    assert found.two_people.kappa == pytest.approx(0.4)
    (one,) = found.disputed
    assert (one.path, one.given) == ("a/2.png", "a")
    assert (one.first.verdict, one.first.who) == (Verdict.CORRECT, "Ada")
    assert (one.second.verdict, one.second.label, one.second.who) == (Verdict.RELABEL, "b", "Grace")
    assert found.verdicts == {"correct": 2, "relabel": 1, "unsure": 1}
    assert found.next.command == "dupekit export --again disputed"
    assert {entry.path for entry in twice.ignores()} == {"a/1.png", "b/4.png"}
    said = dupekit("status", "-p", twice.path).stdout
    assert "Two people agree on 2 of 3 images (67 %, Cohen's kappa 0.40)." in said
    assert "a/2.png\tcorrect (Ada)\trelabel b (Grace)" in said
    assert "1 unsure (1 of them disputed)" in said
    document = parsed("status", "-p", twice.path)
    assert document["two_people"]["agreed"] == 2
    assert document["disputed"][0]["second"] == {"verdict": "relabel", "label": "b", "who": "Grace"}


def test_many_disputes_with_long_names_fit_on_a_screen(tmp_path: Path) -> None:
    given, other, third = (
        "copepod_calanoid_frilly_antennae",
        "hydromedusae_shapeA_sideview_small",
        "siphonophore",
    )
    images = {f"{given}/D20140101T{number:06}_IFCB109.png": other for number in range(12)}
    project = exported_project(tmp_path, {**images, f"{third}/1.png": given})
    export_again(project, images, tmp_path / "second", purpose=Purpose.SECOND)
    project.collect(tmp_path / "tree", finished=[given, third])
    for file in (tmp_path / "second" / given).iterdir():
        file.rename(tmp_path / "second" / third / file.name)
    project.collect(tmp_path / "second", who="Grace", confirm=lambda _: True)
    assert len(project.status().disputed) == len(images)
    said = dupekit("status", "-p", project.path, columns=80).stdout
    assert len(said.splitlines()) <= 24
    assert "These are the first 3 of 12: --all shows all." in said
    assert "(Grace)" in said
    export_again(project, {f"{third}/1.png": given}, tmp_path / "out")
    with Ledger(project.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute(
            "DELETE FROM verdicts WHERE image = (SELECT id FROM images WHERE path LIKE ?)", (f"{third}/%",)
        )
    said = dupekit("status", "-p", project.path, columns=80).stdout
    assert "12 of them disputed" in said
    assert "These are" not in said
    assert f"relabel {other} (" in " ".join(dupekit("status", "--all", "-p", project.path).stdout.split())


@pytest.mark.parametrize("words", ["", ",", "unsure,"])
def test_to_show_again_nothing_is_a_slip(twice: Project, words: str) -> None:
    said = dupekit("export", "--again", words, "-p", twice.path, code=2).stderr
    assert "There is no verdict '' to show again." in said


def test_a_decision_ends_the_dispute(twice: Project, tmp_path: Path) -> None:
    export_again(twice, {"a/2.png": "b"}, tmp_path / "decision", purpose=Purpose.DECISION)
    assert [(Path(one.place).name, one.open) for one in twice.status().out] == [
        ("tree", 0), ("second", 0), ("decision", 1),
    ]  # fmt: skip
    twice.collect(tmp_path / "decision", finished=["a"])
    found = twice.status()
    assert found.disputed == []
    assert found.two_people
    assert found.two_people.agreed == 2  # what was said stays said
    assert found.verdicts == {"correct": 2, "relabel": 2}
    twice.undo()
    assert len(twice.status().disputed) == 1
    with Ledger(twice.path / "ledger.db") as ledger:
        assert [one.settled for one in opinions.of_round(ledger, 1)] == [False] * 4
