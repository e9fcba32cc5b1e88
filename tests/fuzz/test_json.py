"""Whatever bytes a file of ours is replaced with: a value that can be used, or an error that says what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from dupekit.api import Cache, silent
from dupekit.errors import DupekitError, JobError, PluginError, TreeUnavailable
from dupekit.files.lock import at_work, exclusive
from dupekit.jobs.files import JOB, JobFile, ResultFile, read_model, read_result
from dupekit.jobs.messages import parse
from dupekit.jobs.worker import run_batches
from dupekit.plugin.contract import PREDICTIONS, RESULT, Job
from dupekit.plugin.model import METADATA_KEY, read_metadata
from dupekit.project import Project
from dupekit.review.event_log import EVENTS, read_events
from dupekit.review.manifest import MARKER, Manifest, export_key, read_manifest
from dupekit.review.marker import read_marker
from tests.fuzz.hostile import DEEP, NO_JSON, bounded, json_like, one_by_one, unrecordable

quickly = settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])

FILE = {
    "path": "a/b_09_1.png", "original": "a/1.png", "given": "a", "suggested": "b", "votes": 9, "score": 4.5, "digest": "0" * 64,
    "size": 12, "copy_digest": "1" * 64, "stratum": 1, "population": 9,
}  # fmt: skip
MANIFEST = {
    "schema": "dupekit/manifest/1", "export": "5" * 32, "round": 1, "pairs": 10, "created": "2026-01-01T00:00:00+00:00",
    "folders": {"a": "a", "b": "b"}, "settled_us": 1, "enlarged": 2, "files": [FILE, {**FILE, "path": "a/b_09_2.png"}],
}  # fmt: skip
RESULT_FILE = {
    "schema": "dupekit/result/1", "name": "p01-a", "status": "done", "error": None, "finished": "2026-01-01T00:00:00+00:00",
    "seconds_training": 1.5, "seconds_predicting": 0, "images_trained": 5, "images_predicted": 5, "agreement": 0.5, "host": "h",
    "versions": {"numpy": "2.0"}, "notes": {"loss": 0.25}, "features": "features-x",
}  # fmt: skip
JOB_FILE = {
    "schema": "dupekit/job/1", "name": "p01-a", "round": 1, "pair": 1, "half": "a", "images": "../../images.npz",
    "split": "../../splits/p01.npy", "weights": None, "cache": "../../../../cache", "seed": 7, "device": "auto",
    "trainer": {"name": "fake", "options": {}}, "validator": {"name": "fake", "options": {}}, "max_pixels": 1000,
    "class_max": None, "keep_model": False,
}  # fmt: skip


def test_manifest(tmp_path: Path) -> None:
    check_manifest(tmp_path, json.dumps(MANIFEST).encode())
    for content in one_by_one(MANIFEST):
        check_manifest(tmp_path, content)


@quickly
@given(json_like(MANIFEST))
def test_any_manifest(tmp_path: Path, content: bytes) -> None:
    check_manifest(tmp_path, content)


def check_manifest(tmp_path: Path, content: bytes) -> None:
    marker = tmp_path / MARKER
    marker.mkdir(exist_ok=True)
    (marker / "manifest.json").write_bytes(content)
    with bounded():
        key = export_key(tmp_path)
        assert key is None or '"' not in key
        try:
            found = read_manifest(marker / "manifest.json")
        except TreeUnavailable:
            return
    assert unrecordable(found.model_dump()) is None
    assert unrecordable([dataclasses.asdict(file) for file in found.files]) is None


@quickly
@given(
    json_like(MANIFEST),
    json_like({"at": "2026-01-01T00:00:00+00:00", "kind": "moved", "path": "a", "target": "b"}),
)
def test_marker_folder(tmp_path: Path, manifest: bytes, events: bytes) -> None:
    """What comes back in a tree is compared with the project's own, and decides nothing."""
    marker = tmp_path / MARKER
    marker.mkdir(exist_ok=True)
    for name, content in (
        ("manifest.json", manifest),
        (EVENTS, events),
        ("before.txt", events),
        ("after.txt", manifest),
    ):
        (marker / name).write_bytes(content)
    with bounded():
        try:
            brought = read_marker(tmp_path, Manifest.model_validate(MANIFEST))
        except TreeUnavailable:  # of another export, as it says itself
            return
    assert unrecordable([dataclasses.astuple(event) for event in brought.events]) is None
    assert read_events(marker / EVENTS).events == brought.events


@pytest.mark.parametrize(("kind", "valid"), [(JobFile, JOB_FILE), (ResultFile, RESULT_FILE)])
def test_job_folder_files(
    tmp_path: Path, kind: type[JobFile] | type[ResultFile], valid: dict[str, Any]
) -> None:
    (tmp_path / "p01-a").mkdir()
    file = tmp_path / "p01-a" / (JOB if kind is JobFile else RESULT)
    (tmp_path / "p01-a" / PREDICTIONS).touch()
    file.write_text(json.dumps(valid))
    assert read_model(file, kind).name == "p01-a"

    for content in one_by_one(valid):
        check_job_folder(file, kind, content)
    quickly(given(json_like(valid))(lambda content: check_job_folder(file, kind, content)))()


def check_job_folder(file: Path, kind: type[JobFile] | type[ResultFile], content: bytes) -> None:
    file.write_bytes(content)
    with bounded(), contextlib.suppress(JobError):
        found = read_model(file, kind)
        # What a plugin is given, or says, is its own.
        assert unrecordable(found.model_dump(exclude={"trainer", "validator", "notes"})) is None
    if kind is ResultFile:
        with bounded(), contextlib.suppress(JobError):
            read_result(file.parent)
        with bounded():
            outcome = Job("p01-a", file.parent).outcome()
        assert outcome is not None
        assert outcome.error is None or isinstance(outcome.error, str)


@pytest.mark.skipif(sys.platform == "win32", reason="files have no holes there")
def test_a_file_that_is_mostly_holes_is_not_read(tmp_path: Path) -> None:
    (tmp_path / MARKER).mkdir()
    for name in ("manifest.json", EVENTS, "before.txt", "after.txt"):
        with (tmp_path / MARKER / name).open("wb") as file:
            file.truncate(1 << 40)
    with bounded():
        with pytest.raises(TreeUnavailable, match="larger than 2 GiB"):
            read_manifest(tmp_path / MARKER / "manifest.json")
        brought = read_marker(tmp_path, Manifest.model_validate(MANIFEST))
    assert brought.events == []
    assert len(brought.remarks) == 3
    assert brought.seen is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_like(JOB_FILE))
@example(json.dumps(JOB_FILE).encode())
def test_a_worker_ends_every_job(trained: Project, content: bytes) -> None:
    """It reads what the job names, writes to its folder only, and says how it ended."""
    run = trained.path / "rounds" / "01" / "runs" / "p01-a"
    (run / JOB).write_bytes(content)
    (run / RESULT).unlink(missing_ok=True)
    with bounded():
        (outcome,) = run_batches([[Job("p01-a", run)]], silent)
    assert outcome.job.folder == run
    assert outcome.error is None or isinstance(outcome.error, str)
    assert outcome.error is None or content != json.dumps(JOB_FILE).encode()


@quickly
@given(
    json_like(
        {
            "version": 1,
            "classes": ["a", "b"],
            "input": {"kind": "features", "features": "x", "log_size": True},
        }
    )
)
def test_metadata_of_a_model(content: bytes) -> None:
    with bounded():
        try:
            classes, reads = read_metadata({METADATA_KEY: content.decode(errors="replace")})
        except PluginError:
            return
    assert all(isinstance(name, str) for name in classes)
    assert reads.kind in ("pixels", "features")


@quickly
@given(json_like({"kind": "told", "stage": "s", "done": 1, "total": 2, "figures": {}}))
def test_messages_of_a_worker(content: bytes) -> None:
    with bounded():
        parse(content.decode(errors="replace"))


HOLDERS = [
    json.dumps({"what": "train", "pid": pid, "host": platform.node(), "since": ""}).encode()
    for pid in (0, -1, 2**70, None, "x", [1], float("inf"))
]


@pytest.mark.parametrize("content", [*DEEP, *NO_JSON, b"[]", b"{}", b'"x"', b'{"what": 1}', *HOLDERS])
def test_the_name_of_who_holds_a_lock(tmp_path: Path, content: bytes) -> None:
    with exclusive(tmp_path / "lock", "scan"):
        (tmp_path / "lock.holder").write_bytes(content)
        assert at_work(tmp_path / "lock") is None
        with pytest.raises(DupekitError, match="in use by"), exclusive(tmp_path / "lock", "train"):
            pass


@pytest.mark.parametrize(
    "content", [*DEEP, *NO_JSON, b"[]", b'{"shape": ["a"], "dtype": 3}', b'{"shape": [1], "dtype": "O"}']
)
def test_layout_of_a_cached_array(trained: Project, content: bytes) -> None:
    folder = trained.path / "cache" / "features-x"
    folder.mkdir(parents=True)
    (folder / "array.json").write_bytes(content)
    with bounded(), pytest.raises(DupekitError):
        Cache(trained.path / "cache").stored("features-x")
