"""What a training says of the class view that it goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dupekit.cli.output import say
from dupekit.cli.tables import names, table, texts

if TYPE_CHECKING:
    from dupekit.rounds.class_view import ClassView


def show_view(view: ClassView) -> None:
    said = f"Classes by the column {view.column!r}"
    if view.combined:
        rows = [(name, ", ".join(labels)) for name, labels in view.combined.items()]
        table(f"{said}: trained as one, or under another name", [names("trained as"), texts("classes")], rows)
    if view.left_out:
        say(f"{said}: left out are {', '.join(view.left_out)}.")
