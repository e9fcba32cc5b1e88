from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dupekit.errors import UsageError
from dupekit.rounds.yields import (
    MIN_VERDICTS,
    ROWS,
    Decided,
    Estimate,
    Yield,
    draw_audit,
    estimate,
)

NONE = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """Images in the order of the score; whether each is wrong was drawn from a logistic curve."""

    scores: np.ndarray
    wrong: np.ndarray

    @property
    def suspects(self) -> int:
        return int((self.scores > 0).sum())

    def asked(self, done: int, *, batch: int = 100, audit: int = 0, seed: int = 0) -> Yield:
        """The estimate after the first `done` suspects, and an audit."""
        drawn = draw_audit(self.scores[self.suspects :], audit, seed=seed).rows + self.suspects
        return estimate(
            Decided(self.scores[:done], self.wrong[:done]),
            audit=Decided(self.scores[drawn], self.wrong[drawn]),
            undecided=self.scores[done : self.suspects],
            unsuspected=np.delete(self.scores, np.r_[: self.suspects, drawn]),
            batch=batch,
        )


def simulated(seed: int, *, n: int = 3000, level: float = -2.5, slope: float = 1.1) -> Simulated:
    rng = np.random.default_rng(seed)
    scores = np.sort(np.clip(rng.normal(-2.5, 2.5, n), -9, 9))[::-1]
    bent = np.where(scores > 0, scores, 2 * scores)
    return Simulated(scores, rng.random(n) < 1 / (1 + np.exp(-level - slope * bent)))


def inside(guess: Estimate | None, truth: int) -> bool:
    assert guess is not None
    return guess.low <= truth <= guess.high


@pytest.mark.parametrize("audit", [0, 100])
def test_the_truth_is_within_about_as_often_as_said(audit: int) -> None:
    within = []
    ratios = []
    for seed in range(40):
        world = simulated(seed)
        said = world.asked(200, audit=audit, seed=seed)
        assert said.next_batch is not None
        assert said.left is not None
        left = int(world.wrong.sum()) - said.found
        within.append((inside(said.next_batch, int(world.wrong[200:300].sum())), inside(said.left, left)))
        ratios.append((said.found + said.left.expected) / world.wrong.sum())
    next_batch, left_in_all = np.mean(within, axis=0)
    assert 0.65 <= next_batch <= 0.98
    assert 0.65 <= left_in_all <= 1
    assert 0.9 <= np.median(ratios) <= 1.15


def test_more_verdicts_narrow_the_intervals() -> None:
    relative = []
    for done in (60, 200, 400):
        widths = []
        for seed in range(8):
            left = simulated(seed).asked(done).left
            assert left is not None
            widths.append(left.high - left.low)
        relative.append(np.mean(widths))
    assert relative[0] > relative[1] > relative[2]


def test_an_audit_narrows_what_is_left_outside_the_list() -> None:
    worlds = [simulated(seed, level=-1.5) for seed in range(8)]
    guess, backed = (
        np.mean([said.left.high - said.left.low for said in asked if said.left])
        for asked in (
            [world.asked(world.suspects) for world in worlds],
            [world.asked(world.suspects, audit=200) for world in worlds],
        )
    )
    assert backed < 0.8 * guess


def test_an_audit_finds_out_what_the_list_cannot_tell() -> None:
    """A tenth of all that the models agree with is wrong: the list alone would never say so."""
    world = simulated(1)
    rng = np.random.default_rng(1)
    odd = Simulated(world.scores, world.wrong | ((world.scores < 0) & (rng.random(len(world.scores)) < 0.1)))
    said = odd.asked(odd.suspects, audit=300)
    assert said.left is not None
    assert inside(said.left, int(odd.wrong.sum()) - said.found)
    alone = odd.asked(odd.suspects).left
    assert alone is not None
    assert alone.expected < said.left.expected / 2


@given(st.integers(0, 100), st.integers(0, 300), st.randoms())
@settings(max_examples=15)
def test_nothing_depends_on_order(seed: int, done: int, random) -> None:
    world = simulated(seed, n=600)
    done = min(done, world.suspects)
    reviewed, rest = list(range(done)), list(range(done, world.suspects))
    others = list(range(world.suspects, 600))
    audit, others = others[:20], others[20:]

    def said() -> Yield:
        return estimate(
            Decided(world.scores[reviewed], world.wrong[reviewed]),
            audit=Decided(world.scores[audit], world.wrong[audit]),
            undecided=world.scores[rest],
            unsuspected=world.scores[others],
            batch=50,
        )

    before = said()
    for part in (reviewed, rest, audit, others):
        random.shuffle(part)
    assert said() == before


@given(
    st.lists(st.tuples(st.sampled_from([-9.2, -1.0, 0.5, 0.5001, 3.0, 9.2]), st.booleans()), max_size=60),
    st.lists(st.sampled_from([-9.2, 0.5, 3.0]), max_size=5),
    st.lists(st.sampled_from([-9.2, -0.1]), max_size=5),
    st.integers(0, 4),
)
def test_whatever_the_verdicts_the_figures_fit_together(reviewed, undecided, unsuspected, batch) -> None:
    scores = np.array([score for score, _ in reviewed])
    wrong = np.array([found for _, found in reviewed], bool)
    said = estimate(
        Decided(scores, wrong), undecided=np.array(undecided), unsuspected=np.array(unsuspected), batch=batch
    )
    assert (said.reviewed, said.wrong, said.found) == (len(reviewed), wrong.sum(), wrong.sum())
    if len(reviewed) < MIN_VERDICTS:
        assert said.missing == f"too few verdicts ({len(reviewed)} of 30)"
        assert (said.next_batch, said.left, said.found_share, said.stop) == (None, None, None, False)
        return
    assert said.missing is None
    assert said.left is not None
    assert said.left.images == len(undecided) + len(unsuspected)
    coming = min(batch, len(undecided))
    assert (said.next_batch is None) == (coming == 0)
    for guess in filter(None, (said.next_batch, said.left)):
        assert 0 <= guess.low <= guess.expected <= guess.high <= guess.images
    assert said.found_share is not None
    assert 0 <= said.found_share <= 1


@pytest.mark.parametrize("wrong", [False, True])
def test_verdicts_that_are_all_alike(wrong: bool) -> None:
    scores = np.linspace(9, 3, 100)
    said = estimate(
        Decided(scores, np.full(100, wrong)),
        undecided=np.full(50, 2.9),
        unsuspected=np.full(1000, -4.0),
        batch=50,
    )
    assert said.next_batch is not None
    assert said.left is not None
    if wrong:
        assert said.next_batch.low > 25
        assert said.left.high < 300  # far from what was seen, the curve falls
        assert said.table[-1].share == 1
    else:
        assert said.next_batch.high < 10
        assert said.table[-1].share == 0


def test_nothing_is_left_of_nothing() -> None:
    said = estimate(Decided(np.ones(40), np.ones(40, bool)), undecided=NONE, unsuspected=NONE, batch=300)
    assert said.left == Estimate(0, 0, 0, 0)
    assert (said.next_batch, said.found_share, said.stop) == (None, 1, True)


def test_verdicts_of_the_audit_count_as_verdicts_and_as_found() -> None:
    said = estimate(
        Decided(np.full(10, 3.0), np.ones(10, bool)),
        audit=Decided(np.full(20, -1.0), np.arange(20) < 2),
        undecided=np.full(5, 1.0),
        unsuspected=np.full(500, -1.0),
        batch=300,
    )
    assert (said.reviewed, said.audited, said.audited_wrong, said.found) == (10, 20, 2, 12)
    assert said.next_batch is not None
    assert said.next_batch.images == 5
    assert said.left is not None
    assert said.left.low < 50 < said.left.high


# --- the advice


def test_a_stop_is_advised_once_most_is_found_and_not_before() -> None:
    shares = []
    for seed in range(9):
        world = simulated(seed)
        stop = next(done for done in range(25, world.suspects, 25) if world.asked(done, batch=25).stop)
        assert stop < 0.9 * world.suspects
        shares.append(world.wrong[:stop].sum() / world.wrong.sum())
    assert min(shares) >= 0.6
    assert 0.75 <= np.median(shares) <= 0.95


def test_a_stop_is_advised_where_the_next_batch_holds_hardly_any() -> None:
    """Although nothing was found: the labels are right."""
    said = estimate(
        Decided(np.linspace(6, 4, 300), np.zeros(300, bool)),
        undecided=np.full(1000, 1.0),
        unsuspected=np.full(1000, -4.0),
        batch=100,
    )
    assert said.found == 0
    assert said.stop


# --- the table by rank


def test_the_table_counts_ranks_among_all_suspects() -> None:
    """A batch is out: ranks 11 to 20 are not decided yet."""
    scores = np.linspace(5, 1, 30)
    said = estimate(
        Decided(np.r_[scores[:10], scores[20:]], np.r_[np.ones(10, bool), np.arange(10) < 3]),
        undecided=scores[10:20],
        unsuspected=NONE,
        batch=10,
    )
    assert [(row.from_rank, row.to_rank, row.reviewed, row.wrong, row.share) for row in said.table] == [
        (1, 10, 10, 10, 1),
        (11, 20, 0, 0, None),
        (21, 30, 10, 3, 0.3),
    ]


@given(st.integers(0, 3000))
@settings(max_examples=20)
def test_the_table_holds_every_verdict_once_in_few_rows(done: int) -> None:
    scores = np.linspace(9, 0.1, 3000)
    table = estimate(
        Decided(scores[:done], np.arange(done) % 3 == 0), undecided=scores[done:], unsuspected=NONE, batch=1
    ).table
    assert len(table) <= ROWS
    assert sum(row.reviewed for row in table) == done
    assert sum(row.wrong for row in table) == -(-done // 3)
    if done:
        assert table[0].from_rank == 1
        assert table[-1].to_rank == done
    assert all(one.to_rank + 1 == other.from_rank for one, other in pairwise(table))


# --- the audit


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 5))
def test_an_audit_draws_so_many_images_once_each_with_their_strata(there: int, n: int, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(-3, 1, there).round(1)
    if n > there:
        with pytest.raises(UsageError, match=f"An audit of {n} images is more than there is: {there} images"):
            draw_audit(scores, n, seed=seed)
        return
    drawn = draw_audit(scores, n, seed=seed)
    assert (
        len(drawn.rows) == len(set(drawn.rows.tolist())) == len(drawn.stratum) == len(drawn.population) == n
    )
    assert np.all((drawn.rows >= 0) & (drawn.rows < there))
    sizes = dict(zip(drawn.stratum.tolist(), drawn.population.tolist(), strict=True))
    assert sum(sizes.values()) <= there
    for stratum, population in sizes.items():
        assert 1 <= np.count_nonzero(drawn.stratum == stratum) <= population
        lower = scores[drawn.rows[drawn.stratum > stratum]]
        assert not len(lower) or scores[drawn.rows[drawn.stratum == stratum]].min() >= lower.max()
    again = draw_audit(scores, n, seed=seed)
    assert np.array_equal(drawn.rows, again.rows)


def test_population_over_drawn_is_an_unbiased_weight() -> None:
    """Horvitz and Thompson's sum over many draws has the true number as its mean."""
    rng = np.random.default_rng(0)
    scores = rng.normal(-3, 1.5, 800)
    wrong = rng.random(800) < 1 / (1 + np.exp(-scores - 1))
    sums = []
    for seed in range(4000):
        drawn = draw_audit(scores, 60, seed=seed)
        of_stratum = np.bincount(drawn.stratum)[drawn.stratum]
        sums.append((wrong[drawn.rows] * drawn.population / of_stratum).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - wrong.sum()) < 3 * error


def test_what_is_out_already_is_left_but_in_no_next_batch() -> None:
    reviewed = Decided(np.linspace(2, 6, 100), np.arange(100) % 2 == 0)
    waiting, out = np.linspace(0.1, 1, 50), np.linspace(1, 2, 30)
    said = estimate(reviewed, undecided=waiting, out=out, unsuspected=NONE, batch=300)
    assert said.next_batch is not None
    assert said.left is not None
    assert (said.next_batch.images, said.left.images) == (50, 80)
    assert said.left.expected > said.next_batch.expected
    assert (
        said.table == estimate(reviewed, undecided=np.append(waiting, out), unsuspected=NONE, batch=1).table
    )
    assert estimate(reviewed, undecided=NONE, out=out, unsuspected=NONE, batch=300).next_batch is None
