"""The ledger: one SQLite file, the only record of truth of a project.

`Ledger` is the open file. What it holds is read and written by the functions of one module per group of tables:
`images`, `rounds` (with runs), `predictions`, `tallies`, `exports`, `verdicts` (with collections), `applications` (with
corrections), `endings` and `ignores`; across them go `steps`, `opinions`, `findings`, `convergence`, `agreement` and
`integrity`.
"""

from dupekit.ledger.database import Ledger

__all__ = ["Ledger"]
