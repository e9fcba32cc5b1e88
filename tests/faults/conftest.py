from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from dupekit.testing import register
from tests.faults.harness import area_in
from tests.faults.scenarios import prepare
from tests.faults.trial import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The area with every state prepared, and what gives commands there; once for all tests."""
    site = register(tmp_path_factory.mktemp("site"))
    with area_in() as area:
        made = Bench(area, site)
        prepare(area, made.give)
        yield made
        made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many trials there were; each test counts its own."""
    counted: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                counted.update(
                    {name: count for name, count in report.user_properties if isinstance(count, int)}
                )
    if counted:
        terminalreporter.write_line(
            "faults: " + ", ".join(f"{count} {name}" for name, count in counted.items())
        )
