"""A review page that is served, in a thread of the test, and asked over HTTP as a browser asks."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from dupekit.files.write import digest_file
from dupekit.pictures.page.serve import ReviewServer
from dupekit.review.manifest import MARKER
from dupekit.review.verdicts import read_tree, tree_manifest
from dupekit.review.write_tree import plan_tree, write_tree
from dupekit.rounds.rules import Suspect
from tests.support import until

CLASSES = ("amoeba", "ciliate: with cilia", "rotifer")
FOLDERS = ("amoeba", "ciliate_ with cilia", "rotifer")


def make_tree(folder: Path, images: int = 9) -> Path:
    """A tree of small pictures, no two alike; those of each class are suggested as the next one. All names are 0.png ..."""
    suspects = []
    for number in range(images):
        given, suggested = (CLASSES[(number + step) % 3] for step in (0, 1))
        file = folder / "data" / given / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (8, 6), 40 + number % 200)
        image.putpixel((0, 0), number // 200)
        image.save(file)
        digest = digest_file(file)
        suspects.append(Suspect(number, f"{given}/{number}.png", digest, given, suggested, 9, 1.5, 0.1, 0.8))
    manifest = plan_tree(suspects, CLASSES, round_number=1, pairs=10, created="")
    write_tree(manifest, folder / "data", folder / "tree")
    return folder / "tree"


class Served:
    """A page, and a client that knows its address."""

    def __init__(self, server: ReviewServer) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.address, timeout=30)
        self.client = "page one"
        self._told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        origin = self.server.base.rstrip("/")
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        sent = {"Origin": origin, "Content-Type": "application/json", **headers}
        return self.http.post(path, content=content, headers=sent)

    def decide(
        self, numbers: Sequence[int], decision: str, label: str | None = None, seen: Any = None
    ) -> dict[str, Any]:
        shown = self.get("state")["verdicts"]
        body = {
            "client": self.client,
            "numbers": list(numbers),
            "decision": decision,
            "seen": seen or [shown[number] for number in numbers],
        }
        answer = self.post("decide", body if label is None else body | {"label": label})
        return dict(answer.raise_for_status().json())

    def undo(self, action: int) -> dict[str, Any]:
        return dict(self.post("undo", {"client": self.client, "action": action}).raise_for_status().json())

    def shown(self, number: int) -> list[str]:
        return list(self.get("state")["verdicts"][number])

    def until_shown(self, number: int, verdict: str, label: str) -> None:
        until(lambda: self.shown(number) == [verdict, label])

    @contextlib.contextmanager
    def events(self, after: int) -> Iterator[Iterator[dict[str, Any]]]:
        """The messages of a stream of events, as they come."""
        with self.http.stream("GET", "events", params={"after": after}) as stream:
            lines = (line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: "))
            yield map(json.loads, lines)


@contextlib.contextmanager
def served(tree: Path, kept_in: Path | None = None, **options: Any) -> Iterator[Served]:
    server = ReviewServer(tree, tree_manifest(tree), kept_in or tree / MARKER, **options)
    ready = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            server.run(ready.set)
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30)
        if failed:
            raise failed[0]
        page = Served(server)
        with page.http:
            yield page
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def said(tree: Path) -> list[list[str]]:
    """What `collect` would read: verdict and label of each image, in the manifest's order."""
    return [[v.verdict, v.label] for v in read_tree(tree, tree_manifest(tree)).review.verdicts]
