"""Every kind of damage, really done, is found and named; a sound project has none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dupekit.ledger import Ledger
from dupekit.project import Project
from tests.support import CLASSES, call_back, dupekit, lists_of, tree_state, write_lists


@pytest.fixture
def applied(trained: Project, tmp_path: Path) -> Project:
    trained.flag(threshold=3)
    trained.export(tmp_path / "first")
    call_back(trained)
    trained.export(tmp_path / "second")
    trained.collect(finished=CLASSES)
    trained.apply(tmp_path / "fixed")
    return trained


def found(project: Project, **options: bool) -> set[tuple[str, str, str]]:
    return {(d.what, d.where, d.how) for d in project.verify(**options).differences}


def test_a_sound_project_has_no_differences_and_stays_as_it_is(applied: Project, tmp_path: Path) -> None:
    before = tree_state(tmp_path)
    done = applied.verify()
    assert done.differences == []
    assert done.checked == {
        "exports": 2,
        "rounds": 1,
        "runs": 6,
        "images": 36,
        "corrected images": 36,
        "corrections": 0,
    }
    assert tree_state(tmp_path) == before


def _edit_json(file: Path, change: Callable[[dict], None]) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def _edit_images(file: Path, change: Callable[[dict], None]) -> None:
    lists = lists_of(file)
    change(lists)
    write_lists(file, lists)


def _kept(root: Path, name: str, tree: str = "second") -> Path:
    """A file of the export of a tree."""
    marked = json.loads((root.parent / tree / ".dupekit/manifest.json").read_text())
    return root / "rounds/01/exports" / marked["export"][:8] / name


ROUND = "rounds/01"
EXPORT = f"{ROUND}/exports/KEY"
DAMAGES: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "manifest edited": (
        lambda p: _edit_json(_kept(p, "manifest.json"), lambda d: d["files"][0].update(original="a/b.png")),
        "export", f"{EXPORT}/manifest.json", "differs from the ledger in 1 files",
    ),
    "manifest with a suspect as of the audit": (
        lambda p: _edit_json(_kept(p, "manifest.json"), lambda d: d["files"][0].update(stratum=0, population=9)),
        "export", f"{EXPORT}/manifest.json", "differs from the ledger in 1 files",
    ),
    "manifest with a file less": (
        lambda p: _edit_json(_kept(p, "manifest.json"), lambda d: d["files"].pop()),
        "export", f"{EXPORT}/manifest.json", "differs from the ledger in 1 files",
    ),
    "manifest of another export": (
        lambda p: shutil.copy(_kept(p, "manifest.json", "first"), _kept(p, "manifest.json")),
        "export", f"{EXPORT}/manifest.json", "another export",
    ),
    "manifest gone": (
        lambda p: _kept(p, "manifest.json").unlink(),
        "export", f"{EXPORT}/manifest.json", "cannot be read",
    ),
    "before.txt cut": (
        lambda p: _kept(p, "before.txt").write_text(""),
        "export", f"{EXPORT}/before.txt", "does not list the files",
    ),
    "images.npz of other images": (
        lambda p: _edit_images(p / ROUND / "images.npz", lambda d: d["paths"].__setitem__(0, "x/y.png")),
        "round", f"{ROUND}/images.npz", "has 1 images that the ledger has not",
    ),
    "images.npz with another label": (
        lambda p: _edit_images(p / ROUND / "images.npz", lambda d: d["labels"].__setitem__(0, 2 - d["labels"][0])),
        "round", f"{ROUND}/images.npz", "has another label or digest than the ledger for 1 images",
    ),
    "images.npz with another digest": (
        lambda p: _edit_images(p / ROUND / "images.npz", lambda d: d["digests"].__setitem__(0, "0" * 64)),
        "round", f"{ROUND}/images.npz", "has another label or digest than the ledger for 1 images",
    ),
    "images.npz with another class": (
        lambda p: _edit_images(p / ROUND / "images.npz", lambda d: d["classes"].__setitem__(0, "x")),
        "round", f"{ROUND}/images.npz", "has other classes than the ledger",
    ),
    "split cut": (
        lambda p: np.save(p / ROUND / "splits/p02.npy", np.zeros(3, bool)),
        "round", f"{ROUND}/splits/p02.npy", "no split of 36 images",
    ),
    "split gone": (
        lambda p: (p / ROUND / "splits/p02.npy").unlink(),
        "round", f"{ROUND}/splits/p02.npy", "cannot be read: No such file",
    ),
    "result gone": (
        lambda p: (p / ROUND / "runs/p03-b/result.json").unlink(),
        "round", f"{ROUND}/runs/p03-b", "is done in the ledger",
    ),
    "result edited": (
        lambda p: _edit_json(p / ROUND / "runs/p03-b/result.json", lambda d: d.update(agreement=0.123)),
        "round", f"{ROUND}/runs/p03-b", "says agreement 0.123",
    ),
    "predictions cut": (
        lambda p: os.truncate(p / ROUND / "runs/p01-a/predictions.npz", 100),
        "round", f"{ROUND}/runs/p01-a", "cannot be read",
    ),
    "predictions of the other half": (
        lambda p: np.savez(
            p / ROUND / "runs/p01-a/predictions.npz",
            images=np.arange(1, 4), probabilities=np.ones((3, 3), np.float16),
        ),
        "round", f"{ROUND}/runs/p01-a", "predictions.npz has 3 images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_of_the_project_is_named(applied: Project, name: str) -> None:
    damage, what, where, how = DAMAGES[name]
    damage(applied.path)
    ((got_what, got_where, got_how),) = found(applied)
    assert (got_what, got_where) == (what, where.replace("KEY", _kept(applied.path, "").name))
    assert how in got_how


def test_images_of_a_round_that_are_wrong_are_mended_as_it_says(trained: Project) -> None:
    file = trained.path / ROUND / "images.npz"
    _edit_images(file, lambda d: d["classes"].__setitem__(0, "x"))
    said = dupekit("verify", "-p", trained.path, code=1).stdout
    assert "Delete images.npz where it is wrong: `dupekit train` writes it anew from the ledger." in said
    file.unlink()
    dupekit("train", "-p", trained.path)
    dupekit("verify", "-p", trained.path)


def test_a_run_that_is_damaged_is_mended_as_it_says(trained: Project) -> None:
    run = trained.path / ROUND / "runs/p01-a"
    os.truncate(run / "predictions.npz", 100)
    said = dupekit("verify", "-p", trained.path, code=1).stdout
    assert "delete the folder of a damaged run: `dupekit train` repeats that run alone." in said
    shutil.rmtree(run)
    dupekit("train", "-p", trained.path)
    dupekit("verify", "-p", trained.path)


@pytest.mark.parametrize("folder", ["data", "fixed"])
def test_changed_missing_and_added_images_are_named(applied: Project, tmp_path: Path, folder: str) -> None:
    root, what = tmp_path / folder, "dataset" if folder == "data" else "corrected dataset"
    files = sorted((root / "amoeba").glob("0*.png"))
    names = [f"amoeba/{file.name}" for file in files]
    stat = files[0].stat()
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files[0].write_bytes(content)  # neither its size nor its time tells
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    files[1].write_bytes(b"short")
    files[2].unlink()
    shutil.copy(files[3], root / "amoeba" / "new.png")
    got = {(w, where): how for w, where, how in found(applied)}
    assert set(got) == {(what, n) for n in (*names[:3], "amoeba/new.png")}
    assert got[what, names[0]] == "has other content"
    assert got[what, names[1]].startswith("has 5 bytes")
    assert got[what, names[2]] == "missing"
    quick = {where for _, where, _ in found(applied, quick=True)}
    assert quick == {*names[1:3], "amoeba/new.png"}


@pytest.fixture
def went_on(trained: Project, tmp_path: Path) -> Callable[[], Project]:
    """One image relabelled, one expunged; what the test does then comes between `apply` and `next`."""
    trained.flag(threshold=3)
    tree = trained.export().tree
    next(tree.glob("ciliate/*.png")).rename(tree / "_expunge" / "it.png")
    trained.collect(finished=["amoeba"])
    trained.apply(tmp_path / "fixed")

    def go_on() -> Project:
        trained.next_round()
        assert trained.dataset == tmp_path / "fixed"
        return trained

    return go_on


def test_after_next_the_corrected_dataset_is_the_projects_own(went_on, tmp_path: Path) -> None:
    done = went_on().verify()
    assert done.differences == []
    assert done.checked == {
        "exports": 1, "rounds": 1, "runs": 6, "images": 35, "corrected images": 0, "corrections": 2,
    }  # fmt: skip
    (tmp_path / "fixed" / "diatom" / "wrong_diatom.png").write_bytes(b"short")
    ((what, where, how),) = found(Project(tmp_path / "project"))
    assert (what, where) == ("dataset", "diatom/wrong_diatom.png")
    assert how.startswith("has 5 bytes")


RELABELLED, EXPUNGED = "diatom/wrong_diatom.png", "ciliate/wrong_amoeba.png"


@pytest.mark.parametrize(
    ("spoil", "where", "how"),
    [
        (lambda root: (root / RELABELLED).unlink(), RELABELLED, "was relabelled in round 1, and was missing"),
        (
            lambda root: shutil.copy(root / "diatom/0003.png", root / RELABELLED),
            RELABELLED, "was relabelled in round 1, and has other content",
        ),
        (
            lambda root: shutil.copy(root.parent / "data" / EXPUNGED, root / EXPUNGED),
            EXPUNGED, "was expunged in round 1, and is there",
        ),
    ],
)  # fmt: skip
def test_a_correction_that_was_lost_before_the_next_round_is_named(
    went_on, tmp_path: Path, spoil, where: str, how: str
) -> None:
    spoil(tmp_path / "fixed")
    ((got_what, got_where, got_how),) = found(went_on())
    assert (got_what, got_where) == ("corrected dataset", where)
    assert got_how.startswith(how)


def test_what_was_changed_by_hand_after_next_and_scanned_is_no_damage(went_on, tmp_path: Path) -> None:
    project = went_on()
    (tmp_path / "fixed" / RELABELLED).rename(tmp_path / "fixed" / "amoeba" / "back again.png")
    assert {what for what, _, _ in found(project)} == {"dataset"}
    project.scan()
    assert found(project) == set()


def test_a_dataset_that_is_away_is_no_crash(applied: Project, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "away")
    assert {what for what, _, _ in found(applied)} == {"dataset"}


def test_bytes_flipped_in_the_ledger_are_found(applied: Project) -> None:
    file = applied.path / "ledger.db"
    with Ledger(file) as ledger:
        page = ledger.value("SELECT rootpage FROM sqlite_master WHERE name = 'verdicts_image'")
        size = ledger.value("PRAGMA page_size")
    content = bytearray(file.read_bytes())
    for i in range((page - 1) * size + 8, page * size, 7):
        content[i] ^= 0xFF
    file.write_bytes(content)
    whats = {what for what, _, _ in found(applied)}
    assert whats == {"ledger"}


def test_rows_that_refer_to_nothing_are_found(applied: Project) -> None:
    with Ledger(applied.path / "ledger.db") as ledger:
        ledger.connection.execute("PRAGMA foreign_keys = OFF")
        ledger.connection.execute("INSERT INTO finished VALUES (99999, 'amoeba')")
    assert found(applied) >= {("ledger", "finished", "1 rows refer to missing rows of collections")}


@pytest.mark.parametrize(
    ("edit", "table", "how"),
    [
        ("INSERT INTO finished VALUES (1, 'no class')", "finished", "that there never was"),
        ("UPDATE verdicts SET image = (SELECT id FROM images WHERE path = 'diatom/0003.png') WHERE id = 1",
         "verdicts", "that their tree is not of"),
        ("UPDATE rounds SET closed = '2026'", "rounds", "no step says how"),
    ],
)  # fmt: skip
def test_rows_that_fit_nothing_are_found(applied: Project, edit: str, table: str, how: str) -> None:
    with Ledger(applied.path / "ledger.db") as ledger, ledger.write() as db:
        db.execute(edit)
    assert [(what, where, how in said) for what, where, said in found(applied)] == [("ledger", table, True)]


@pytest.mark.parametrize("how", ["gone", "garbage", "newer"])
def test_a_ledger_that_cannot_be_opened_is_a_difference(applied: Project, how: str) -> None:
    file = applied.path / "ledger.db"
    if how == "newer":
        with Ledger(file) as ledger:
            ledger.connection.execute(
                "INSERT INTO _sqlite_migrations SELECT NULL, migration_set, 'm999', applied_at"
                " FROM _sqlite_migrations LIMIT 1"
            )
    else:
        file.unlink()
        if how == "garbage":
            file.write_bytes(b"no ledger at all" * 1000)
    ((what, where, said),) = found(applied)
    assert (what, where) == ("ledger", "ledger.db")
    assert {"gone": "is missing", "garbage": "not a database", "newer": "newer dupekit"}[how] in said


def test_the_command_says_all_clear_or_what_differs(applied: Project) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dupekit", "verify", "-p", str(applied.path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    clear = run("--quick")
    assert clear.returncode == 0, clear.stderr
    assert "All is as it should be: the ledger, 2 exports, 1 round, 6 runs, 36 images" in clear.stdout
    (applied.path / ROUND / "runs/p03-b/result.json").unlink()
    bad = run()
    assert bad.returncode == 1
    assert f"round\t{ROUND}/runs/p03-b\tis done in the ledger" in bad.stdout
    told = run("--json")
    assert told.returncode == 1
    assert [d["where"] for d in json.loads(told.stdout)["differences"]] == [f"{ROUND}/runs/p03-b"]
