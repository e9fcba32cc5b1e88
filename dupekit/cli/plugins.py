"""`dupekit plugins list`, `show` and `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dupekit.cli.completion import complete_device, complete_plugin
from dupekit.cli.output import JsonOption, print_json, say, warn
from dupekit.cli.progress_bars import progress_bars
from dupekit.cli.tables import names, table, texts

if TYPE_CHECKING:
    from dupekit.plugin.options import Option

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
    table("Plugins", [texts("kind"), names("name"), names("class"), texts("from"), texts("problem")], rows)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="As `dupekit plugins list` prints it.", autocompletion=complete_plugin)
    ],
    json: JsonOption = False,
) -> None:
    """Shows the options of the plugins of a name: what --set takes."""
    from dupekit.plugin.options import describe
    from dupekit.plugin.registry import GROUPS, load_tried

    found = {GROUPS[group]: describe(load_tried(group, name)) for group in _groups_of(name)}
    if json:
        print_json(found)
        return
    for kind, options in found.items():
        if not options:
            say(f"The {kind} {name} has no options.")
            continue
        rows = [(o.name, o.valid or o.type, _default(o), o.help) for o in options]
        table(
            f"Options of the {kind} {name}",
            [texts("option"), texts("valid"), texts("default"), texts("what it does")],
            rows,
        )


def _default(option: Option) -> str | None:
    """As --set takes it."""
    if option.required:
        return "(required)"
    value = option.default
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(help="As `dupekit plugins list` prints it.", autocompletion=complete_plugin)
    ],
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An option, as of `dupekit train`, such as fewer epochs."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N", autocompletion=complete_device)
    ] = "cpu",
    limit_s: Annotated[
        float, typer.Option(min=1, help="Seconds that the check of one plugin may take.")
    ] = 1800,
) -> None:
    """Takes all plugins of a name through their contract. The dataset is tiny."""
    from dupekit.cli.train import parse_options
    from dupekit.errors import PluginError
    from dupekit.plugin.registry import GROUPS
    from dupekit.system.progress import stage
    from dupekit.testing.installed import Given, check_apart
    from dupekit.workflow.plan import split_options

    groups = _groups_of(name)
    options = parse_options(setting or [])
    if len(groups) == 1:  # what is not said to be of another kind is of this one
        options = {
            key if "." in key else f"{GROUPS[groups[0]]}.{key}": value for key, value in options.items()
        }
        options = {key.removeprefix("trainer."): value for key, value in options.items()}
    chosen = split_options(options)
    given = Given(chosen.trainer, chosen.validator, chosen.executor, device)
    broken = False
    for group in groups:
        try:
            with progress_bars() as progress, stage(progress, f"checking {name}"):
                partner = check_apart(group, name, given, limit_s=limit_s)
        except PluginError as error:
            broken = True
            warn(str(error))
        else:
            say(f"The {GROUPS[group]} {name} keeps its contract (checked with {partner}).")
    if broken:
        raise typer.Exit(1)


def _groups_of(name: str) -> list[str]:
    from dupekit.errors import UsageError
    from dupekit.plugin.registry import GROUPS, plugins

    groups = [group for group in GROUPS if name in plugins(group)]
    if not groups:
        raise UsageError(f"There is no plugin {name!r}.", hint="See `dupekit plugins list`.")
    return groups
