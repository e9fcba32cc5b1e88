"""Init: a project folder for a dataset."""

from __future__ import annotations

from pathlib import Path

from dupekit.dataset.scan import check_dataset
from dupekit.errors import UsageError
from dupekit.files.paths import absolute
from dupekit.ledger import Ledger, images
from dupekit.settings import FILE, Settings, write_settings
from dupekit.workflow.scan import check_place
from dupekit.workflow.session import LEDGER


def init(dataset: Path, path: Path, *, follow_symlinks: bool) -> Path:
    """Makes the project, or finishes one that was killed here; returns where it lies."""
    dataset, path = absolute(dataset), absolute(path)
    if (path / FILE).exists():
        raise UsageError(f"{path} is a dupekit project already.", hint="Name another folder with -p.")
    check_dataset(dataset, follow_symlinks=follow_symlinks)
    check_place(dataset, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The project {path} cannot be made: {error.strerror}.",
            hint="Name a folder that you may write to with -p.",
        ) from None
    with Ledger(path / LEDGER, create=True) as ledger:
        if images.class_numbers(ledger):
            raise UsageError(
                f"{path} holds the ledger of a project, whose {FILE} is missing.",
                hint=f"Restore {FILE} from a backup, or name another folder with -p.",
            )
    write_settings(path / FILE, Settings(dataset=str(dataset), follow_symlinks=follow_symlinks))
    return path
