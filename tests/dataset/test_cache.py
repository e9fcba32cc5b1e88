from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from dupekit.api import Images
from dupekit.dataset import cache as caching
from dupekit.dataset import decode as decoding
from dupekit.dataset.cache import Cache
from dupekit.dataset.pixels import RULES
from dupekit.errors import CacheError, DatasetChanged, ImageError
from dupekit.files.write import digest_file


@pytest.fixture
def images(tmp_path: Path) -> Images:
    root = tmp_path / "data"
    root.mkdir()
    for i in range(7):
        PillowImage.new("L", (4 + i, 5), 30 * i).save(root / f"{i}.png")
    (root / "copy.png").write_bytes((root / "3.png").read_bytes())
    paths = sorted(path.name for path in root.iterdir())
    return Images(root, paths, [digest_file(root / path) for path in paths], np.ones((8, 2), np.int32))


def counting(calls: list[int]):
    def compute(some: Images) -> Iterator[np.ndarray]:
        calls.append(len(some))
        for digest in some.digests:
            yield np.array([[int(digest[:4], 16), 1]], np.float32)

    return compute


def expected(images: Images) -> list[int]:
    return [int(digest[:4], 16) for digest in images.digests]


def test_rows_come_in_the_order_asked_for_and_once_per_content(tmp_path, images) -> None:
    calls: list[int] = []
    array = Cache(tmp_path / "cache").array("f", (2,), np.float32)
    rows = array.fill(images, counting(calls), stage="x")
    assert rows[:][:, 0].tolist() == expected(images)
    assert calls == [7]  # eight files, seven contents
    back = images.take([5, 0, 0])
    assert array.fill(back, counting(calls), stage="x")[:][:, 0].tolist() == expected(back)
    assert len(calls) == 1


def test_only_new_images_are_computed(tmp_path, images) -> None:
    calls: list[int] = []
    array = Cache(tmp_path / "cache").array("f", (2,), np.float32)
    array.fill(images[:4], counting(calls), stage="x")
    array.fill(images, counting(calls), stage="x")
    assert sum(calls) == 7


@pytest.mark.parametrize(
    "damage", ["row", "half a row", "half an entry", "index gone", "rows gone", "layout"]
)
def test_damage_is_noticed_and_made_good(tmp_path, images, damage: str) -> None:
    array = Cache(tmp_path / "cache").array("f", (2,), np.float32)
    array.fill(images, counting([]), stage="x")
    rows, index = array.folder / "rows.bin", array.folder / "index.bin"
    content = bytearray(rows.read_bytes())
    if damage == "row":
        content[9] ^= 255
        rows.write_bytes(content)
    elif damage == "half a row":
        rows.write_bytes(content[:-3])
    elif damage == "half an entry":
        index.write_bytes(index.read_bytes()[:-5])
    elif damage == "index gone":
        index.unlink()
    elif damage == "rows gone":
        rows.unlink()
    else:
        (array.folder / "array.json").write_text('{"version": 0}')
    calls: list[int] = []
    fresh = Cache(tmp_path / "cache").array("f", (2,), np.float32)  # as another process would
    assert fresh.fill(images, counting(calls), stage="x")[:][:, 0].tolist() == expected(images)
    assert 1 <= sum(calls) <= 7


def test_a_row_that_is_missing_is_an_error(tmp_path, images) -> None:
    array = Cache(tmp_path / "cache").array("f", (2,), np.float32)
    array.fill(images[:2], counting([]), stage="x")
    with pytest.raises(CacheError, match="no row for"):
        array.rows(images)


def test_pixels_are_squares_of_the_files(tmp_path, images) -> None:
    rows = Cache(tmp_path / "cache").pixels(images, size_px=8, channels=1)
    assert rows.shape == (8, 8, 8, 1)
    assert rows[[2]].max() == 60
    assert [len(batch) for batch in rows.batches(5)] == [5, 3]


def test_pixels_of_another_rule_are_other_rows(tmp_path) -> None:
    tall = np.zeros((12, 4), np.uint8)
    tall[2:-2] = 90
    PillowImage.fromarray(tall).save(tmp_path / "tall.png")
    images = Images(tmp_path, ["tall.png"], [digest_file(tmp_path / "tall.png")], np.array([[4, 12]]))
    cache = Cache(tmp_path / "cache")
    padded = cache.pixels(images, size_px=12, channels=1)[:]
    stretched = cache.pixels(images, size_px=12, channels=1, fit="stretch")[:]
    assert (padded > 50).sum() < 50
    assert (stretched > 50).sum() > 80
    assert (cache.pixels(images, size_px=12, channels=1)[:] == padded).all()


def test_pixels_of_older_decoding_rules_are_not_read(tmp_path, images, monkeypatch) -> None:
    def white(*_: object, size_px: int, channels: int, **__: object) -> np.ndarray:
        return np.full((size_px, size_px, channels), 255, np.uint8)

    cache = Cache(tmp_path / "cache")
    before = cache.pixels(images, size_px=6, channels=1)[:]
    monkeypatch.setattr(decoding, "square_pixels", white)
    assert (cache.pixels(images, size_px=6, channels=1)[:] == before).all()
    monkeypatch.setattr("dupekit.dataset.cache.RULES", RULES + 1)
    assert (cache.pixels(images, size_px=6, channels=1)[:] == 255).all()


def test_many_files_are_decoded_by_several_processes(tmp_path, images, monkeypatch) -> None:
    expected = Cache(tmp_path / "one").pixels(images, size_px=6, channels=3)[:]
    monkeypatch.setattr(decoding, "WORTH_PROCESSES", 2)
    monkeypatch.setattr(decoding, "PART", 2)
    monkeypatch.setattr(caching, "_SAVE_S", 3600)  # however long the processes take to start
    monkeypatch.setattr(decoding, "square_pixels", None)  # this process is to decode nothing
    calls: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int, /, **figures: float) -> None:
        calls.append((done, total))

    found = Cache(tmp_path / "many").pixels(images, size_px=6, channels=3, progress=progress)
    assert (found[:] == expected).all()
    assert calls == [(0, 7), (7, 7)]


def test_what_is_wrong_in_a_process_is_said_here(tmp_path, images, monkeypatch) -> None:
    monkeypatch.setattr(decoding, "WORTH_PROCESSES", 2)
    file = tmp_path / "data" / "2.png"
    file.write_bytes(file.read_bytes()[:40])
    damaged = Images(
        images.root, images.paths, [digest_file(images.root / p) for p in images.paths], images.sizes
    )
    with pytest.raises(ImageError, match=r"2\.png: not a readable image"):
        Cache(tmp_path / "cache").pixels(damaged, size_px=6, channels=1)
    file.write_bytes(b"other")
    with pytest.raises(DatasetChanged, match=r"2\.png is not what the last scan saw") as caught:
        Cache(tmp_path / "cache").pixels(damaged, size_px=6, channels=1)
    assert "dupekit scan" in caught.value.hint


def test_a_file_that_changed_since_the_scan_is_refused(tmp_path, images) -> None:
    cache = Cache(tmp_path / "cache")
    (images.root / "2.png").write_bytes((images.root / "1.png").read_bytes())
    with pytest.raises(
        DatasetChanged, match=r"2\.png is not what the last scan saw: changed or gone\."
    ) as caught:
        cache.pixels(images, size_px=8, channels=1)
    assert "dupekit next" in caught.value.hint
    (images.root / "2.png").unlink()
    with pytest.raises(DatasetChanged):
        cache.pixels(images, size_px=8, channels=1)


FILL = """
import sys, pathlib, numpy as np
from dupekit.api import Images
from dupekit.dataset.cache import Cache
n = 400
images = Images(pathlib.Path("."), [str(i) for i in range(n)], [f"{i:064x}" for i in range(n)], np.ones((n, 2), "i4"))
rows = Cache(pathlib.Path(sys.argv[1])).array("f", (3,), np.int64).fill(
    images, lambda some: (np.array([[int(d, 16)] * 3]) for d in some.digests), stage="x")
assert rows[:].tolist() == [[i] * 3 for i in range(n)]
"""


def test_several_processes_fill_one_array(tmp_path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", FILL, tmp_path]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert (tmp_path / "f" / "rows.bin").stat().st_size == 400 * 24


SHARE = """
import sys, pathlib, numpy as np
from dupekit.api import Images
from dupekit.dataset.cache import Cache
n = 2560
images = Images(pathlib.Path("."), [str(i) for i in range(n)], [f"{i:064x}" for i in range(n)], np.ones((n, 2), "i4"))
made = 0
def compute(some):
    global made
    made += len(some)
    print(len(some), flush=True)
    sys.stdin.readline()
    yield np.array([[int(d, 16)] * 3 for d in some.digests])
array = Cache(pathlib.Path(sys.argv[1])).array("f", (3,), np.int64)
right = [[i] * 3 for i in range(n)]
assert array.fill(images, compute, stage="x")[:].tolist() == right
print("made", made, flush=True)
"""


def test_processes_share_what_is_to_be_made_and_nobody_waits(tmp_path) -> None:
    """One stands still while it makes its first rows: the other makes all the rest, and the same rows, too."""
    command = [sys.executable, "-c", SHARE, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as slow, subprocess.Popen(command, **pipes) as fast:
        assert slow.stdout.readline() == "256\n"
        said = fast.communicate("\n" * 20)[0].splitlines()
        assert said[-1] == "made 2560"
        assert fast.returncode == 0
        assert slow.communicate("\n" * 20)[0].splitlines() == ["made 256"]
        assert slow.returncode == 0
    assert (tmp_path / "f" / "rows.bin").stat().st_size == 2560 * 24


def test_what_a_killed_writer_left_is_cut_off_before_more_is_added(tmp_path, images) -> None:
    array = Cache(tmp_path / "cache").array("f", (3,), np.int64)
    folder = tmp_path / "cache" / "f"

    def compute(missing: Images) -> Iterator[np.ndarray]:
        with (folder / "rows.bin").open("ab") as rows:
            rows.write(b"half a row")  # of another process, which dies here
        yield np.array([[int(digest[:8], 16)] * 3 for digest in missing.digests])

    found = array.fill(images, compute, stage="x")
    assert found[:].tolist() == [[int(digest[:8], 16)] * 3 for digest in images.digests]
    again = Cache(tmp_path / "cache").array("f", (3,), np.int64)
    assert (
        again.fill(images, lambda missing: pytest.fail("all are there"), stage="x")[:].tolist()
        == found[:].tolist()
    )


def test_the_images_filled_last_are_not_looked_up_again(tmp_path, images, monkeypatch) -> None:
    array = Cache(tmp_path / "cache").array("f", (3,), np.int64)
    rows = np.arange(3 * len(images)).reshape(-1, 3)
    distinct = len({*images.digests})
    array.fill(images, lambda missing: [rows[:distinct]], stage="x")
    monkeypatch.setattr(caching, "keys_of", None)
    assert (array.fill(images, lambda missing: [], stage="x")[:] == array.rows(images)[:]).all()


def test_an_array_that_was_deleted_meanwhile_is_made_again(tmp_path, images) -> None:
    def compute(missing: Images) -> Iterator[np.ndarray]:
        yield np.array([[int(digest[:8], 16)] * 3 for digest in missing.digests])

    array = Cache(tmp_path / "cache").array("f", (3,), np.int64)
    expected = array.fill(images, compute, stage="x")[:]
    for _ in range(3):
        shutil.rmtree(tmp_path / "cache")
        Cache(tmp_path / "cache").array("f", (3,), np.int64).fill(images[::-1], compute, stage="x")
        assert (array.fill(images, compute, stage="x")[:] == expected).all()
        assert (array.rows(images)[:] == expected).all()


@pytest.mark.parametrize("what", ["rows.bin", "index.bin", "array.json", "."])
def test_what_is_deleted_while_it_is_filled_is_said(tmp_path, what: str) -> None:
    """Two blocks: what is made of the second is added to an array that is shorter than it was."""
    count = 300
    images = Images(
        tmp_path,
        [str(i) for i in range(count)],
        [f"{i:064x}" for i in range(count)],
        np.ones((count, 2), "i4"),
    )
    array = Cache(tmp_path / "cache").array("f", (3,), np.int64)

    def compute(missing: Images) -> Iterator[np.ndarray]:
        if len(missing) == 44:
            gone = array.folder / what
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        yield np.array([[int(digest, 16)] * 3 for digest in missing.digests])

    with pytest.raises(CacheError, match="changed or deleted while it was filled"):
        array.fill(images, compute, stage="x")
    again = array.fill(images, lambda missing: iter(compute(missing[:])), stage="x")
    assert again[:].tolist() == [[i] * 3 for i in range(count)]


@pytest.mark.parametrize("lost", ["rows.bin", "index.bin"])
def test_rows_that_were_lost_meanwhile_and_made_again_elsewhere_are_found(
    tmp_path, images, lost: str
) -> None:
    array = Cache(tmp_path / "cache").array("f", (2,), np.float32)
    array.fill(images, counting([]), stage="x")
    (array.folder / lost).unlink()
    Cache(tmp_path / "cache").array("f", (2,), np.float32).fill(images[::-1], counting([]), stage="x")
    assert array.fill(images, counting([]), stage="x")[:][:, 0].tolist() == expected(images)
    assert array.rows(images)[:][:, 0].tolist() == expected(images)


ADD = """
import sys, pathlib, numpy as np
from dupekit.dataset import cache
from dupekit.api import Images
cache._SAVE_BYTES = 0  # each part is written as soon as it is made
n = 400
images = Images(pathlib.Path("."), [str(i) for i in range(n)], [f"{i:064x}" for i in range(n)], np.ones((n, 2), "i4"))
def compute(some):
    for start in range(0, len(some), 100):
        yield np.array([[int(d, 16)] * 3 for d in some.digests[start:start + 100]])
        print("written", flush=True)
        sys.stdin.readline()
cache.Cache(pathlib.Path(sys.argv[1])).array("f", (3,), np.int64).fill(images, compute, stage="x")
"""


def test_rows_in_hand_stay_right_while_another_process_adds_more(tmp_path) -> None:
    """And nobody has to wait for it: what is written can be read while the rest is being made."""
    digests = [f"{i:064x}" for i in range(400)]
    images = Images(tmp_path, digests, digests, np.ones((400, 2), np.int32))
    right = np.arange(400)[:, None].repeat(3, 1)
    array = Cache(tmp_path).array("f", (3,), np.int64)
    in_hand = array.fill(images[:100], lambda some: [right[: len(some)]], stage="x")
    command = [sys.executable, "-c", ADD, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for present in (200, 300, 356, 400):  # it looks again after 256
            assert worker.stdout.readline() == "written\n"
            assert (in_hand[:] == right[:100]).all()
            assert (array.rows(images[:present])[:] == right[:present]).all()
            worker.stdin.write("\n")
            worker.stdin.flush()
    assert worker.returncode == 0
    assert (in_hand[:] == right[:100]).all()
