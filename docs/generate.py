"""Writes what is made from something else: `python docs/generate.py`. Tests compare it.

docs/commands.md comes from the commands' own help; dupekit/review/read_me.html, which lies in every review tree, from
docs/technician.md and its drawings.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parent
COMMANDS = (
    "init", "scan", "train", "status", "flag", "report", "explain", "export", "review", "watch", "collect", "undo", "history", "apply", "evaluate", "next",
    "import-predictions", "export-results", "ignore list", "ignore add", "ignore remove", "ignore export", "ignore import", "verify", "plugins list", "plugins show", "plugins check", "demo",
)  # fmt: skip

# What belongs to one tree: dupekit.review.read_me fills it in.
HERE = """<p class="here">Here: <b>$images</b> in <b>$folders</b>. The computer looked at each image <b>$pairs</b>.$no_votes$enlarged
<a href="#classes">All classes</a> stand at the end.$looks</p>
"""
CLASSES = """<h2 class="classes" id="classes">The classes in this folder</h2>
<p>The number says how many images were in the class folder at the beginning.</p>
<ul class="list">
$classes
</ul>
$sheets
"""


def commands() -> str:
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


def read_me() -> str:
    """A template of Python's `string.Template`."""
    told = (
        MarkdownIt("commonmark").enable("table").render((DOCS / "technician.md").read_text(encoding="utf-8"))
    )
    told = re.sub(
        r'<p><img src="images/([a-z-]+)\.svg" alt="[^"]*" /></p>', _drawing, told.replace("$", "$$")
    )
    told = re.sub(r'<a href="[a-z]+\.md">(.*?)</a>', r"\1", told)  # the other pages do not lie in a tree
    told = told.replace("<li>☐", '<li class="box">☐')
    before, heading, rest = told.partition("<h2>")
    frame = (DOCS / "read_me_frame.html").read_text(encoding="utf-8")
    return frame.replace("<!-- page -->\n", f"{before}{HERE}{heading}{rest}{CLASSES}")


def _drawing(image: re.Match[str]) -> str:
    """The drawing itself, its ids its own among those of the others."""
    name = image[1]
    drawn = (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8").replace("$", "$$").strip()
    drawn = drawn.replace(' xmlns="http://www.w3.org/2000/svg"', ' role="img"')
    return "<figure>" + re.sub(r'(\bid="|href="#)', rf"\1{name}-", drawn) + "</figure>"


if __name__ == "__main__":
    (DOCS / "commands.md").write_text(commands(), encoding="utf-8")
    (DOCS.parent / "dupekit" / "review" / "read_me.html").write_text(read_me(), encoding="utf-8")
