"""Job folders that are damaged, foreign or no folders: of runs that the ledger knows, and of such that a cluster has finished
meanwhile. `train` does again what does not fit, and takes up the rest; `verify` names what was damaged later."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.faults.scenarios import KILLS, PROJECT, SCENARIOS
from tests.faults.trial import Bench

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc"),
    pytest.mark.timeout(120),
]

TRAIN_ON = next(one for one in SCENARIOS if one.name == "train-on")


def changed(edit: Callable[[np.ndarray], np.ndarray], array: str = "probabilities") -> Callable[[Path], None]:
    """Changes one array of the predictions."""

    def change(folder: Path) -> None:
        file = folder / "predictions.npz"
        with np.load(file) as arrays:
            content = dict(arrays)
        assert array in content, list(content)
        np.savez(file, **{**content, array: edit(content[array])})

    return change


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for at in range(len(content) // 3, len(content), 97):
        content[at] ^= 0x55
    file.write_bytes(content)


def _foreign(folder: Path) -> None:
    """What another run of the round has said."""
    other = folder.with_name("p02-b")
    for name in ("predictions.npz", "result.json"):
        shutil.copyfile(other / name, folder / name)


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _link(file: Path) -> None:
    moved = file.with_name("elsewhere")
    file.rename(moved)
    file.symlink_to(moved)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "result is empty": lambda folder: (folder / "result.json").write_bytes(b""),
    "result is cut off": lambda folder: _cut(folder / "result.json"),
    "result is another run's": _foreign,
    "result says nothing": lambda folder: (folder / "result.json").write_text("{}"),
    "result is deep": lambda folder: (folder / "result.json").write_text("[" * 100_000),
    "result is a pipe": lambda folder: _fifo(folder / "result.json"),
    "result is a link": lambda folder: _link(folder / "result.json"),
    "predictions are empty": lambda folder: (folder / "predictions.npz").write_bytes(b""),
    "predictions are cut off": lambda folder: _cut(folder / "predictions.npz"),
    "predictions are garbled": lambda folder: _flipped(folder / "predictions.npz"),
    "predictions are missing": lambda folder: (folder / "predictions.npz").unlink(),
    "predictions are a pipe": lambda folder: _fifo(folder / "predictions.npz"),
    "folder is gone": shutil.rmtree,
    "folder is empty": lambda folder: [file.unlink() for file in folder.iterdir()],
    "folder is a file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"")),
    "split is cut off": lambda folder: _cut(_split(folder)),
    "split is missing": lambda folder: _split(folder).unlink(),
}

LIES: dict[str, Callable[[Path], object]] = {
    "predictions are of half the images": lambda folder: [
        changed(lambda rows: rows[: len(rows) // 2], name)(folder) for name in ("probabilities", "images")
    ],
    "predictions are not finite": changed(lambda rows: rows * np.float16("nan")),
    "predictions are negative": changed(lambda rows: -rows),
    "predictions sum to 2": changed(lambda rows: rows * 2),
    "predictions are of other images": changed(lambda numbers: numbers + 1000, "images"),
}
"""Whole archives of what cannot be: looked at before a run is recorded, and not again."""


def _split(folder: Path) -> Path:
    return folder.parent.parent / "splits" / f"{folder.name[:3]}.npy"


EVERY = [
    *((damage, known) for damage in DAMAGES for known in (False, True)),
    *((damage, False) for damage in LIES),
]


@pytest.mark.parametrize(("damage", "known"), EVERY if KILLS else EVERY[2::18])
def test_a_job_folder_that_is_damaged(bench: Bench, damage: str, known: bool) -> None:
    """Of a run that the ledger has, if it is `known`: then `verify` names it, and when the folder is deleted it is done again."""
    area, expected = bench.area, bench.reference(TRAIN_ON)
    folder = area.path / "project" / "rounds" / "01" / "runs" / "p04-a"
    area.restore("trained")
    bench.give(*TRAIN_ON.command)
    if not known:
        _forget(bench, folder)
    before = area.dataset()
    (DAMAGES | LIES)[damage](folder)
    done = [bench.give(*command, codes=(0, 1)) for command in (TRAIN_ON.command, ("verify", *PROJECT))]
    if any(ended.code for ended in done):
        assert all("p04-a" in ended.said for ended in done if ended.code), done
        if folder.is_dir():
            shutil.rmtree(folder)
        else:
            folder.unlink()
        bench.give(*TRAIN_ON.command)
    (folder / "elsewhere").unlink(missing_ok=True)  # the test's own
    bench.check(expected.seen, before)


def _forget(bench: Bench, folder: Path) -> None:
    """As if a cluster had finished the run, and no dupekit had seen it yet."""
    saved = bench.area.path.with_name("runs")
    for part in (folder, _split(folder).parent):
        shutil.copytree(part, saved / part.name)
    bench.area.restore("trained")
    for part in (folder, _split(folder).parent):
        shutil.copytree(saved / part.name, part, dirs_exist_ok=True)
    shutil.rmtree(saved)
