"""The second stage of a round: its weights, what comes of cuts and losses, and what is said of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dupekit import Choices
from dupekit.errors import UsageError
from dupekit.jobs.predictions import PredictionReader
from dupekit.ledger import Ledger
from dupekit.project import Project
from dupekit.settings import FILE
from tests.support import Killed, Killer, dupekit, lists_of, moved_project, parsed

WRONG = {"ciliate/wrong_amoeba.png", "amoeba/wrong_diatom.png"}


def weights_of(project: Project, round_number: int = 1) -> Path:
    return project.path / f"rounds/{round_number:02d}/weights.npy"


def images_of(project: Project) -> dict[str, Any]:
    return lists_of(project.path / "rounds/01/images.npz")


def predictions(project: Project) -> dict[str, bytes]:
    return {
        file.parent.name: file.read_bytes() for file in project.path.glob("rounds/01/runs/*/predictions.npz")
    }


def expected(project: Project, pairs: int) -> np.ndarray:
    """The weights, plainly, from the predictions of the first pairs."""
    of_round = images_of(project)
    total = np.zeros((len(of_round["ids"]), len(of_round["classes"])))
    for pair in range(1, pairs + 1):
        for half in "ab":
            with PredictionReader(project.path / f"rounds/01/runs/p{pair:02d}-{half}") as reader:
                for images, probabilities in reader.chunks():
                    total[np.searchsorted(of_round["ids"], images)] += probabilities
    mean, rows = total / pairs, np.arange(len(total))
    given = mean[rows, of_round["labels"]].copy()
    mean[rows, of_round["labels"]] = 0
    return (given + 1e-4) / (given + mean.max(axis=1) + 2e-4)


@pytest.fixture
def staged(project: Project, fast: dict[str, str]) -> Project:
    """With a round of four pairs, two of them of the second stage."""
    assert not project.train(Choices(pairs=4, stage=2, **fast)).failed
    return project


def test_the_second_half_of_the_pairs_is_trained_with_weights(staged: Project) -> None:
    weights = np.load(weights_of(staged))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected(staged, 2), rtol=1e-5)
    paths = images_of(staged)["paths"]
    assert {path for path, weight in zip(paths, weights, strict=True) if weight < 0.5} == WRONG
    named = {
        file.parent.name: json.loads(file.read_text())["weights"]
        for file in staged.path.glob("rounds/01/runs/*/job.json")
    }
    assert named == {
        f"p{p:02d}-{h}": None if p <= 2 else "../../weights.npy" for p in range(1, 5) for h in "ab"
    }
    assert staged.status().pairs_done == 4
    assert {suspect.path for suspect in staged.flag().suspects} == WRONG
    assert staged.verify().differences == []


def test_the_weights_reach_the_trainer(staged: Project, project: Project, fast, tmp_path: Path) -> None:
    """Its models are others than without: of the wrong ones hardly anything is learnt."""
    plain = Project.create(staged.dataset, tmp_path / "plain")
    plain.scan()
    plain.train(Choices(pairs=4, **fast))
    one, other = predictions(staged), predictions(plain)
    assert {name for name in one if one[name] != other[name]} == {"p03-a", "p03-b", "p04-a", "p04-b"}
    scores, before = staged.scores(), plain.scores()
    wrong = [path in WRONG for path in scores.paths]
    assert scores.scores[wrong].min() > before.scores[wrong].min()


def test_it_can_be_cut_off_anywhere(
    template: Path, dataset: Path, tmp_path: Path, in_memory: Path, fast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each file that takes its place and each folder that is made: and then it goes on, to the same end."""
    choices = Choices(pairs=2, stage=2, executor="here", **fast)
    project = moved_project(template / "scanned", in_memory / "project", (template, tmp_path))
    kept = shutil.copytree(project.path, in_memory / "kept")
    right = Project(shutil.copytree(project.path, in_memory / "whole"))
    right.train(choices)
    weights = weights_of(right).read_bytes()
    seen = set()
    for step in range(1, 100):
        shutil.rmtree(project.path)
        shutil.copytree(kept, project.path)
        killer, finished = Killer(step), False
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", killer.before(Path.replace))
            patched.setattr(Path, "mkdir", killer.before(Path.mkdir))
            patched.setattr(Path, "unlink", killer.unless_dead(Path.unlink))
            try:
                project.train(choices)
                finished = True
            except Killed:
                pass
        seen.add((weights_of(project).exists(), (project.path / "rounds/01/runs/p02-a").exists()))
        done = project.train(choices)
        assert (done.failed, done.left, done.waiting) == ([], [], [])
        np.testing.assert_array_equal(project.scores().scores, right.scores().scores)
        assert weights_of(project).read_bytes() == weights
        assert project.verify().differences == []
        if finished:
            break
    assert finished
    assert step > 20
    assert seen == {(False, False), (True, False), (True, True)}


def test_each_image_of_a_class_that_is_capped_keeps_its_own_weight(project: Project, fast) -> None:
    done = project.train(Choices(pairs=2, stage=2, class_max=4, executor="here", **fast))
    assert (done.failed, done.left) == ([], [])
    np.testing.assert_allclose(np.load(weights_of(project)), expected(project, 1), rtol=1e-5)


class TestLost:
    @pytest.mark.parametrize("damage", ["gone", "cut short", "of other images", "no weights", "text"])
    def test_weights_are_made_anew(self, staged: Project, damage: str) -> None:
        file = weights_of(staged)
        whole, runs = file.read_bytes(), predictions(staged)
        if damage == "gone":
            file.unlink()
        elif damage == "cut short":
            file.write_bytes(whole[:-8])
        elif damage == "text":
            file.write_text("weights")
        elif damage == "of other images":
            np.save(file, np.ones(35, np.float32))
        else:
            np.save(file, np.full(36, np.nan, np.float32))
        (found,) = staged.verify().differences
        assert found.where == "rounds/01/weights.npy"
        assert staged.train().todo == []
        assert file.read_bytes() == whole
        assert predictions(staged) == runs
        assert staged.verify().differences == []

    def test_a_run_of_the_first_stage(self, staged: Project) -> None:
        """It is done again; weights and second stage stay."""
        file, runs = weights_of(staged), predictions(staged)
        np.save(
            file, np.load(file) / 2
        )  # of another first stage, as where its models were not the same again
        kept = file.read_bytes()
        shutil.rmtree(staged.path / "rounds/01/runs/p01-b")
        done = staged.train()
        assert (done.todo, done.waiting) == (["p01-b"], [])
        assert predictions(staged) == runs
        assert file.read_bytes() == kept

    def test_both(self, staged: Project) -> None:
        file, runs = weights_of(staged), predictions(staged)
        kept = file.read_bytes()
        file.unlink()
        shutil.rmtree(staged.path / "rounds/01/runs/p02-a")
        shutil.rmtree(staged.path / "rounds/01/runs/p04-b")
        assert staged.train().todo == ["p02-a", "p04-b"]
        assert (file.read_bytes(), predictions(staged)) == (kept, runs)

    def test_under_a_worker_s_eyes(self, staged: Project) -> None:
        """A cluster may come to a job much later: it then says what is wrong, and the next training mends it."""
        from dupekit.api import Job, silent
        from dupekit.jobs.worker import run_batches

        np.save(weights_of(staged), np.ones(3, np.float32))
        folder = staged.path / "rounds/01/runs/p04-b"
        (folder / "result.json").unlink()
        (outcome,) = run_batches([[Job("p04-b", folder)]], silent)
        assert outcome.error is not None
        assert "does not hold a weight from 0 to 1 for each of the round's 36 images" in outcome.error
        assert staged.train().failed == []


class TestLater:
    def test_more_pairs_are_of_the_second_stage(self, staged: Project) -> None:
        kept = weights_of(staged).read_bytes()
        assert not staged.train(Choices(pairs=6)).failed
        jobs = [json.loads((staged.path / f"rounds/01/runs/p{p:02d}-a/job.json").read_text()) for p in (5, 6)]
        assert [job["weights"] for job in jobs] == ["../../weights.npy"] * 2
        assert weights_of(staged).read_bytes() == kept

    def test_naming_what_is_so_already_changes_nothing(self, staged: Project, fast) -> None:
        assert staged.train(Choices(pairs=6, stage=2, **fast)).plan.first_stage == 2

    def test_the_round_stays_as_it_was_begun(self, staged: Project, trained: Project) -> None:
        with pytest.raises(UsageError, match="was begun with stage 1, not 2; all runs of a round are alike"):
            trained.train(Choices(stage=2))

    def test_and_the_other_way_round(self, staged: Project) -> None:
        with pytest.raises(UsageError, match="was begun with stage 2, not 1"):
            staged.train(Choices(stage=1))

    def test_the_next_round_begins_with_its_own(self, staged: Project, fast) -> None:
        staged.next_round(drop=True)
        assert staged.train(Choices(pairs=1, **fast)).plan.first_stage is None
        staged.next_round(drop=True)
        file = staged.path / FILE
        file.write_text(file.read_text() + "\nstage = 2\n")
        again = Project(staged.path)
        assert again.train(Choices(pairs=3, **fast)).plan.first_stage == 2
        assert weights_of(again, 3).exists()
        assert not weights_of(again, 2).exists()
        assert again.verify().differences == []

    def test_a_round_begun_anew_halves_the_pairs_it_has_then(self, project: Project, fast) -> None:
        broken = {**fast, "trainer": "broken"}
        done = project.train(Choices(pairs=8, stage=2, options={"run": "all"}, **broken))
        assert (done.plan.first_stage, len(done.failed), len(done.waiting)) == (4, 8, 8)
        again = project.train(Choices(pairs=3, **fast))  # none was done, so nothing is bound by it
        assert (again.plan.first_stage, again.begun, again.failed) == (2, True, [])


class TestFirstStageFails:
    def test_the_second_waits_and_says_for_what(self, project: Project, fast) -> None:
        command = ("train", "--pairs", 4, "--stage", 2, "--trainer", "broken", "--validator", "fake")
        said = dupekit(*command, cwd=project.path, code=1)
        assert "p02-a\tRuntimeError: it broke" in said.stdout
        assert (
            "4 runs of the second stage were not begun: their weights come from all of the first 2 pairs, and not every run"
            " of these is done."
        ) in said.stdout
        assert "Round 1: 3 of 8 runs are done.\nNext: dupekit train" in said.stdout
        assert not weights_of(project).exists()
        assert not list(project.path.glob("rounds/01/runs/p03-*"))
        assert project.status().pairs_done == 1
        # What is wrong is mended, as a larger machine would.
        for job in project.path.glob("rounds/01/runs/*/job.json"):
            assert "broken" in job.read_text()
        with Ledger(project.path / "ledger.db") as ledger, ledger.write() as db:
            db.execute("UPDATE rounds SET plan = replace(plan, 'p02-a', 'none')")
        done = parsed("train", cwd=project.path)
        assert (done["todo"], done["waiting"]) == (["p02-a", "p03-a", "p03-b", "p04-a", "p04-b"], [])
        assert weights_of(project).exists()

    def test_a_failure_in_the_second_holds_nothing_up(self, project: Project, fast) -> None:
        options = {"run": "p03-b", "how": "kill"}
        done = project.train(Choices(pairs=4, stage=2, options=options, **{**fast, "trainer": "broken"}))
        assert ([run.name for run in done.failed], done.waiting, done.left) == (["p03-b"], [], [])
        assert project.status().pairs_done == 3


def test_the_plan_says_it(project: Project, fast) -> None:
    command = ("train", "--stage", 2, "--pairs", 5, "--trainer", "fake", "--validator", "fake")
    said = dupekit(*command, "--dry-run", cwd=project.path).stdout
    assert (
        "Second stage: from pair 4 on, each image counts as far as the models of the first 3 pairs held its label for right."
    ) in said
    short = dupekit(*command, "--dry-run", "--pairs", 2, "--class-max", 7, cwd=project.path).stdout
    assert "as far as the models of pair 1 held its label for right." in short
    assert "Each training sees at most 7 images of a class.\n" in short
    assert not (project.path / "rounds").exists()
    assert parsed(*command, "--dry-run", cwd=project.path)["plan"]["first_stage"] == 3
    assert "Second stage" not in dupekit("train", "--dry-run", *command[5:], cwd=project.path).stdout


def test_one_pair_has_no_second_stage(project: Project, fast) -> None:
    with pytest.raises(UsageError, match="Of one pair there is no second stage") as caught:
        project.train(Choices(pairs=1, stage=2, **fast))
    assert "--stage 1" in caught.value.hint
    assert not (project.path / "rounds").exists()


def test_a_project_of_before_has_no_second_stage(trained: Project) -> None:
    """Its plan does not say so, and neither do its jobs."""
    with Ledger(trained.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute("UPDATE rounds SET plan = json_remove(plan, '$.first_stage')")
    for job in trained.path.glob("rounds/01/runs/*/job.json"):
        content = json.loads(job.read_text())
        del content["weights"]
        job.write_text(json.dumps(content))
    assert trained.verify().differences == []
    assert trained.train(Choices(pairs=4)).plan.first_stage is None
