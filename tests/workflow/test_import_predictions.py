"""Predictions that were made elsewhere become a round like any other, or nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dupekit import Choices
from dupekit.errors import DatasetChanged, LockedError, UsageError
from dupekit.ledger import Ledger
from dupekit.project import Project
from dupekit.testing import make_dataset
from dupekit.workflow import import_predictions as module
from tests.exchange.files import bin_h5, long, npz, run_h5, run_json, train_mat, wide
from tests.support import dupekit

CLASSES = ("amoeba", "ciliate", "diatom")


def paths_of(dataset: Path) -> list[str]:
    return sorted(file.relative_to(dataset).as_posix() for file in dataset.rglob("*.png"))


def opinions(paths: Sequence[str], classes: Sequence[str] = CLASSES, *, seed: int = 0) -> NDArray[np.float32]:
    """Probabilities that agree with the names: of `wrong_X.png` with X, of others mostly with their folders."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.ones(len(classes)), len(paths)) * 0.3
    for row, path in enumerate(paths):
        label, name = path.split("/")[0], path.rpartition("/")[2]
        meant = name.removeprefix("wrong_").removesuffix(".png") if name.startswith("wrong_") else label
        values[row, list(classes).index(meant)] += 0.7
    return values.astype(np.float32)


@pytest.fixture
def paths(dataset: Path) -> list[str]:
    return paths_of(dataset)


def nothing_recorded(project: Project) -> bool:
    return project.status().round is None and not (project.path / "rounds").exists()


def test_the_whole_loop_on_predictions_of_others(project: Project, paths: list[str], tmp_path: Path) -> None:
    values = opinions(paths)
    done = project.import_predictions([npz(tmp_path / "p.npz", paths, CLASSES, values)])
    assert (done.round, done.images, done.classes, done.pairs, done.missing) == (1, 36, 3, 1, 0)
    assert done.agreement == pytest.approx(34 / 36)
    assert done.files[0].taken == 36
    suspects = project.flag().suspects
    assert [one.path for one in suspects] == ["ciliate/wrong_amoeba.png", "amoeba/wrong_diatom.png"] or {
        one.path for one in suspects
    } == {"ciliate/wrong_amoeba.png", "amoeba/wrong_diatom.png"}
    for one in suspects:
        row = values[paths.index(one.path)]
        assert one.probability_given == pytest.approx(row[CLASSES.index(one.given)], abs=1e-7)
        assert one.suggested == CLASSES[int(row.argmax())]
    assert project.explain("ciliate/wrong_amoeba.png").predictions[0].predicted == "amoeba"
    assert project.status().next.command == "dupekit export"
    assert project.verify().differences == []
    assert project.agreement().classes
    project.report()
    tree = project.export(tmp_path / "tree").tree
    shutil.move(tree / "amoeba", tree / "_done" / "amoeba")
    project.collect(tree)
    corrected = project.apply(tmp_path / "corrected")
    assert (tmp_path / "corrected" / "diatom" / "wrong_diatom.png").exists(), corrected
    with pytest.raises(
        UsageError, match="The predictions of round 1 were imported: there is nothing to train"
    ):
        project.train(Choices(pairs=2))
    project.collect(tree, finished=["ciliate"])
    project.apply(tmp_path / "corrected2")
    project.next_round()
    again = paths_of(tmp_path / "corrected2")
    assert project.import_predictions([npz(tmp_path / "q.npz", again, CLASSES, opinions(again))]).round == 2
    assert project.verify().differences == []


def test_evaluate_trains_as_the_settings_say(
    project: Project, paths: list[str], tmp_path: Path, fast: dict[str, str]
) -> None:
    toml = project.path / "dupekit.toml"
    toml.write_text(f"{toml.read_text()}\ntrainer = 'fake'\nvalidator = 'fake'\n")
    project = Project(project.path)
    project.import_predictions([npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))])
    project.export(tmp_path / "tree")
    project.collect(finished=["amoeba", "ciliate"])
    project.apply(tmp_path / "fixed")
    assert project.evaluate().seeds == 5
    page = project.report().file.read_text()
    assert "p.npz" in page


def test_a_round_of_ones_own_after_an_imported_one(
    project: Project, paths: list[str], tmp_path: Path, fast: dict[str, str]
) -> None:
    project.import_predictions([npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))])
    project.next_round()
    assert project.train(Choices(pairs=2, **fast)).round == 2
    with pytest.raises(
        UsageError, match="Round 2 is open, and imported predictions are a round of their own"
    ):
        project.import_predictions([tmp_path / "p.npz"])
    assert project.status().pairs_done == 2


@pytest.mark.parametrize(
    ("name", "write"),
    [("p.csv", wide), ("p.csv", long), ("p.npz", npz), ("p.json", run_json), ("p.mat", train_mat), ("p.h5", run_h5)],
)  # fmt: skip
def test_every_format_and_another_order_of_images_and_classes(
    name: str, write: Callable[..., Path], project: Project, paths: list[str], tmp_path: Path
) -> None:
    values = opinions(paths)
    order, columns = np.random.default_rng(1).permutation(len(paths)), [2, 0, 1]
    shuffled = values[order][:, columns]
    file = write(tmp_path / name, [paths[at] for at in order], [CLASSES[at] for at in columns], shuffled)
    done = project.import_predictions([file])
    assert done.files[0].taken == 36
    counted = project.scores()
    exact = 1e-6 if name != "p.h5" else 2e-3  # which is written in half precision
    for path, given, score in zip(counted.paths, counted.given, counted.scores, strict=True):
        row = values[paths.index(path)].astype(np.float64)
        at = CLASSES.index(given)
        wanted = np.log(np.delete(row, at).max() + 1e-4) - np.log(row[at] + 1e-4)
        assert score == pytest.approx(wanted, abs=exact)


def test_folds_are_one_prediction_an_image_and_pairs_as_many_as_there_are(
    project: Project, paths: list[str], tmp_path: Path
) -> None:
    folds = [wide(tmp_path / f"fold{k}.csv", paths[k::5], CLASSES, opinions(paths[k::5])) for k in range(5)]
    assert project.import_predictions(folds).pairs == 1
    project.next_round()
    halves = []
    for pair in range(3):
        order = np.random.default_rng(pair).permutation(len(paths))
        for half, rows in enumerate(np.array_split(order, 2)):
            chosen = [paths[row] for row in rows]
            file = tmp_path / f"p{pair}-{half}.npz"
            halves.append(npz(file, chosen, CLASSES, opinions(chosen, seed=10 * pair + half)))
    done = project.import_predictions(halves)
    assert (done.pairs, [one.taken for one in done.files]) == (3, [18] * 6)
    flagged = project.flag(threshold=3)
    assert {(one.path, one.votes) for one in flagged.suspects} == {
        ("ciliate/wrong_amoeba.png", 3),
        ("amoeba/wrong_diatom.png", 3),
    }
    assert len(project.explain("amoeba/wrong_diatom.png").predictions) == 3
    assert project.verify().differences == []


def test_an_image_may_be_in_any_number_of_files(project: Project, paths: list[str], tmp_path: Path) -> None:
    first = npz(tmp_path / "1.npz", paths, CLASSES, opinions(paths, seed=1))
    second = npz(tmp_path / "2.npz", paths[:10], CLASSES, opinions(paths[:10], seed=2))
    assert project.import_predictions([first, second]).pairs == 2
    with Ledger(project.path / "ledger.db", read_only=True) as ledger:
        counts = dict(
            ledger.rows("SELECT path, predictions FROM tallies JOIN images ON images.id = image").fetchall()
        )
    assert counts == {path: 2 if path in paths[:10] else 1 for path in paths}
    assert project.verify().differences == []


def test_bins_and_full_paths_of_another_machine(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", classes=("a", "b"), per_class=3)
    bin_id = "D20140117T003426_IFCB014"
    for number, file in enumerate(sorted(data.rglob("*.png")), 1):
        file.rename(file.with_name(f"{bin_id}_{number:05d}.png"))
    project = Project.create(data, tmp_path / "project")
    project.scan()
    values = np.tile(np.array([[0.75, 0.25]], np.float32), (6, 1))
    project.import_predictions([bin_h5(tmp_path / "x.h5", range(1, 7), ("a", "b"), values, bin_id)])
    assert [one.given for one in project.flag().suspects] == ["b"] * 3


def test_an_array_with_its_lists(project: Project, paths: list[str], tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", opinions(paths))
    (tmp_path / "paths.txt").write_text("".join(f"{project.dataset}/{path}\n" for path in paths))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    lists = ["--paths", str(tmp_path / "paths.txt"), "--classes", str(tmp_path / "classes.txt")]
    done = dupekit("import-predictions", str(tmp_path / "p.npy"), *lists, "-p", str(project.path))
    assert "36 of 36" in done.stdout
    assert "1 prediction an image; they agree with 94.4 % of the given labels" in done.stdout
    assert "round\t1: imported, 1 prediction an image\n" in dupekit("status", "-p", str(project.path)).stdout


REFUSED = [
    (lambda p: ([*p, "amoeba/other.png"], CLASSES), "names 1 of 37 images that the last scan did not find, or could not read, such as amoeba/other.png"),
    (lambda p: (p[:-2], CLASSES), "2 of the dataset's 36 images are in no file, such as diatom/"),
    (lambda p: ([*p, f"x/{p[0]}"], CLASSES), "twice, as amoeba/0001.png and x/amoeba/0001.png"),
    (lambda p: ([*p[1:], "0003.png"], CLASSES), "names 1 image so that several could be meant, such as 0003.png: amoeba/0003.png, ciliate/0003.png"),
    (lambda p: (p, ("amoeba", "ciliate", "diatoms")), "names a class that the dataset does not have: diatoms"),
    (lambda p: (p, ("amoeba", "ciliate", "x", "y", "z", "w")), "names 4 classes that the dataset does not have: x, y, z and 1 more"),
    (lambda p: (p, ("amoeba", "ciliate")), "has no column for the class diatom, and 11 images of it"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_recorded(
    change: Callable[[list[str]], tuple[list[str], Sequence[str]]],
    said: str,
    project: Project,
    paths: list[str],
    tmp_path: Path,
) -> None:
    images, classes = change(paths)
    values = np.full((len(images), len(classes)), 1 / len(classes), np.float32)
    with pytest.raises(UsageError) as error:
        project.import_predictions([npz(tmp_path / "p.npz", images, classes, values)])
    assert said in error.value.message
    assert "Nothing was imported" in error.value.hint
    assert nothing_recorded(project)


def test_near_names_are_told(project: Project, paths: list[str], tmp_path: Path) -> None:
    file = npz(tmp_path / "p.npz", paths, ("amoeba", "ciliate", "diatoms"), opinions(paths))
    with pytest.raises(UsageError) as error:
        project.import_predictions([file])
    assert "Did you mean diatom?" in error.value.hint


def test_partial_takes_what_fits(project: Project, paths: list[str], tmp_path: Path) -> None:
    known = [path for path in paths if not path.startswith("diatom")]
    images = [*known[:-3], "elsewhere.png", next(path for path in paths if path.startswith("diatom"))]
    file = wide(tmp_path / "p.csv", images, ("amoeba", "ciliate"), np.full((len(images), 2), 0.5))
    done = project.import_predictions([file], partial=True)
    one = done.files[0]
    assert (one.predictions, one.taken, one.unknown, one.other_class) == (len(images), len(images) - 2, 1, 1)
    assert (done.images, done.missing) == (len(known) - 3, 36 - len(known) + 3)
    assert len(project.scores()) == done.images
    assert project.verify().differences == []
    strange = wide(tmp_path / "q.csv", ["x.png", "y.png"], CLASSES[:2], np.full((2, 2), 0.5))
    project.next_round()
    with pytest.raises(UsageError, match="names 2 of 2 images that the last scan did not find"):
        project.import_predictions([strange], partial=True)


def test_models_that_know_different_classes(project: Project, paths: list[str], tmp_path: Path) -> None:
    two = [path for path in paths if not path.startswith("diatom")]
    narrow = npz(
        tmp_path / "1.npz", two, ("ciliate", "amoeba"), np.tile(np.float32([0.25, 0.75]), (len(two), 1))
    )
    whole = npz(tmp_path / "2.npz", paths, CLASSES, opinions(paths))
    done = project.import_predictions([whole, narrow])
    assert (done.classes, done.pairs) == (3, 2)
    counted = project.scores()
    row = counted.paths.index("ciliate/0005.png")
    assert counted.suggested[row] == "amoeba"
    assert counted.votes[row] == 1


def test_the_same_file_twice(project: Project, paths: list[str], tmp_path: Path) -> None:
    file = npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))
    copy = shutil.copy(file, tmp_path / "copy.npz")
    for other, why in ((tmp_path, "is a folder"), (tmp_path / "none.npz", "does not exist")):
        with pytest.raises(UsageError, match=rf"{why}\.\n"):
            project.import_predictions([other])
    with pytest.raises(UsageError, match="is the same as"):
        project.import_predictions([file, copy])
    assert nothing_recorded(project)


def test_a_dataset_that_was_changed_or_is_in_use(project: Project, paths: list[str], tmp_path: Path) -> None:
    file = npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))
    with project._writing("a test"), pytest.raises(LockedError):
        project.import_predictions([file])
    (project.dataset / paths[0]).unlink()
    with pytest.raises(DatasetChanged):
        project.import_predictions([file])
    assert nothing_recorded(project)


def test_an_image_that_cannot_be_read_is_none(project: Project, paths: list[str], tmp_path: Path) -> None:
    (project.dataset / paths[0]).write_bytes(b"no image")
    project.scan()
    file = npz(tmp_path / "p.npz", paths, CLASSES, opinions(paths))
    with pytest.raises(UsageError, match="did not find, or could not read, such as amoeba/0001"):
        project.import_predictions([file])
    assert project.import_predictions([file], partial=True).images == 35


@pytest.fixture
def large(tmp_path: Path) -> Project:
    """Enough images that agreement can be too good."""
    data = make_dataset(tmp_path / "large", classes=("a", "b"), per_class=220, size_px=8)
    project = Project.create(data, tmp_path / "large-project")
    project.scan()
    return project


@pytest.mark.parametrize("parts", [1, 22])
@pytest.mark.parametrize(("wrong", "warned"), [(0, True), (2, False), (30, False)])
def test_predictions_of_images_that_were_trained_on(
    wrong: int, warned: bool, parts: int, large: Project, tmp_path: Path
) -> None:
    images = paths_of(large.dataset)
    values = np.array([[0.9, 0.1] if path.startswith("a") else [0.1, 0.9] for path in images])
    values[:wrong] = values[:wrong, ::-1]
    files = [npz(tmp_path / f"{k}.npz", images[k::parts], ("a", "b"), values[k::parts]) for k in range(parts)]
    done = dupekit("import-predictions", *files, "-p", large.path)
    who = f"{tmp_path}/0.npz agrees" if parts == 1 else "The predictions agree"
    said = f"{who} with 100.0 % of the given labels, which is more than models do that never saw"
    assert (said in done.stderr) is warned
    assert ("and 2 more files" in done.stdout) is (parts == 22)
    assert bool(done.stderr) is warned


def test_classes_in_another_order_than_the_numbers(large: Project, tmp_path: Path) -> None:
    images = paths_of(large.dataset)
    values = np.array([[0.9, 0.1] if path.startswith("a") else [0.1, 0.9] for path in images])
    file = npz(tmp_path / "p.npz", images, ("b", "a"), values)
    done = dupekit("import-predictions", str(file), "-p", str(large.path))
    assert "agree with 0.0 % of the given labels" in done.stderr
    assert "stand in another order than the numbers" in done.stderr


@pytest.mark.parametrize("at", ["create", "begin", "ingest", "count_votes"])
def test_killed_in_the_middle_it_is_done_again(
    at: str, project: Project, paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [npz(tmp_path / f"{k}.npz", paths, CLASSES, opinions(paths, seed=k)) for k in range(3)]
    with monkeypatch.context() as patch:
        owner, name = {
            "create": (module.RoundFolder, "split_file"),
            "begin": (module.rounds, "begin"),
            "ingest": (module, "ingest"),
            "count_votes": (module, "count_votes"),
        }[at]
        original, calls = getattr(owner, name), []

        def cut(*args: object, **kwargs: object) -> object:
            calls.append(args)
            if len(calls) == (2 if at == "ingest" else 1):
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        patch.setattr(owner, name, cut)
        with pytest.raises(KeyboardInterrupt):
            project.import_predictions(files)
    if at == "count_votes":  # all is recorded: any command counts
        assert project.flag().pairs == 3
    else:
        asked = "No round has been begun" if at == "begin" else "The import of predictions was cut off"
        assert asked in dupekit("status", "-p", project.path).stdout
        assert project.import_predictions(files).pairs == 3
    assert [one.name for one in (project.path / "rounds").iterdir()] == ["01"]
    assert project.verify().differences == []
    assert project.status().pairs_done == 3


def test_a_lost_list_of_images_is_made_anew_with_classes_that_no_image_has(
    project: Project, paths: list[str], tmp_path: Path
) -> None:
    chosen = [path for path in paths if not path.startswith("ciliate")]
    values = opinions([path.replace("wrong_diatom", "x") for path in chosen])
    done = project.import_predictions([npz(tmp_path / "p.npz", chosen, CLASSES, values)], partial=True)
    assert done.classes == 3
    file = project.path / "rounds" / "01" / "images.npz"
    before = file.read_bytes()
    file.unlink()
    project.export_results(tmp_path / "r.npz")
    assert file.read_bytes() == before
