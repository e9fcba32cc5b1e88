"""HTML from templates: what is filled in is escaped, so that names that are markup stay text."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """The page of a template in `templates/`, such as "report.html"; a value that it asks for and does not get is an error."""
    return _environment().get_template(template).render(**values)


def static(name: str) -> str:
    """The text of a file in `static/`, to be put into a page that must stand alone."""
    return (files(__package__) / "static" / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dupekit.pictures"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["inline"] = lambda name: Markup(static(name))
    return environment
