"""A project of the version before, with its trees: its first command brings it up to date, and all goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from dupekit import Choices
from dupekit.errors import NothingToDo, UsageError
from dupekit.ledger.migrations import migrations
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from tests.support import Killed, Killer, call_back, moved_project, tree_state

ARCHIVE = Path(__file__).parents[1] / "data" / "project-c006f6f.tar.xz"
FIRST, SECOND = "74c05d95", "c87523df"
OWN = {
    "at": "2026-11-25T10:00:00+00:00",
    "kind": "deleted",
    "path": "diatom/ciliate_02_wrong_1_ciliate.png",
    "target": "",
}
CARRIED = {"at": "2026-11-25T11:00:00+00:00", "kind": "moved", "path": "amoeba/diatom_02_wrong_2_diatom.png",
           "target": "_unsure/x", "source": "tree"}  # fmt: skip
LATER = {
    "at": "2026-11-25T12:00:00+00:00",
    "kind": "deleted",
    "path": "amoeba/diatom_02_wrong_2_diatom.png",
    "target": "",
}


@pytest.fixture
def old(tmp_path: Path) -> Project:
    """As its owner would find it, had it been made at tmp_path. Nothing has opened its ledger yet."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 and later
        archive.extractall(tmp_path / "lab")
    for name in ("data", "first"):
        (tmp_path / "lab" / name).rename(tmp_path / name)
    return moved_project(tmp_path / "lab" / "project", tmp_path / "project", (Path("/lab"), tmp_path))


def events(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def files(project: Project) -> dict[str, bytes]:
    """What lies in the round's folder, but for runs and trees."""
    found = tree_state(project.path / "rounds/01")
    return {
        path: content for path, (content, _) in found.items() if path.split("/")[0] not in ("runs", "dupes")
    }


def test_its_files_come_to_their_places(old: Project) -> None:
    before = files(old)
    (refused,) = old.verify().differences
    assert "written by an older dupekit" in refused.how
    assert files(old) == before
    old.status()
    after = files(old)
    place = "exports"
    assert [json.loads(line) for line in after.pop(f"{place}/{FIRST}/events.jsonl").splitlines()] == [
        OWN,
        CARRIED,
    ]
    assert [json.loads(line) for line in after.pop(f"{place}/{SECOND}/events.jsonl").splitlines()] == [LATER]
    renamed = {
        f"manifest.{FIRST}.json": f"{place}/{FIRST}/manifest.json",
        f"before.{FIRST}.txt": f"{place}/{FIRST}/before.txt",
        f"after.{FIRST}.txt": f"{place}/{FIRST}/after.txt",
        "manifest.json": f"{place}/{SECOND}/manifest.json",
        "before.txt": f"{place}/{SECOND}/before.txt",
    }
    assert after == {renamed.get(path, path): content for path, content in before.items()}


def test_all_goes_on(old: Project, fast: dict[str, str], tmp_path: Path) -> None:
    stands = old.status()
    assert [export.key[:8] for export in stands.exports] == [FIRST, SECOND]
    assert (stands.pairs_done, stands.rule.name, stands.suspects) == (2, RuleName.VOTES, 4)
    assert stands.verdicts == {"correct": 1, "relabel": 3, "unsure": 1}
    assert (stands.applications, len(stands.unapplied)) == ([], 0)
    assert [step.undone is None for step in old.history()] == [True, False]  # the apply was taken back
    assert [entry.path for entry in old.ignores()] == ["diatom/wrong_1_ciliate.png"]
    scanned = old.scan()  # an archive does not keep the times to the nanosecond
    assert (scanned.images, scanned.changed, scanned.gone) == (24, 0, 0)
    assert old.verify().differences == []

    second = old.collect(who="Grace")  # nobody has collected it before, so what was left in it is open
    assert {v.file.path: v.verdict for v in second.review.verdicts} == {
        "amoeba/diatom_02_wrong_2_diatom.png": "correct",
        "ciliate/amoeba_02_wrong_0_amoeba.png": "open",
        "ciliate/amoeba_02_wrong_3_amoeba.png": "open",
        "diatom/ciliate_02_wrong_4_ciliate.png": "open",
    }
    assert (second.events, not [r for r in second.remarks if "restored" in r]) == (0, True)
    first = old.collect(tmp_path / "first")  # collected under the old rule: what was left in it stays wrong
    assert (first.changed, first.events) == ([], 0)
    assert Counter(v.verdict for v in first.review.verdicts) == {"correct": 1, "relabel": 3, "unsure": 1}
    assert [v.file.path for v in first.overruled] == ["amoeba/diatom_02_wrong_2_diatom.png"]
    assert events(old.folder_of(old.tree(tmp_path / "first")[0])) == [OWN, CARRIED]
    assert len(old.ignores()) == 2
    assert [(step.what, step.who) for step in old.history()][-1] == ("collect", "Grace")

    assert old.undo().who == "Grace"
    assert old.status().verdicts == stands.verdicts
    applied = old.apply(tmp_path / "corrected")
    assert sorted((c.path, c.new_label) for c in applied.corrections) == [
        ("ciliate/wrong_0_amoeba.png", "amoeba"),
        ("ciliate/wrong_3_amoeba.png", "amoeba"),
        ("diatom/wrong_4_ciliate.png", "ciliate"),
    ]
    trained = old.train(Choices(pairs=3, **fast))
    assert (trained.begun, trained.failed, trained.todo) == (False, [], ["p03-a", "p03-b"])
    assert old.status().pairs_done == 3
    job = json.loads((old.path / "rounds/01/runs/p03-a/job.json").read_text())
    assert job["images"] == "../../images.json"  # which is as good as ever
    assert [(Path(one.place).name, one.open) for one in old.status().out] == [("first", 0), ("dupes", 0)]
    old.flag(threshold=1)
    assert (old.status().round.rule, old.verify().differences) == (RuleName.VOTES, [])
    with pytest.raises(UsageError, match="dupes holds 1 verdict that is not collected"):
        old.next_round()
    call_back(old)
    with pytest.raises(NothingToDo, match="5 decided"):  # as they were
        old.export(tmp_path / "third")
    assert old.verify().differences == []
    assert old.next_round(drop=True).images == 24
    assert old.dataset == tmp_path / "corrected"
    assert not old.train(Choices(pairs=1, **fast)).failed
    assert old.status().round.number == 2


def test_a_watcher_adds_to_the_log(old: Project) -> None:
    command = [sys.executable, "-m", "dupekit", "watch", "-p", str(old.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        assert "1 of 4 reviewed" in watcher.stdout.readline()
        (old.path / "rounds/01/dupes/diatom/ciliate_02_wrong_4_ciliate.png").unlink()
        assert "2 of 4 reviewed" in watcher.stdout.readline()
        watcher.terminate()
        assert "after.txt is current" in watcher.stdout.readline()
    folder = old.folder_of(old.tree()[0])
    assert folder.name == SECOND
    logged, *new = events(folder)
    assert logged == LATER
    assert ("deleted", "diatom/ciliate_02_wrong_4_ciliate.png") in [(row["kind"], row["path"]) for row in new]
    assert not [row for row in new if "source" in row]
    assert len((folder / "after.txt").read_text().splitlines()) == 2


def test_wherever_it_is_cut_off_the_next_command_does_the_rest(
    old: Project, tmp_path: Path, monkeypatch
) -> None:
    """Before each rename, and before the ledger is migrated: those are all steps that can be seen from outside."""
    shutil.copytree(old.path, tmp_path / "kept")
    old.status()
    wanted = files(old)
    for step in range(1, 30):
        shutil.rmtree(old.path)
        shutil.copytree(tmp_path / "kept", old.path)
        killer = Killer(step)
        finished = False
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", killer.before(Path.rename))
            patched.setattr(Path, "replace", killer.before(Path.replace))
            patched.setattr(migrations, "apply", killer.before(migrations.apply))
            try:
                old.status()
                finished = True
            except Killed:
                pass
        assert old.status().verdicts == {"correct": 1, "relabel": 3, "unsure": 1}
        assert files(old) == wanted
        if finished:
            break
    assert finished
    assert step == 9  # five files moved, two logs written, one migration


HALFWAY: dict[str, list[tuple[str, str]]] = {
    "the second is recorded, nothing is renamed": [
        ("manifest.json", f"manifest.{SECOND}.json"), ("before.txt", f"before.{SECOND}.txt"),
        (f"manifest.{FIRST}.json", "manifest.json"), (f"before.{FIRST}.txt", "before.txt"),
        (f"after.{FIRST}.txt", "after.txt"),
    ],
    "the first has its names, but the manifest": [
        ("manifest.json", f"manifest.{SECOND}.json"), ("before.txt", f"before.{SECOND}.txt"),
        (f"manifest.{FIRST}.json", "manifest.json"),
    ],
    "the second has its names, but the manifest": [("manifest.json", f"manifest.{SECOND}.json")],
}  # fmt: skip


@pytest.mark.parametrize("state", HALFWAY)
def test_names_that_an_old_dupekit_was_changing_when_it_was_killed(
    old: Project, tmp_path: Path, state: str
) -> None:
    shutil.copytree(old.path, tmp_path / "other")
    for source, target in HALFWAY[state]:
        (old.path / "rounds/01" / source).rename(old.path / "rounds/01" / target)
    other = Project(tmp_path / "other")
    other.status()
    old.status()
    assert files(old) == files(other)
    assert old.verify(quick=True).differences == other.verify(quick=True).differences
