"""HTML from templates: what is filled in is escaped, so that names that are markup stay text.

Jinja is loaded when a page is made, and not by commands that make none.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

MARK = b"<!DOCTYPE html>\n<!-- dupekit: "
"""How a page begins that dupekit wrote, and may so replace."""


def render(template: str, **values: Any) -> str:
    """The page of a template in `templates/`, such as "report.html"; a value that it asks for and does not get is an error."""
    return _environment().get_template(template).render(**values)


def render_alone(template: str, *, styles: Sequence[str], scripts: Sequence[str] = (), **values: Any) -> str:
    """A page that needs no other file and reaches for none: files of `static/`, one after the other, are its one style sheet
    and its one script, and its policy lets nothing else be applied or run.

    The template has `policy` for a meta element, `style` and `script`, to be put between tags as they are.
    """
    from markupsafe import Markup

    style = "".join(map(static, styles))
    script = '"use strict";\n' + "".join(map(static, scripts)) if scripts else ""
    sources = f"script-src '{_hash(script)}'; " if scripts else ""
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; {sources}base-uri 'none'; form-action 'none'"
    return render(template, policy=policy, style=Markup(style), script=Markup(script), **values)


def static(name: str) -> str:
    """The text of a file in `static/`, to be put into a page that must stand alone."""
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


def json_block(value: Any) -> Markup:
    """JSON to stand within a script element of the type application/json: nothing in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _hash(text: str) -> str:
    """As a Content-Security-Policy names what may stand in a page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("dupekit.pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = lambda name: Markup("_<wbr>").join(name.split("_"))
    return environment
