"""What a shell offers when a value is completed: plugins, their options, and what the project's ledger names.

A person waits at the prompt: no framework is imported, nor any plugin but dupekit's own, and nothing is written. Whatever
goes wrong, nothing is offered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dupekit.ledger import Ledger
    from dupekit.plugin.options import Option

WAIT_S = 0.3
"""For a ledger that another program has locked."""

AT_MOST = 100
"""Images that are offered: nobody reads more, and the shell is slow with them."""

Completer = Callable[[typer.Context, str], Iterable[str]]


def _quietly(names: Completer) -> Callable[[typer.Context, str], list[str]]:
    """Those of the names that begin as what is typed; none where anything goes wrong."""

    @wraps(names)
    def completing(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in names(ctx, incomplete) if name.startswith(incomplete)]
        except Exception:
            return []

    return completing


@_quietly
def complete_trainer(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    return ["auto", *_plugins("trainer")]


@_quietly
def complete_validator(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    return _plugins("validator")


@_quietly
def complete_executor(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    return _plugins("executor")


@_quietly
def complete_plugin(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    return sorted({name for kind in ("trainer", "validator", "executor") for name in _plugins(kind)})


@_quietly
def complete_device(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    from dupekit.system.devices import cuda_devices

    found = cuda_devices()
    return ["auto", "cpu", *(["cuda"] if found else []), *(f"cuda:{number}" for number in range(found))]


@_quietly
def complete_split(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    return ["redraw", "fixed"]


@_quietly
def complete_setting(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Options of the trainer, and of the others behind "validator." and "executor.", with "=" and, of few, their values."""
    kind, dot, _ = incomplete.partition(".")
    if dot:
        return [f"{kind}.{text}" for text in _settings(kind, _chosen(ctx, kind))]
    return [*_settings("trainer", _chosen(ctx, "trainer")), "validator.", "executor."]


@_quietly
def complete_class(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """Classes that the project knows."""
    from dupekit.ledger.images import class_numbers

    with _ledger(ctx) as ledger:
        return sorted(class_numbers(ledger))


@_quietly
def complete_tree(ctx: typer.Context, incomplete: str) -> Iterable[str]:  # noqa: ARG001
    """Review trees of the project, the last one first; for others the shell offers folders."""
    from dupekit.files.names import unescape

    with _ledger(ctx) as ledger:
        found = ledger.rows("SELECT placed(tree) FROM exports GROUP BY tree ORDER BY max(id) DESC")
        return [unescape(tree) for (tree,) in found]


@_quietly
def complete_ignored(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Images on the ignore list."""
    with _ledger(ctx) as ledger:
        return _beginning(ledger, "SELECT path FROM ignores", incomplete)


@_quietly
def complete_image(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Images of the dataset, once a class is typed; before that the classes."""
    with _ledger(ctx) as ledger:
        if "/" not in incomplete:
            return [f"{name}/" for (name,) in ledger.rows("SELECT name FROM classes ORDER BY name")]
        return _beginning(ledger, "SELECT path FROM images", incomplete)


def _beginning(ledger: Ledger, query: str, incomplete: str) -> list[str]:
    found = ledger.rows(
        f"{query} WHERE substr(path, 1, ?) = ? ORDER BY path LIMIT {AT_MOST}", (len(incomplete), incomplete)
    )
    return [path for (path,) in found]


def _plugins(kind: str) -> list[str]:
    from dupekit.plugin.registry import GROUPS, plugins

    (group,) = (group for group, name in GROUPS.items() if name == kind)
    return list(plugins(group))


def _chosen(ctx: typer.Context, kind: str) -> str:
    """The plugin of a kind that the command would take."""
    from dupekit.settings import FILE, read_settings
    from dupekit.workflow.plan import AUTO, with_trainer

    settings = read_settings(_project(ctx) / FILE)
    named = ctx.params.get(kind) or getattr(settings, kind)
    if named != AUTO:
        return str(named)
    with _ledger(ctx) as ledger:
        return with_trainer(ledger, settings.model_copy(update={"trainer": AUTO})).trainer


def _settings(kind: str, name: str) -> Iterator[str]:
    from dupekit.plugin.options import describe
    from dupekit.plugin.registry import GROUPS, is_own, load, plugins

    (group,) = (group for group, known in GROUPS.items() if known == kind)
    if is_own(plugins(group)[name]):
        for option in describe(load(group, name)):
            yield from _values(option)


def _values(option: Option) -> Iterator[str]:
    yield f"{option.name}="
    if option.type == "bool":
        yield from (f"{option.name}={value}" for value in ("true", "false"))


@contextlib.contextmanager
def _ledger(ctx: typer.Context) -> Iterator[Ledger]:
    from dupekit.ledger.database import FILE, Ledger

    with Ledger(_project(ctx) / FILE, read_only=True, timeout_s=WAIT_S) as ledger:
        yield ledger


def _project(ctx: typer.Context) -> Path:
    """The folder of the project. As `Project.find` finds it, whose import takes too long."""
    from dupekit.ledger.database import FILE

    named = ctx.params.get("project")
    if named is not None:
        return Path(named)
    here = Path.cwd()
    return next(folder for folder in (here, *here.parents) if (folder / FILE).is_file())
