from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dupekit.errors import UsageError
from dupekit.settings import Settings, read_settings, with_dataset, write_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dupekit.toml"


def test_settings_come_back(file) -> None:
    settings = Settings(dataset='/data/"quoted" \\ name', pairs=7, options={"epochs": 3})
    write_settings(file, settings)
    assert read_settings(file) == settings


def test_every_setting_is_explained_and_its_default_shown(file) -> None:
    write_settings(file, Settings(dataset="d"))
    text = file.read_text()
    for name, field in Settings.model_fields.items():
        assert name in text
        assert field.description in text
    # What is commented out is valid as soon as its "# " is taken away.
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line or "[options]" in line]
    assert set(tomllib.loads("\n".join(lines))) == set(Settings.model_fields)


def test_changes_keep_comments_and_other_settings(file) -> None:
    write_settings(file, Settings(dataset="old", pairs=7))
    file.write_text(file.read_text() + "\n# mine\n")
    file.write_text(with_dataset(file, "new", own_links=False))
    assert read_settings(file) == Settings(dataset="new", pairs=7)
    assert "# mine" in file.read_text()


def test_a_byte_order_mark_is_no_matter(file) -> None:
    write_settings(file, Settings(dataset="d", pairs=7))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_settings(file).pairs == 7
    file.write_text(with_dataset(file, "new", own_links=False))
    assert read_settings(file) == Settings(dataset="new", pairs=7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pairs = 3", "dataset: Field required"),
        ('dataset = "d"\npairs = 0', "pairs: Input should be greater than or equal to 1"),
        ('dataset = "d"\npairz = 3', "pairz: Extra inputs are not permitted"),
        ('dataset = "d', "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(file, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_settings(file)
