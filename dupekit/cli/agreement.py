"""`dupekit status --classes`: how far each class can be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dupekit.cli.output import print_json, say, warn
from dupekit.cli.tables import FIRST, Toned, names, numbers, shares, table
from dupekit.cli.terminal import Tone
from dupekit.rounds.in_words import percent

if TYPE_CHECKING:
    from dupekit.workflow.agreement import Agreement, ClassAgreement, RoundAgreement

NAMED = 5
"""Classes that a sentence names."""


def show_agreement(found: Agreement, *, everything: bool, json: bool) -> None:
    if json:
        print_json(found)
        return
    last = found.rounds[-1]
    if len(found.rounds) > 1:
        columns = [
            numbers("round"),
            numbers("images"),
            numbers("classes"),
            shares("agreement"),
            shares("by chance"),
        ]
        table("Agreement of the models with the given labels", columns,
              [(one.round, one.images, one.classes, _agreement(one), one.chance) for one in found.rounds])  # fmt: skip
    table(
        f"Classes of round {last.round}, those that are judged worst first",
        [names("class"), numbers("images"), shares("agreement"), shares("by chance"), names("trained as")],
        [(one.label, one.images, _agreement(one), one.chance, one.trained_as) for one in found.classes],
        whole=everything,
        most=None if everything else FIRST,
        rest="--all shows all of them.",
    )
    say(
        f"Round {last.round}: the models agree with {percent(last.agreement, 1)} of the given labels; naming the largest"
        f" class every time would agree with {percent(last.chance, 1)}."
    )
    if last.near_chance:
        warn(
            "They have learnt next to nothing: no class can be judged, and what `dupekit flag` shows means little. Look at"
            " some images of each class, and try another trainer, or more epochs."
        )
    elif near := [one.label for one in found.classes if one.near_chance]:
        named = ", ".join(near[:NAMED]) + (f" and {len(near) - NAMED} more" if len(near) > NAMED else "")
        one = len(near) == 1
        warn(
            f"{'1 class' if one else f'{len(near)} classes'} cannot be judged: {named}. The models name {'it' if one else 'them'} hardly more"
            " often where the label says so than elsewhere, so what they suspect there means little. Such a class may need"
            " more images, or cannot be told from another by eye."
        )


def _agreement(one: RoundAgreement | ClassAgreement) -> float | Toned:
    return Toned(one.agreement, Tone.WARNING) if one.near_chance else one.agreement
