"""`train --until-stable`: when it stops, what it skips, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.ledger import Ledger
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from dupekit.rounds.stability import Stability
from tests.support import dupekit, parsed, until

FAST = ("--trainer", "fake", "--validator", "fake")
FICKLE = {"trainer": "fake", "validator": "fickle", "executor": "here"}


def begun(project: Project) -> list[str]:
    return sorted(job.parent.name for job in project.path.glob("rounds/01/runs/*/job.json"))


def test_a_stable_list_ends_it(project: Project, fast) -> None:
    command = ("train", "--pairs", 10, "--until-stable", *FAST)
    said = dupekit(*command, cwd=project.path).stdout
    assert "It stops as soon as a further pair changes less than 3 % of the list." in said
    assert "Round 1: 10 of 10 runs are done" in said
    assert (
        "The list is stable: the last pair changed 0 of the 2 images with a score above 2 (0 %). So pairs 6 to 10 were"
        " skipped; `dupekit train --pairs 10` trains them all the same."
    ) in said
    assert begun(project) == [f"p0{pair}-{half}" for pair in range(1, 6) for half in "ab"]
    found = project.status()
    assert found.round is not None
    assert (found.pairs_done, found.round.pairs, found.list_changed) == (5, 5, 0)
    assert "list\tthe last pair changed 0 of the 2 images with a score above 2 (0 %)" in (
        dupekit("status", cwd=project.path).stdout
    )
    assert parsed("status", cwd=project.path)["list_changed"] == 0
    assert found.next.command == "dupekit export"
    assert project.flag(rule=RuleName.VOTES).rule.threshold == 4  # four in five of five pairs
    assert project.verify().differences == []


def test_again_it_does_not_go_on_unless_it_is_told_to(project: Project, fast) -> None:
    project.train(Choices(pairs=10, **fast), until_stable=True)
    for options in ((), ("--until-stable",)):
        done = parsed("train", *options, cwd=project.path)
        assert (done["todo"], done["skipped"], done["pairs"]) == ([], [], 5)
    done = parsed("train", "--until-stable", "--pairs", 10, cwd=project.path)
    assert (len(done["todo"]), done["skipped"], done["pairs"]) == (10, [6, 7, 8, 9, 10], 5)
    assert len(begun(project)) == 10
    done = parsed("train", "--pairs", 7, cwd=project.path)
    assert (done["pairs"], done["skipped"], done["stability"]) == (7, [], {"changed": 0, "images": 2})
    assert project.status().pairs_done == 7


def test_a_list_that_is_not_stable_is_trained_to_the_end(project: Project, fast) -> None:
    command = ("train", "--pairs", 5, "--until-stable", "--trainer", "fake", "--validator", "fickle")
    said = dupekit(*command, cwd=project.path).stdout
    assert "Round 1: 10 of 10 runs are done" in said
    assert "The list is not stable yet: the last pair changed " in said
    assert "`dupekit train --pairs 7 --until-stable` goes on." in said
    found = project.status()
    assert found.list_changed is not None
    assert found.list_changed > 0.03


def test_it_stops_when_a_list_has_become_stable(project: Project, fast) -> None:
    """It is looked at after the fifth pair, the seventh, the ninth ...; from some pair on its models agree."""
    done = project.train(Choices(pairs=40, options={"validator.until": 3}, **FICKLE), until_stable=True)
    assert done.stability is not None
    assert done.stability.share < 0.03
    assert done.pairs > 5
    assert done.pairs % 2 == 1
    assert done.skipped == list(range(done.pairs + 1, 41))
    before = [two_pairs(project, pairs) for pairs in range(5, done.pairs, 2)]
    assert all(one.share >= 0.03 for one in before)


def two_pairs(project: Project, pairs: int) -> Stability:
    """What the last of so many pairs changed, as a training of no more than these says."""
    import shutil

    shorter = project.path.with_name(f"shorter-{pairs}")
    shutil.copytree(project.path, shorter)
    with Ledger(shorter / "ledger.db") as ledger, ledger.write() as db:
        db.execute("DELETE FROM runs WHERE pair > ?", (pairs,))
        db.execute("UPDATE rounds SET tallied_pairs = 0, pairs = ?", (pairs,))
    found = Project(shorter).train().stability
    assert found is not None
    return found


def test_as_the_ledger_says_of_an_older_dupekit(trained: Project, fast) -> None:
    """It has not counted what the last pair changed: that is made up for before anything is trained."""
    trained.train(Choices(pairs=5))
    with Ledger(trained.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute("UPDATE rounds SET strong_images = NULL, strong_changed = NULL")
    assert trained.status().list_changed is None
    assert "list\t" not in dupekit("status", cwd=trained.path).stdout
    done = trained.train(Choices(pairs=10), until_stable=True)
    assert (done.pairs, done.skipped, len(begun(trained))) == (5, [6, 7, 8, 9, 10], 10)
    assert trained.status().list_changed == 0


@pytest.mark.parametrize("after", range(1, 15))
def test_interrupted_between_any_two_runs_it_goes_on_to_the_same_end(
    project: Project, fast, after: int
) -> None:
    ended = []

    def interrupt(run: object) -> None:
        ended.append(run)
        if len(ended) == after:
            raise KeyboardInterrupt

    choices = Choices(pairs=9, options={"validator.until": 5}, **FICKLE)
    with pytest.raises(KeyboardInterrupt):
        project.train(choices, until_stable=True, ended=interrupt)
    assert project.status().round.pairs == 9  # type: ignore[union-attr]
    done = project.train(choices, until_stable=True)
    assert (done.failed, done.left) == ([], [])
    assert done.stability is not None
    stopped = done.stability.share < 0.03
    assert stopped == bool(done.skipped)
    assert project.status().pairs_done == done.pairs == 9 - len(done.skipped)
    assert len(begun(project)) == 2 * done.pairs
    assert project.verify().differences == []


def test_what_was_begun_is_brought_to_its_end(project: Project, fast) -> None:
    """A half pair is not left behind, although the list is stable without it; nor is one that failed."""
    options = {"how": "raise", "run": "p06-b"}
    done = project.train(Choices(pairs=6, options=options, **{**fast, "trainer": "broken"}, executor="here"))
    assert [run.name for run in done.failed] == ["p06-b"]
    again = project.train(Choices(pairs=10, executor="here"), until_stable=True)
    assert ([run.name for run in again.failed], again.pairs) == (["p06-b"], 6)
    assert again.skipped == [7, 8, 9, 10]


def test_a_plain_training_goes_on_where_it_was_interrupted(project: Project, fast) -> None:
    def interrupt(run: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.train(Choices(pairs=4, **fast), until_stable=True, ended=interrupt)
    assert project.train().pairs == project.status().pairs_done == 4


def test_of_two_stages_the_list_is_looked_at_in_the_second(project: Project, fast) -> None:
    """The first pair with weights changes it for another reason than the next ones."""
    done = project.train(Choices(pairs=10, stage=2, **fast), until_stable=True)
    assert (done.plan.first_stage, done.pairs, done.skipped) == (5, 7, [8, 9, 10])
    assert (project.path / "rounds/01/weights.npy").exists()
    assert project.train(Choices(pairs=8)).plan.first_stage == 5
    assert project.status().pairs_done == 8


def test_a_dry_run_says_how_far_it_may_go(project: Project, fast) -> None:
    command = ("train", "--pairs", 2, "--until-stable", "--dry-run", *FAST)
    said = dupekit(*command, cwd=project.path).stdout
    assert "To do, at most: p01-a p01-b p02-a p02-b" in said
    assert not (project.path / "rounds").exists()


def test_ctrl_c_from_outside(project: Project, fast) -> None:
    named = ("--until-stable", "--pairs", "30", "--trainer", "fake", "--validator", "fickle")
    command = [sys.executable, "-m", "dupekit", "train", *named]
    with subprocess.Popen(
        command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(
            lambda: list(project.path.glob("rounds/01/runs/p06-a/result.json")) or process.poll() is not None
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on from there" in said
    done = parsed(*command[3:], cwd=project.path)
    assert len(done["todo"]) < 50
    assert done["failed"] == []


def test_one_worker_does_all_batches(project: Project, fast, monkeypatch, tmp_path: Path) -> None:
    """A process costs seconds; its plugins are made once."""
    notes = tmp_path / "made"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, sys\n"
        f"if 'dupekit.jobs' in sys.orig_argv: open({str(notes)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ["PYTHONPATH"]]))
    done = project.train(Choices(pairs=6, stage=2, trainer="fake", validator="fickle"), until_stable=True)
    assert done.pairs == 6
    assert len(notes.read_text().split()) == 1
    jobs = [
        json.loads(job.read_text())["weights"]
        for job in sorted(project.path.glob("rounds/01/runs/*/job.json"))
    ]
    assert jobs == [None] * 6 + ["../../weights.npy"] * 6
