"""Content that nobody would write by chance, and what reading it may cost."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import time
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NASTY_TEXTS = (
    "", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "con", "nul.png", "a\0b", "\ufeff", "\ud800", "\\ud800", "=1+1",
    "\u2028", "a\r\nb", "é", "e\u0301", "x" * 300, "\\x00", ".dupekit", "_done/a.png", "null", "NaN",
)  # fmt: skip
NASTY_NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
)

texts = st.text(st.characters(), max_size=8) | st.sampled_from(NASTY_TEXTS)
numbers = st.sampled_from(NASTY_NUMBERS) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
"""What JSON can hold, and Python's parser takes."""

DEEP = (b"[" * 20_000, b'{"a":' * 20_000, b"[" * 20_000 + b"]" * 20_000, b'{"files": ' + b"[" * 10_000)
NO_JSON = (
    b"",
    b"\0",
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b"{",
    b"nul",
    b"1" * 20_000,
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"NaN",
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in places(one, (*at, key)))]


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value in this place."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


@st.composite
def json_like(draw: st.DrawFn, valid: Any) -> bytes:
    """JSON in which up to three places of a valid file hold something else; or a place more, or one less; or no JSON."""
    value = valid
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(places(value)))
        held = value
        for key in at:
            held = held[key]
        if isinstance(held, dict) and held and draw(st.booleans()):
            gone = draw(st.sampled_from(list(held)))
            new: Any = {name: one for name, one in held.items() if name != gone}
            if draw(st.booleans()):
                new[draw(texts)] = held[gone]
        elif isinstance(held, list) and held and draw(st.booleans()):
            new = held * 2
        else:
            new = draw(values)
        value = changed(value, at, new)
    content = json.dumps(value).encode()
    return draw(st.just(content) | damaged(content) | st.sampled_from((*DEEP, *NO_JSON)))


def one_by_one(valid: Any) -> Iterator[bytes]:
    """A valid file's JSON with each value in turn replaced by each of the nasty ones."""
    nasty = (*NASTY_TEXTS, *NASTY_NUMBERS, True, None, [], {}, [None], {"a": 1})
    for at in places(valid):
        for new in nasty:
            yield json.dumps(changed(valid, at, new)).encode()


def damaged(*contents: bytes, binary: bool = False) -> st.SearchStrategy[bytes]:
    """One of these with bytes changed, cut out, doubled or put in."""
    pieces = st.sampled_from(
        (
            b"\0",
            b"\xff",
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\n",
            b",",
            b'"',
            b"\xef\xbb\xbf",
            b"9" * 400,
        )
    )
    some = (st.binary(max_size=8) | pieces) if binary else pieces | st.binary(max_size=3)

    @st.composite
    def one(draw: st.DrawFn) -> bytes:
        content = draw(st.sampled_from(contents))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(content)))
            end = start + draw(st.sampled_from((0, 1, 2, 4, 40, len(content))))
            content = content[:start] + draw(some) + content[end:] * draw(st.sampled_from((1, 1, 1, 2)))
        return content

    return one()


@contextlib.contextmanager
def bounded(*, seconds: float = 5, memory: int = 300 << 20) -> Iterator[None]:
    """Fails where what is done takes so long, by the processor's clock, or so many bytes more than anything before."""
    before, start = _peak_bytes(), time.process_time()
    yield
    took, more = time.process_time() - start, _peak_bytes() - before
    assert took < seconds, f"{took:.1f} s"
    assert more < memory, f"{more >> 20} MiB"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def unrecordable(value: Any) -> str | None:
    """What of a value the ledger, or JSON, cannot hold."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else f"the number {value}"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"the number {value}"
    if isinstance(value, str):
        return None if value.encode(errors="ignore").decode() == value else f"the text {value!r}"
    inner = [*value, *value.values()] if isinstance(value, dict) else [*value]
    return next((found for one in inner if (found := unrecordable(one))), None)
