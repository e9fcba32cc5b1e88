"""The class view that the settings ask for, read from its table."""

from __future__ import annotations

from dupekit.errors import UsageError
from dupekit.files.names import escape
from dupekit.ledger import images
from dupekit.rounds.class_config import read_class_config
from dupekit.rounds.class_view import ClassView
from dupekit.workflow.session import Session


def chosen_view(session: Session) -> ClassView | None:
    """None where the settings name no table. Raises UsageError where it cannot be read, or does not fit the dataset as the last
    scan saw it."""
    settings = session.settings
    if settings.class_config is None:
        if settings.class_column is not None:
            raise UsageError(
                f"The column {settings.class_column!r} of new names is asked for, and no table that it is in.",
                hint="Name it: --class-config CSV, or class_config in dupekit.toml.",
            )
        return None
    file = session.root / settings.class_config  # an absolute setting stands for itself
    name = escape(str(file))
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The class configuration {name} cannot be read: {error.strerror}.",
            hint="Name a CSV file. A round that has begun needs it no more: to go on with it, leave --class-config out.",
        ) from None
    sizes = {size.name: size.images for size in images.class_sizes(session.ledger)}
    return read_class_config(content, name, column=settings.class_column, images=sizes)
