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
    after: tuple[tuple[str, ...], ...] = ()
    """Further commands where this one is at its end: it takes no lock any more, and lock.holder stays until somebody does; or
    others count the votes."""
    once: bool = False
    """Whether given again it would take a further step: it is not where its first one is recorded."""

    def __str__(self) -> str:
        return self.name


SCENARIOS = [
    Scenario(
        "init", "nothing", ("init", "@data", *PROJECT), "is a dupekit project already", (("scan", *PROJECT),)
    ),
    Scenario("scan", "changed", ("scan", *PROJECT)),
    Scenario("train", "scanned", ("train", "--pairs", "2", *FAKES, *PROJECT)),
    Scenario("train-on", "trained", ("train", "--pairs", "4", *PROJECT)),
    Scenario(
        "import-predictions",
        "predicted",
        ("import-predictions", "@predictions.csv", *PROJECT),
        "is open, and imported predictions are a round of their own",
        (("flag", *PROJECT), ("scan", *PROJECT)),
    ),
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
    Scenario("undo-collect", "collected", ("undo", *PROJECT), after=(("scan", *PROJECT),), once=True),
    Scenario("undo-apply", "applied", ("undo", *PROJECT), after=(("scan", *PROJECT),), once=True),
    Scenario("undo-next", "ended", ("undo", *PROJECT), after=(("scan", *PROJECT),), once=True),
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
    _predict(data, area.path / "predictions.csv")
    area.save("predicted")
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


def _predict(data: Path, out: Path) -> None:
    """What somebody else's model says of every image: that it belongs where its name says, if that names a class."""
    rows = ["path,class,probability\n"]
    for file in sorted(data.glob("*/*.png")):
        meant = file.stem.removeprefix("wrong_") if file.stem.startswith("wrong_") else file.parent.name
        rows += [
            f"{file.relative_to(data).as_posix()},{label},{0.8 if label == meant else 0.1}\n"
            for label in CLASSES
        ]
    out.write_text("".join(rows))


def _review(tree: Path) -> None:
    """The technician: deletes, moves, leaves."""
    files = sorted(path for label in CLASSES for path in (tree / label).glob("*.png"))
    assert len(files) > 4
    files[0].unlink()
    files[1].rename(tree / "diatom" / files[1].name)
    (tree / "_done").mkdir(exist_ok=True)
    files[2].rename(tree / "_done" / files[2].name)
