"""How far the models agree with the given labels, by round and by class."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter

import pytest

from dupekit.errors import NothingToDo
from dupekit.project import Project
from tests.support import dupekit, parsed


def changed(project: Project, *statements: str) -> None:
    """Runs SQL on the ledger: models that are as bad as one likes."""
    with contextlib.closing(sqlite3.connect(project.path / "ledger.db")) as db, db:
        for statement in statements:
            db.execute(statement)


def test_it_is_what_the_predictions_say(trained: Project) -> None:
    predictions = list(trained.predictions())
    images, agreeing, named = Counter(), Counter(), Counter(one.label for one in predictions)
    for one in predictions:
        given = one.path.partition("/")[0]
        images[given] += 1
        agreeing[given] += one.label == given
    found = trained.agreement()
    assert {one.label: one.images for one in found.classes} == {
        label: count / 3 for label, count in images.items()
    }
    for one in found.classes:
        assert one.agreement == pytest.approx(agreeing[one.label] / images[one.label])
        assert one.chance == pytest.approx(max(named[one.label] / len(predictions), 1 / 3))
        assert not one.near_chance
    assert found.classes == sorted(found.classes, key=lambda one: (one.agreement, one.label))
    (of_round,) = found.rounds
    assert (of_round.round, of_round.images, of_round.classes) == (1, 36, 3)
    assert of_round.agreement == pytest.approx(sum(agreeing.values()) / len(predictions), abs=1e-9)
    assert of_round.chance == 13 / 36 or of_round.chance == 12 / 36
    assert not of_round.near_chance


def test_a_class_that_is_named_of_everything_is_near_chance(trained: Project) -> None:
    changed(
        trained,
        "UPDATE predictions SET predicted = (SELECT id FROM classes WHERE name = 'amoeba'), probability = 0.5,"
        " probability_given = 0.25",
        "UPDATE predictions SET probability_given = 0.5 WHERE image IN (SELECT id FROM images WHERE class ="
        " (SELECT id FROM classes WHERE name = 'amoeba'))",
        "UPDATE runs SET agreement = 0.34",
    )
    found = trained.agreement()
    assert {one.label: one.agreement for one in found.classes} == {"amoeba": 1, "ciliate": 0, "diatom": 0}
    assert all(one.near_chance for one in found.classes)
    assert found.rounds[0].near_chance
    said = dupekit("status", "--classes", "-p", trained.path)
    assert "They have learnt next to nothing" in said.stderr


def test_a_class_that_cannot_be_told_is_named(trained: Project) -> None:
    changed(
        trained,  # what a diatom is taken for, a die decides
        "UPDATE predictions SET probability = 0.9, probability_given = 0.1, predicted ="
        " 1 + (image + run) % 3 WHERE image IN"
        " (SELECT image FROM tallies JOIN classes ON id = given WHERE name = 'diatom')",
        "UPDATE predictions SET probability_given = probability WHERE predicted = (SELECT given FROM tallies"
        " WHERE tallies.image = predictions.image)",
    )
    found = trained.agreement()
    assert [one.label for one in found.classes if one.near_chance] == ["diatom"]
    assert found.classes[0].label == "diatom"
    assert not found.rounds[0].near_chance
    said = dupekit("status", "--classes", "-p", trained.path)
    assert "1 class cannot be judged: diatom. The models name it hardly more often" in said.stderr
    assert "class\timages\tagreement\tby chance\ttrained as\ndiatom\t11\t0." in said.stdout
    assert parsed("status", "--classes", "-p", trained.path)["classes"][0]["near_chance"]


def test_a_draw_is_no_agreement(trained: Project) -> None:
    """Models that find everything equally probable; in half precision a third is a little more or less."""
    changed(trained, "UPDATE predictions SET predicted = (SELECT given FROM tallies WHERE tallies.image ="
            " predictions.image), probability = 0.33325, probability_given = 0.33325")  # fmt: skip
    assert [one.agreement for one in trained.agreement().classes] == [0, 0, 0]


def test_every_round_is_listed(trained: Project, fast) -> None:
    trained.next_round()
    assert [one.round for one in trained.agreement().rounds] == [1]
    dupekit("train", "--pairs", 2, "--trainer", "fake", "--validator", "fake", "-p", trained.path)
    assert [one.round for one in trained.agreement().rounds] == [1, 2]
    assert (
        "round\timages\tclasses\tagreement\tby chance\n1\t36\t3\t"
        in dupekit("status", "--classes", "-p", trained.path).stdout
    )


def test_before_there_is_anything_to_judge_it_says_so(project: Project) -> None:
    with pytest.raises(NothingToDo, match="No pair of a round is complete"):
        project.agreement()


def test_votes_that_are_not_counted_yet_are_asked_for(trained: Project) -> None:
    changed(trained, "UPDATE rounds SET tallied_pairs = 0")
    with pytest.raises(NothingToDo, match="not counted yet"):
        trained.agreement()
    trained.flag()
    trained.agreement()


def test_the_plan_is_an_object(trained: Project) -> None:
    assert parsed("status", "-p", trained.path)["round"]["plan"]["trainer"]["name"] == "fake"
