"""Names of files: escaped text, portable names, and what systems leave lying about.

Inside dupekit, and in every file it writes, a path is *escaped text*: relative, "/" between parts, and
whatever would break a line, a terminal or UTF-8 written as a backslash escape. `escape` and `unescape`
are exact inverses, so any file name can be stored, printed, sorted and found again.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Set

NAME_MAX_BYTES = 255
"""The longest name that ext4, XFS, Btrfs and ZFS take; NTFS, APFS and SMB take at least 255 characters."""

# Backslash, control characters, Unicode's line and paragraph separators, and lone surrogates: Python
# writes an undecodable byte 0xNN of a name as the surrogate U+DCNN.
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([\\nrt]))")

_LONG = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}

# Characters and names that Windows, and so most network shares, refuses.
_UNPORTABLE = re.compile('[<>:"/\\\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")

_CLUTTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "@eadir", "__macosx", ".directory"})

# What file servers, desktops and sync programs keep deleted files in, or what they call one that is deleted.
_TRASH = re.compile(
    r"(?i)\.trash(-\d+|es)?|\$recycle\.bin|recycler|recycled|[#@.]recycle|\.@recycle|network trash folder|\.dtrash"
    r"|\.deleted|\.stversions|\.sync|\.dropbox\.cache|#snapshot|@recently-snapshot|[~.]snapshots?"
    r"|\.smbdelete.*|\.afpdeleted.*|\.nfs[0-9a-f]{16,}|\.fuse_hidden[0-9a-f]{16,}"
)
# Folders that a system keeps for itself at the top of a file system.
_SYSTEM = frozenset({"lost+found", "system volume information"})


def escape(name: str) -> str:
    """Writes a file name or path, as Python gives it, as escaped text."""
    if name.isprintable() and "\\" not in name:  # most names, and of a million files this counts
        return name

    def one(match: re.Match[str]) -> str:
        char = match.group()
        code = ord(char)
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return _SHORT.get(char) or f"\\u{code:04x}"

    return _UNSAFE.sub(one, name)


def unescape(text: str) -> str:
    """The file name or path that `escape` wrote so."""
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        byte, code, short = match.groups()
        if byte:
            return chr(0xDC00 + int(byte, 16))
        return chr(int(code, 16)) if code else _LONG[short]

    return _ESCAPED.sub(one, text)


def printable(text: str) -> str:
    """Text for a terminal: line breaks and tabs stay; whatever else steers a terminal, or changes the direction of what is
    read, is written as `escape` does. What is escaped already stays as it is."""

    def one(match: re.Match[str]) -> str:
        char = match.group()
        written = escape(char)
        return f"\\u{ord(char):04x}" if written == char else written

    if text.isascii() and text.isprintable():  # nearly all, of which a table may have a million
        return text
    return _STEERING.sub(one, text)


def sort_key(text: str) -> bytes:
    """Sorts escaped paths bytewise, as `LC_ALL=C sort` does."""
    return text.encode()


def same_name_key(name: str) -> str:
    """Equal for names that some file system takes for the same: other case, or other Unicode form."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_clutter(name: str) -> bool:
    """Whether an operating system or a NAS put this file or folder there by itself."""
    return name.casefold() in _CLUTTER or name.startswith("._")


def is_trash(name: str) -> bool:
    """Whether this is a folder in which a desktop, a file server or a sync program keeps deleted or earlier files, or the
    name that it gives to a file that is deleted."""
    return _TRASH.fullmatch(name) is not None


def is_system(name: str) -> bool:
    """Whether a system or a file server keeps this folder for itself, where anything can lie at the top of a dataset."""
    return is_trash(name) or name.casefold() in _SYSTEM


def is_passed_over(name: str) -> bool:
    """Whether no scan of a dataset sees a file or folder of this name."""
    return name.startswith(".") or is_clutter(name) or is_system(name)


def portable_name(name: str) -> str:
    """A file name like `name` that every common file system takes, not yet shortened."""
    safe = _UNPORTABLE.sub("_", name)
    # Windows drops trailing dots and spaces; a leading "-" reads as an option in a shell.
    safe = safe.rstrip(". ") or "_"
    if safe.startswith("-"):
        safe = "_" + safe[1:]
    return "_" + safe if _RESERVED.match(safe) else safe


def is_class_name(name: str) -> bool:
    """Whether a class can have this name on every platform, and a scan will see its folder."""
    return not is_passed_over(name) and portable_name(name) == name and len(_encoded(name)) <= NAME_MAX_BYTES


def free_name(name: str, taken: Set[str]) -> str:
    """A name no longer than `NAME_MAX_BYTES` whose `same_name_key` is not in `taken`.

    Shortened in the stem and numbered " (2)", " (3)" before the extension where that is needed.
    """
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
    if len(_encoded(suffix)) > 16:  # not an extension
        stem, suffix = name, ""
    for number in range(1, len(taken) + 2):
        tail = suffix if number == 1 else f" ({number}){suffix}"
        candidate = _shortened(stem, NAME_MAX_BYTES - len(_encoded(tail))) + tail
        if same_name_key(candidate) not in taken:
            return candidate
    raise AssertionError("more names taken than counted")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _shortened(stem: str, limit: int) -> str:
    while len(_encoded(stem)) > limit:
        stem = stem[:-1]
    return stem
