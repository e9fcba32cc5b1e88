from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

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
        "class Mine:\n    Options = O\n    produces = 'x'\n    def train(self, task, progress): ..."
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
        ("class Mine: pass", "has no Options, produces, train"),
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": "7"}, r"Plugin has no option 'epoch'. Did you mean epochs\?"),
        ({"epochs": "many"}, "does not take epochs='many': Input should be a valid integer"),
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
