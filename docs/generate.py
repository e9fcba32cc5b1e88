"""Writes docs/commands.md from the commands' own help: `python docs/generate.py`. A test compares it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMANDS = (
    "init", "scan", "train", "status", "flag", "export", "watch", "collect", "undo", "history", "apply", "next",
    "ignore list", "ignore add", "ignore remove", "ignore export", "ignore import", "verify", "plugins list", "plugins show", "plugins check", "demo",
)  # fmt: skip


def generated() -> str:
    parts = ["# Commands\n\nWritten by `python docs/generate.py` from what `--help` prints.\n"]
    for command in ("", *COMMANDS):
        shown = subprocess.run(
            [sys.executable, "-m", "dupekit", *command.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"},
        ).stdout.replace("python -m dupekit", "dupekit")
        parts.append(f"## dupekit {command}".rstrip() + f"\n\n```text\n{shown.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "commands.md").write_text(generated())
