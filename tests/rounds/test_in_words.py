"""What a review found, in words."""

from __future__ import annotations

import numpy as np

from dupekit.rounds.in_words import in_words
from dupekit.rounds.yields import Decided, Yield, estimate

REST = np.full(2000, -6.0)


def found(scores: np.ndarray, wrong: np.ndarray, undecided: np.ndarray) -> Yield:
    return estimate(Decided(scores, wrong), undecided=undecided, unsuspected=REST, batch=100)


def test_where_nothing_was_wrong_no_share_is_said_to_be_found() -> None:
    said = found(np.linspace(9, 3, 300), np.zeros(300, bool), np.linspace(3, 0.1, 100))
    assert said.stop
    assert "Hardly any is to be found by going on: this is a good place to stop." in in_words(said)
    assert "of them found" not in in_words(said)


def test_where_most_is_found_the_share_is_said() -> None:
    scores = np.linspace(9, 1, 400)
    said = found(scores, scores > 6, np.linspace(1, 0.1, 100))
    assert said.stop
    assert "of them found: this is a good place to stop." in in_words(said)


def test_an_audit_alone_reviews_no_suspect() -> None:
    said = in_words(
        estimate(
            Decided(np.zeros(0), np.zeros(0, bool)),
            audit=Decided(np.full(40, -5.0), np.zeros(40, bool)),
            undecided=np.linspace(5, 1, 100),
            unsuspected=REST,
            batch=100,
        )
    )
    assert said.startswith("Of 40 images of the audit 0 are wrong.")
