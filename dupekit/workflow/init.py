"""Init: a project folder for a dataset."""

from __future__ import annotations

from pathlib import Path

from dupekit.errors import UsageError
from dupekit.files.paths import absolute
from dupekit.ledger import Ledger
from dupekit.settings import FILE, Settings, write_settings
from dupekit.workflow.scan import check_dataset


def init(dataset: Path, path: Path, *, follow_symlinks: bool) -> Path:
    """Makes the project; returns where it lies."""
    dataset, path = absolute(dataset), absolute(path)
    if (path / FILE).exists():
        raise UsageError(f"{path} is a dupekit project already.", hint="Name another folder with -p.")
    check_dataset(dataset, path, follow_symlinks=follow_symlinks)
    path.mkdir(parents=True, exist_ok=True)
    with Ledger(path / "ledger.db", create=True):
        pass
    write_settings(path / FILE, Settings(dataset=str(dataset), follow_symlinks=follow_symlinks))
    return path
