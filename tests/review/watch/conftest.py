from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dupekit.files.write import digest_file
from dupekit.review.manifest import MARKER
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from tests.review.watch.following import Watching


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of sixty files in three classes."""
    dupes = []
    for i in range(60):
        file = tmp_path / "data" / f"c{i % 3}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content {i}")
        dupes.append(
            Suspect(i, f"c{i % 3}/{i}.png", digest_file(file), f"c{i % 3}", "other", 9, 1.0, 0.1, 0.9)
        )
    manifest = plan_tree(dupes, ["c0", "c1", "c2", "other"], round_number=1, pairs=10, created="")
    write_tree(manifest, tmp_path / "data", tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def watch(tree: Path) -> Iterator[Callable[..., Watching]]:
    """Starts watchers of `tree`, and stops them at the end."""
    started: list[Watching] = []

    def start(kept_in: Path | None = None, at: Path = tree, **options: float) -> Watching:
        started.append(Watching(at, kept_in or at / MARKER, **options))
        return started[-1]

    yield start
    for watching in started:
        watching.stop.set()
        watching.thread.join(30)
