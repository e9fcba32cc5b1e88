"""Class views: classes that are trained as one or left out, and all that people see in the dataset's own classes."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dupekit import Choices, Selection
from dupekit.errors import DatasetError, UsageError
from dupekit.files.names import escape
from dupekit.files.spreadsheet import table_text
from dupekit.project import Project
from dupekit.rounds.rules import RuleName
from dupekit.testing import make_dataset
from tests.support import dupekit, lists_of, parsed, tree_state

SIZES = {"amoeba": 13, "bubble": 8, "ciliate": 12, "diatom": 12, "euglena": 12}
VIEW = "class,new name\namoeba,protist\nbubble,\nciliate,protist\ndiatom,diatom\neuglena,flagellate\n"
WITHIN, INTO, OUT_OF = "ciliate/an_amoeba.png", "diatom/a_ciliate.png", "amoeba/a_euglena.png"
OWN = ["amoeba", "ciliate", "diatom", "euglena"]
ROUND = Path("rounds/01")
FAKES = ("--trainer", "fake", "--validator", "fake")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five classes that are easy to tell apart; three images lie in a wrong one."""
    data = make_dataset(tmp_path / "data", classes=tuple(SIZES), per_class=SIZES, seed=3)
    for source, target in (("amoeba", WITHIN), ("ciliate", INTO), ("euglena", OUT_OF)):
        (data / source / "0000.png").rename(data / target)
    return data


@pytest.fixture
def scanned(data: Path, tmp_path: Path, fast: dict[str, str]) -> Project:
    """Near-duplicates are not looked for: which image the models take for what hangs on the halves."""
    project = Project.create(data, tmp_path / "project")
    with (project.path / "dupekit.toml").open("a") as toml:
        toml.write("\nnear_duplicates = false\n")
    project = Project(project.path)
    project.scan()
    return project


@pytest.fixture
def viewed(scanned: Project, table: Path, fast: dict[str, str]) -> Project:
    """With a round of three pairs under the view."""
    assert scanned.train(Choices(pairs=3, class_config=table, **fast)).failed == []
    return scanned


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path, VIEW)


def write(folder: Path, text: str, name: str = "classes.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def images_of(project: Project) -> dict[str, Any]:
    return lists_of(project.path / ROUND / "images.npz")


def job(project: Project, run: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / ROUND / "runs" / run / file).read_text())
    return found


def test_models_know_the_view_and_people_their_folders(viewed: Project) -> None:
    of_round = images_of(viewed)
    assert of_round["classes"] == ["diatom", "flagellate", "protist"]
    assert of_round["folders"] == ["diatom", "euglena", "amoeba"]
    assert len(of_round["ids"]) == sum(SIZES.values()) - SIZES["bubble"]
    assert not any(path.startswith("bubble/") for path in of_round["paths"])
    suspects = {one.path: one for one in viewed.flag(rule=RuleName.VOTES).suspects}
    assert {path: (one.given, one.suggested, one.votes) for path, one in suspects.items()} == {
        INTO: ("diatom", "amoeba", 3),  # of protist, the class with most images
        OUT_OF: ("amoeba", "euglena", 3),
    }
    scores = viewed.scores()
    assert {*scores.given} == {*OWN}
    assert {*scores.suggested} <= {*OWN}


def test_a_suggestion_that_stands_for_several_classes_says_so(viewed: Project) -> None:
    said = dupekit("flag", "-p", viewed.path).stdout
    assert "it may be another of them\nsuggested\tothers\namoeba\tciliate\n\n" in said


def test_within_a_merged_class_there_are_no_votes(viewed: Project) -> None:
    said = {
        one.path: one.label for one in viewed.predictions() if one.path.split("/")[0] in ("amoeba", "ciliate")
    }
    assert {path: label for path, label in said.items() if label != path.split("/")[0]} == {OUT_OF: "euglena"}
    found = viewed.explain(WITHIN)
    assert found.counted is not None
    assert (found.counted.votes, found.counted.given) == (0, "ciliate")
    assert found.counted.score < 0


def test_an_identical_image_in_another_class_is_suggested_as_that_very_class(
    scanned: Project, data: Path, table: Path, fast: dict[str, str]
) -> None:
    """Though the models mean amoeba, which has more images, where they say protist."""
    shutil.copy(data / "ciliate/0003.png", data / "diatom/copy.png")
    scanned.scan()
    scanned.train(Choices(pairs=3, class_config=table, **fast))
    first, second, *rest = scanned.flag().suspects
    assert (first.contradicted, second.contradicted, any(one.contradicted for one in rest)) == (
        True,
        True,
        False,
    )
    assert {one.path: one.suggested for one in (first, second)} == {
        "ciliate/0003.png": "diatom",
        "diatom/copy.png": "ciliate",
    }


def test_the_whole_loop_is_in_the_dataset_s_own_classes(
    viewed: Project, data: Path, table: Path, tmp_path: Path, fast: dict[str, str]
) -> None:
    before = tree_state(data)
    exported = viewed.export()
    assert {(one.original, one.given, one.suggested) for one in exported.manifest.files} == {
        (INTO, "diatom", "amoeba"), (OUT_OF, "amoeba", "euglena"),
    }  # fmt: skip
    assert {one.name for one in exported.tree.iterdir() if one.is_dir() and one.name[0] not in "._"} == {
        *SIZES
    }
    (into,) = exported.tree.glob("diatom/*")
    into.rename(exported.tree / "ciliate" / into.name)  # a person knows which protist it is
    collected = viewed.collect(finished=["amoeba"])
    assert {(v.file.original, v.label) for v in collected.review.verdicts} == {
        (INTO, "ciliate"), (OUT_OF, "euglena"),
    }  # fmt: skip
    viewed.apply(tmp_path / "fixed")
    assert (tmp_path / "fixed/ciliate/a_ciliate.png").is_file()
    assert (tmp_path / "fixed/euglena/a_euglena.png").is_file()
    assert len([*(tmp_path / "fixed/bubble").iterdir()]) == SIZES["bubble"]
    assert tree_state(data) == before
    assert viewed.verify().differences == []
    viewed.next_round()
    done = Project(viewed.path).train(Choices(pairs=1, class_config=table, **fast))
    assert (done.round, done.classes, done.failed) == (2, 3, [])
    assert viewed.flag(rule=RuleName.VOTES, threshold=1).suspects == []
    assert [(one.round, one.classes) for one in viewed.agreement().rounds] == [(1, 3), (2, 3)]


def test_the_folder_of_the_same_name_is_suggested_first(scanned: Project, tmp_path: Path, fast) -> None:
    table = write(tmp_path, VIEW.replace("protist", "ciliate"))
    scanned.train(Choices(pairs=1, class_config=table, **fast))
    assert images_of(scanned)["folders"] == ["ciliate", "diatom", "euglena"]
    assert {one.suggested for one in scanned.flag().suspects if one.path == INTO} == {"ciliate"}


def test_a_folder_of_that_name_that_is_trained_as_another_class_is_not_suggested(
    scanned: Project, tmp_path: Path, fast
) -> None:
    """Classes that change names: what the models call diatom are the euglenas."""
    text = "class,new name\namoeba,x\nbubble,0\nciliate,x\ndiatom,euglena\neuglena,diatom\n"
    scanned.train(Choices(pairs=2, class_config=write(tmp_path, text), **fast))
    assert images_of(scanned)["classes"] == ["diatom", "euglena", "x"]
    assert images_of(scanned)["folders"] == ["euglena", "diatom", "amoeba"]
    suspects = {one.path: one.suggested for one in scanned.flag(threshold=2).suspects}
    assert suspects == {INTO: "amoeba", OUT_OF: "euglena"}


def test_a_round_that_has_begun_needs_the_table_no_more(viewed: Project, table: Path, fast) -> None:
    before = images_of(viewed)
    table.unlink()
    done = viewed.train(Choices(pairs=4, **fast))
    assert (done.todo, done.failed) == (["p04-a", "p04-b"], [])
    assert images_of(viewed) == before
    assert viewed.train(Choices(seed=0, **fast)).todo == []  # another choice, as it was
    with pytest.raises(UsageError, match=r"classes\.csv cannot be read") as caught:
        viewed.train(Choices(class_config=table, **fast))
    assert "leave --class-config out" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VIEW.replace("bubble,", "bubble,bubble"), "Round 1 was begun with bubble left out, not trained as bubble"),
        (VIEW.replace("ciliate,protist", "ciliate,x"), "with ciliate trained as protist, not trained as x"),
        (VIEW.replace("diatom,diatom", "diatom,"), "with diatom trained as diatom, not left out"),
    ],
)  # fmt: skip
def test_a_table_that_was_changed_contradicts_the_round(
    viewed: Project, table: Path, text: str, message: str, fast
) -> None:
    table.write_text(text)
    before = tree_state(viewed.path / ROUND)
    with pytest.raises(UsageError, match=message):
        viewed.train(Choices(pairs=4, class_config=table, **fast))
    assert tree_state(viewed.path / ROUND) == before
    assert len(viewed.status().runs) == 6


def test_the_same_view_from_another_table_contradicts_nothing(viewed: Project, tmp_path: Path, fast) -> None:
    lines = [f"{line};{number}" for number, line in enumerate(VIEW.replace(",", ";").splitlines())]
    other = write(tmp_path, "\n".join(lines), "other.csv")
    choices = Choices(class_config=other, class_column="NEW_name", **fast)
    assert viewed.train(choices).todo == []


def test_a_view_and_then_none_contradict_each_other(viewed: Project, fast) -> None:
    with pytest.raises(UsageError, match="Round 1 was begun with a class view, not without one"):
        viewed.train(Choices(class_config="", **fast))


def test_no_view_and_then_one_contradict_each_other(trained: Project, tmp_path: Path, fast) -> None:
    table = write(tmp_path, "class,new name\namoeba,amoeba\nciliate,ciliate\ndiatom,diatom\n")
    with pytest.raises(UsageError, match="Round 1 was begun without a class view, not with one"):
        trained.train(Choices(class_config=table, **fast))


def test_images_that_were_lost_come_back_under_the_view(viewed: Project, fast, caplog) -> None:
    before, suspects = images_of(viewed), viewed.flag().suspects
    (viewed.path / ROUND / "images.npz").unlink()
    shutil.rmtree(viewed.path / ROUND / "runs/p02-a")
    assert viewed.train(Choices(**fast)).todo == ["p02-a"]
    assert images_of(viewed) == before
    assert "written anew" in caplog.text
    assert viewed.flag().suspects == suspects


def test_agreement_is_with_what_a_class_was_trained_as(viewed: Project) -> None:
    found = viewed.agreement()
    predictions = list(viewed.predictions())
    images = Counter(one.path.split("/")[0] for one in predictions)
    agreeing = Counter(one.label for one in predictions if one.label == one.path.split("/")[0])
    named = Counter("protist" if one.label in ("amoeba", "ciliate") else one.label for one in predictions)
    classes = {one.label: one for one in found.classes}
    assert {*classes} == {*OWN}
    for label, one in classes.items():
        trained_as = "protist" if label in ("amoeba", "ciliate") else label
        assert one.agreement == pytest.approx(agreeing[label] / images[label])
        assert one.chance == pytest.approx(max(named[trained_as] / len(predictions), 1 / 3))
        assert one.images == images[label] / 3
    assert {label: one.trained_as for label, one in classes.items()} == {
        "amoeba": "protist", "ciliate": "protist", "diatom": None, "euglena": "flagellate",
    }  # fmt: skip
    (of_round,) = found.rounds
    assert (of_round.images, of_round.classes) == (49, 3)
    assert of_round.chance == 25 / 49
    assert "\ttrained as\n" in dupekit("status", "--classes", "-p", viewed.path).stdout


def test_an_image_is_explained_in_the_dataset_s_own_classes(viewed: Project) -> None:
    found = viewed.explain(INTO)
    assert {one.predicted for one in found.predictions} == {"amoeba"}
    assert [(one.label, one.votes) for one in found.classes if one.votes] == [("amoeba", 3)]
    assert {one.label for one in found.classes} <= {"amoeba", "diatom", "euglena"}
    assert found.trained_as is None
    within = viewed.explain(WITHIN)
    assert {one.label for one in within.classes} <= {"ciliate", "diatom", "euglena"}
    assert sum(one.probability or 0 for one in within.classes) == pytest.approx(1, abs=0.02)
    said = dupekit("explain", WITHIN, "-p", viewed.path).stdout
    assert "In round 1, ciliate was trained as protist together with amoeba." in said
    assert (
        "In round 1, euglena was trained as flagellate."
        in dupekit("explain", "euglena/0001.png", "-p", viewed.path).stdout
    )
    left_out = viewed.explain("bubble/0000.png")
    assert left_out.counted is None
    assert left_out.why == "It is no image of round 1, whose class view leaves bubble out."


def test_a_report_shows_the_view_and_the_dataset_s_own_classes(viewed: Project) -> None:
    page = viewed.report().file.read_text()
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    assert data["labels"] == OWN
    facts = dict(data["facts"])
    assert dict(facts["Class view, by the column new name: trained as"]) == {
        "flagellate": "euglena", "protist": "amoeba, ciliate", "left out": "bubble",
    }  # fmt: skip
    cells = {(data["labels"][given], data["labels"][said]) for given, said, _ in data["confusion"]["cells"]}
    assert cells == {(label, label) for label in OWN} | {("diatom", "amoeba"), ("amoeba", "euglena")}
    assert viewed.class_sheets().classes == 4


def test_small_classes_are_counted_together(data: Path, tmp_path: Path, fast) -> None:
    for name in ("rare", "rarer"):
        (data / name).mkdir()
        shutil.copy(data / "bubble" / f"000{len(name) - 3}.png", data / name)
    project = Project.create(data, tmp_path / "project")
    assert [one.name for one in project.scan().not_assessable] == ["rare", "rarer"]
    table = write(tmp_path, VIEW + "rare,few\nrarer,few\n")
    planned = project.train(Choices(class_config=table, **fast), dry_run=True)
    assert (planned.classes, planned.not_assessable) == (4, [])
    planned = project.train(Choices(class_config=table, class_min=11, **fast), dry_run=True)
    assert [(one.name, one.different) for one in planned.not_assessable] == [("few", 2)]
    with pytest.raises(
        DatasetError,
        match=r"Only 1 classes, as the class configuration has them, have at least 20 .*\n?Give two or more new names",
    ):
        project.train(Choices(class_config=table, class_min=20, **fast))


def test_settings_name_the_table(scanned: Project, tmp_path: Path, fast) -> None:
    write(
        scanned.path,
        VIEW.replace("new name", "new name,other").replace("\n", ",1\n").replace("other,1", "other"),
    )
    toml = scanned.path / "dupekit.toml"
    toml.write_text(toml.read_text() + '\nclass_config = "classes.csv"\nclass_column = "new name"\n')
    project = Project(scanned.path)
    assert project.train(Choices(**fast), dry_run=True).classes == 3
    assert project.train(Choices(class_column="Other", **fast), dry_run=True).classes == 5
    assert project.train(Choices(class_config="", **fast), dry_run=True).classes == 5
    said = dupekit("train", *FAKES, "--class-config", "", "--dry-run", "-p", project.path).stdout
    assert "in 5 classes" in said
    assert project.scan().not_assessable == []
    with pytest.raises(UsageError, match="The column 'other' of new names is asked for, and no table"):
        project.train(Choices(class_config="", class_column="other", **fast))


WRONG_TABLES = {
    "an unknown class": (
        VIEW + "cilate,\n",
        "line 7: the dataset has no class 'cilate'; did you mean 'ciliate'",
    ),
    "a missing class": (VIEW.replace("bubble,\n", ""), r"the class 'bubble' has no row \(8 images\)"),
    "a class twice": (VIEW + "bubble,\n", "line 7: the class 'bubble' stands in line 3 already"),
    "no choice": (VIEW.replace("new name", "a,b"), "several columns of new names: 'a', 'b'"),
    "nothing": ("", "has no column of new names"),
}


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_a_wrong_table_is_named_and_nothing_is_written(
    scanned: Project, table: Path, what: str, fast
) -> None:
    text, message = WRONG_TABLES[what]
    table.write_text(text)
    before = tree_state(scanned.path)
    said = dupekit("train", *FAKES, "--class-config", table, "-p", scanned.path, code=2).stderr
    assert re.search(message, " ".join(said.split()))
    assert "classes.csv" in said
    assert {path: content for path, (content, _) in tree_state(scanned.path).items() if path != "lock"} == {
        path: content for path, (content, _) in before.items() if path != "lock"
    }
    assert scanned.status().round is None


def test_each_run_draws_its_own_images_of_a_class_with_too_many(scanned: Project, table: Path, fast) -> None:
    done = scanned.train(Choices(pairs=2, class_config=table, class_max=5, **fast))
    assert done.failed == []
    predicted = Counter(one.path for one in scanned.predictions())
    assert {*predicted.values()} == {2}
    assert len(predicted) == 49
    for run in ("p01-a", "p01-b", "p02-a", "p02-b"):
        result = job(scanned, run, "result.json")
        assert (job(scanned, run, "job.json")["class_max"], result["images_trained"]) == (5, 15)
        assert result["notes"]["smallest_class"] == 5
        assert result["images_predicted"] in (24, 25)
    with pytest.raises(UsageError, match="Round 1 was begun with class_max 5, not 6"):
        scanned.train(Choices(class_max=6, **fast))
    assert scanned.train(Choices(class_max=5, **fast)).todo == []


def test_without_a_cap_all_are_trained_on(viewed: Project) -> None:
    assert job(viewed, "p01-a", "job.json")["class_max"] is None
    assert job(viewed, "p01-a", "result.json")["images_trained"] in (24, 25)


def test_what_a_training_says_of_its_view(scanned: Project, table: Path, fast) -> None:
    options = (*FAKES, "--class-config", table, "-p", scanned.path)
    said = dupekit("train", *options, "--dry-run").stdout
    assert "49 images in 3 classes" in said
    assert "trained as\tclasses\nflagellate\teuglena\nprotist\tamoeba, ciliate\n" in said
    assert "left out are bubble" in said
    plan = parsed("train", *options, "--pairs", 1)["plan"]
    assert plan["view"]["classes"] == {
        "amoeba": "protist", "bubble": None, "ciliate": "protist", "diatom": "diatom", "euglena": "flagellate",
    }  # fmt: skip
    assert parsed("status", "-p", scanned.path)["round"]["plan"]["view"] == plan["view"]


def test_the_page_on_classes_runs(tmp_path: Path, fast) -> None:
    text = (Path(__file__).parents[2] / "docs" / "classes.md").read_text()
    for name, table in zip(
        ("classes.csv", "groupings.csv"), re.findall(r"(?s)```csv\n(.*?)```", text), strict=True
    ):
        write(tmp_path, table, name)
    data = make_dataset(
        tmp_path / "data", classes=("amoeba", "bubble", "ciliate", "diatom", "diatom_chain"), per_class=4
    )
    project = Project.create(data, tmp_path / "project")
    project.scan()
    toml = project.path / "dupekit.toml"
    toml.write_text(toml.read_text() + '\ntrainer = "fake"\nvalidator = "fake"\n')
    classes = {"new name": ["diatom", "protist"], "shapes": ["long", "round"], "all": sorted(
        ["amoeba", "bubble", "ciliate", "diatom", "diatom_chain"]), "no chains": ["amoeba", "ciliate", "diatom"]}  # fmt: skip
    commands = [line.split() for line in re.findall(r"(?m)^    dupekit (.*)$", text)]
    assert len(commands) == 3
    for command in commands:
        parsed(*command, "--dry-run", "-p", project.path, cwd=tmp_path)
    for column, names in classes.items():
        table = tmp_path / ("classes.csv" if column == "new name" else "groupings.csv")
        choices = Choices(pairs=1, class_config=table, class_column=column)
        assert Project(project.path).train(choices, dry_run=True).classes == len(names)


def test_classes_may_be_called_anything(tmp_path: Path, fast) -> None:
    names = ("a\\b", "c\nd", "é ü", "=x", 'q"u,o;te', "two  spaces", "1", "0")
    data = make_dataset(tmp_path / "data", classes=names, per_class=6)
    project = Project.create(data, tmp_path / "project")
    project.scan()
    labels = [escape(name) for name in names]
    rows = [*zip(labels, ["m", "m", *labels[2:]], strict=True)]
    table = write(tmp_path, table_text(("class", "new name"), rows))
    assert project.train(Choices(pairs=1, class_config=table, **fast)).failed == []
    of_round = images_of(project)
    assert {*of_round["classes"]} == {"m", *labels[2:]}
    assert {*of_round["folders"]} == {labels[0], *labels[2:]}
    assert {*project.scores().given} == {*labels}


@pytest.mark.slow
def test_the_probe_trains_by_a_view(scanned: Project, table: Path) -> None:
    pytest.importorskip("torch", reason="trains with the probe")
    choices = Choices(pairs=2, trainer="probe", options={"image_size": 64}, class_config=table, class_max=5)
    done = scanned.train(choices)
    assert (done.failed, done.classes) == ([], 3)
    assert job(scanned, "p01-a", "result.json")["images_trained"] == 15
    scores = scanned.scores()
    assert len(scores) == 49
    assert {*scores.given, *scores.suggested} <= {*OWN}
    assert scanned.export(selection=Selection(limit=4)).manifest.files


def test_evaluate_trains_and_tests_under_the_view(viewed: Project, tmp_path: Path) -> None:
    tree = viewed.export(selection=Selection(everything=True)).tree
    for folder in tree.glob("[!._]*"):
        folder.rename(tree / "_done" / folder.name)
    viewed.collect(confirm=lambda _: True)
    viewed.apply(tmp_path / "fixed")
    test = make_dataset(tmp_path / "test", classes=tuple(SIZES), per_class=6, seed=77)
    found = viewed.evaluate(test=test)
    assert {one.name: one.tested for one in found.classes} == {"protist": 12, "diatom": 6, "flagellate": 6}
    assert {one.reason for one in found.left_out} == {"the round leaves the class bubble out"}
    assert len(found.left_out) == 6
    assert found.relabelled == 2  # within protist nothing is another
    assert {one.name: (one.images_before, one.images_after) for one in found.classes}["diatom"] == (13, 12)
    by_folds = viewed.evaluate()
    assert {one.name for one in by_folds.classes} == {"protist", "diatom", "flagellate"}
    assert by_folds.relabelled == 2
