"""Results: a row an image, as CSV, JSON Lines, Parquet, or as FiftyOne's samples."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from dupekit.exchange.libraries import library
from dupekit.files.paths import real_path
from dupekit.files.spreadsheet import write_table

_CHUNK = 16384


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    CLEANLAB = "cleanlab"
    """An .npz file of arrays, see `exchange.arrays`."""
    FIFTYONE = "fiftyone"
    """A file samples.json."""


ENDINGS = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".npz": Format.CLEANLAB,
    ".json": Format.FIFTYONE,
}


@dataclass(frozen=True, slots=True)
class ResultRow:
    """What is known of one image of a round."""

    path: str
    """Relative to the dataset, escaped."""
    given: str
    suggested: str
    votes: int
    predictions: int
    score: float
    probability_given: float
    probability_suggested: float
    verdict: str | None
    """None: open."""
    label: str | None
    """After review; None: expunged."""
    ignored: bool
    """Whether it is on the ignore list."""
    contradicted: bool
    """Whether an identical image has another label."""


_NAMES = tuple(field.name for field in dataclasses.fields(ResultRow))


def _values(row: ResultRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES}


def write_csv(out: BinaryIO, rows: Iterable[ResultRow]) -> None:
    """What is absent is an empty cell. Numbers are written so that reading them gives the same."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    write_table(text, _NAMES, ([_cell(value) for value in _values(row).values()] for row in rows))
    text.flush()
    text.detach()


def _cell(value: object) -> object:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def write_jsonl(out: BinaryIO, rows: Iterable[ResultRow]) -> None:
    for row in rows:
        out.write(json.dumps(_values(row), ensure_ascii=False).encode() + b"\n")


def write_parquet(out: BinaryIO, rows: Iterable[ResultRow]) -> None:
    arrow, parquet = library("pyarrow", of="Parquet"), library("pyarrow.parquet", of="Parquet")
    text, number, count = arrow.string(), arrow.float64(), arrow.int32()
    kinds = {"votes": count, "predictions": count, "ignored": arrow.bool_(), "contradicted": arrow.bool_()}
    kinds |= dict.fromkeys(("score", "probability_given", "probability_suggested"), number)
    schema = arrow.schema([(name, kinds.get(name, text)) for name in _NAMES])
    with parquet.ParquetWriter(out, schema) as writer:
        for chunk in _chunks(rows):
            columns = {name: [getattr(row, name) for row in chunk] for name in _NAMES}
            writer.write_table(arrow.table(columns, schema=schema))


def write_samples(out: BinaryIO, rows: Iterable[ResultRow], *, dataset: Path) -> None:
    """As FiftyOne imports them: `given` and `suggested` are classifications, `verdict` too where there is one."""
    out.write(b'{"samples": [')
    for number, row in enumerate(rows):
        values = _values(row)
        sample: dict[str, Any] = {
            "filepath": str(real_path(dataset, values.pop("path"))),
            "tags": [],
            "metadata": None,
            "given": _classification(values.pop("given"), values.pop("probability_given")),
            "suggested": _classification(values.pop("suggested"), values.pop("probability_suggested")),
            **values,
        }
        out.write((b",\n" if number else b"\n") + json.dumps(sample).encode())
    out.write(b"\n]}\n")


def _classification(label: str, confidence: float) -> dict[str, Any]:
    return {"_cls": "Classification", "label": label, "confidence": confidence}


def _chunks(rows: Iterable[ResultRow]) -> Iterator[list[ResultRow]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


WRITERS: dict[Format, Callable[[BinaryIO, Iterable[ResultRow]], None]] = {
    Format.CSV: write_csv,
    Format.JSONL: write_jsonl,
    Format.PARQUET: write_parquet,
}
