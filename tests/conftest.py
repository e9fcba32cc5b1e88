from __future__ import annotations

from hypothesis import settings

# A shared machine is sometimes slow; pytest-timeout stops what hangs.
settings.register_profile("dupekit", deadline=None)
settings.load_profile("dupekit")
