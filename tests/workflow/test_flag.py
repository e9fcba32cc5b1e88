"""The two rules, and that to look changes nothing."""

from __future__ import annotations

import pytest

from dupekit import Choices, Selection
from dupekit.errors import NothingToDo, UsageError
from dupekit.project import Project
from dupekit.rounds.rules import Rule, RuleName
from tests.support import tree_state


def ledger_of(project: Project) -> bytes:
    return (project.path / "ledger.db").read_bytes()


def test_to_look_changes_nothing(trained: Project) -> None:
    first = trained.flag()
    before = ledger_of(trained)
    assert trained.flag() == first
    assert ledger_of(trained) == before
    trained.flag(threshold=3)
    assert ledger_of(trained) != before
    state = tree_state(trained.path / "rounds")
    chosen = trained.flag()
    assert trained.flag() == chosen
    assert tree_state(trained.path / "rounds") == state


def test_the_rule_is_a_setting_and_what_is_chosen_is_of_the_round(trained: Project) -> None:
    assert trained.flag().rule == Rule(RuleName.SCORE, 3)
    toml = trained.path / "dupekit.toml"
    toml.write_text(f"{toml.read_text()}\nrule = 'votes'\nthreshold = 2\n")
    trained = Project(trained.path)
    assert trained.flag().rule == Rule(RuleName.VOTES, 2)
    trained.flag(rule=RuleName.SCORE)
    assert trained.flag().rule.name is RuleName.SCORE
    trained.flag(threshold=1)
    assert trained.flag().rule == Rule(RuleName.VOTES, 1)
    trained.flag(rule=RuleName.VOTES)
    assert trained.flag().rule == Rule(RuleName.VOTES, 2)  # the settings' again
    trained.flag(rule=RuleName.VOTES, threshold=3)
    assert Project(trained.path).flag().rule == Rule(RuleName.VOTES, 3)


def test_suspects_are_what_the_rule_says_most_suspicious_first(trained: Project) -> None:
    counted = trained.scores()
    for rule, threshold, found in (
        (RuleName.SCORE, None, counted.scores > 0),
        (RuleName.VOTES, 1, counted.votes >= 1),
        (RuleName.VOTES, 3, counted.votes >= 3),
    ):
        flagged = trained.flag(rule=rule, threshold=threshold)
        wanted = {path for path, flag in zip(counted.paths, found, strict=True) if flag}
        assert {one.path for one in flagged.suspects} == wanted
        scores = [one.score for one in flagged.suspects]
        assert scores == sorted(scores, reverse=True)
    assert trained.flag(rule=RuleName.SCORE).by_other_rule == (counted.votes >= 3).sum()
    assert trained.flag(threshold=1).by_other_rule == (counted.scores > 0).sum()


@pytest.mark.parametrize("rule", [Rule(RuleName.SCORE, 3), Rule(RuleName.VOTES, 1), Rule(RuleName.VOTES, 3)])
def test_the_rule_and_the_query_say_the_same(trained: Project, rule: Rule) -> None:
    chosen = {"threshold": rule.threshold} if rule.name is RuleName.VOTES else {"rule": rule.name}
    found = [one.path for one in trained.flag(**chosen).suspects]
    counted = trained.scores()
    flagged = rule.flags(counted.votes, counted.scores, counted.contradicted)
    assert 0 < len(found) < len(counted)
    assert sorted(found) == [path for path, suspect in zip(counted.paths, flagged, strict=True) if suspect]


def test_a_setting_that_no_image_can_reach_is_refused(trained: Project) -> None:
    toml = trained.path / "dupekit.toml"
    toml.write_text(f"{toml.read_text()}\nthreshold = 4\n")
    trained = Project(trained.path)
    assert trained.flag().rule.name is RuleName.SCORE  # which asks for no votes
    toml.write_text(f"{toml.read_text()}\nrule = 'votes'\n")
    trained = Project(trained.path)
    for command in (trained.flag, trained.export):
        with pytest.raises(UsageError, match="threshold of 4 votes cannot be reached: the round has 3 pairs"):
            command()
    assert trained.status().suspects == 0


def test_more_pairs_scale_no_threshold_that_was_set(trained: Project, fast: dict[str, str]) -> None:
    trained.flag(threshold=1)
    trained.train(Choices(pairs=4, **fast))
    assert trained.flag().rule == Rule(RuleName.VOTES, 1)
    trained.flag(rule=RuleName.VOTES)
    trained.train(Choices(pairs=5, **fast))
    assert trained.flag().rule == Rule(RuleName.VOTES, 4)  # four in five


def test_the_ignore_list_counts_by_the_rule_that_holds(trained: Project) -> None:
    found = trained.flag()
    trained.ignore([found.suspects[0].path])
    again = trained.flag()
    assert (again.suspects, again.ignored) == (found.suspects[1:], 1)
    calm = next(path for path, score in zip(*columns(trained), strict=True) if score < 0)
    trained.ignore([calm])
    assert trained.flag().ignored == 1


def columns(project: Project) -> tuple[list[str], list[float]]:
    found = project.scores()
    return found.paths, found.scores.tolist()


def test_what_contradicts_itself_is_refused_and_changes_nothing(trained: Project) -> None:
    trained.flag(threshold=2)
    with pytest.raises(UsageError, match="rule `score` asks for none"):
        trained.flag(rule=RuleName.SCORE, threshold=3)
    for threshold in (-3, 0, 4):
        with pytest.raises(UsageError, match=f"threshold of {threshold}"):
            trained.flag(threshold=threshold)
    assert trained.flag().rule == Rule(RuleName.VOTES, 2)


def test_before_a_pair_is_complete_there_is_nothing(project: Project, fast: dict[str, str]) -> None:
    project.train(Choices(pairs=1, options={"run": "all"}, **{**fast, "trainer": "broken"}))
    with pytest.raises(NothingToDo, match="No pair of round 1 is complete yet"):
        project.flag(threshold=1)


def test_a_rule_that_is_set_says_what_is_exported_and_to_look_at_few_does_not(trained: Project) -> None:
    trained.flag(threshold=3)
    (first,) = trained.export(selection=Selection(limit=1)).manifest.files
    assert first.original == trained.flag().suspects[0].path
    assert len(trained.flag().suspects) == 2  # what is out is a suspect still
