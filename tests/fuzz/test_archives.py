"""NumPy's archives of a job folder, damaged or made by others: rows that belong together, or a JobError."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dupekit.errors import JobError, UsageError
from dupekit.exchange.read import read_predictions
from dupekit.jobs.images import read_images
from dupekit.jobs.predictions import PredictionReader
from dupekit.plugin.contract import PREDICTIONS
from tests.fuzz.hostile import bounded, damaged, json_like

# NumPy's, of headers that it has to read as Python 2 wrote them.
pytestmark = pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file:UserWarning")

quickly = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

IDS = np.arange(1, 4)
HEADERS = (
    "(10**12,)", "(2**63, 2**63)", "(-1,)", "(3,)", "()", "3", "(3.0,)", "(True,)", "(" * 90, "(" * 5000, "(0, 10**15)", "'a'",
    "__import__('os').getpid()", "\0",
)  # fmt: skip
TYPES = (
    "'<i8'",
    "'>i8'",
    "'<f2'",
    "'|O'",
    "'<U1000000000'",
    "[('a', '<i8')]",
    "'|V0'",
    "'m8'",
    "3",
    "'nonsense'",
    "'<f16'",
)


def npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def lying(shape: str, dtype: str, fortran: str, body: bytes) -> bytes:
    """An array whose header says what it likes."""
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode("latin1")
    return b"\x93NUMPY\x01\x00" + (len(text) % 65536).to_bytes(2, "little") + text + body


def members(*valid: bytes) -> st.SearchStrategy[bytes]:
    """An array as it should be, one of another shape or type, one with a lying header, or damaged bytes."""
    arrays = [
        np.arange(3), np.arange(3, dtype=np.int32), np.array([2, 1, 3]), np.array([1, 1, 1]), np.zeros((3, 0), np.float16),
        np.full((3, 2), np.nan, np.float16), np.zeros((2, 2), np.float16), np.asfortranarray(np.ones((3, 2), np.float16)),
        np.zeros(0), np.array("text"), np.array([-1, 2**62, 2**63 - 1]), np.zeros((3, 2, 1), np.float32),
    ]  # fmt: skip
    lies = st.builds(
        lying,
        st.sampled_from(HEADERS),
        st.sampled_from(TYPES),
        st.sampled_from(("True", "False", "9")),
        st.binary(max_size=64),
    )
    return (
        st.sampled_from(valid)
        | st.sampled_from([npy(array) for array in arrays])
        | lies
        | damaged(*valid, binary=True)
    )


@st.composite
def archives(draw: st.DrawFn, valid: dict[str, st.SearchStrategy[bytes]]) -> bytes:
    """A zip file of such arrays, perhaps compressed, with one missing or twice, and perhaps with bytes changed."""
    out = io.BytesIO()
    packed = draw(
        st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    )
    with zipfile.ZipFile(out, "w", packed) as archive:
        for name, contents in valid.items():
            if draw(st.integers(0, 15)):
                archive.writestr(f"{name}.npy", draw(contents))
    content = out.getvalue()
    return draw(st.just(content) | damaged(content, binary=True))


PREDICTED = {
    "images": members(npy(IDS)),
    "probabilities": members(npy(np.array([[0.25, 0.75]] * 3, np.float16))),
}


@quickly
@given(archives(PREDICTED))
def test_predictions_of_a_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PREDICTIONS).write_bytes(content)
    with bounded():
        try:
            with PredictionReader(tmp_path) as reader:
                rows = [(ids, found) for ids, found in reader.chunks()]
                alone = reader.of(2)
        except JobError:
            return
    assert all(found.shape == (len(ids), reader.n_classes) for ids, found in rows)
    assert alone is None or alone.shape == (reader.n_classes,)


ABOUT = {"schema": "dupekit/images/2", "dataset": "/data", "classes": ["a", "b"], "folders": None}
PATHS = b"a/1.pngb/2.pngb/3.png"
VALID = {
    "about": npy(np.frombuffer(json.dumps(ABOUT).encode(), np.uint8)),
    "ids": npy(IDS),
    "labels": npy(np.array([0, 1, 1], np.int32)),
    "sizes": npy(np.ones((3, 2), np.int32)),
    "digests": npy(np.zeros((3, 32), np.uint8)),
    "path_ends": npy(np.array([7, 14, 21])),
    "paths": npy(np.frombuffer(PATHS, np.uint8)),
    "groups": npy(np.array([0, 1, 1])),
}
OF_ROUND = {name: members(content) for name, content in VALID.items()} | {
    "about": json_like(ABOUT).map(lambda content: npy(np.frombuffer(content, np.uint8)))
    | st.just(VALID["about"])
}


@quickly
@given(
    st.sampled_from(list(OF_ROUND)).flatmap(
        lambda changed: archives(
            {name: one if name == changed else st.just(VALID[name]) for name, one in OF_ROUND.items()}
        )
    )
    | archives(OF_ROUND)
)
def test_images_of_a_round(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "images.npz"
    file.write_bytes(content)
    with bounded():
        try:
            found = read_images(file)
        except JobError:
            return
        images = found.as_images()
        assert len(images.paths) == len(images.digests) == len(found.labels) == len(found.ids)
        for row in range(len(found.ids)):
            images.paths[row].encode(errors="surrogateescape")
            assert len(images.digests[row]) == 64
            assert found.classes[found.labels[row]]


@quickly
@given(
    archives(
        {
            "probabilities": members(npy(np.array([[0.25, 0.75]] * 3))),
            "paths": members(npy(np.array(["a/1", "a/2", "b/1"]))),
            "classes": members(npy(np.array(["a", "b"]))),
        }
    )
)
def test_predictions_of_others(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "predictions.npz"
    file.write_bytes(content)
    with bounded():
        try:
            found = read_predictions(file)
        except UsageError:
            return
    assert found.probabilities.shape == (len(found.images), len(found.classes))


def test_an_archive_that_unpacks_to_much(tmp_path: Path) -> None:
    """Or says so."""
    for name, shape in (("images", "(1250000000,)"), ("probabilities", "(1250000000, 4)")):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            other = {"images": "probabilities", "probabilities": "images"}[name]
            archive.writestr(f"{other}.npy", npy(IDS if other == "images" else np.ones((3, 2), np.float16)))
            dtype = "'<i8'" if name == "images" else "'<f2'"
            archive.writestr(f"{name}.npy", lying(shape, dtype, "False", bytes(1 << 20)))
        (tmp_path / PREDICTIONS).write_bytes(out.getvalue())
        with bounded(), pytest.raises(JobError), PredictionReader(tmp_path) as reader:
            list(reader.chunks())
