"""Several workers' progress as one."""

from __future__ import annotations

from dupekit.jobs.joint_progress import JointProgress
from dupekit.plugin.checks import Told
from dupekit.testing import Recorder


def joined(*calls: tuple[str, Told]) -> list[Told]:
    """What is passed on of what workers tell."""
    progress = Recorder()
    joint = JointProgress(progress)
    for worker, told in calls:
        joint.tell(worker, told)
    return [Told(call.stage, call.done, call.total, dict(call.figures)) for call in progress.calls]


def test_of_one_all_is_passed_on() -> None:
    calls = [
        Told("loading", 0, 1, {}),
        Told("loading", 1, 1, {}),
        Told("training", 5, 10, {"loss": 0.5}),
        Told("training", 10, 10, {"loss": 0.25}),
        Told("training", 0, 4, {}),
    ]
    assert joined(*(("a", told) for told in calls)) == calls


def test_what_is_done_is_added_up_and_never_falls() -> None:
    """One is done with its share and gets another, while the other is at its first."""
    said = joined(
        ("a", Told("training", 0, 10, {})),
        ("b", Told("training", 4, 20, {})),
        ("a", Told("training", 10, 10, {})),
        ("a", Told("training", 0, 6, {})),
        ("b", Told("training", 20, 20, {})),
        ("a", Told("training", 6, 6, {})),
        ("a", Told("training", 0, 6, {})),
    )
    assert [(told.done, told.total) for told in said] == [
        (0, 10),
        (4, 30),
        (14, 30),
        (14, 36),
        (30, 36),
        (36, 36),
        (0, 6),
    ]


def test_figures_are_those_of_all() -> None:
    a = {"images_per_second": 100.0, "memory_mib": 300.0, "loss": 0.5}
    b = {"images_per_second": 50.0, "memory_mib": 400.0, "loss": 1.5}
    last = joined(("a", Told("training", 1, 9, a)), ("b", Told("training", 1, 9, b)))[-1]
    assert last.figures == {"images_per_second": 150, "memory_mib": 400, "loss": 1}


def test_what_nobody_knows_the_length_of_ends_with_the_last() -> None:
    said = joined(
        ("a", Told("compiling", 0, 1, {})),
        ("b", Told("compiling", 0, 1, {})),
        ("a", Told("compiling", 1, 1, {})),
        ("b", Told("compiling", 1, 1, {})),
    )
    assert [(told.done, told.total) for told in said] == [(0, 1), (0, 1), (0, 1), (2, 2)]


def test_a_stage_goes_on_without_the_dead() -> None:
    progress = Recorder()
    joint = JointProgress(progress)
    joint.tell("a", Told("training", 3, 10, {}))
    joint.tell("b", Told("training", 5, 10, {}))
    joint.forget("b")
    joint.forget("a")
    assert [(call.done, call.total) for call in progress.calls[-2:]] == [(8, 15), (0, 0)]
