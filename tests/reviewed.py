"""A project with an exported review tree, without a training: what tests of the review begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from dupekit.ledger import Ledger, exports, images, rounds
from dupekit.project import Project
from dupekit.review.manifest import Manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from dupekit.workflow.exports import keep


def exported_project(folder: Path, suggested: Mapping[str, str]) -> Project:
    """A project in `folder`/project whose tree `folder`/tree holds the images `suggested` names, by their paths."""
    dataset = folder / "data"
    for number, path in enumerate(suggested):
        file = dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (4, 4), number % 256)
        image.putpixel((0, 0), number // 256)
        image.save(file)
    for label in set(suggested.values()):
        (dataset / label).mkdir(exist_ok=True)
    project = Project.create(dataset, folder / "project")
    project.scan()
    with Ledger(project.path / "ledger.db") as ledger:
        rounds.begin(ledger, number=1, dataset=str(dataset), pairs=1, images=len(suggested), plan="{}")
    export_again(project, suggested, folder / "tree")
    return project


def export_again(
    project: Project,
    suggested: Mapping[str, str],
    tree: Path,
    *,
    purpose: exports.Purpose = exports.Purpose.REVIEW,
) -> Manifest:
    """Another tree of the same images, as `export` makes it."""
    with Ledger(project.path / "ledger.db") as ledger:
        found = {source.path: source for source in images.present(ledger)}
        classes = images.class_names(ledger)
        dupes = [
            Suspect(found[path].image, path, found[path].digest, path.split("/")[0], label, 1, 1.0, 0.1, 0.9)
            for path, label in suggested.items()
        ]
        manifest = plan_tree(dupes, classes, round_number=1, pairs=1, created="")
        manifest = write_tree(manifest, project.dataset, tree)
        files = {file.path: exports.FileRecord(found[file.original].image) for file in manifest.files}
        exports.record(
            ledger, round_number=1, key=manifest.export, tree=str(tree), files=files, purpose=purpose
        )
    keep(project.folder_of(project.tree(tree)[0]), manifest)
    return manifest
