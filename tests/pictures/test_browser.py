"""The tests' own browser: it must not overlook what a page does wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser import HOSTILE, chromium

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
ASIDE = {
    "quiet": ("<p>all is well</p>", None),
    "console": ("<script>console.error('oh no')</script>", "console: oh no"),
    "exception": ("<script>hacked()</script>", "exception: hacked is not defined"),
    "handler": (HOSTILE[0], "exception: hacked is not defined"),
    "elsewhere": ("<img src='https://example.org/a.png' alt=''>", "asks: https://example.org/a.png"),
    "beacon": ("<script>navigator.sendBeacon('http://127.0.0.1:9/x')</script>", "asks: http://127.0.0.1:9/x"),
}


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test run within the test, with the fixtures that are tested."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    pytester.makeconftest("from tests.browser import browser, open_page  # noqa: F401")
    return pytester


@pytest.mark.browser
def test_what_a_page_must_not_do_fails_the_test(inner: pytest.Pytester, tmp_path: Path) -> None:
    if chromium() is None:
        pytest.skip("no chromium on this machine: install it, or name it in DUPEKIT_CHROMIUM")
    for name, (body, _) in ASIDE.items():
        (tmp_path / f"{name}.html").write_text(
            f"<!doctype html><link rel=icon href=data:,><title>x</title>{body}"
        )
    inner.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("name", {list(ASIDE)!r})
        def test_page(open_page, name):
            page = open_page(f"{tmp_path.as_uri()}/{{name}}.html", dark=True, viewport=(640, 480))
            page.wait_for_load_state("networkidle")
            assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches && innerWidth") == 640

        def test_expected(open_page):
            open_page("{tmp_path.as_uri()}/console.html", expected="oh n")
        """
    )
    result = inner.runpytest_subprocess("-n", "0", "-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=len(ASIDE) + 1, errors=len(ASIDE) - 1)
    said = result.stdout.str()
    for _, wrong in ASIDE.values():
        assert wrong is None or wrong in said


def test_without_a_browser_the_tests_skip_with_a_reason(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setenv("DUPEKIT_CHROMIUM", "/none")
    monkeypatch.setenv("PATH", "/none")
    inner.makepyfile("def test_page(open_page): raise AssertionError")
    result = inner.runpytest_subprocess("-n", "0", "-p", "no:cacheprovider", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no chromium on this machine*"])
