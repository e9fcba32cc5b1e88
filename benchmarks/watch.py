"""The watcher against 100,000 deletions at full speed: what it loses, how late it is, what it takes.

    python benchmarks/watch.py FOLDER [--repeats 3] [--files 100000] [--folders 200] [--idle-s 60]

Builds a review tree and a project around it in FOLDER (on the file system to be measured), starts `dupekit watch
--quiet` in a process of its own, lets it and a bare watchdog Observer with the same filter idle side by side, then
deletes FILES files in a third process as fast as that goes (one file a folder stays), and waits until after.txt is
right. Lag counts from the end of the deletions; "lost" are files whose verdict is not what was done to them.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from reporting import machine, show

from dupekit.files.names import escape
from dupekit.files.write import read_lines
from dupekit.ledger import Ledger, exports, rounds
from dupekit.project import Project
from dupekit.review.event_log import EVENTS, read_events
from dupekit.review.manifest import MARKER, ExportedFile, Manifest, read_manifest, write_manifest
from dupekit.review.verdicts import Verdict, read_tree
from dupekit.testing import make_dataset
from dupekit.workflow.exports import keep

BARE = """
import sys, threading
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
from dupekit.review.watch.events import KINDS
observer = Observer()
observer.schedule(FileSystemEventHandler(), sys.argv[1], recursive=True, event_filter=KINDS)
observer.start()
print("ready", flush=True)
threading.Event().wait()
"""
DELETE = """
import os, sys, time
for name in sys.stdin.read().split("\\n")[:-1]:
    os.unlink(name)
print(time.time(), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="must not exist yet; removed at the end")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folders", type=int, default=200)
    parser.add_argument("--idle-s", type=float, default=60)
    arguments = parser.parse_args()
    rows: list[dict[str, float]] = []
    for repeat in range(arguments.repeats):
        place = arguments.folder.absolute() / str(repeat)
        try:
            rows.append(measure(place, arguments.files, arguments.folders, arguments.idle_s))
        finally:
            shutil.rmtree(arguments.folder)
        print(", ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()), flush=True)
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", str(arguments.folder.absolute().parent)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    show(
        f"{arguments.files} files in {arguments.folders} folders, {kind}",
        {name: [row[name] for row in rows] for name in rows[0]},
    )
    print(f"{machine()}, Linux {platform.release().split('-')[0]}")


def measure(place: Path, files: int, folders: int, idle_s: float) -> dict[str, float]:
    tree, project = place / "tree", place / "project"
    manifest = build(tree, files + folders, folders)
    build_project(place / "data", project, tree, manifest)
    kept = Project(project).folder_of(Project(project).tree()[0])
    after = kept / "after.txt"
    bare = subprocess.Popen([sys.executable, "-c", BARE, tree], stdout=subprocess.PIPE)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "dupekit", "watch", "--quiet", "-p", project], stdout=subprocess.PIPE
    )
    try:
        for process in (bare, watcher):
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(2)
        first = [cpu_s(bare.pid), cpu_s(watcher.pid)]
        time.sleep(idle_s)
        idle = [cpu_s(p.pid) - f for p, f in zip((bare, watcher), first, strict=True)]
        bare.kill()
        gone = [file.path for file in manifest.files[: -folders if folders else None]]
        right = "".join(f"{file.path}\n" for file in manifest.files[-folders:])
        started = time.time()
        deletion = subprocess.run(
            [sys.executable, "-c", DELETE],
            cwd=tree,
            input="".join(f"{path}\n" for path in gone),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        ended = float(deletion.stdout)
        lag = wait_for(after, right, ended)
        peak = peak_mib(watcher.pid)
        watcher.send_signal(signal.SIGTERM)
        code = watcher.wait(60)
    finally:
        for process in (bare, watcher):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    left = set(read_lines(after))
    done = set(gone)
    judged = read_tree(tree, read_manifest(tree / MARKER / "manifest.json")).review.verdicts
    lost = sum((v.file.path in done) != (v.verdict == Verdict.CORRECT) for v in judged)
    lost += sum((file.path in done) == (file.path in left) for file in manifest.files)
    heard = Counter(event.kind for event in read_events(kept / EVENTS).events)
    return {
        "verdicts lost": lost,
        "exit code after SIGTERM": code,
        "lag, s": lag,
        "watcher's peak memory, MiB": peak,
        "idle CPU, watcher, % of a core": 100 * idle[1] / idle_s,
        "idle CPU, bare observer, %": 100 * idle[0] / idle_s,
        "deletions a second": len(gone) / (ended - started),
        "deletions heard": heard["deleted"],
        "overflows": heard["overflow"],
    }


def build(tree: Path, files: int, folders: int) -> Manifest:
    """A review tree; the last file of each folder stands at the end of the manifest."""
    first: list[ExportedFile] = []
    last: list[ExportedFile] = []
    settled_ns = 0
    for folder in range(folders):
        label, other = f"class_{folder:03d}", f"class_{(folder + 1) % folders:03d}"
        (tree / label).mkdir(parents=True)
        for number in range(files // folders):
            content = f"{folder} {number}".encode()
            original = f"D2014T{folder:03d}_{number:05d}.png"
            file = ExportedFile(
                path=f"{label}/{other}_09_{original}",
                original=f"{label}/{original}",
                given=label,
                suggested=other,
                votes=9,
                score=1.0,
                digest=hashlib.sha256(content).hexdigest(),
                size=len(content),
            )
            (tree / file.path).write_bytes(content)
            settled_ns = max(settled_ns, (tree / file.path).stat().st_ctime_ns)
            (last if number == files // folders - 1 else first).append(file)
    labels = [f"class_{folder:03d}" for folder in range(folders)]
    manifest = Manifest(
        export="0" * 32,
        round=1,
        pairs=10,
        created="",
        folders={label: label for label in labels},
        files=first + last,
        settled_us=settled_ns // 1000,
    )
    (tree / MARKER).mkdir()
    write_manifest(manifest, tree / MARKER / "manifest.json")
    return manifest


def build_project(dataset: Path, project: Path, tree: Path, manifest: Manifest) -> None:
    """A project whose ledger holds this export, so that events go where they go in earnest."""
    make_dataset(dataset, classes=("a", "b"), per_class=2, seed=1)
    Project.create(dataset, project).scan()
    with Ledger(project / "ledger.db") as ledger:
        rounds.begin(ledger, number=1, dataset=escape(str(dataset)), pairs=1, images=4, plan="{}")
        exports.record(ledger, round_number=1, key=manifest.export, tree=escape(str(tree)), files={})
    opened = Project(project)
    keep(opened.folder_of(opened.tree()[0]), manifest)


def cpu_s(pid: int) -> float:
    """CPU time of a process, all threads: what the scheduler counted, in nanoseconds."""
    return sum(
        int(stat.read_text().split()[0]) / 1e9 for stat in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def wait_for(file: Path, text: str, since: float) -> float:
    """Seconds from `since` until the file held exactly this."""
    while not (file.exists() and file.stat().st_size == len(text) and file.read_text() == text):
        if time.time() - since > 120:
            raise SystemExit(f"{file} was not right after 120 s")
        time.sleep(0.01)
    return max(0.0, time.time() - since)


def peak_mib(pid: int) -> float:
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
