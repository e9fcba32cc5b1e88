"""Batches, audits, second opinions, and how a tree shows its images."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dupekit import Choices, Selection, Style
from dupekit.errors import DatasetChanged, NothingToDo, UsageError
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file
from dupekit.ledger import Ledger
from dupekit.ledger.exports import Purpose
from dupekit.project import Project
from dupekit.review.manifest import SPECIAL, ExportedFile
from dupekit.review.style import Order
from dupekit.review.verdicts import tree_manifest
from dupekit.rounds.rules import RuleName
from dupekit.testing import make_dataset
from dupekit.workflow.export import Exported
from tests.conftest import with_fakes
from tests.support import CLASSES, call_back, moved_project

WRONG = 9
"""Images in a wrong folder: all are suspects by either rule."""


@pytest.fixture(scope="module")
def made(fast_plugins: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with nine images in a wrong folder, and its project, trained: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    data = make_dataset(folder / "data", classes=CLASSES, per_class=16, seed=3)
    for number in range(WRONG):
        source, target = CLASSES[number % 3], CLASSES[(number + 1) % 3]
        sorted((data / source).glob("0*.png"))[0].rename(data / target / f"wrong_{number}.png")
    project = Project.create(data, folder / "project")
    project.scan()
    with pytest.MonkeyPatch.context() as patch:
        assert not project.train(Choices(pairs=3, **with_fakes(fast_plugins, patch))).failed
    assert len(project.flag().suspects) == WRONG
    return folder


@pytest.fixture
def noisy(made: Path, tmp_path: Path) -> Project:
    shutil.copytree(made / "data", tmp_path / "data")
    return moved_project(made / "project", tmp_path / "project", (made, tmp_path))


def originals(exported: Exported) -> list[str]:
    return [file.original for file in exported.manifest.files]


def suspects(project: Project) -> list[str]:
    return [one.path for one in project.flag().suspects]


def place(exported: Exported, file: ExportedFile) -> Path:
    return real_path(exported.tree, file.path)


def delete(exported: Exported, number: int) -> None:
    for file in exported.manifest.files[:number]:
        place(exported, file).unlink()


class TestBatches:
    def test_they_follow_each_other_until_none_is_left(self, noisy: Project) -> None:
        ranked = suspects(noisy)
        trees = [noisy.export(selection=Selection(limit=4)) for _ in range(3)]
        assert [path for one in trees for path in originals(one)] == ranked
        assert [one.waiting for one in trees] == [5, 1, 0]
        names = ["dupes", "dupes-2", "dupes-3"]
        assert [one.tree for one in trees] == [noisy.path / "rounds/01" / name for name in names]
        with pytest.raises(
            NothingToDo, match=r"4 without a verdict in .*dupes; 4 .*dupes-2; 1 .*dupes-3"
        ) as caught:
            noisy.export()
        assert "dupekit collect" in caught.value.hint
        assert "dupekit withdraw" in caught.value.hint

    def test_the_setting_says_how_many_by_score_and_by_votes_all_go_out(self, noisy: Project) -> None:
        toml = noisy.path / "dupekit.toml"
        toml.write_text(f"{toml.read_text()}\nbatch = 2\n")
        noisy = Project(noisy.path)
        assert len(originals(noisy.export())) == 2
        assert len(originals(noisy.export(selection=Selection(limit=1)))) == 1
        noisy.flag(rule=RuleName.VOTES)
        assert len(originals(noisy.export())) == WRONG - 3

    def test_all_that_wait_go_out_by_score_too(self, noisy: Project) -> None:
        toml = noisy.path / "dupekit.toml"
        toml.write_text(f"{toml.read_text()}\nbatch = 2\n")
        noisy = Project(noisy.path)
        noisy.export()
        assert len(originals(noisy.export(selection=Selection(everything=True)))) == WRONG - 2

    def test_what_was_decided_stays_decided_and_what_is_open_stays_out(self, noisy: Project) -> None:
        first = noisy.export(selection=Selection(limit=4))
        delete(first, 1)
        place(first, first.manifest.files[1]).rename(first.tree / "_unsure" / "it.png")
        noisy.collect()
        assert originals(noisy.export()) == [path for path in suspects(noisy) if path not in originals(first)]

    def test_what_changed_since_the_training_is_in_no_batch(self, noisy: Project) -> None:
        ranked = suspects(noisy)
        Image.new("L", (9, 9), 3).save(noisy.dataset / ranked[0])
        (noisy.dataset / ranked[1]).unlink()
        noisy.scan()
        assert originals(noisy.export()) == ranked[2:]

    def test_a_tree_that_was_called_back_gives_its_undecided_images_back(self, noisy: Project) -> None:
        first = noisy.export()
        delete(first, 2)
        noisy.collect()
        call_back(noisy)
        assert originals(noisy.export()) == originals(first)[2:]

    def test_when_all_is_decided_it_says_so(self, noisy: Project) -> None:
        delete(noisy.export(), WRONG)
        noisy.collect()
        with pytest.raises(
            NothingToDo, match="No suspect is left to review: 9 decided; 9 on the ignore list"
        ) as caught:
            noisy.export()
        assert "dupekit apply" in caught.value.hint

    def test_without_suspects_it_says_what_finds_more(self, noisy: Project) -> None:
        noisy.ignore(suspects(noisy))
        noisy.flag(threshold=3)
        with pytest.raises(NothingToDo, match="9 on the ignore list") as caught:
            noisy.export()
        assert "--rule score" in caught.value.hint

    def test_no_default_place_is_taken_that_a_tree_has_or_had(self, noisy: Project, tmp_path: Path) -> None:
        noisy.export(selection=Selection(limit=1)).tree.rename(tmp_path / "away")
        (noisy.path / "rounds/01/dupes-2").mkdir()
        assert noisy.export().tree.name == "dupes-3"

    def test_before_a_pair_is_complete_there_is_nothing(self, project: Project, fast: dict[str, str]) -> None:
        project.train(Choices(pairs=1, options={"run": "all"}, **{**fast, "trainer": "broken"}))
        with pytest.raises(NothingToDo, match="No pair of round 1 is complete"):
            project.export()


def drawn(exported: Exported) -> list[ExportedFile]:
    return [file for file in exported.manifest.files if file.stratum is not None]


class TestAudit:
    def test_it_is_of_what_is_no_suspect_not_ignored_and_unchanged(
        self, noisy: Project, tmp_path: Path
    ) -> None:
        data = noisy.dataset
        calm = [f"{label}/{file.name}" for label in CLASSES for file in (data / label).glob("0*.png")]
        ignored, gone, changed, *others = calm
        noisy.ignore([ignored])
        (data / gone).unlink()
        Image.new("L", (9, 9)).save(data / changed)
        noisy.scan()
        made = noisy.export(selection=Selection(limit=3, audit=len(others)))
        assert {file.original for file in drawn(made)} == set(others)
        assert len(made.manifest.files) == 3 + len(others)
        # All of every stratum were drawn.
        assert Counter(file.stratum for file in drawn(made)) == {
            file.stratum: file.population for file in drawn(made)
        }
        with pytest.raises(UsageError, match="1 images is more than there is: 0 images"):
            noisy.export(selection=Selection(audit=1))

    def test_it_is_marked_in_manifest_and_ledger_alike_and_nowhere_else(self, noisy: Project) -> None:
        made = noisy.export(selection=Selection(audit=8))
        files = {file.path: (file.stratum, file.population) for file in tree_manifest(made.tree).files}
        with Ledger(noisy.path / "ledger.db") as ledger:
            rows = ledger.rows("SELECT path, stratum, population FROM exported_files").fetchall()
        assert {path: (stratum, population) for path, stratum, population in rows} == files
        assert sum(stratum is not None for stratum, _ in files.values()) == 8
        for file in made.manifest.files:
            assert place(made, file).name == f"{file.suggested}_{Path(file.original).name}"

    def test_it_lies_at_random_ranks_among_the_suspects(self, noisy: Project) -> None:
        made = noisy.export(selection=Selection(audit=9), style=Style(Order.RANK))
        marks = [file.stratum is None for file in made.manifest.files]
        assert marks not in (sorted(marks), sorted(marks, reverse=True))
        assert [file.original for file in made.manifest.files if file.stratum is None] == suspects(noisy)

    def test_the_same_project_draws_the_same_and_its_next_tree_others(
        self, noisy: Project, made: Path, tmp_path: Path
    ) -> None:
        twin = moved_project(made / "project", tmp_path / "twin", (made, tmp_path))
        one, other = (p.export(selection=Selection(limit=2, audit=9)) for p in (noisy, twin))
        assert originals(one) == originals(other)
        second = noisy.export(selection=Selection(limit=2, audit=9))
        assert not {file.original for file in drawn(one)} & {file.original for file in drawn(second)}

    def test_it_can_go_out_alone(self, noisy: Project) -> None:
        made = noisy.export(selection=Selection(limit=0, audit=5))
        assert (len(drawn(made)), len(made.manifest.files), made.waiting) == (5, 5, WRONG)
        noisy.export()
        assert len(noisy.export(selection=Selection(audit=5)).manifest.files) == 5

    def test_what_the_audit_found_is_applied_as_any_verdict(self, noisy: Project, tmp_path: Path) -> None:
        made = noisy.export(selection=Selection(limit=0, audit=2))
        one, other = made.manifest.files
        place(made, one).rename(made.tree / "_expunge" / place(made, one).name)
        place(made, other).unlink()
        noisy.collect()
        assert [c.path for c in noisy.apply(tmp_path / "fixed").expunged] == [one.original]
        assert len(noisy.ignores()) == 1


class TestAgain:
    @pytest.fixture
    def decided(self, noisy: Project) -> Project:
        """Three correct, two unsure, one expunged, one relabelled, two open."""
        made = noisy.export()
        files = made.manifest.files
        delete(made, 3)
        for file, folder in zip(files[3:7], ("_unsure", "_unsure", "_expunge", "_done"), strict=True):
            place(made, file).rename(made.tree / folder / place(made, file).name)
        noisy.collect()
        return noisy

    def test_a_second_opinion_is_of_the_verdicts_that_are_named(self, decided: Project) -> None:
        first = originals_of(decided, "dupes")
        made = decided.export(selection=Selection(again=["unsure", "expunge"]))
        assert (made.tree.name, made.purpose) == ("second", Purpose.SECOND)
        assert sorted(originals(made)) == sorted(first[3:6])
        rest = decided.export(selection=Selection(again=["all"]))
        assert (rest.tree.name, sorted(originals(rest))) == ("second-2", sorted([*first[:3], first[6]]))
        with pytest.raises(NothingToDo, match="No image of round 1 is decided and not shown again"):
            decided.export(selection=Selection(again=["all"]))
        with pytest.raises(NothingToDo, match="is expunge or unsure and not shown"):
            decided.export(selection=Selection(again=["unsure", "expunge"]))

    def test_nothing_in_the_tree_tells_what_was_decided(self, decided: Project, tmp_path: Path) -> None:
        before = {file.original: file.path for file in tree_manifest(decided.path / "rounds/01/dupes").files}
        made = decided.export(tmp_path / "blind", Selection(again=["all"]))
        assert {file.original: file.path for file in made.manifest.files} == {
            path: before[path] for path in originals(made)
        }
        assert {file.stratum for file in made.manifest.files} == {None}
        assert originals(made) != [path for path in before if path in originals(made)]  # nor does the order

    def test_a_sample_is_drawn_of_them(self, decided: Project) -> None:
        made = decided.export(selection=Selection(again=["all"], sample=4))
        assert set(originals(made)) < set(originals_of(decided, "dupes")[:7])
        assert len(originals(made)) == 4
        assert len(originals(decided.export(selection=Selection(again=["all"], sample=50)))) == 3

    def test_what_two_people_dispute_goes_to_one_who_decides(self, decided: Project) -> None:
        made = decided.export(selection=Selection(again=["correct"]))
        files = made.manifest.files
        place(made, files[0]).unlink()
        for file in files[1:]:
            place(made, file).rename(made.tree / "_expunge" / place(made, file).name)
        decided.collect(made.tree)
        dispute = decided.export(selection=Selection(again=["disputed"]))
        assert (dispute.tree.name, dispute.purpose) == ("decision", Purpose.DECISION)
        assert set(originals(dispute)) == set(originals(made)[1:])
        with pytest.raises(NothingToDo, match="is disputed and not shown again"):
            decided.export(selection=Selection(again=["disputed"]))
        delete(dispute, 1)
        decided.collect(dispute.tree)
        assert decided.status().verdicts["correct"] == 2

    def test_what_is_decided_again_is_no_batch(self, decided: Project) -> None:
        decided.export(selection=Selection(again=["all"]))
        with pytest.raises(NothingToDo, match="2 without a verdict") as caught:
            decided.export()
        assert "second" not in caught.value.message  # no suspect waits there

    def test_what_changed_since_is_not_shown_again(self, decided: Project) -> None:
        first = originals_of(decided, "dupes")
        Image.new("L", (9, 9), 3).save(decided.dataset / first[0])
        decided.scan()
        made = decided.export(selection=Selection(again=["correct"]))
        assert sorted(originals(made)) == sorted(first[1:3])


def originals_of(project: Project, tree: str) -> list[str]:
    return [file.original for file in tree_manifest(project.path / "rounds/01" / tree).files]


@pytest.mark.parametrize(
    ("selection", "style", "said"),
    [
        (Selection(limit=0), Style(), "batch of 0"),
        (Selection(limit=-1, audit=3), Style(), "batch of -1"),
        (Selection(limit=3, everything=True), Style(), "`--limit` names a number"),
        (Selection(audit=-1), Style(), "audit of -1"),
        (Selection(audit=1000), Style(), "audit of 1000 images is more than there is"),
        (Selection(sample=3), Style(), "goes with `--again`"),
        (Selection(again=["all"], sample=0), Style(), "sample of 0"),
        (Selection(again=["all"], limit=3), Style(), "`--again` shows what was decided"),
        (Selection(again=["all"], everything=True), Style(), "`--again` shows what was decided"),
        (Selection(again=["all"], audit=3), Style(), "`--again` shows what was decided"),
        (Selection(again=["all"]), Style(Order.RANK), "random order"),
        (Selection(again=["open"]), Style(), "no verdict 'open'"),
        (Selection(again=[""]), Style(), "no verdict ''"),
        (Selection(again=["disputed", "unsure"]), Style(), "to one who decides"),
        (Selection(), Style(enlarge=0), "enlarged 0 times"),
        (Selection(), Style(enlarge=1000), "Enlarged 1000 times"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    noisy: Project, selection: Selection, style: Style, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        noisy.export(selection=selection, style=style)
    assert noisy.status().exports == []
    assert not (noisy.path / "rounds/01/dupes").exists()


def size_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


class TestStyle:
    def test_ranks_begin_the_names(self, noisy: Project) -> None:
        ten = noisy.export(selection=Selection(audit=1), style=Style(Order.RANK)).manifest.files
        assert [Path(file.path).name for file in ten] == [
            f"{rank:02d}_{file.suggested}_{Path(file.original).name}" for rank, file in enumerate(ten, 1)
        ]
        call_back(noisy)
        nine = noisy.export(style=Style(Order.RANK)).manifest.files
        assert [Path(file.path).name for file in nine] == [
            f"{rank}_{file.suggested}_{file.votes:02d}_{Path(file.original).name}"
            for rank, file in enumerate(nine, 1)
        ]

    @pytest.mark.parametrize("only", [False, True])
    def test_folders_of_all_classes_stand_ready(self, noisy: Project, only: bool) -> None:
        made = noisy.export(selection=Selection(limit=1), style=Style(only_flagged_classes=only))
        folders = {path.name for path in made.tree.iterdir() if path.is_dir() and path.name[0] != "."}
        flagged = {file.given for file in made.manifest.files}
        assert folders == {*SPECIAL, *(flagged if only else CLASSES)}

    def test_copies_are_enlarged_by_one_factor_and_known_by_both_digests(self, noisy: Project) -> None:
        sizes = [size_of(noisy.dataset / path) for path in suspects(noisy)]
        made = noisy.export(style=Style(enlarge=None))
        factor = round(200 / np.median([max(size) for size in sizes]))
        assert made.manifest.enlarged == factor > 1
        for file in made.manifest.files:
            copy, original = place(made, file), noisy.dataset / file.original
            width, height = size_of(original)
            with Image.open(copy) as image:
                assert (image.format, image.size) == ("PNG", (factor * width, factor * height))
            assert (file.digest, file.copy_digest) == (digest_file(original), digest_file(copy))
            assert file.size == copy.stat().st_size
            assert int(copy.stat().st_mtime) == int(original.stat().st_mtime)

    def test_enlarged_copies_are_known_by_content_and_what_is_decided_is_of_the_image(
        self, noisy: Project, tmp_path: Path
    ) -> None:
        made = noisy.export(style=Style(enlarge=3))
        one, other, *_ = made.manifest.files
        place(made, one).rename(made.tree / "_expunge" / "renamed by hand.png")
        place(made, other).unlink()
        collected = noisy.collect()
        assert collected.review.strangers == []
        assert [c.path for c in noisy.apply(tmp_path / "fixed").expunged] == [one.original]
        assert [entry.digest for entry in noisy.ignores()] == [other.digest]
        assert noisy.verify().differences == []

    def test_the_image_itself_stands_for_its_enlarged_copy(self, noisy: Project) -> None:
        made = noisy.export(style=Style(enlarge=3))
        one, other, *_ = made.manifest.files
        place(made, one).unlink()
        shutil.copy(noisy.dataset / one.original, made.tree / "_unsure")
        shutil.copy(noisy.dataset / other.original, made.tree / "_unsure")  # its copy lies in its place still
        review = noisy.collect().review
        assert [v.verdict for v in review.verdicts[:2]] == ["unsure", "open"]
        assert review.strangers == [f"_unsure/{Path(other.original).name}"]

    def test_a_factor_of_one_copies_the_images_themselves(self, noisy: Project) -> None:
        made = noisy.export(style=Style(enlarge=1))
        for file in made.manifest.files:
            assert file.copy_digest is None
            assert place(made, file).read_bytes() == (noisy.dataset / file.original).read_bytes()

    def test_what_changed_since_the_scan_is_not_enlarged(self, noisy: Project) -> None:
        file = noisy.dataset / suspects(noisy)[0]
        stat, content = file.stat(), bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(DatasetChanged, match="changed since the last scan"):
            noisy.export(style=Style(enlarge=2))
        file.unlink()
        with pytest.raises(DatasetChanged, match="is gone"):
            noisy.export(style=Style(enlarge=2))
        assert noisy.status().exports == []
        assert [path.name for path in (noisy.path / "rounds/01").glob(".*")] == []
