"""What `status` says of the rounds, against counts made another way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from dupekit import Choices
from dupekit.files.paths import real_path
from dupekit.project import Project
from dupekit.rounds.rules import Rule, RuleName
from dupekit.testing import make_dataset
from dupekit.workflow.collect import Collected


@pytest.fixture
def noisy(tmp_path: Path, fast: dict[str, object]) -> Project:
    """Flagged with one vote, so that dupes have one to three votes and several class pairs."""
    dataset = tmp_path / "data"
    classes = ("amoeba", "ciliate", "diatom")
    make_dataset(dataset, classes=classes, per_class=12, seed=3)
    for number, (source, target) in enumerate([(0, 1), (0, 1), (0, 1), (1, 2), (2, 0), (2, 1)]):
        file = sorted((dataset / classes[source]).glob("0*.png"))[0]
        file.rename(dataset / classes[target] / f"wrong_{number}.png")
    for number in range(8):  # half of one class, half of another: some pairs vote so, some so
        half, other = (Image.open(dataset / name / f"{number + 4:04d}.png") for name in ("amoeba", "diatom"))
        share = 0.44 + number / 50
        Image.blend(half, other.resize(half.size), share).save(dataset / "amoeba" / f"between_{number}.png")
    project = Project.create(dataset, tmp_path / "project")
    project.scan()
    assert not project.train(Choices(pairs=4, **fast)).failed
    return project


def finished(project: Project) -> Collected:
    """What was left in the last tree is wrong, as suggested."""
    return project.collect(finished=("amoeba", "ciliate", "diatom"))


def test_before_the_first_round_there_is_nothing(project: Project) -> None:
    found = project.status()
    assert (found.rounds, found.acceptance) == ([], None)


def test_an_unreviewed_round_has_no_share(noisy: Project) -> None:
    (row,) = noisy.status().rounds
    assert (row.round, row.images, row.pairs, row.rule) == (1, 44, 4, Rule(RuleName.SCORE, 4))
    assert row.suspects == (noisy.scores().scores > 0).sum() > 0
    flagged = noisy.flag(threshold=2)
    noisy.export()
    (row,) = noisy.status().rounds
    assert (row.rule, row.suspects) == (Rule(RuleName.VOTES, 2), len(flagged.suspects))
    assert (row.reviewed, row.accepted, row.share, row.ignored) == (0, 0, None, 0)
    assert noisy.status().acceptance is None


def test_shares_are_what_the_verdicts_say(noisy: Project) -> None:
    noisy.flag(threshold=1)
    exported = noisy.export()
    files = exported.manifest.files
    assert len({file.votes for file in files}) > 1
    assert len({(file.given, file.suggested) for file in files}) > 2
    for number, file in enumerate(files):
        path = real_path(exported.tree, file.path)
        if number % 3 == 0:
            path.unlink()
        elif number % 3 == 1:
            path.rename(exported.tree / ("_expunge" if number % 2 else "_unsure") / f"{number}.png")
    accepted = {v.file.path for v in finished(noisy).review.verdicts if v.verdict in ("relabel", "expunge")}
    found = noisy.status()
    (row,) = found.rounds
    assert (row.suspects, row.reviewed, row.accepted) == (len(files), len(files), len(accepted))
    assert row.share == len(accepted) / len(files)
    assert row.ignored == len(noisy.ignores()) == len(range(0, len(files), 3))
    shown = found.acceptance
    assert shown is not None
    assert shown.round == 1
    votes = Counter(file.votes for file in files)
    votes_accepted = Counter(file.votes for file in files if file.path in accepted)
    assert [(v.votes, v.reviewed, v.accepted, v.share) for v in shown.by_votes] == [
        (n, votes[n], votes_accepted[n], votes_accepted[n] / votes[n]) for n in sorted(votes, reverse=True)
    ]
    pairs = Counter((file.given, file.suggested) for file in files)
    pairs_accepted = Counter((file.given, file.suggested) for file in files if file.path in accepted)
    assert [((p.given, p.suggested), p.reviewed, p.accepted, p.share) for p in shown.by_pair] == [
        (pair, n, pairs_accepted[pair], pairs_accepted[pair] / n)
        for pair, n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    ]
    noisy.undo()
    assert noisy.status().acceptance is None
    assert noisy.status().rounds[0].reviewed == 0


def test_the_last_reviewed_round_is_shown_while_the_next_is_not(noisy: Project, tmp_path, fast) -> None:
    noisy.flag(threshold=4)
    tree = noisy.export().tree
    first = next(tree.glob("[!.]*/*.png"))
    first.unlink()
    finished(noisy)
    noisy.apply(tmp_path / "fixed")
    noisy.next_round()
    assert not noisy.train(Choices(pairs=2, **fast)).failed
    noisy.ignore(noisy.scores().paths[:2])
    found = noisy.status()
    one, two = found.rounds
    assert (one.round, one.reviewed, one.accepted, one.ignored) == (1, one.suspects, one.suspects - 1, 1)
    assert (two.round, two.reviewed, two.share, two.pairs, two.ignored) == (2, 0, None, 2, 3)
    assert found.acceptance is not None
    assert found.acceptance.round == 1
