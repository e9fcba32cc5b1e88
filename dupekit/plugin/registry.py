"""Entry points -> plugins: their names, their classes.

Names are read from the installed distributions' metadata; a plugin is imported only when it is used, so
that a broken one hurts nobody who does not use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from dupekit.errors import DupekitError, PluginError, UsageError
from dupekit.plugin.apart import ask
from dupekit.plugin.conformance import class_problems
from dupekit.plugin.contract import API_VERSION, EXECUTORS, TRAINERS, VALIDATORS
from dupekit.plugin.guard import guarded
from dupekit.plugin.place import place

GROUPS = {TRAINERS: "trainer", VALIDATORS: "validator", EXECUTORS: "executor"}

LOADING_LIMIT_S = 120.0
"""So long an import may take: of a large library on a slow disk it takes a minute."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered name. `clash` names the other distributions that register it too."""

    group: str
    name: str
    target: str
    """As in "package.module:Class"."""
    distribution: str
    """"unknown" where its metadata does not say."""
    version: str
    clash: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return self.target.partition(":")[0].strip()

    def __str__(self) -> str:
        """As in "The trainer 'x' of x-plugin 1.0"."""
        return f"The {GROUPS[self.group]} {self.name!r} of {self.distribution} {self.version}".rstrip()


def plugins(group: str) -> dict[str, Plugin]:
    """The plugins of a group by name, sorted, without importing any."""
    found: dict[str, Plugin] = {}
    for distribution, version, point in _entry_points(group):
        known = found.get(point.name)
        if known is None:
            found[point.name] = Plugin(group, point.name, point.value, distribution, version)
        elif known.target != point.value:  # the same one twice is a distribution found on two paths
            found[point.name] = dataclasses.replace(known, clash=(*known.clash, distribution))
    return dict(sorted(found.items()))


def fitting(group: str, fits: Callable[[Any], bool], *, near: Plugin | None = None) -> Iterator[str]:
    """The plugins of a group that fit: namesakes and others of the distribution of the one that is `near`, dupekit's own,
    and then the others. One that cannot be loaded fits nothing."""

    def rank(plugin: Plugin) -> tuple[bool, bool, bool]:
        beside = near is not None and plugin.distribution == near.distribution
        return near is None or plugin.name != near.name, not beside, not is_own(plugin)

    for plugin in sorted(plugins(group).values(), key=rank):
        with contextlib.suppress(DupekitError):  # another plugin's trouble
            if fits(load_tried(group, plugin.name)):
                yield plugin.name


def load_tried(group: str, name: str) -> type[Any]:
    """As `load`, but a plugin that is not dupekit's own is first loaded in a process of its own: what its import does to that
    one, such as ending or holding it, is a PluginError here."""
    plugin = plugins(group).get(name)
    if plugin and not plugin.clash and not is_own(plugin) and plugin.module not in sys.modules:
        asked = {"group": group, "name": name}
        ask("dupekit.plugin.trial", asked, what=f"{plugin}: loading it", limit_s=LOADING_LIMIT_S)
    return load(group, name)


def is_own(plugin: Plugin) -> bool:
    """Whether it is one of dupekit's own."""
    return plugin.distribution == "dupekit" or plugin.module.partition(".")[0] == "dupekit"


def load(group: str, name: str) -> type[Any]:
    """The plugin's class.

    Raises UsageError for an unknown name; PluginError where two distributions claim it, where it cannot be imported or
    its import does what it may not, where it was written for another version of the contract, and where it does not
    fit the contract.
    """
    kind = GROUPS[group]
    known = plugins(group)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"There is no {kind} {name!r}.{guess}",
            hint=f"Installed {kind}s: {', '.join(known) or 'none'}.",
        )
    plugin = known[name]
    if plugin.clash:
        raise PluginError(
            f"The {kind} {name!r} is registered by {', '.join((plugin.distribution, *plugin.clash))}.",
            hint="Uninstall all but one of them.",
        )
    found = _imported(plugin)
    version = getattr(found, "api_version", API_VERSION)
    if isinstance(version, int) and version != API_VERSION:
        raise PluginError(
            f"{plugin} is written for version {version} of the plugin contract; this dupekit has version"
            f" {API_VERSION}.",
            hint=f"Install a release of {plugin.distribution} that fits this dupekit, or another dupekit.",
        )
    if problems := class_problems(group, found):
        raise PluginError(
            f"{plugin} ({plugin.target}) does not fit the plugin contract: {'; '.join(problems)}.",
            hint="The contract is dupekit.api; docs/plugins.md explains it.",
        )
    return found  # type: ignore[no-any-return]


def make(group: str, name: str) -> Any:
    """An instance of the plugin. Raises as `load`, and PluginError where its constructor fails."""
    found = load(group, name)
    plugin = plugins(group)[name]
    try:
        with guarded(str(plugin)):
            return found()
    except DupekitError:
        raise
    except Exception as error:
        raise PluginError(
            f"{plugin} cannot be made: {_said(error, found.__module__)}", hint=check_hint(name)
        ) from error


def close(plugin: Any) -> None:
    """Tells a plugin that no more is asked of it, where it wants to be told."""
    closing = getattr(plugin, "close", None)
    if closing is not None:
        closing()


def _imported(plugin: Plugin) -> Any:
    point = metadata.EntryPoint(plugin.name, plugin.target, plugin.group)
    try:
        with guarded(str(plugin)):
            return point.load()
    except DupekitError:
        raise
    except Exception as error:
        hint = f"Its class is {plugin.target}; see that what it needs is installed. {check_hint(plugin.name)}"
        if plugin.distribution == "dupekit" and isinstance(error, ImportError):  # the small install
            hint = "Its extra is not installed. In a clone of dupekit: pip install -e '.[all]'"
        raise PluginError(f"{plugin} cannot be loaded: {_said(error, plugin.module)}", hint=hint) from error


def _said(error: Exception, module: str) -> str:
    where = place(error, module)
    return f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")


def check_hint(name: str) -> str:
    return f"`dupekit plugins check {name}` takes it through its contract."


def _entry_points(group: str) -> Iterator[tuple[str, str, metadata.EntryPoint]]:
    """Distribution, version and entry point of each plugin. What is wrong with one distribution hides no other."""
    seen = set()
    for found in metadata.distributions():
        points: list[metadata.EntryPoint] = []
        with contextlib.suppress(Exception):  # damaged metadata raises whatever its parser raises
            points = [point for point in found.entry_points if point.group == group]
        if not points:
            continue
        name = version = None
        with contextlib.suppress(Exception):
            name, version = found.metadata["Name"], found.metadata["Version"]
        if name is None or name not in seen:  # of one on the path twice the first counts, as for imports
            yield from ((name or "unknown", version or "", point) for point in points)
        seen.add(name)
