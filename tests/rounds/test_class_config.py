"""Class configurations: what is read of a table, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dupekit.errors import UsageError
from dupekit.files.names import escape, same_name_key
from dupekit.files.spreadsheet import table_text
from dupekit.rounds.class_config import read_class_config
from dupekit.rounds.class_view import ClassView, folders

IMAGES = {"Ceratium": 40, "Ceratium_furca": 3, "DELETES": 9, "flagellate": 12, "mix": 7, "gone": 0}
EXPECTED = {
    "Ceratium": "Ceratium", "Ceratium_furca": "Ceratium", "DELETES": None, "flagellate": "flagellates", "mix": "flagellates",
}  # fmt: skip
PLAIN = "class,new name\nCeratium,Ceratium\nCeratium_furca,Ceratium\nDELETES,\nflagellate,flagellates\nmix,flagellates\n"
SEVERAL = (
    "CNN_classlist,all_train_cfg,HAB_train_cfg,toy\nCeratium,1,1,0\nCeratium_furca,1,Ceratium,1\nDELETES,0,0,0\n"
    "flagellate,1,flagellates,1\nmix,1,flagellates,0\n"
)
"""As the files of ifcb_classifier are."""


def read(text: str | bytes, column: str | None = None) -> ClassView:
    content = text.encode() if isinstance(text, str) else text
    return read_class_config(content, "classes.csv", column=column, images=IMAGES)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace(",", ";").replace("\n", "\r\n"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("new name", " New_Name ").replace("class", "CLASS"),
        PLAIN.replace("\n", "\n\n") + ",\n , \n\n",
        PLAIN.replace("mix,flagellates", "  mix  , flagellates ").replace("DELETES,", "DELETES,\u00a0 "),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("\n", ",\n") + "gone,mix,\n",
        "\n".join(",".join(reversed(line.split(","))) for line in PLAIN.splitlines()),
    ],
)
def test_what_spreadsheets_do_to_a_table_is_borne(text: str) -> None:
    view = read(text)
    assert {label: name for label, name in view.classes.items() if label != "gone"} == EXPECTED


def test_one_of_several_columns_is_chosen() -> None:
    assert read(SEVERAL, "HAB_train_cfg").classes == EXPECTED
    assert read(SEVERAL, "hab train-cfg") == read(SEVERAL, "HAB_train_cfg")
    everything = read(SEVERAL, "all_train_cfg")
    assert everything.left_out == ["DELETES"]
    assert everything.combined == {}
    assert read(SEVERAL, "toy").left_out == ["Ceratium", "DELETES", "mix"]


def test_a_class_that_is_called_0_or_1_is_meant() -> None:
    view = read_class_config(
        b"class,new name\n0,1\n1,1\n2,0\n", "c", column=None, images={"0": 1, "1": 1, "2": 1}
    )
    assert view.classes == {"0": "1", "1": "1", "2": "0"}


def test_another_unicode_form_is_the_same_class() -> None:
    composed, apart = "Cha\u00e9toceros", "Chae\u0301toceros"
    for folder, cell in ((composed, apart), (apart, composed)):
        content = f"class,new name\n{cell},{cell}\nb,{cell}\n".encode()
        view = read_class_config(content, "c", column=None, images={folder: 1, "b": 1})
        assert view.classes == {folder: folder, "b": folder}


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        (PLAIN.replace("mix,", "mixx,"), None, "line 6: the dataset has no class 'mixx'; did you mean 'mix'"),
        (PLAIN.replace("mix,", "mixx,"), None, r"the class 'mix' has no row \(7 images\)"),
        (PLAIN.replace("mix,", "Mix,"), None, "line 6: the dataset has no class 'Mix'; did you mean 'mix'"),
        (PLAIN + "zooplankton,\n", None, r"line 7: the dataset has no class 'zooplankton'\n"),
        (PLAIN + "mix,other\n", None, "line 7: the class 'mix' stands in line 6 already"),
        (PLAIN + "mix,flagellates\n", None, "line 7: the class 'mix' stands in line 6 already"),
        (PLAIN + ",other\n", None, "line 7: it names no class"),
        (PLAIN.replace("DELETES,", "DELETES"), None, "line 4, of the class 'DELETES': it has 1 cells, the heading 2"),
        (PLAIN.replace("DELETES,", "DELETES,,x"), None, "line 4, of the class 'DELETES': it has 3 cells"),
        (PLAIN.replace("mix,f", "mix,F"), None, "line 6: the new name 'Flagellates' differs from 'flagellates' in line 5 only in"),
        (PLAIN.partition("\n")[2], None, "put one above it: class,new name"),
        (PLAIN.replace("new name", "new name,comment"), None, "several columns of new names: 'new name', 'comment'"),
        (SEVERAL, None, "'all_train_cfg', 'HAB_train_cfg', 'toy'.\nChoose one with --class-column"),
        (SEVERAL, "hub_train", "no column of new names that is called 'hub_train'.\nDid you mean 'HAB_train_cfg'?"),
        (SEVERAL, "CNN_classlist", "no column of new names that is called 'CNN_classlist'"),
        (SEVERAL.replace("toy", "hab train cfg"), "HAB-train-cfg", "2 columns that are called 'HAB-train-cfg'"),
        (PLAIN.replace("new name", "Class"), None, "2 columns that are called class"),
        ("class\nmix\n", None, "no column of new names beside"),
        ("", None, "no column of new names beside"),
        (b"class,new name\nCha\xe9toceros,x\n", None, "line 2: it is not UTF-8"),
        ('class,new name\n"mix,x\n', None, "it is not CSV"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str | bytes, column: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(text, column)


def test_of_very_many_faults_the_first_are_named() -> None:
    images = {f"class {number}": 1 for number in range(50)}
    with pytest.raises(UsageError, match="and 30 more") as caught:
        read_class_config(b"class,new name\n", "classes.csv", column=None, images=images)
    assert caught.value.message.count("has no row") == 20


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8).filter(str.strip)


@given(
    st.lists(names, min_size=1, max_size=6, unique_by=lambda name: same_name_key(" ".join(name.split()))),
    st.data(),
    st.sampled_from(",;\t"),
)
def test_what_is_written_is_read(classes: list[str], data: st.DataObject, delimiter: str) -> None:
    """Whatever the classes are called."""
    labels = [escape(name) for name in classes]
    if any(same_name_key(label) in ("group a", "group b") for label in labels):
        return
    view = {
        label: data.draw(st.sampled_from([None, "group a", "group b", *labels]), label=label)
        for label in labels
    }
    rows = [(label, name or "") for label, name in view.items()]
    text = table_text(("class", "new name"), rows)
    if not any(set(",;\t") & set(label) for label in labels):
        text = text.replace(",", delimiter)
    found = read_class_config(text.encode(), "c", column=None, images=dict.fromkeys(labels, 1))
    assert found.classes == view


def test_what_is_meant_where_a_model_names_a_class() -> None:
    view = ClassView({"a": "x", "b": "x", "c": "c", "d": "c", "e": "b", "f": None}, "new name")
    labels = ["a"] * 2 + ["b"] * 3 + ["c"] + ["d"] * 9 + ["e"] + ["f"] * 20
    assert folders(view, ["b", "c", "x"], labels) == ["e", "c", "b"]
    assert folders(view, ["x"], ["a", "b"]) == ["a"]
