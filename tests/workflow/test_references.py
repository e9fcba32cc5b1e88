"""Typical images and look-alikes of a round, on real image files, with features as a trainer leaves them in the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit import Choices
from dupekit.dataset.cache import Cache
from dupekit.ledger import images, predictions, rounds
from dupekit.project import Project
from dupekit.rounds.confusion import confusion
from dupekit.settings import read_settings
from dupekit.workflow.references import References, references
from dupekit.workflow.session import reading
from tests.support import CLASSES


def found_in(project: Project, **options: int) -> References:
    with reading(project.path, read_settings(project.path / "dupekit.toml")) as session:
        return references(session, 1, **options)


def numbers(project: Project) -> dict[str, int]:
    with reading(project.path, project.settings) as session:
        return {source.path: source.image for source in images.present(session.ledger)}


def thumbnails(project: Project, *, of: slice = slice(None), name: str = "features-test") -> None:
    """Fills in features as a trainer does: each image shrunk to 8 x 8."""
    with reading(project.path, project.settings) as session:
        pool = session.folder(1).of_round.as_images()[of]

    def compute(missing: object) -> Iterator[np.ndarray]:
        for one in missing:  # type: ignore[attr-defined]
            small = PillowImage.open(one.file).convert("L").resize((8, 8))
            yield np.asarray(small, np.float16).reshape(1, 64)

    Cache(project.path / "cache").array(name, (64,), np.float16).fill(pool, compute, stage="features")


def test_typical_images_are_what_the_models_are_surest_of_and_no_suspects(trained: Project) -> None:
    found = found_in(trained)
    suspects = {one.path for one in trained.flag().suspects}
    assert suspects
    for label in CLASSES:
        typical = found.typical(label, 50)
        paths = [one.path for one in typical]
        assert paths
        assert not suspects & set(paths)
        assert all(path.startswith(f"{label}/") for path in paths)
        sure = [one.probability_given for one in typical]
        assert sure == sorted(sure, reverse=True)
        assert found.typical(label, 3) == typical[:3]
        assert not any(one.confirmed for one in typical)
    assert found.typical("nowhere", 3) == []


def test_what_was_decided_changes_what_is_typical(trained: Project) -> None:
    before = found_in(trained).typical("amoeba", 50)
    confirmed, other = before[-1], before[0]
    tree = trained.export().tree
    named = {file.original: file.path for file in trained.manifest_of(trained.tree(tree).export).files}
    relabelled = next(path for path in named if path.startswith("amoeba/wrong"))
    (tree / "_done").mkdir(exist_ok=True)
    (tree / named[relabelled]).rename(tree / "_done" / Path(named[relabelled]).name)
    (tree / "_done" / Path(named[relabelled]).name).rename(tree / "ciliate" / "moved.png")
    trained.collect(tree)
    trained.ignore([confirmed.path])
    found = found_in(trained)
    assert [one.path for one in found.typical("amoeba", 1)] == [confirmed.path]
    assert found.typical("amoeba", 1)[0].confirmed
    assert other.path in [one.path for one in found.typical("amoeba", 50)]
    assert relabelled not in [one.path for one in found.typical("amoeba", 50)]
    thumbnails(trained)
    known = numbers(trained)
    found = found_in(trained)
    alike = {one.path: one for one in found.alike(known[confirmed.path], 100)}
    assert alike[relabelled].label == "ciliate"  # as somebody said, and not the folder
    assert alike[relabelled].confirmed


def test_without_features_the_most_typical_stand_beside_and_nothing_is_alike(trained: Project) -> None:
    shutil.rmtree(trained.path / "cache", ignore_errors=True)
    found = found_in(trained)
    image = numbers(trained)["ciliate/wrong_amoeba.png"]
    assert found.beside(image, "amoeba", 4) == found.typical("amoeba", 4)
    assert (
        found.beside(image, "amoeba", 1)[0] is found.typical("amoeba", 1)[0]
    )  # one, beside however many images
    assert found.alike(image, 4) == []
    own = found.typical("amoeba", 3)
    assert found.beside(own[0].image, "amoeba", 2) == own[1:3]  # never itself


def test_with_features_the_nearest_of_the_most_typical_stand_beside(trained: Project) -> None:
    thumbnails(trained)
    found = found_in(trained, candidates=5)
    image = numbers(trained)["ciliate/wrong_amoeba.png"]
    beside = found.beside(image, "amoeba", 3)
    assert {one.path for one in beside} <= {one.path for one in found.typical("amoeba", 5)}
    similarity = [one.similarity for one in beside]
    assert None not in similarity
    assert similarity == sorted(similarity, reverse=True)  # type: ignore[type-var]
    assert found.alike(image, 5)[0].path.split("/")[0] in ("amoeba", "ciliate")
    assert image not in [one.image for one in found.alike(image, 100)]
    many = found.all_alike([image, beside[0].image], 5)
    assert [one.image for one in many[image]] == [one.image for one in found.alike(image, 5)]
    among = [one.image for one in found.typical("diatom", 4)]
    only = found.all_alike([image], 9, among=among)[image]
    assert sorted(one.image for one in only) == sorted(among)


def test_look_alikes_are_images_of_the_same_kind(trained: Project) -> None:
    thumbnails(trained)
    known = numbers(trained)
    found = found_in(trained)
    alike = found.all_alike([*known.values()], 3)
    kind = {
        number: "amoeba"
        if "wrong_amoeba" in path
        else "diatom"
        if "wrong_diatom" in path
        else path.split("/")[0]
        for path, number in known.items()
    }
    right = [kind[one.image] == kind[image] for image, near in alike.items() for one in near]
    assert len(right) == 3 * len(known)
    assert np.mean(right) > 0.9


def test_features_of_some_images_serve_these(trained: Project) -> None:
    thumbnails(trained, of=slice(0, 20))
    found = found_in(trained)
    known = sorted(numbers(trained).values())
    assert {one.image for one in found.alike(known[0], 100)} == set(known[1:20])
    assert found.alike(known[30], 5) == []
    label = found.standings.given[30]
    assert [one.similarity for one in found.beside(known[30], label, 2)] == [None, None]


def test_of_several_arrays_the_fullest_and_none_that_is_damaged(trained: Project) -> None:
    thumbnails(trained, of=slice(0, 10), name="features-few")
    thumbnails(trained, name="features-all")
    thumbnails(trained, of=slice(0, 10), name="features-later")
    known = sorted(numbers(trained).values())
    assert len(found_in(trained).alike(known[0], 100)) == len(known) - 1
    (trained.path / "cache" / "features-all" / "array.json").write_text("{")
    assert len(found_in(trained).alike(known[0], 100)) == 9
    (trained.path / "cache" / "features-few" / "rows.bin").write_bytes(b"")
    (trained.path / "cache" / "features-later" / "rows.bin").write_bytes(bytes(128 * 5))
    assert len(found_in(trained).alike(known[0], 100)) == 4


@pytest.fixture
def copied(template: Path, dataset: Path, fast: dict[str, str], tmp_path: Path) -> Project:
    """The dataset with a byte-identical copy in the same and one in another class."""
    first = sorted((dataset / "amoeba").iterdir())[0]
    shutil.copy(first, dataset / "amoeba" / "zz_copy.png")
    second = sorted((dataset / "diatom").iterdir())[0]
    shutil.copy(second, dataset / "ciliate" / "zz_twin.png")
    project = Project.create(dataset, tmp_path / "copied")
    project.scan()
    project.train(Choices(pairs=2, **fast))
    return project


def test_of_identical_images_one_is_shown_and_none_where_labels_differ(copied: Project) -> None:
    thumbnails(copied)
    found = found_in(copied)
    for label in CLASSES:
        typical = found.typical(label, 100)
        assert len({one.digest for one in typical}) == len(typical)
    shown = [one.path for label in CLASSES for one in found.typical(label, 100)]
    assert "ciliate/zz_twin.png" not in shown
    known = numbers(copied)
    twin = known["ciliate/zz_twin.png"]
    alike = found.alike(twin, 100)
    itself = next(
        d for i, d in zip(found.standings.images, found.standings.digests, strict=True) if i == twin
    )
    assert itself not in [one.digest for one in alike]
    assert len({one.digest for one in alike}) == len(alike)


def test_files_that_changed_are_not_shown(trained: Project) -> None:
    thumbnails(trained)
    gone, changed = found_in(trained).typical("diatom", 2)
    (trained.dataset / gone.path).unlink()
    PillowImage.new("L", (9, 9), 3).save(trained.dataset / changed.path)
    trained.scan()
    found = found_in(trained)
    shown = {one.path for label in CLASSES for one in found.typical(label, 100)}
    shown |= {one.path for one in found.alike(numbers(trained)["ciliate/wrong_amoeba.png"], 100)}
    assert not {gone.path, changed.path} & shown


def test_before_the_first_pair_there_is_nothing(project: Project) -> None:
    with reading(project.path, project.settings) as session:
        rounds.begin(session.ledger, number=1, dataset="x", pairs=1, images=36, plan="{}")
        found = references(session, 1)
    assert found.typical("amoeba", 3) == []
    assert found.beside(1, "amoeba", 3) == []
    assert found.alike(1, 3) == []


def test_confusion_counts_every_prediction(trained: Project) -> None:
    with reading(trained.path, trained.settings) as session:
        found = confusion(images.class_names(session.ledger), predictions.confused(session.ledger, 1))
    expected = np.zeros((3, 3), int)
    for one in trained.predictions():
        expected[CLASSES.index(one.path.split("/")[0]), CLASSES.index(one.label)] += 1
    assert found.counts.tolist() == expected.tolist()
    assert expected.sum() == 36 * 3


def test_the_features_that_the_round_was_trained_on_are_taken(trained: Project) -> None:
    """Also where another array has as many images, and was filled later; not where they are gone."""
    thumbnails(trained, name="features-own")
    image = numbers(trained)["ciliate/wrong_amoeba.png"]
    right = found_in(trained).alike(image, 5)
    with reading(trained.path, trained.settings) as session:
        pool, runs = session.folder(1).of_round.as_images(), session.folder(1).path / "runs"
    noise = np.random.default_rng(0).normal(size=(len(pool), 64)).astype(np.float16)
    array = Cache(trained.path / "cache").array("features-later", (64,), np.float16)
    array.fill(pool, lambda missing: [noise[: len(missing)]], stage="features")
    assert found_in(trained).alike(image, 5) != right
    for file in runs.glob("*/result.json"):
        file.write_text(json.dumps({**json.loads(file.read_bytes()), "features": "features-own"}))
    assert found_in(trained).alike(image, 5) == right
    shutil.rmtree(trained.path / "cache" / "features-own")
    assert len(found_in(trained).alike(image, 5)) == 5
