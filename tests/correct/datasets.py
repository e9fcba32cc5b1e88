"""Datasets for tests of their correction: files, and what is known of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from dupekit.correct.placements import Correction, Source, Sources
from dupekit.files.paths import real_path
from dupekit.files.write import digest_file


def source(dataset: Path, number: int, path: str, content: str = "", *, keep: bool = False) -> Source:
    """A source, whose file is written unless it is to be kept as it is."""
    file = real_path(dataset, path)
    if not keep:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content or path)
    stat = file.stat()
    return Source(number, path, path.partition("/")[0], stat.st_size, stat.st_mtime_ns, digest_file(file))


def correction(of: Source, new_label: str) -> Correction:
    decided = "2026-01-01T00:00:00+00:00"
    return Correction(of.image, of.path, of.label, new_label, 9, 1.5, decided, of.digest, of.path)


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def described(dataset: Path) -> list:
    """The sources of a dataset that is there."""
    return [
        source(dataset, i, f.relative_to(dataset).as_posix(), keep=True)
        for i, f in enumerate(sorted(dataset.rglob("*.png")), 1)
    ]


def by_class(sources: Iterable[Source]) -> Sources:
    found: dict[str, list[Source]] = defaultdict(list)
    for one in sorted(sources, key=lambda one: one.path):
        found[one.label].append(one)
    return found
