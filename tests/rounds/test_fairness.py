from __future__ import annotations

from dataclasses import replace

import numpy as np

from dupekit.rounds.fairness import Setting, warnings

FAIR = Setting(
    classes=("amoeba", "ciliate", "diatom"),
    images_before=np.array([40, 50, 60]),
    images_after=np.array([41, 50, 59]),
    tested=np.array([10, 10, 10]),
    undecided=None,
    relabelled=1,
    expunged=0,
    overruled=0,
)


def said(**changes: object) -> str:
    (only,) = warnings(replace(FAIR, **changes))  # type: ignore[arg-type]
    return only


def test_nothing_is_said_of_a_fair_comparison() -> None:
    assert warnings(FAIR) == []


def test_each_unfairness_is_said() -> None:
    assert said(relabelled=0).startswith("Both trained on the same images and labels")
    assert said(overruled=1).startswith("1 test image has a label that the review found wrong.")
    assert said(overruled=1200).startswith("1,200 test images have a label")
    assert "1 suspect without a verdict is not among them" in said(undecided=1)
    assert "30 suspects without a verdict are not among them" in said(undecided=30)
    assert "Suspects that were confirmed are among them" in said(undecided=0)
    assert said(images_before=np.array([0, 50, 60])).startswith(
        "Only the corrected dataset has the class amoeba"
    )
    assert said(images_after=np.array([0, 50, 0])).startswith(
        "Only the original has the classes amoeba and diatom"
    )
    assert said(images_after=np.array([80, 50, 60])).startswith("The class amoeba at least doubled")
    assert said(images_after=np.array([40, 25, 30])).startswith("The classes ciliate and diatom lost half")
    assert said(expunged=1).startswith("1 image was expunged")
    assert said(expunged=2).startswith("2 images were expunged")
    assert said(tested=np.array([0, 10, 10])).startswith("No test image is of the class amoeba")
    assert said(tested=np.array([4, 10, 10])).startswith(
        "Fewer than 5 test images each are of the class amoeba"
    )


def test_of_many_classes_some_are_named() -> None:
    many = replace(
        FAIR,
        classes=[f"c{number}" for number in range(1200)],
        images_before=np.full(1200, 10),
        images_after=np.full(1200, 30),
        tested=np.full(1200, 10),
    )
    (only,) = warnings(many)
    assert only.startswith("1,200 classes (c0, c1, c2 ...) at least doubled")
