"""The ledger: one SQLite file, the only record of truth of a project.

`Ledger` is the open file. What it holds is read and written by the functions of one module per group of tables:
`images`, `rounds` (with runs), `predictions`, `tallies` (with flags), `exports`, `verdicts` (with collections),
`applications` (with corrections) and `ignores`; across them go `steps`, `convergence`, `agreement` and `integrity`.
"""

from dupekit.ledger.database import Ledger

__all__ = ["Ledger"]
