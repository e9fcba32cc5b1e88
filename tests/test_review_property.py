"""Any sequence of operations: a watcher changes nothing, collecting twice neither, and content decides."""

from __future__ import annotations

import shutil
import threading
import unicodedata
from collections import defaultdict
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupekit.files import digest_file, read_lines
from dupekit.manifest import MARKER, Manifest
from dupekit.watch import follow, tree_journal

FOLDERS = ["amoeba", "ciliate", "new", "_expunge", "_unsure", ".Trash-1000", "#recycle", "diatom/deeper"]
ONE = [
    "delete",
    *["move"] * 4,
    "rename",
    "case",
    "nfd",
    "copy",
    "put back",
    "drop folder",
    "move folder",
    "clutter",
]
step = st.tuples(st.sampled_from(ONE), st.integers(0, 30), st.sampled_from(FOLDERS))


def operate(tree: Path, steps: list[tuple[str, int, str]]) -> None:
    """Does each step to the n-th file there; a step that cannot be done is none."""
    away: list[tuple[Path, Path]] = []
    for number, (what, n, folder) in enumerate(steps):
        files = sorted(p for p in tree.rglob("*") if p.is_file() and MARKER not in p.parts)
        if what == "put back" and away:
            kept, place = away.pop()
            place.parent.mkdir(parents=True, exist_ok=True)
            kept.replace(place)
        elif files:
            change(tree, files[n % len(files)], what, folder, number, away)


def change(
    tree: Path, file: Path, what: str, folder: str, number: int, away: list[tuple[Path, Path]]
) -> None:
    target = tree / folder / file.name
    top = tree / file.relative_to(tree).parts[0]
    names = {
        "rename": f"é {number}{file.suffix}",
        "case": file.name.swapcase(),
        "nfd": unicodedata.normalize("NFD", file.name),
    }
    if what == "delete":
        kept = tree.parent / f"away {number}"
        file.replace(kept)
        away.append((kept, file))
    elif what in ("move", "copy", "clutter"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if what == "clutter":
            (target.parent / "Thumbs.db").write_bytes(file.read_bytes())
        elif target != file:
            (shutil.copy2 if what == "copy" else shutil.move)(file, target)
    elif what in names:
        file.replace(file.with_name(names[what]))
    elif what == "drop folder" and top.is_dir():
        shutil.rmtree(top)
    elif what == "move folder" and top.is_dir() and not (tree / "moved").exists():
        top.rename(tree / "moved")


def by_content(tree: Path, manifest: Manifest) -> dict[str, tuple[str, str]]:
    """What must be read, by content alone, of the files for which it is beyond doubt."""
    places: dict[str, list[Path]] = defaultdict(list)
    for path in tree.rglob("*"):
        inside = path.relative_to(tree)
        if path.is_file() and not {MARKER, ".Trash-1000", "#recycle", "Thumbs.db"} & set(inside.parts):
            places[digest_file(path)].append(inside)
    taken = {unicodedata.normalize("NFC", str(p)).casefold() for those in places.values() for p in those}
    expected = {}
    for file in manifest.files:
        there = places[file.digest]
        own = unicodedata.normalize("NFC", file.path).casefold()
        if len(there) > 1 or (own in taken and [str(p) for p in there] != [file.path]):
            continue  # copies, or something else at its path
        if not there:
            expected[file.path] = ("correct", file.given)
            continue
        top = there[0].parts[0] if len(there[0].parts) > 1 else "_unsure"
        expected[file.path] = {
            "_expunge": ("expunge", file.given),
            "_unsure": ("unsure", file.given),
            file.path.split("/")[0]: ("relabel", file.suggested),
        }.get(top, ("relabel", top))
    return expected


def watched(tree: Path, manifest: Manifest, steps: list[tuple[str, int, str]]) -> dict[str, tuple[str, str]]:
    """The verdicts of a watcher that ran while the steps were done."""
    stop = threading.Event()
    snapshots = follow(tree, manifest, tree_journal(tree), stop=stop, poll_s=0.5)
    next(snapshots)
    operate(tree, steps[: len(steps) // 2])
    if steps:
        next(snapshots, None) if len(steps) > 1 and tree_differs(tree, manifest) else None
    operate(tree, steps[len(steps) // 2 :])
    stop.set()
    (*_, last) = snapshots
    assert last.review is not None
    remaining = sorted((v.now_at for v in last.review.verdicts if v.now_at), key=str.encode)
    assert read_lines(tree / MARKER / "after.txt") == remaining
    return {v.file.path: (v.verdict, v.label) for v in last.review.verdicts}


def tree_differs(tree: Path, manifest: Manifest) -> bool:
    return any(not (tree / file.path).exists() for file in manifest.files)


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=10))
def test_a_watcher_and_a_second_collect_change_nothing(trained, tmp_path_factory, steps) -> None:
    folder = tmp_path_factory.mktemp("steps")
    trained.flag(threshold=1)
    if not (trained.path / "fresh").exists():
        trained.export(trained.path / "fresh")
    export, fresh = trained.tree()
    manifest = trained.manifest_of(export)
    alone = Path(shutil.copytree(fresh, folder / "alone" / "tree"))
    followed = Path(shutil.copytree(fresh, folder / "followed" / "tree"))
    # In the same halves: what lies outside the tree is forgotten in between.
    operate(alone, steps[: len(steps) // 2])
    operate(alone, steps[len(steps) // 2 :])
    collected = trained.collect(alone, confirm=lambda asked: True)
    found = {v.file.path: (v.verdict, v.label) for v in collected.review.verdicts}
    assert trained.collect(alone).changed == []  # nor is anything asked again
    assert watched(followed, manifest, steps) == found
    expected = by_content(alone, manifest)
    assert {path: found[path] for path in expected} == expected
