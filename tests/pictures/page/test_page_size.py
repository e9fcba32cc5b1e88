"""5,000 images: the server answers at once, and stays small."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.test_review import running
from tests.pictures.page.serving import make_tree

IMAGES = 5000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process in /proc")
def test_five_thousand_images_are_little(in_memory: Path) -> None:
    tree = make_tree(in_memory, IMAGES)
    with running(tree, cwd=in_memory) as page, httpx.Client(base_url=page.address, timeout=60) as http:

        def decide(numbers: list[int], decision: str, label: str | None = None) -> dict[str, Any]:
            body = {
                "client": "c",
                "numbers": numbers,
                "decision": decision,
                "seen": [shown[n] for n in numbers],
            }
            called = {} if label is None else {"label": label}
            answer = http.post(
                "decide", json=body | called, headers={"Origin": page.address.rsplit("/", 2)[0]}
            )
            return dict(answer.raise_for_status().json())

        shown = http.get("state").json()["verdicts"]
        took_s = []
        for number in range(200):
            began = time.perf_counter()
            assert decide([number], "right")["moved"]
            took_s.append(time.perf_counter() - began)
        assert statistics.median(took_s) < 0.05  # measured: 0.002
        began = time.perf_counter()
        assert len(http.get("state").json()["verdicts"]) == IMAGES
        assert time.perf_counter() - began < 1  # measured: 0.01
        assert len(decide([*range(200, 2500)], "suggested")["moved"]) == 2300
        assert len(decide([*range(2500, IMAGES)], "class", "a new one")["moved"]) == 2500
        for number in range(IMAGES):
            http.get(f"image/{number}", params={"stretched": number % 2}).raise_for_status()
        status = Path(f"/proc/{page.process.pid}/status").read_text()
        (most_kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        assert int(most_kib) < 200 * 1024  # measured: 87 MiB
        assert "5,000 of 5,000 images are decided, 0 open." in page.ended()
