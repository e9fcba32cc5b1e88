"""`python -m dupekit.plugin.trial`: loads one plugin, for `registry.load_tried`, and says whether that went well."""

from __future__ import annotations

from dupekit.plugin.apart import answer
from dupekit.plugin.registry import load

if __name__ == "__main__":
    answer(lambda asked: load(asked["group"], asked["name"]).__name__)
