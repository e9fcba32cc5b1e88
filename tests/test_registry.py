from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest

from dupekit.api import Ge, Gt, Le, Lt
from dupekit.errors import OptionError, PluginError, UsageError
from dupekit.plugin.registry import (
    EXECUTORS,
    TRAINERS,
    VALIDATORS,
    as_values,
    describe,
    load,
    options_for,
    plugins,
)

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a real distribution, metadata and all, as pip leaves it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(distribution: str, points: str, **modules: str) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def test_the_bundled_plugins_are_there() -> None:
    assert set(plugins(TRAINERS)) >= {"probe", "torch"}
    assert set(plugins(VALIDATORS)) >= {"onnx"}
    assert set(plugins(EXECUTORS)) >= {"local", "slurm"}


def test_listing_imports_nothing(install) -> None:
    install(
        "my-plugin", "[dupekit.trainers]\nmine = my_module:Mine\n", my_module="raise SystemExit('imported')"
    )
    plugin = plugins(TRAINERS)["mine"]
    assert (plugin.distribution, plugin.version, plugin.target) == ("my-plugin", "1.0", "my_module:Mine")


def test_a_plugin_of_another_distribution_is_loaded(install) -> None:
    source = (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass O:\n    x: int = 1\n"
        "class Mine:\n    api_version = 1\n    Options = O\n    produces = 'x'\n    def train(self, task, progress): ..."
    )
    install("my-plugin", "[dupekit.trainers]\nmine = my_good:Mine\n", my_good=source)
    assert load(TRAINERS, "mine").produces == "x"


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no trainer 'prob'. Did you mean probe\?") as caught:
        load(TRAINERS, "prob")
    assert "probe, torch" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import not_there", "my_broken.* cannot be loaded: ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
        ("class Mine: pass", "has no Options, api_version, produces, train"),
    ],
)
def test_a_broken_plugin_is_reported_with_its_distribution(install, source: str, message: str) -> None:
    install("my-broken", "[dupekit.trainers]\nmine = my_broken:Mine\n", my_broken=source)
    with pytest.raises(PluginError, match=r"my-broken") as caught:
        load(TRAINERS, "mine")
    assert caught.match(message.replace("my_broken", "my-broken"))
    assert load(EXECUTORS, "local")  # and hurts nobody else


def test_a_clash_names_both(install) -> None:
    for name in ("one-plugin", "two-plugin"):
        install(name, f"[dupekit.trainers]\nmine = {name[:3]}_module:Mine\n")
    with pytest.raises(PluginError, match="registered by one-plugin, two-plugin"):
        load(TRAINERS, "mine")


@dataclass(frozen=True)
class Options:
    epochs: int = field(default=5, metadata={"help": "Passes over the data."})
    rate: float = 0.1
    flip: bool = True
    name: str = "x"


class Plugin:
    Options: ClassVar[type] = Options


def test_options_are_converted_from_text() -> None:
    options = options_for(Plugin, {"epochs": "7", "rate": "1e-3", "flip": "no", "name": "3"})
    assert options == Options(7, 0.001, False, "3")
    assert options_for(Plugin, as_values(options)) == options


@dataclass(frozen=True)
class Bounded:
    size: Literal[0] | Annotated[int, Ge(16), Le(64)]
    share: Annotated[float, Ge(0), Lt(1)] = 0.5
    rate: Annotated[float, Gt(0)] = 0.1
    how: Literal["pad", "stretch"] = "pad"
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.how == "pad" and self.share == 0:
            raise ValueError("share is 0 and how is pad.")


class Strict:
    Options: ClassVar[type] = Bounded


def test_bounds_stand_in_the_types() -> None:
    made = options_for(Strict, {"size": "0", "how": "stretch", "share": "0", "widths": "[3, 4]"})
    assert made == Bounded(0, 0.0, 0.1, "stretch", (3, 4))
    assert [(option.valid, option.required) for option in describe(Strict)] == [
        ("0, or a whole number from 16 to 64", True),
        ("a number from 0 to below 1", False),
        ("a number above 0", False),
        ("pad or stretch", False),
        (None, False),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Strict needs a value for 'size': 0, or a whole number from 16 to 64"),
        ({"size": "15"}, "size='15': it must be 0, or a whole number from 16 to 64"),
        ({"size": 1.5}, "size=1.5: it must be"),
        ({"size": 0, "share": 1}, "share=1: it must be a number from 0 to below 1"),
        ({"size": 0, "rate": "inf"}, "rate='inf': it must be a number above 0"),
        ({"size": 0, "rate": "nan"}, "rate='nan'"),
        ({"size": 0, "how": "crop"}, "how='crop': it must be pad or stretch"),
        ({"size": 0, "widths": "3, x"}, r"widths='3, x': Input should be a valid tuple"),
        ({"size": 0, "share": 0}, "does not take these options: share is 0 and how is pad"),
    ],
)
def test_what_is_out_of_bounds_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options_for(Strict, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": "7"}, r"Plugin has no option 'epoch'. Did you mean epochs\?"),
        ({"epochs": "many"}, "does not take epochs='many': it must be a whole number"),
        ({"flip": "perhaps"}, "does not take flip='perhaps'"),
    ],
)
def test_wrong_options_are_named(values: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        options_for(Plugin(), values)


def test_options_of_any_type_are_described() -> None:
    made = dataclasses.make_dataclass("Made", [("size", int | None, None)], frozen=True)
    plugin = type("Plugin", (), {"Options": made})
    assert describe(plugin)[0].type == "int | None"
    assert options_for(plugin, {"size": "3"}).size == 3


def test_options_are_described() -> None:
    first = describe(Plugin)[0]
    assert (first.name, first.type, first.default, first.help) == (
        "epochs",
        "int",
        5,
        "Passes over the data.",
    )
