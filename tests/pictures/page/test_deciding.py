"""Decisions on the page: what they move, what they refuse, and how they are undone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dupekit.review.manifest import MARKER
from dupekit.review.watch.watcher import follow
from tests.pictures.page.serving import FOLDERS, Served, make_tree, said, served
from tests.support import until

FIRST = "amoeba/ciliate_ with cilia_09_0.png"


@pytest.mark.parametrize(
    ("decision", "label", "verdict", "lies"),
    [
        ("right", None, ["correct", "amoeba"], f"_right/{FIRST}"),
        ("suggested", None, ["relabel", "ciliate: with cilia"], f"_done/{FIRST}"),
        ("class", "rotifer", ["relabel", "rotifer"], "rotifer/ciliate_ with cilia_09_0.png"),
        ("class", "something new", ["relabel", "something new"], "something new/ciliate_ with cilia_09_0.png"),
        ("expunge", None, ["expunge", "amoeba"], f"_expunge/{FIRST}"),
        ("unsure", None, ["unsure", "amoeba"], f"_unsure/{FIRST}"),
        # What is chosen from the list of all classes means the same as its own key.
        ("class", "amoeba", ["correct", "amoeba"], f"_right/{FIRST}"),
        ("class", "ciliate: with cilia", ["relabel", "ciliate: with cilia"], f"_done/{FIRST}"),
        ("class", "ciliate_ with cilia", ["relabel", "ciliate: with cilia"], f"_done/{FIRST}"),
        ("class", "ROTIFER", ["relabel", "rotifer"], "rotifer/ciliate_ with cilia_09_0.png"),
    ],
)  # fmt: skip
def test_a_decision_moves_the_file_and_undo_moves_it_back(
    page: Served, tree: Path, decision: str, label: str | None, verdict: list[str], lies: str
) -> None:
    content = (tree / FIRST).read_bytes()
    done = page.decide([0], decision, label)
    assert (done["moved"], done["refused"]) == ([[0, *verdict]], [])
    assert page.shown(0) == verdict
    assert (tree / lies).read_bytes() == content
    assert said(tree)[0] == verdict
    undone = page.undo(done["action"])
    assert (undone["moved"], undone["refused"]) == ([[0, "open", "amoeba"]], [])
    assert (tree / FIRST).read_bytes() == content
    assert page.shown(0) == said(tree)[0] == ["open", "amoeba"]
    again = page.undo(undone["action"])
    assert again["moved"] == [[0, *verdict]]
    assert said(tree)[0] == page.shown(0) == verdict


def test_many_are_decided_and_undone_at_once(page: Served, tree: Path) -> None:
    done = page.decide(range(9), "right")
    assert len(done["moved"]) == 9
    assert {verdict for verdict, _ in said(tree)} == {"correct"}
    assert [(tree / folder).is_dir() for folder in FOLDERS] == [True] * 3
    other = page.decide([1, 2], "expunge")
    refused = page.undo(done["action"])["refused"]
    assert sorted(one["number"] for one in refused) == [1, 2]
    assert "somebody has moved or deleted it" in refused[0]["reason"]
    assert [verdict for verdict, _ in said(tree)] == ["open", "expunge", "expunge", *["open"] * 6]
    assert len(page.undo(other["action"])["moved"]) == 2
    assert said(tree)[1][0] == "correct"


def test_a_decision_is_only_taken_on_what_was_shown(page: Served, tree: Path) -> None:
    shown = page.get("state")["verdicts"]
    page.decide([0], "expunge")
    answer = page.decide([0, 1], "right", seen=shown[:2])
    assert answer["moved"] == [[1, "correct", "ciliate: with cilia"]]
    (refused,) = answer["refused"]
    assert (refused["number"], refused["verdict"], refused["label"]) == (0, "expunge", "amoeba")
    assert refused["reason"] == "Somebody else changed it meanwhile."
    assert said(tree)[0] == ["expunge", "amoeba"]
    # To say once more what is so already hurts nobody.
    assert page.decide([0], "expunge", seen=shown[:1])["refused"] == []


def test_of_two_who_decide_at_once_one_wins_and_the_other_is_told(page: Served, tree: Path) -> None:
    for number in range(9):
        seen = [page.shown(number)]
        answers: dict[str, Any] = {}
        start = threading.Barrier(2)

        def decide(
            decision: str, number: int = number, seen: Any = seen, answers: Any = answers, start: Any = start
        ) -> None:
            start.wait()
            body = {"client": decision, "numbers": [number], "decision": decision, "seen": seen}
            answers[decision] = page.post("decide", body).json()

        threads = [threading.Thread(target=decide, args=(one,)) for one in ("right", "expunge")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [decision for decision, answer in answers.items() if answer["moved"]]
        (lost,) = [answer for answer in answers.values() if answer["refused"]]
        assert len(won) == 1
        verdict = {"right": "correct", "expunge": "expunge"}[won[0]]
        assert said(tree)[number][0] == lost["refused"][0]["verdict"] == verdict


def test_two_pages_of_two_people_never_both_win(tree: Path) -> None:
    with served(tree) as one, served(tree) as two:
        for number in range(9):
            seen = [one.shown(number)]
            answers: list[Any] = []
            start = threading.Barrier(2)

            def decide(page: Served, decision: str, number: int = number, seen: Any = seen, answers: Any = answers,
                       start: Any = start) -> None:  # fmt: skip
                start.wait()
                answers.append(page.decide([number], decision, seen=seen))

            threads = [
                threading.Thread(target=decide, args=pair) for pair in ((one, "right"), (two, "unsure"))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            moved = [answer["moved"][0] for answer in answers if answer["moved"]]
            assert len(moved) == 1, answers
            assert said(tree)[number] == moved[0][1:]
            for page in (one, two):
                page.until_shown(number, *moved[0][1:])


def test_a_file_that_was_deleted_meanwhile_is_not_decided_on(page: Served, tree: Path) -> None:
    (tree / FIRST).unlink()
    (refused,) = page.decide([0], "expunge", seen=[["open", "amoeba"]])["refused"]
    assert "deleted" in refused["reason"]
    page.until_shown(0, "correct", "amoeba")
    assert page.get("state")["present"][0] is False
    assert page.http.get("image/0").status_code == 404
    (refused,) = page.decide([0], "expunge")["refused"]
    assert "put it back" in refused["reason"]
    assert page.decide([0], "right")["refused"] == []


def test_undo_leaves_alone_what_lies_in_the_place(page: Served, tree: Path) -> None:
    done = page.decide([0], "right")
    (tree / FIRST).write_text("another one")
    (refused,) = page.undo(done["action"])["refused"]
    assert "another file lies" in refused["reason"]
    assert (tree / FIRST).read_text() == "another one"
    assert (tree / "_right" / FIRST).is_file()
    (tree / FIRST).unlink()
    page.until_shown(0, "correct", "amoeba")
    assert page.undo(done["action"])["moved"] == [[0, "open", "amoeba"]]


def test_undo_makes_a_folder_that_was_tidied_away(page: Served, tree: Path) -> None:
    done = page.decide([0, 3, 6], "suggested")
    (tree / "amoeba").rmdir()
    assert len(page.undo(done["action"])["moved"]) == 3
    assert said(tree)[0] == ["open", "amoeba"]


def test_a_name_that_is_taken_gets_a_number(page: Served, tree: Path) -> None:
    taken = tree / "_right" / FIRST
    taken.parent.mkdir(parents=True)
    taken.write_text("a note")
    done = page.decide([0], "right")
    assert done["moved"] == [[0, "correct", "amoeba"]]
    assert taken.read_text() == "a note"
    assert said(tree)[0] == page.shown(0) == ["correct", "amoeba"]
    assert page.undo(done["action"])["moved"] == [[0, "open", "amoeba"]]


def test_an_image_that_is_moved_while_it_is_asked_for_is_shown(tmp_path: Path) -> None:
    images = 300
    with served(make_tree(tmp_path, images)) as page, ThreadPoolExecutor(1) as other:
        verdicts = page.get("state")["verdicts"]
        for number in range(images):
            body = {
                "client": "x",
                "numbers": [number],
                "decision": "expunge",
                "seen": [verdicts[number]],
            }
            decided = other.submit(page.post, "decide", body)
            assert page.http.get(f"image/{number}").status_code == 200, number
            assert decided.result().json()["moved"]


def test_the_images_are_those_of_the_tree(page: Served, tree: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    for number in range(2):
        with Image.open(next(tree.glob(f"*/*_{number}.png"))) as stored:
            pixels = np.asarray(stored)
        for decided in (None, "expunge"):
            if decided:
                page.decide([number], decided)
            answer = page.http.get(f"image/{number}")
            with Image.open(io.BytesIO(answer.content)) as shown:
                assert np.array_equal(np.asarray(shown), pixels)
        with Image.open(
            io.BytesIO(page.http.get(f"image/{number}", params={"stretched": 1}).content)
        ) as shown:
            assert (np.asarray(shown).min(), np.asarray(shown).max()) == (0, 255)


def test_the_facts_name_no_audit(tmp_path: Path) -> None:
    from dupekit.review.verdicts import tree_manifest
    from dupekit.review.write_tree import write_manifest

    tree = make_tree(tmp_path)
    with served(tree) as page:
        facts = page.get("tree")
    assert facts["votes_shown"] is True
    assert facts["classes"] == ["amoeba", "ciliate: with cilia", "rotifer"]
    assert facts["folders"]["ciliate: with cilia"] == "ciliate_ with cilia"
    assert facts["images"][1] == {"name": "1.png", "given": 1, "suggested": 2, "votes": 9}
    manifest = tree_manifest(tree)
    manifest.files[3:4] = [type(manifest.files[3])(**{name: getattr(manifest.files[3], name) for name in manifest.files[3].__slots__} | {"stratum": 1, "population": 5})]  # fmt: skip
    write_manifest(manifest, tree / MARKER / "manifest.json")
    with served(tree) as page:
        facts = page.get("tree")
    assert facts["votes_shown"] is False
    assert {image["votes"] for image in facts["images"]} == {None}
    assert "score" not in str(facts)
    assert "stratum" not in str(facts)


def test_a_watcher_beside_keeps_the_lists_until_it_ends(tree: Path, tmp_path: Path) -> None:
    kept, stop = tmp_path / "kept", threading.Event()
    kept.mkdir()
    (tmp_path / "of the page").mkdir()
    from dupekit.review.verdicts import tree_manifest

    def watch() -> None:
        for _ in follow(tree, tree_manifest(tree), kept, stop=stop):
            pass

    thread = threading.Thread(target=watch)
    thread.start()
    until(lambda: (kept / "after.txt").exists())
    try:
        with served(tree, tmp_path / "of the page", poll_s=0.5) as page:
            page.decide([0], "expunge")
            until(lambda: f"_expunge/{FIRST}" in (kept / "after.txt").read_text())
            (tree / "_expunge" / FIRST).rename(tree / FIRST)
            page.until_shown(0, "open", "amoeba")
            assert list((tmp_path / "of the page").iterdir()) == []
            stop.set()
            thread.join(10)
            until(lambda: (tmp_path / "of the page" / "after.txt").exists())
            page.decide([0], "unsure")
            until(lambda: f"_unsure/{FIRST}" in (tmp_path / "of the page" / "after.txt").read_text())
    finally:
        stop.set()
        thread.join(10)
