"""What a review has found, by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dupekit.cli.charts import spark
from dupekit.cli.tables import numbers, shares, table, texts

if TYPE_CHECKING:
    from dupekit.rounds.yields import Yield


def by_rank(found: Yield) -> str | None:
    """The share wrong from the most suspicious on, as a line; None where there is only one number."""
    rows = found.table
    if len(rows) < 2:
        return None
    step = rows[0].to_rank
    return (
        f"Wrong by rank, {step} images each, to {rows[-1].to_rank:,}: {spark([r.share for r in rows], top=1)}"
    )


def show_by_rank(found: Yield) -> None:
    rows = [(f"{r.from_rank:,} to {r.to_rank:,}", r.reviewed, r.wrong, r.share) for r in found.table]
    table(
        "By rank, most suspicious first",
        [texts("rank"), numbers("reviewed"), numbers("wrong"), shares("share")],
        rows,
    )
