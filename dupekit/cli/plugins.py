"""`dupekit plugins list` and `show`."""

from __future__ import annotations

from typing import Annotated

import typer

from dupekit.cli._console import JsonOption, print_json, table

app = typer.Typer(
    help="Trainers, validators and executors that are installed.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """Shows every plugin, without loading any."""
    from dupekit.registry import GROUPS, plugins

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
    from dupekit.errors import UsageError
    from dupekit.registry import GROUPS, describe, load, plugins

    kinds = [group for group in GROUPS if name in plugins(group)]
    if not kinds:
        raise UsageError(f"There is no plugin {name!r}.", hint="See `dupekit plugins list`.")
    found = {GROUPS[group]: describe(load(group, name)) for group in kinds}
    if json:
        print_json(found)
        return
    for kind, options in found.items():
        rows = [(option.name, option.type, option.default, option.help) for option in options]
        table(f"Options of the {kind} {name}", ["option", "type", "default", "what it does"], rows)
