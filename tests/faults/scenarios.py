"""The scenarios: a state of the project, and the command that is disturbed there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from dupekit.testing import make_dataset
from tests.faults.harness import Area, Commands

KILLS = int(os.environ.get("DUPEKIT_KILLS", "0"))
"""0: the short form, in every run of the tests. Else the long one: so many trials of each kind and scenario."""
SEED = int(os.environ.get("DUPEKIT_SEED", "1"))
"""What is drawn at random follows from it."""

CLASSES = ("amoeba", "ciliate", "diatom")
PROJECT = ("-p", "@project")
FAKES = ("--trainer", "fake", "--validator", "fake")


@dataclass(frozen=True)
class Scenario:
    name: str
    state: str
    command: tuple[str, ...]
    done: str | None = None
    """What the command says when it is given again after it came to its end; None: it may be repeated."""
    hint: tuple[str, ...] | None = None
    """A further command where this one is at its end and takes no lock any more: lock.holder stays until somebody does."""
    once: bool = False
    """Whether given again it would take a further step: it is not where its first one is recorded."""

    def __str__(self) -> str:
        return self.name


SCENARIOS = [
    Scenario(
        "init", "nothing", ("init", "@data", *PROJECT), "is a dupekit project already", ("scan", *PROJECT)
    ),
    Scenario("scan", "changed", ("scan", *PROJECT)),
    Scenario("train", "scanned", ("train", "--pairs", "2", *FAKES, *PROJECT)),
    Scenario("train-on", "trained", ("train", "--pairs", "4", *PROJECT)),
    Scenario("flag", "trained", ("flag", "--threshold", "2", *PROJECT)),
    Scenario(
        "export",
        "flagged",
        ("export", "@tree", "--all", "--audit", "4", "--order", "rank", *PROJECT),
        "is the review tree that was exported",
    ),
    Scenario("collect", "reviewed", ("collect", "@tree", "--finished", "ciliate", "-y", *PROJECT)),
    Scenario("withdraw", "exported", ("withdraw", "@tree", *PROJECT), "was called back"),
    *(
        Scenario(
            f"apply-{mode}",
            "collected",
            ("apply", "@fixed", "--mode", mode, *PROJECT),
            "is the corrected dataset that was applied",
        )
        for mode in ("copy", "hardlink", "symlink", "reflink")
    ),
    Scenario("next", "applied", ("next", "--drop", *PROJECT), "is closed"),
    Scenario("undo-collect", "collected", ("undo", *PROJECT), hint=("scan", *PROJECT), once=True),
    Scenario("undo-apply", "applied", ("undo", *PROJECT), hint=("scan", *PROJECT), once=True),
    Scenario("undo-next", "ended", ("undo", *PROJECT), hint=("scan", *PROJECT), once=True),
    Scenario("ignore-import", "flagged", ("ignore", "import", "@ignored.csv", *PROJECT)),
]


def prepare(area: Area, give: Commands) -> None:
    """Makes every state, by the commands themselves: one project taken through its round."""
    data = make_dataset(area.path / "data", classes=CLASSES, per_class=14, seed=3)
    for source, target in (
        ("amoeba", "ciliate"),
        ("diatom", "amoeba"),
        ("ciliate", "diatom"),
        ("diatom", "ciliate"),
    ):
        file = sorted((data / source).glob("0*"))[0]
        file.rename(data / target / f"wrong_{source}.png")
    area.save("nothing")
    give("init", "@data", *PROJECT)
    area.save("scanned")
    _change(data)
    area.save("changed")
    area.restore("scanned")
    give("train", "--pairs", "3", *FAKES, *PROJECT)
    area.save("trained")
    give("flag", "--threshold", "2", *PROJECT)
    give("ignore", "add", "diatom/0005.png", "amoeba/0007.png", *PROJECT)
    give("ignore", "export", "@ignored.csv", *PROJECT)
    exported = (area.path / "ignored.csv").read_bytes()
    area.restore("trained")
    give("flag", "--threshold", "2", *PROJECT)
    (area.path / "ignored.csv").write_bytes(exported)
    area.save("flagged")
    give("export", "@tree", "--all", "--audit", "4", "--order", "rank", *PROJECT)
    area.save("exported")
    _review(area.path / "tree")
    area.save("reviewed")
    give("collect", "@tree", "--finished", "ciliate", "-y", *PROJECT)
    area.save("collected")
    give("apply", "@fixed", *PROJECT)
    area.save("applied")
    give("next", "--drop", *PROJECT)
    area.save("ended")


def _change(data: Path) -> None:
    """New, changed, renamed and deleted files, and a new class."""
    make_dataset(data, classes=("euglena",), per_class=5, seed=9)
    (data / "amoeba/0003.png").unlink()
    (data / "diatom/0004.png").rename(data / "diatom/renamed.png")
    shutil.copyfile(data / "ciliate/0005.png", data / "ciliate/0006.png")
    (data / "ciliate/0007.png").write_bytes(b"no image")


def _review(tree: Path) -> None:
    """The technician: deletes, moves, leaves."""
    files = sorted(path for label in CLASSES for path in (tree / label).glob("*.png"))
    assert len(files) > 4
    files[0].unlink()
    files[1].rename(tree / "diatom" / files[1].name)
    (tree / "_done").mkdir(exist_ok=True)
    files[2].rename(tree / "_done" / files[2].name)
