"""Class view: how a round sees the dataset's classes. Some are trained as one class, some are left out.

Only trainings know the classes of the view. What people see, and what they decide, is in the dataset's own classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClassView:
    """Names are escaped text."""

    classes: dict[str, str | None]
    """Each of the dataset's classes -> the class that it is trained as; None: it is left out."""
    column: str = field(compare=False)
    """Of the table that it was read from: for people."""

    @property
    def combined(self) -> dict[str, list[str]]:
        """Class that is trained -> the dataset's own, by name; without those that are one class of that very name."""
        found: dict[str, list[str]] = {}
        for label, name in sorted(self.classes.items()):
            if name is not None:
                found.setdefault(name, []).append(label)
        return {name: found[name] for name in sorted(found) if found[name] != [name]}

    @property
    def left_out(self) -> list[str]:
        """The dataset's own classes that are not trained, by name."""
        return sorted(label for label, name in self.classes.items() if name is None)


def trained_as(view: ClassView | None, label: str) -> str | None:
    """The class that a class of the dataset is trained as: without a view as itself. None: it is left out."""
    return label if view is None else view.classes.get(label)


@dataclass(frozen=True, slots=True)
class TrainedAs:
    """How a class was trained in a round. Names are escaped text."""

    name: str
    others: list[str]
    """The dataset's other classes that were trained as the same one, by name."""

    def of(self, label: str) -> str:
        """A sentence."""
        as_another = f" as {self.name}" if self.name != label else ""
        together = f" together with {', '.join(self.others)}" if self.others else ""
        return f"{label} was trained{as_another}{together}."


def seen_as(view: ClassView | None, label: str) -> TrainedAs | None:
    """What a view makes of a class; None where it is trained as itself alone, or not at all."""
    name = trained_as(view, label)
    if view is None or name is None:
        return None
    others = [other for other in view.combined.get(name, []) if other != label]
    return TrainedAs(name, others) if others or name != label else None


def folders(view: ClassView, classes: Sequence[str], labels: Iterable[str]) -> list[str]:
    """For each class that is trained, the class of the dataset that is meant where a model names it: the one of the same
    name if it is trained as that, else the one with most images; of equals the first by name.

    `labels` are the dataset's own classes, one for each image that is trained on. Raises KeyError for a class that no image is
    trained as.
    """
    members: dict[str, list[str]] = {}
    for label, _ in sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0])):
        name = view.classes.get(label)
        if name is not None:
            members.setdefault(name, []).append(label)
    return [name if name in members[name] else members[name][0] for name in classes]


def differences(before: ClassView | None, after: ClassView | None) -> str:
    """How two views differ, as half a sentence: the first class that they see differently."""
    if before is None or after is None:
        return (
            "without a class view, not with one" if before is None else "with a class view, not without one"
        )
    for label in sorted({*before.classes, *after.classes}):
        was, now = trained_as(before, label), trained_as(after, label)
        if was != now:
            return f"with {label} {_said(was)}, not {_said(now)}"
    return "with this class view"


def _said(name: str | None) -> str:
    return "left out" if name is None else f"trained as {name}"
