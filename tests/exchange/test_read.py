"""What is read of each format, and what is said of files that are none."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dupekit.errors import UsageError
from dupekit.exchange.read import read_list, read_predictions
from tests.exchange.files import CLASSES, IMAGES, VALUES, bin_h5, long, npz, run_h5, run_json, train_mat, wide

FORMATS = [
    ("p.csv", wide),
    ("p.CSV", long),
    ("p.npz", npz),
    ("p.json", run_json),
    ("p.mat", train_mat),
    ("p.h5", run_h5),
]


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_every_format_says_the_same(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path / name, IMAGES, CLASSES, VALUES))
    assert [image.removeprefix("/hpc/data/") for image in found.images] == list(IMAGES)
    assert list(found.classes) == list(CLASSES)
    assert np.array_equal(np.asarray(found.probabilities, np.float32), VALUES)


@pytest.mark.parametrize(
    ("name", "write"), [("p.json", run_json), ("p.mat", train_mat), ("p.csv", wide), ("p.h5", run_h5)]
)
def test_one_image(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path / name, IMAGES[:1], CLASSES, VALUES[:1]))
    assert found.probabilities.shape == (1, 2)
    assert len(found.images) == 1


def test_an_array_on_disk_with_its_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", VALUES.astype(np.float64))
    (tmp_path / "paths.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(IMAGES).encode() + b"\r\n\r\n")
    paths = read_list(tmp_path / "paths.txt")
    assert paths == list(IMAGES)
    found = read_predictions(tmp_path / "p.npy", paths=paths, classes=CLASSES)
    assert isinstance(found.probabilities, np.memmap)
    assert np.array_equal(found.probabilities, VALUES)
    with pytest.raises(UsageError, match="there is no --paths and --classes"):
        read_predictions(tmp_path / "p.npy")
    with pytest.raises(UsageError, match="holds 3 rows of 2 probabilities, for 2 images and 2 classes"):
        read_predictions(tmp_path / "p.npy", paths=IMAGES[:2], classes=CLASSES)
    np.savez(tmp_path / "p.npz", pred_probs=VALUES)
    assert list(read_predictions(tmp_path / "p.npz", paths=paths, classes=CLASSES).images) == paths
    with pytest.raises(UsageError, match="holds no array paths, only pred_probs"):
        read_predictions(tmp_path / "p.npz", classes=CLASSES)


def test_csv_as_spreadsheets_save_it(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes("\ufeffImage;a;'=b\r\na/1.png;0,75;0,25\r\n'=2.png;1;0\r\n;;\r\n".encode())
    found = read_predictions(file)
    assert (list(found.images), list(found.classes)) == (["a/1.png", "=2.png"], ["a", "=b"])
    assert found.probabilities.tolist() == [[0.75, 0.25], [1, 0]]


def test_regions_of_a_bin_and_older_names(tmp_path: Path) -> None:
    name = "D20140117T003426_IFCB014"
    wanted = [f"{name}_00002", f"{name}_00013", f"{name}_12345"]
    rois = (2, 13, 12345)
    assert read_predictions(bin_h5(tmp_path / "x.h5", rois, CLASSES, VALUES, name)).images == wanted
    assert (
        read_predictions(bin_h5(tmp_path / f"{name}_class.h5", rois, CLASSES, VALUES, None)).images == wanted
    )
    with pytest.raises(UsageError, match="no name of the bin"):
        read_predictions(bin_h5(tmp_path / "y.h5", rois, CLASSES, VALUES, None))
    old = run_h5(tmp_path / "old.h5", IMAGES, CLASSES, VALUES, scores="output_ranks")
    assert np.array_equal(read_predictions(old).probabilities, VALUES)


def test_the_dashboards_first_version(tmp_path: Path) -> None:
    from scipy.io import savemat

    file = tmp_path / "IFCB1_2009_171_092318_class_v1.mat"
    labels = np.asarray([*CLASSES, "unclassified"], object)
    savemat(file, {"class2useTB": labels, "TBscores": VALUES, "roinum": np.array([[1], [2], [7]])})
    found = read_predictions(file)
    assert list(found.classes) == list(CLASSES)
    assert found.images == [f"IFCB1_2009_171_092318_{number:05d}" for number in (1, 2, 7)]


@pytest.mark.parametrize(
    ("values", "said", "hint"),
    [
        ([[2.5, -1.0], [0.1, 3.0], [1, 1]], "sum to 1.5", "look like logits"),
        ([[2.5, 1.0], [0.1, 3.0], [1, 1]], "sum to 3.5", "look like logits"),
        ([[75, 25], [50, 50], [10, 90]], "sum to 100", "percentages"),
        (np.log(VALUES).tolist(), "sum to -1.674", "logarithms"),
        ([[0.75, 0.25], [0.9, 0.8], [0.5, 0.5]], "those of a/2.png are between 0.8 and 0.9, and sum to 1.7", "each row must sum to 1"),
        ([[0.75, 0.25], [0.5, 0.5], [np.nan, 1]], "not finite for b/3.png", "Leave such images out"),
        ([[0.75, 0.25], [0.5, 0.5], [1e60, -np.inf]], "not finite for b/3.png", "Leave such images out"),
        ([[0.75, 0.25], [0.5, 0.5], [np.inf, 1]], "not finite for b/3.png", "Leave such images out"),
    ],
)  # fmt: skip
def test_what_is_no_probability(values: list[list[float]], said: str, hint: str, tmp_path: Path) -> None:
    for name, write in (("p.csv", wide), ("p.npz", npz), ("p.json", run_json)):
        with pytest.raises(UsageError) as error:
            read_predictions(write(tmp_path / name, IMAGES, CLASSES, np.array(values)))
        assert said in error.value.message
        assert hint in error.value.hint


def test_sums_that_are_a_little_off(tmp_path: Path) -> None:
    file = wide(tmp_path / "p.csv", IMAGES, CLASSES, np.array([[0.333, 0.666], [0.5, 0.51], [0.2, 0.8]]))
    assert len(read_predictions(file).images) == 3


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_a_file_that_is_not_whole(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    file = write(tmp_path / name, IMAGES, CLASSES, VALUES)
    whole = file.read_bytes()
    if not name.lower().endswith(".csv"):
        for length in {0, 3, len(whole) // 4, len(whole) // 2, len(whole) - 9}:
            file.write_bytes(whole[:length])
            with pytest.raises(UsageError, match=name):
                read_predictions(file)
    file.write_bytes(b"\xff\xfe\x00something else" + bytes(range(256)))
    with pytest.raises(UsageError, match=name):
        read_predictions(file)


@pytest.mark.parametrize(("name", "write"), [one for one in FORMATS if one[0].lower() != "p.csv"])
def test_a_file_that_was_damaged(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever a byte was changed to: it is read, or refused in words."""
    file = write(tmp_path / name, IMAGES, CLASSES, VALUES)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place] = int(rng.integers(256))
        file.write_bytes(bytes(damaged))
        try:
            assert read_predictions(file).probabilities.shape[1] >= 1
        except UsageError as error:
            assert name in error.message  # noqa: PT017 - either is good


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no columns of classes"),
        ("image\na.png\n", "has no columns of classes"),
        ("image,a,b\n", "holds no images"),
        ("image,a,b\nx.png,.5\n", "has 2 cells in line 2, and the heading 3"),
        ("image,a,b\nx.png,.5,half\n", "has 'half' where a probability is expected"),
        ("image,a,b\nx.png,1,\n", "has '' where a probability is expected"),
        ("image,a,a\nx.png,1,0\n", "has the class a twice"),
        ("image,a,b\nx.png,1,0\ny.png,1,0\nx.png,0,1\n", "has the image x.png twice"),
        ("path,class,probability\nx,a,1\nx,a,0\n", "says twice, again in line 3, how probable a is for x"),
        ('image,a,b\n"x.png,1,0\n', "is no CSV"),
        (
            "path,given,suggested,votes,score\nx.png,a,b,3,1.5\n",
            "has 'a' where a probability is expected",
        ),
    ],
)
def test_csv_that_is_none(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(UsageError, match="Nothing was imported") as error:
        read_predictions(tmp_path / "p.csv")
    assert said in error.value.message


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "p.npy", np.array([Bomb()], object), allow_pickle=True)
    (tmp_path / "q.npy").write_bytes(pickle.dumps(Bomb()))
    np.savez(
        tmp_path / "r.npz", probabilities=VALUES, paths=np.array([*IMAGES, Bomb()], object), classes=CLASSES
    )
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        for name in ("probabilities", "paths", "classes"):
            archive.writestr(name, pickle.dumps(Bomb()))
    for name in ("p.npy", "q.npy"):
        with pytest.raises(UsageError, match="holds Python objects, which are refused"):
            read_predictions(tmp_path / name, paths=IMAGES, classes=CLASSES)
    for name in ("r.npz", "s.npz"):
        with pytest.raises(UsageError, match="holds Python objects, which are refused"):
            read_predictions(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_an_array_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "p.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape, kind in (
            ("probabilities", (1 << 40, 2), "<f4"),
            ("paths", (3,), "<U9"),
            ("classes", (2,), "<U9"),
        ):
            with archive.open(f"{name}.npy", "w") as member:
                header = {"descr": kind, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(bytes(200))
    with pytest.raises(UsageError, match="holds an array of 8,192 GiB; 16 are read at most"):
        read_predictions(file)
    import h5py

    with h5py.File(tmp_path / "p.h5", "w") as out:
        out.create_dataset("output_scores", (1 << 33, 2), "f4", chunks=(1024, 2))
        out.create_dataset("class_labels", data=np.bytes_(CLASSES))
    with pytest.raises(UsageError, match=r"holds output_scores of [\d,]+ GiB; 16 are read at most"):
        read_predictions(tmp_path / "p.h5")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "has no class_labels and output_scores"),
        ({"class_labels": ["a"], "input_images": ["x"]}, "has no output_scores"),
        ({"class_labels": ["a", "b"], "output_scores": [[1, 0]]}, "does not name its images"),
        ({"class_labels": ["a", "b"], "output_scores": [[1, 0], [1]], "input_images": ["x", "y"]}, "no table of numbers"),
        ({"class_labels": ["a", "b"], "output_scores": [[1, 0]], "input_images": ["x", "y"]}, "holds 1 rows of 2 probabilities, for 2 images"),
        ({"class_labels": ["a", "b"], "output_scores": "x", "input_images": ["x"]}, "no table of numbers"),
    ],
)  # fmt: skip
def test_json_that_is_no_result(content: object, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=said):
        read_predictions(tmp_path / "p.json")


def test_other_kinds_and_lists_that_are_not_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of a kind that is not read"):
        read_predictions(tmp_path / "p.pkl")
    wide(tmp_path / "p.csv", IMAGES, CLASSES, VALUES)
    with pytest.raises(UsageError, match="names its images and classes itself"):
        read_predictions(tmp_path / "p.csv", classes=CLASSES)
    (tmp_path / "list").write_text("a\n\nb\n")
    with pytest.raises(UsageError, match="has an empty line 2"):
        read_list(tmp_path / "list")
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / "missing.h5")


def test_matlabs_newer_format_and_a_library_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(UsageError, match="format 7"):
        read_predictions(tmp_path / "p.mat")
    run_h5(tmp_path / "p.h5", IMAGES, CLASSES, VALUES)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'dupekit\[formats\]'"):
        read_predictions(tmp_path / "p.h5")
