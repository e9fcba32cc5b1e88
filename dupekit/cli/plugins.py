"""`dupekit plugins list`, `show` and `check`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli.output import JsonOption, print_json, say, table

app = typer.Typer(
    help="Trainers, validators and executors that are installed.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """Shows every plugin, without loading any."""
    from dupekit.plugin.registry import GROUPS, plugins

    found = [plugin for group in GROUPS for plugin in plugins(group).values()]
    if json:
        print_json(found)
        return
    rows = [
        (
            GROUPS[p.group],
            p.name,
            p.target,
            f"{p.distribution} {p.version}",
            f"clash with {', '.join(p.clash)}" if p.clash else "",
        )
        for p in found
    ]
    table("Plugins", ["kind", "name", "class", "from", "problem"], rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="As `dupekit plugins list` prints it.")],
    json: JsonOption = False,
) -> None:
    """Shows the options of the plugins of a name: what --set takes."""
    from dupekit.plugin.registry import GROUPS, describe, load

    found = {GROUPS[group]: describe(load(group, name)) for group in _groups_of(name)}
    if json:
        print_json(found)
        return
    for kind, options in found.items():
        rows = [
            (o.name, o.valid or o.type, "(required)" if o.required else o.default, o.help) for o in options
        ]
        table(f"Options of the {kind} {name}", ["option", "valid", "default", "what it does"], rows)


@app.command()
def check(name: Annotated[str, typer.Argument(help="As `dupekit plugins list` prints it.")]) -> None:
    """Takes the plugins of a name through their contract on a tiny dataset."""
    from dupekit.plugin.registry import GROUPS
    from dupekit.testing.installed import check_installed

    for group in _groups_of(name):
        partner = check_installed(group, name)
        say(f"The {GROUPS[group]} {name} keeps its contract (checked with {partner}).")


def _groups_of(name: str) -> list[str]:
    from dupekit.errors import UsageError
    from dupekit.plugin.registry import GROUPS, plugins

    groups = [group for group in GROUPS if name in plugins(group)]
    if not groups:
        raise UsageError(f"There is no plugin {name!r}.", hint="See `dupekit plugins list`.")
    return groups
