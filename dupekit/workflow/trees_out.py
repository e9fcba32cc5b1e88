"""The review trees of a round that are out, and what they hold that is not collected."""

from __future__ import annotations

from dupekit.errors import TreeUnavailable, UsageError
from dupekit.files.names import unescape
from dupekit.files.paths import absolute
from dupekit.ledger import exports, verdicts
from dupekit.ledger.exports import Out
from dupekit.review.manifest import export_key
from dupekit.review.verdicts import finished, in_one_spelling, read_tree
from dupekit.workflow.exports import is_cut_off, manifest_of
from dupekit.workflow.session import Session


def trees_out(session: Session, round_number: int) -> list[Out]:
    """The round's trees that were not called back, finished or not, in order."""
    return [one for one in exports.out(session.ledger, round_number) if not is_cut_off(one.export)]


def only_open(session: Session, round_number: int) -> Out | None:
    """The one tree of a round that has images open, so that nobody needs to name it; None where there is none. Raises
    UsageError where there are several."""
    waited_for = [one for one in trees_out(session, round_number) if one.open]
    if len(waited_for) > 1:
        places = "".join(f"\n- {one.place} ({one.open} of {one.images} open)" for one in waited_for)
        raise UsageError(
            f"{len(waited_for)} trees are out:{places}", hint="Name the folder of the one you mean."
        )
    return waited_for[0] if waited_for else None


def uncollected(session: Session, out: Out) -> int:
    """How many verdicts a tree holds that were not recorded: 0 where it cannot be read now, or is not there."""
    ledger, export = session.ledger, out.export
    tree = absolute(session.root / unescape(out.place))
    try:
        if export_key(tree) != export.key:
            return 0
        manifest = manifest_of(session, export, tree)
        review = finished(read_tree(tree, manifest).review, verdicts.finished(ledger, export))
    except TreeUnavailable:
        return 0
    known = verdicts.labels_elsewhere(ledger, export)
    return len(verdicts.changed(ledger, export, in_one_spelling(review, manifest, known).verdicts))
