"""The commands as a user types them: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from dupekit.ledger import Ledger, rounds
from tests.support import CLASSES, dupekit, on_terminal, parsed

FAST = ["--trainer", "fake", "--validator", "fake"]


def test_the_loop_by_commands(dataset, tmp_path, fast) -> None:
    project = tmp_path / "project"
    said = dupekit("init", dataset, "-p", project).stdout
    assert "amoeba\t12" in said
    assert f"Next: dupekit train -p {project}" in said
    assert "0 files read" in dupekit("scan", cwd=project).stdout
    assert "36 files read, 0 of them with another content" in dupekit("scan", "--all", cwd=project).stdout
    said = dupekit("train", "--pairs", 3, *FAST, "--set", "size_px=6", cwd=project).stdout
    assert "Round 1: 36 images in 3 classes, 3 pairs, 6 runs to do." in said
    assert "Trainer fake, validator fake, executor local, device auto, seed 0, split redraw." in said
    assert "6 of 6 runs are done" in said

    flagged = parsed("flag", cwd=project)
    assert {name: flagged[name] for name in ("round", "pairs", "rule", "threshold")} == {
        "round": 1, "pairs": 3, "rule": "score", "threshold": None,
    }  # fmt: skip
    assert {dupe["path"]: dupe["suggested"] for dupe in flagged["dupes"]} == {
        "amoeba/wrong_diatom.png": "diatom",
        "ciliate/wrong_amoeba.png": "amoeba",
    }
    assert set(flagged["dupes"][0]) == {
        "path", "given", "suggested", "votes", "score", "probability_given", "probability_suggested", "contradicted",
    }  # fmt: skip
    said = dupekit("flag", cwd=project).stdout
    assert "amoeba/wrong_diatom.png\tdiatom\t3\t" in said
    assert "By votes\nvotes\tsuspects\t\n3\t2\t" in said
    assert "By class pair, with at least 2\ngiven\tsuggested\tsuspects\n\n" in said
    assert (
        "Round 1: 2 suspects by score (above 0); by votes (3 of 3 for one wrong class) there would be 2."
        " 2 images wait for review. Next: dupekit export\n"
    ) in said
    said = dupekit("flag", "--all", cwd=project).stdout
    assert "amoeba\tdiatom\t1\nciliate\tamoeba\t1\n" in said
    assert "Name one of the two only" in dupekit("flag", "--all", "--top", 1, cwd=project, code=2).stderr
    shown = dupekit("flag", "--top", 1, cwd=project).stdout.partition("By votes")[0]
    assert shown.count(".png\t") == 1  # asked for, in a pipe, too
    flagged = parsed("flag", "--threshold", 3, cwd=project)
    assert (flagged["rule"], flagged["threshold"], len(flagged["dupes"])) == ("votes", 3, 2)

    tree = tmp_path / "tree"
    assert f"2 images to review in {tree}" in dupekit("export", tree, cwd=project).stdout
    assert "A tree is out, with 2 of 2 images open" in dupekit("flag", cwd=project).stdout
    (tree / "ciliate" / "amoeba_03_wrong_amoeba.png").unlink()
    (tree / "amoeba" / "diatom_03_wrong_diatom.png").rename(tree / "_done" / "diatom_03_wrong_diatom.png")
    collected = parsed("collect", "--yes", cwd=project)
    assert collected["verdicts"] == [
        {"path": row["path"], "given": row["given"], "verdict": verdict, "label": label}
        for row in flagged["dupes"]
        for verdict, label in [("correct", "ciliate") if row["given"] == "ciliate" else ("relabel", "diatom")]
    ]
    assert "amoeba\tdiatom\t1" in dupekit("collect", tree, cwd=project).stdout
    assert "1 relabelled, 0 expunged" in dupekit("apply", tmp_path / "fixed", cwd=project).stdout
    assert (tmp_path / "fixed" / "diatom" / "wrong_diatom.png").is_file()

    said = dupekit("status", cwd=project).stdout
    assert "round\t1: 3 of 3 pairs\n" in said
    assert "suspects\t2 with 3 or more votes\n" in said
    assert "verdicts\t1 right, 1 to relabel\n" in said
    assert f"corrected\t{tmp_path / 'fixed'}\n" in said
    assert said.endswith("Everything is decided and applied. Next: dupekit next\n")
    said = dupekit("status", "--all", cwd=project).stdout
    assert "1\tvotes\t2\t2\t1\t0.500\n" in said
    assert "By votes, round 1\nvotes\treviewed\twrong\tshare\n3\t2\t1\t0.500\n" in said
    assert "amoeba\tdiatom\t1\t1\t1.000\nciliate\tamoeba\t1\t0\t0.000\n" in said
    assert parsed("status", cwd=project)["acceptance"]["by_votes"] == [
        {"votes": 3, "reviewed": 2, "accepted": 1, "share": 0.5}
    ]
    assert "ciliate/wrong_amoeba.png" in dupekit("ignore", "list", cwd=project).stdout
    assert dupekit("ignore", "remove", "ciliate/wrong_amoeba.png", cwd=project).stdout == "1 removed.\n"
    assert dupekit("ignore", "add", "ciliate/wrong_amoeba.png", cwd=project).stdout == "1 added.\n"
    said = dupekit("ignore", "add", "ciliate/wrong_amoeba.png", cwd=project).stdout
    assert said == "0 added. 1 was on the list already.\n"
    said = dupekit("undo", cwd=project).stdout
    assert "1 correction applied" in said
    assert "No file on disk was touched" in said
    assert f"lies in {tmp_path / 'fixed'}" in said
    assert "Took back 2 verdicts collected on " in dupekit("undo", cwd=project).stdout
    assert "There is no step to take back" in dupekit("undo", cwd=project, code=3).stderr
    assert dupekit("history", cwd=project).stdout.count("\tapply\t") == 1
    assert "\tcorrect ciliate\t" in dupekit("history", "ciliate/wrong_amoeba.png", cwd=project).stdout
    dupekit("collect", cwd=project)
    dupekit("apply", tmp_path / "fixed again", cwd=project)
    assert f"on {tmp_path / 'fixed again'}" in dupekit("next", cwd=project).stdout
    assert parsed("status", cwd=project)["round"]["closed"]


def test_export_says_what_went_out_and_what_waits(trained, tmp_path) -> None:
    said = dupekit(
        "export", "--limit", 1, "--audit", 2, "--order", "rank", "--enlarge", "auto", "-p", trained.path
    )
    tree = trained.path / "rounds/01/dupes"
    assert (
        f"3 images to review in {tree}, 2 of them drawn for the audit. Copies are enlarged 4 times.\n"
        in said.stdout
    )
    assert "1 suspect more waits for the next export." in said.stdout
    assert {path.name[:2] for path in tree.glob("[!._]*/*")} == {"1_", "2_", "3_"}
    made = parsed("export", tmp_path / "tree", "--only-flagged-classes", "--all", "-p", trained.path)
    assert (made["tree"], made["waiting"], len(made["manifest"]["files"])) == (str(tmp_path / "tree"), 0, 1)
    said = dupekit("export", "-p", trained.path, code=3).stderr
    assert f"3 without a verdict in {tree}; 1 without a verdict in {tmp_path / 'tree'}" in said
    next((tmp_path / "tree").glob("[!._]*/*.png")).unlink()
    dupekit("collect", tmp_path / "tree", "--yes", "-p", trained.path)
    again = parsed("export", "--again", "unsure,correct", "--sample", 5, "-p", trained.path)
    assert len(again["manifest"]["files"]) == 1
    for options, why in (
        (["--enlarge", "big"], "'big' is neither auto nor a whole number"),
        (["--order", "votes"], "--order"),
        (["--again", "all,open"], "no verdict 'open'"),
        (["--limit", 3, "--all"], "`--limit` names a number"),
    ):
        assert why in dupekit("export", *options, "-p", trained.path, code=2).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_on_a_terminal_flag_fits_a_screen(noisy_rows, tmp_path) -> None:
    """Long names, and many suspects and class pairs: 80 columns, and at most as many lines as a large screen has."""
    command = [sys.executable, "-m", "dupekit", "flag", "-p", str(noisy_rows.path)]
    output = b""
    with on_terminal(command) as (process, read):
        while chunk := read():
            output += chunk
        process.wait(30)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", output).decode().replace("\r", "")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 56
    assert "These are the first 20 of 300: --all shows all of them" in text
    assert "These are the first 10 of" in text
    assert "Round 1: 300 suspects by score (above 0)" in text


@pytest.fixture
def noisy_rows(project):
    """A project whose ledger says of 300 images with long names that they are suspects."""
    with Ledger(project.path / "ledger.db") as ledger:
        plan = '{"trainer":{"name":"fake"}}'
        rounds.begin(ledger, number=1, dataset=str(project.dataset), pairs=10, images=300, plan=plan)
        with ledger.write() as db:
            db.executemany(
                "INSERT INTO classes (id, name) VALUES (?, ?)",
                [(100 + number, f"{'a long name of a class ' * 3}{number}") for number in range(15)],
            )
            db.executemany(
                "INSERT INTO images VALUES (?, ?, ?, 1, 1, ?, 9, 9, 'L', 'ok', '')",
                [(1000 + n, f"{'x' * 90}{n}.png", 100 + n % 15, f"{n:064x}") for n in range(300)],
            )
            db.execute(
                "INSERT INTO tallies SELECT 1, id, class, digest, 10, 100 + (id * 7 + 3) % 15, 1 + id % 10, 0.1, 0.8, 0.8, id, 0"
                " FROM images WHERE id >= 1000"
            )
            db.execute("UPDATE rounds SET tallied_pairs = 10")
            db.execute("UPDATE runs SET state = 'done'")
    return project


@pytest.mark.parametrize("command", ["status", "scan", "train", "ignore list", "plugins list"])
def test_json_is_one_document_and_nothing_else(project, fast, command) -> None:
    extra = ["--dry-run", *FAST] if command == "train" else []
    where = [] if command.startswith("plugins") else ["-p", project.path]
    done = dupekit(*command.split(), *where, *extra, "--json")
    json.loads(done.stdout)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["flag"], 3, "No round has been begun yet.\nRun `dupekit train`."),
        (["export"], 3, "No round has been begun"),
        (["collect"], 3, "No round has been begun"),
        (["watch"], 3, "No round has been begun"),
        (["train", "--trainer", "prob"], 2, "Did you mean probe?"),
        (["train", "--trainer", "fake", "--validator", "fake", "--set", "size"], 2, "not KEY=VALUE"),
        (["train", "--pairs", "0"], 2, "--pairs"),
        (["train", "--nope"], 2, "--nope"),
        (["ignore", "add", "amoeba/none.png"], 2, "The dataset has no image amoeba/none.png"),
        (["plugins", "show", "nope"], 2, "no plugin 'nope'"),
        (["nope"], 2, "nope"),
    ],
)
def test_exit_codes_and_hints(project, fast, arguments, code, said) -> None:
    done = dupekit(*arguments, cwd=project.path, code=code)
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file."),
        (lambda path: path.mkdir(), "no class folders"),
    ],
)
def test_bad_datasets_leave_no_project(tmp_path, make, said) -> None:
    make(tmp_path / "data")
    assert said in dupekit("init", tmp_path / "data", "-p", tmp_path / "p", code=2).stderr
    assert not (tmp_path / "p").exists()


def test_outside_a_project_it_says_where_to_go(tmp_path) -> None:
    assert "make one with `dupekit init" in dupekit("status", cwd=tmp_path, code=2).stderr


def test_a_run_that_failed_gives_exit_code_1(project, fast) -> None:
    done = dupekit(
        "train", "--pairs", 2, "--trainer", "broken", "--validator", "fake", cwd=project.path, code=1
    )
    assert "p02-a" in done.stdout
    assert "it broke" in done.stderr
    said = dupekit("flag", cwd=project.path).stderr
    assert "Only 1 of 2 pairs are complete" in said


def test_names_that_could_break_a_terminal_do_not(dataset, tmp_path) -> None:
    (dataset / "[bold]x\x1b[31m\n").mkdir()
    said = dupekit("init", dataset, "-p", tmp_path / "p").stdout
    assert "\x1b" not in said
    assert r"[bold]x\u001b[31m\n" in said


def test_on_a_terminal_there_are_tables_and_bars(project, fast) -> None:
    command = [sys.executable, "-m", "dupekit", "train", "--pairs", "1", *FAST]
    output = b""
    with on_terminal(command, cwd=project.path) as (process, read):
        while chunk := read():
            output += chunk
        process.wait(30)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", output).decode()
    assert process.returncode == 0
    assert "runs" in text
    assert "2/2" in text
    assert "━" in text


def test_ctrl_c_ends_training_with_130_and_keeps_what_is_done(project, fast) -> None:
    command = [sys.executable, "-m", "dupekit", "train", "--pairs", "20", *FAST]
    with subprocess.Popen(
        command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        runs = project.path / "rounds" / "01" / "runs"
        assert process.stdout is not None
        process.stdout.readline()
        while not list(runs.glob("*/result.json")) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on from there" in said
    done = parsed("train", *FAST, cwd=project.path)
    assert len(done["todo"]) < 40
    assert done["failed"] == []


def test_watch_with_and_without_a_project(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    for where, after in (
        (["-p", trained.path], trained.folder_of(trained.tree()[0]) / "after.txt"),
        ([], tree / ".dupekit/after.txt"),
    ):
        command = [sys.executable, "-m", "dupekit", "watch", *map(str, [tree, *where])]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=30)
        assert f"watching {tree}: 0 of 2 reviewed (0 done, 0 right, 0 expunge, 0 unsure), 2 open" in first
        assert process.returncode == 0
        assert "stopped; after.txt is current" in rest
        assert len(after.read_text().splitlines()) == 2


def test_help_is_there_for_every_command() -> None:
    said = dupekit("--help").stdout
    for command in (
        "init",
        "scan",
        "train",
        "status",
        "flag",
        "export",
        "review",
        "watch",
        "withdraw",
        "collect",
        "undo",
        "apply",
        "next",
        "demo",
    ):
        assert f"\n  {command} " in said
        assert "--help" in dupekit(command, "--help").stdout
    for group in ([], ["ignore"], ["plugins"]):
        assert "..." not in dupekit(*group, "--help", columns=80).stdout.partition("Commands:")[2]  # cut off
    assert dupekit("--version").stdout.startswith("dupekit 0.")


def test_plugins_are_shown_and_checked(fast) -> None:
    assert "fake" in dupekit("plugins", "list").stdout
    assert "size_px\ta whole number from 1 to 1024\t8" in dupekit("plugins", "show", "fake").stdout
    said = dupekit("plugins", "check", "fake").stdout
    assert "The trainer fake keeps its contract (checked with validator fake)." in said
    assert "The validator fake keeps its contract (checked with trainer fake)." in said
    assert "The executor local keeps its contract" in dupekit("plugins", "check", "local").stdout


def test_the_ignore_list_as_a_file_and_through_pipes(dataset, tmp_path) -> None:
    dupekit("init", dataset, "-p", tmp_path / "project")
    dupekit("init", dataset, "-p", tmp_path / "other")
    dupekit("ignore", "add", "amoeba/0003.png", "-p", tmp_path / "project")
    file = tmp_path / "list.csv"
    assert "1 entry" in dupekit("ignore", "export", file, "-p", tmp_path / "project").stdout
    before = file.read_bytes()
    assert "exists already" in dupekit("ignore", "export", file, "-p", tmp_path / "other", code=2).stderr
    assert file.read_bytes() == before
    assert dupekit("ignore", "export", "-", "-p", tmp_path / "project").stdout.encode() == before
    piped = subprocess.run(
        [sys.executable, "-m", "dupekit", "ignore", "import", "-", "-p", tmp_path / "other"],
        input=before + b"f" * 64 + b",Noctiluca,,\n", capture_output=True, check=True,
    )  # fmt: skip
    assert piped.stdout.decode().splitlines() == [
        "2 added, 0 on the list already.",
        "1 of them are of Noctiluca, which is no class of this dataset.",
    ]
    assert parsed("ignore", "import", file, "-p", tmp_path / "other")["known"] == 1
    file.write_bytes(before + b"f,amoeba,,\n")
    assert (
        "line 3: 'f' is no digest"
        in dupekit("ignore", "import", file, "-p", tmp_path / "other", code=2).stderr
    )
    said = dupekit("ignore", "import", tmp_path / "none.csv", "-p", tmp_path / "other", code=2).stderr
    assert f"{tmp_path / 'none.csv'} cannot be read: No such file" in said


def test_json_of_collect_and_apply_tells_all(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    (tree / "ciliate" / "amoeba_03_wrong_amoeba.png").rename(tree / "_expunge" / "it.png")
    (tree / "amoeba" / "diatom_03_wrong_diatom.png").rename(tree / "_done" / "other.png")
    event = {"at": "2026-01-01T00:00:00+00:00", "kind": "moved", "path": "a", "target": "b"}
    (tmp_path / "tree/.dupekit/events.jsonl").write_text(json.dumps(event) + "\n")
    (tmp_path / "tree/.dupekit/before.txt").unlink()
    collected = parsed("collect", "-p", trained.path)
    assert (collected["events"], collected["changed"], collected["overruled"]) == (1, 2, [])
    (remark,) = collected["remarks"]
    assert "before.txt cannot be read" in remark
    applied = parsed("apply", tmp_path / "fixed", "-p", trained.path)
    assert applied["expunged"] == ["ciliate/wrong_amoeba.png"]
    assert [(c["path"], c["new_label"]) for c in applied["corrections"]] == [
        ("amoeba/wrong_diatom.png", "diatom"), ("ciliate/wrong_amoeba.png", None),
    ]  # fmt: skip


def test_a_late_collect_lists_only_what_was_not_applied_so(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    trained.collect(finished=CLASSES)
    (trained.dataset / "amoeba/wrong_diatom.png").rename(trained.dataset / "amoeba/renamed.png")
    trained.scan()
    trained.apply(tmp_path / "fixed")
    trained.next_round()
    said = dupekit("collect", tree, "-p", trained.path).stdout
    assert "not changed any more" not in said
    assert "2 to relabel" in said
    (tree / "ciliate" / "amoeba_03_wrong_amoeba.png").unlink()  # it was right, and is in amoeba now
    (tree / "amoeba" / "diatom_03_wrong_diatom.png").rename(tree / "_expunge" / "it.png")
    said = dupekit("collect", tree, "-p", trained.path).stdout
    assert (
        "Otherwise than applied, but not changed any more\ngiven\tdecided\timages\n"
        "amoeba\t(expunge)\t1\nciliate\tciliate\t1\n"
    ) in said
    late = parsed("collect", tree, "-p", trained.path)["too_late"]
    assert sorted(late) == ["amoeba/wrong_diatom.png", "ciliate/wrong_amoeba.png"]


def test_a_round_that_ended_unapplied_lists_all(trained, tmp_path) -> None:
    trained.flag(threshold=3)
    tree = trained.export(tmp_path / "tree").tree
    trained.collect(finished=CLASSES)
    trained.next_round(drop=True)
    said = dupekit("collect", tree, "-p", trained.path).stdout
    assert "amoeba\tdiatom\t1\nciliate\tamoeba\t1\n" in said
