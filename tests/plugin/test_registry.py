from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest

from dupekit.api import Ge, Gt, Le, Lt
from dupekit.errors import OptionError, PluginError, UsageError
from dupekit.plugin import registry
from dupekit.plugin.options import as_values, describe, options_for
from dupekit.plugin.registry import EXECUTORS, TRAINERS, VALIDATORS, load, load_tried, make, plugins

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a real distribution, metadata and all, as pip leaves it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(distribution: str, points: str, *, metadata: bytes | None = None, **modules: str) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        said = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n".encode()
        (info / "METADATA").write_bytes(said if metadata is None else metadata)
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
        ("class Mine: pass", "it has no Options: a frozen dataclass; .* it has no train"),
    ],
)
def test_a_broken_plugin_is_reported_with_its_distribution(install, source: str, message: str) -> None:
    install("my-broken", "[dupekit.trainers]\nmine = my_broken:Mine\n", my_broken=source)
    with pytest.raises(PluginError, match=r"my-broken") as caught:
        load(TRAINERS, "mine")
    assert caught.match(message.replace("my_broken", "my-broken"))
    assert load(EXECUTORS, "local")  # and hurts nobody else


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit(0)", r"of my-plugin 1.0 calls sys.exit\(0\) where it is loaded"),
        ("import os; os._exit(0)", r"of my-plugin 1.0 calls os._exit\(0\) where it is loaded"),
        ("import os\ntry: os._exit(3)\nexcept BaseException: pass\nMine = 1", r"calls os._exit\(3\)"),
        ("quit()", "calls sys.exit"),
        ("name = input('Your name? ')", "reads standard input where it is loaded"),
        ("import sys; sys.stdin.read()\nMine = 1", "reads standard input where it is loaded"),
        ("import os, nothing\nos.read(0, 1)", "ModuleNotFoundError"),
    ],
)
def test_an_import_ends_nothing_and_waits_for_nobody(install, source: str, message: str) -> None:
    install("my-plugin", "[dupekit.trainers]\nmine = my_import:Mine\n", my_import=source)
    with pytest.raises(PluginError, match=message):
        load(TRAINERS, "mine")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("from posix import _exit; _exit(0)", "ended with exit code 0 without a word"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9"),
        (
            "import time; time.sleep(3600)",
            r"did not end within 5 seconds, in <module>\(\) of my_import.py, line 1",
        ),
        ("import subprocess; subprocess.Popen(['sleep', '3600'])", "left a process behind"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), name='x').start()",
            "the thread x",
        ),
        ("open('/dev/tty').readline()", "my-plugin 1.0 cannot be loaded: OSError"),
        ("import sys; sys.exit(0)", r"calls sys.exit\(0\) where it is loaded"),
    ],
)
def test_an_import_is_tried_in_a_process_of_its_own(
    install, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.setattr(registry, "LOADING_LIMIT_S", 5.0)
    install("my-plugin", "[dupekit.trainers]\nmine = my_import:Mine\n", my_import=f"{source}\n{GOOD}")
    with pytest.raises(PluginError, match=message):
        load_tried(TRAINERS, "mine")
    assert "my_import" not in sys.modules


def test_a_default_that_its_own_bounds_refuse_is_refused(install) -> None:
    source = GOOD.replace("class Empty: ...", "class Empty:\n    n: Annotated[int, Ge(10)] = 8").replace(
        "\nfrom dataclasses",
        "\nfrom typing import Annotated\nfrom dupekit.api import Ge\nfrom dataclasses",
        1,
    )
    install("my-plugin", "[dupekit.trainers]\nmine = my_import:Mine\n", my_import=source)
    with pytest.raises(
        PluginError, match="default of its option n is 8: it must be a whole number from 10 on"
    ):
        load(TRAINERS, "mine")


def test_whatever_options_raise_is_said_of_the_options() -> None:
    @dataclass(frozen=True)
    class Options:
        def __post_init__(self) -> None:
            raise KeyError("two")

    with pytest.raises(OptionError, match="Mine does not take these options: KeyError: 'two'"):
        options_for(type("Mine", (), {"Options": Options}), {})


def test_a_failed_import_and_a_failed_constructor_name_the_line(install) -> None:
    source = f"{GOOD}    def __init__(self):\n        1 / 0\n"
    install("my-plugin", "[dupekit.trainers]\nmine = my_import:Mine\n", my_import=source)
    with pytest.raises(
        PluginError, match=r"cannot be made: ZeroDivisionError: .* \(my_import.py, line 14\)"
    ) as caught:
        make(TRAINERS, "mine")
    assert "`dupekit plugins check mine`" in caught.value.hint
    install("other-plugin", "[dupekit.trainers]\nother = my_other:Mine\n", my_other="\n1 / 0")
    with pytest.raises(
        PluginError, match=r"cannot be loaded: ZeroDivisionError: .* \(my_other.py, line 2\)"
    ) as caught:
        load(TRAINERS, "other")
    assert "`dupekit plugins check other`" in caught.value.hint


def test_a_plugin_that_could_be_loaded_is_loaded_here(install) -> None:
    install("my-plugin", "[dupekit.trainers]\nmine = my_import:Mine\n", my_import=GOOD)
    assert load_tried(TRAINERS, "mine") is load_tried(TRAINERS, "mine")


def test_what_is_read_from_the_file_itself_is_empty(install, capfd) -> None:
    source = (
        "import os, subprocess, sys\n"
        "found = os.read(0, 1), subprocess.run([sys.executable, '-c', 'print(input())']).returncode\n"
        "print('imported', found)"
    )
    install("my-plugin", "[dupekit.trainers]\nmine = my_reading:Mine\n", my_reading=source)
    ours, theirs = os.pipe()  # a terminal that nobody types on
    kept = os.dup(0)
    os.dup2(ours, 0)
    try:
        with pytest.raises(PluginError, match="AttributeError"):
            load(TRAINERS, "mine")
    finally:
        os.dup2(kept, 0)
        for handle in (kept, ours, theirs):
            os.close(handle)
    out, err = capfd.readouterr()
    assert out == ""  # what it prints does not get into a JSON document
    assert "imported (b'', 1)" in err


GOOD = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Empty: ...
class Mine:
    api_version = 1
    Options = Empty
    produces = "x"
    accepts = frozenset({"x"})
    def train(self, task, progress): ...
    def predict(self, task, progress): ...
    def run(self, jobs, options, progress): ...
"""


@pytest.mark.parametrize("group", [TRAINERS, VALIDATORS, EXECUTORS])
@pytest.mark.parametrize(
    ("change", "groups", "message"),
    [
        (
            "api_version = 2",
            None,
            "is written for version 2 of the plugin contract; this dupekit has version 1",
        ),
        ("api_version = '1'", None, "its api_version is '1', not the version"),
        ("del api_version", None, "it has no api_version: the version"),
        ("Options = {}", None, "its Options is {}, not a frozen dataclass"),
        ("Options = dataclass(type('O', (), {}))", None, "a dataclass that is not frozen"),
        ("produces = None", [TRAINERS], "its produces is None, not the format of its models"),
        (
            "accepts = {'x'}",
            [VALIDATORS],
            r"its accepts is \{'x'\}, not the formats that it reads, a frozenset of str",
        ),
        ("accepts = frozenset({1})", [VALIDATORS], r"its accepts is frozenset\(\{1\}\)"),
        ("del train", [TRAINERS], r"it has no train\(task, progress\)"),
        ("train = 3", [TRAINERS], r"its train is 3, not a method train\(task, progress\)"),
        (
            "def train(self, task): ...",
            [TRAINERS],
            r"its train\(self, task\) cannot be called as train\(task, progress\)",
        ),
        (
            "def train_many(self, tasks): ...",
            [TRAINERS],
            r"its train_many\(self, tasks\) cannot be called as",
        ),
        (
            "def prepare(self): ...",
            [TRAINERS],
            r"its prepare\(self\) cannot be called as prepare\(task, progress\)",
        ),
        (
            "def dry_run(self): ...",
            [EXECUTORS],
            r"its dry_run\(self\) cannot be called as dry_run\(jobs, options\)",
        ),
        (
            "def submit(self, jobs): ...",
            [EXECUTORS],
            r"its submit\(self, jobs\) cannot be called as submit\(jobs, options, progress\)",
        ),
        ("def cancel(self, jobs): ...", [EXECUTORS], r"it has one of submit\(\) and cancel\(\)"),
        (
            "def predict(self, task, progress, *, x): ...",
            [VALIDATORS],
            r"its predict\(self, task, progress, \*, x\) cannot",
        ),
        (
            "def run(self, jobs): ...",
            [EXECUTORS],
            r"its run\(self, jobs\) cannot be called as run\(jobs, options, progress\)",
        ),
        ("def close(self, hard): ...", None, r"its close\(self, hard\) cannot be called as close\(\)"),
        (
            "def __init__(self, size): ...",
            None,
            r"its constructor Mine\(size\) cannot be called without arguments",
        ),
        ("@staticmethod\n    def train(task, progress): ...", [], ""),
        ("def train(self, *what, **else_): ...", [], ""),
        ("def train(self, first, second, third=3): ...", [], ""),
    ],
)
def test_what_does_not_fit_is_named(
    install, group: str, change: str, groups: list[str] | None, message: str
) -> None:
    install("my-plugin", f"[{group}]\nmine = my_fitting:Mine\n", my_fitting=f"{GOOD}    {change}\n")
    if groups is not None and group not in groups:
        assert load(group, "mine")
        return
    with pytest.raises(PluginError, match=message) as caught:
        load(group, "mine")
    assert caught.match(r"'mine' of my-plugin 1\.0")


def test_options_whose_types_are_not_there(install) -> None:
    source = "from __future__ import annotations\n" + GOOD.replace(
        "class Empty: ...", "class Empty:\n    size: Size = 1"
    )
    install("my-plugin", "[dupekit.trainers]\nmine = my_typed:Mine\n", my_typed=source)
    with pytest.raises(PluginError, match=r"the types of its Options cannot be found: NameError: .*Size"):
        load(TRAINERS, "mine")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", "'mine' of my-plugin 1.0 cannot be made: ZeroDivisionError"),
        ("import sys; sys.exit(0)", r"calls sys.exit\(0\) where it is loaded or made"),
        ("input()", "reads standard input where it is loaded or made"),
    ],
)
def test_a_constructor_ends_nothing_and_waits_for_nobody(install, body: str, message: str) -> None:
    source = f"{GOOD}    def __init__(self):\n        {body}\n"
    install("my-plugin", "[dupekit.executors]\nmine = my_made:Mine\n", my_made=source)
    with pytest.raises(PluginError, match=message):
        make(EXECUTORS, "mine")


@pytest.mark.parametrize(
    "metadata",
    [b"", b"Metadata-Version: 2.1\nVersion: 1.0\n", b"Name: \xff\xfe\n"],
    ids=["empty", "nameless", "bytes"],
)
def test_damaged_metadata_hides_no_plugin(install, metadata: bytes) -> None:
    install("my-plugin", "[dupekit.trainers]\nmine = my_nameless:Mine\n", metadata=metadata, my_nameless=GOOD)
    install("my-other", "[dupekit.trainers]\nnonsense\n")
    assert plugins(TRAINERS)["mine"].distribution == "unknown"
    assert load(TRAINERS, "mine")
    assert "probe" in plugins(TRAINERS)


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


def test_in_the_small_install_the_extra_is_named(monkeypatch) -> None:
    for name in ("dupekit_onnx", "dupekit_nets.engine", "dupekit_nets.feeds"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)  # importing it raises ModuleNotFoundError
    with pytest.raises(
        PluginError, match=r"(?s)'onnx' of dupekit .* cannot be loaded.*pip install -e '\.\[all\]'"
    ):
        load(VALIDATORS, "onnx")
