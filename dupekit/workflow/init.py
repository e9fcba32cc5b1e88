"""Init: a project folder for a dataset."""

from __future__ import annotations

from pathlib import Path

from dupekit.dataset.scan import open_dataset
from dupekit.errors import UsageError
from dupekit.files.paths import absolute
from dupekit.ledger import Ledger, images, rounds
from dupekit.settings import FILE, Settings, read_settings, write_settings
from dupekit.system.progress import silent
from dupekit.workflow.scan import check_place, find_changes
from dupekit.workflow.session import LEDGER, reading


def init(dataset: Path, path: Path, *, follow_symlinks: bool) -> Path:
    """Makes the project, or finishes one that was killed here; returns where it lies."""
    dataset, path = absolute(dataset), absolute(path)
    settings = Settings(dataset=str(dataset), follow_symlinks=follow_symlinks)
    if (path / FILE).exists():
        if _is_cut_off(path, settings):
            return path
        raise UsageError(
            f"{path} is a dupekit project already.",
            hint=f"Go on with it, as with `dupekit scan -p {path}`; or name another folder with -p.",
        )
    open_dataset(dataset, follow_symlinks=follow_symlinks)  # so that nothing is made where it cannot serve
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
    write_settings(path / FILE, settings)
    return path


def _is_cut_off(path: Path, settings: Settings) -> bool:
    """Whether an `init` of this dataset was killed before its first scan had seen everything."""
    if read_settings(path / FILE) != settings:
        return False
    with reading(path, settings) as session:
        return rounds.latest(session.ledger) is None and not find_changes(session, silent).is_scanned
