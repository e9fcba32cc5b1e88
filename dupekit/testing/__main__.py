"""`python -m dupekit.testing`: the check of one installed plugin, for `check_apart`."""

from __future__ import annotations

from dupekit.plugin.apart import answer
from dupekit.testing.installed import Given, check_installed

if __name__ == "__main__":
    answer(lambda asked: check_installed(asked["group"], asked["name"], Given(**asked["given"])))
