"""Every error that dupekit raises on purpose, each with a message, a hint and an exit code.

    DupekitError                 1   something failed while running
    ├── UsageError               2   an option, argument or setting is wrong
    │   ├── NotConfirmed         2   many files at once, and nobody said that it is meant
    │   ├── NotAProject          2   no dupekit.toml here or above
    │   ├── DatasetError         2   the folder cannot serve as a dataset
    │   └── OptionError          2   a plugin does not take this option or value
    ├── NothingToDo              3   nothing where something was expected
    ├── PluginError              1   a plugin is missing, broken or breaks its contract
    ├── LockedError              1   another process is at work on this project
    ├── LedgerError              1   the ledger is missing or damaged, or newer than this dupekit
    │   └── LedgerUnavailable    1   another program holds it, or left it half written
    ├── DatasetChanged           1   files are not what the last scan saw
    ├── ImageError               1   one image cannot be used
    │   └── ImageTooLarge        1   it has more pixels than allowed
    ├── TreeUnavailable          1   the review tree cannot be read, or is still changing
    ├── MoveRefused              1   an image of a review tree cannot be moved as was asked
    └── JobError                 1   a run could not be done

A message says what failed and on what; `hint` says what to do next. The command line prints both and
exits with `exit_code`; a program catches the class.
"""

from __future__ import annotations


class DupekitError(Exception):
    """Something failed while running."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(DupekitError):
    """An option, argument or setting is wrong."""

    exit_code = 2


class NotConfirmed(UsageError):
    """A whole folder, or the tree, was deleted or moved, and nobody said that it is meant."""


class NotAProject(UsageError):
    """No `dupekit.toml` here or in a folder above."""


class DatasetError(UsageError):
    """The folder cannot serve as a dataset."""


class OptionError(UsageError):
    """A plugin does not take this option or this value."""


class NothingToDo(DupekitError):
    """Nothing to do where something was expected."""

    exit_code = 3


class PluginError(DupekitError):
    """A plugin is missing, cannot be loaded, or breaks its contract."""


class LockedError(DupekitError):
    """Another process is at work on this project."""


class LedgerError(DupekitError):
    """The ledger is missing or damaged, or was written by a newer dupekit."""


class LedgerUnavailable(LedgerError):
    """Another program holds the ledger, or was killed while it wrote. It is not damaged."""


class DatasetChanged(DupekitError):
    """Files of the dataset are not what the last scan saw."""


class CacheError(DupekitError):
    """The cache does not hold what is asked for."""


class ImageError(DupekitError):
    """One image cannot be decoded, or is larger than allowed."""


class ImageTooLarge(ImageError):
    """An image has more pixels than allowed."""

    def __init__(self, width: int, height: int, limit: int) -> None:
        self.pixels = width * height
        super().__init__(
            f"{width} x {height} pixels are more than the limit of {limit}",
            hint="Raise max_pixels in dupekit.toml if this is a real image, and scan again.",
        )
        self.width, self.height = width, height


class TreeUnavailable(DupekitError):
    """A review tree cannot be read, has no marker, or is still changing."""


class MoveRefused(DupekitError):
    """An image of a review tree cannot be moved as was asked. It lies where it lay."""


class JobError(DupekitError):
    """A run could not be done."""
