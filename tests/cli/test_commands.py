"""Every command on a small workspace: what it prints, for people and machines, and how it ends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

import wayline
from cli.cli_shop import here, outside, write_orders, write_products
from wayline.cli.app import app
from wayline.config import template

Capture = pytest.CaptureFixture[str]


def test_a_csv_with_names_of_its_own_becomes_a_feed(tmp_path: Path) -> None:
    write_orders(tmp_path / "orders.csv")

    def command(*arguments: str) -> str:
        done = outside(*arguments, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        return done.out

    assert "Made the workspace shop" in command("init", "shop")
    imported = command("import", "orders.csv", "-w", "shop", "--map", "ts=ordered")
    assert "orders.csv (actions)" in imported
    assert "ts=ordered" in imported
    assert "user_id=client (guessed)" in imported
    assert "accepted 160, duplicates 0, rejected 0" in imported
    feed = json.loads(command("feed", "c1", "-w", "shop", "--json", "--limit", "3"))
    assert len(feed["items"]) == 3  # it built by itself


def test_init_writes_the_commented_settings_and_data(tmp_path: Path, capsys: Capture) -> None:
    result = here(capsys, "init", tmp_path / "a" / "b", "--json")
    assert result.json == {"workspace": str(tmp_path / "a" / "b")}
    assert (tmp_path / "a" / "b" / "wayline.toml").read_text() == template()
    assert (tmp_path / "a" / "b" / "data").is_dir()


def test_importing_a_file_again_adds_nothing(shop: Path, tmp_path: Path, capsys: Capture) -> None:
    again = here(
        capsys, "import", tmp_path / "orders.csv", "-w", shop, "--map", "ts=ordered", "--json"
    )
    report = again.json["files"][0]
    assert (again.code, again.err) == (0, "")
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (0, 160, 0)
    assert report["rejects_file"] is None


def test_refused_rows_are_shown_and_written_to_a_file(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "log.csv"
    bad = "".join(f"u{n},x,never\n" for n in range(9))
    file.write_text(f"user_id,item_id,ts\nu1,x,2024-01-01\n{bad}")
    result = here(capsys, "import", file, "-w", workspace)
    assert result.code == 0
    assert "accepted 1, duplicates 0, rejected 9" in result.out
    assert result.out.count("  row ") == 5  # the first reasons
    (rejects,) = (workspace / "data").glob("rejects-*.jsonl")
    assert str(rejects) in result.out
    rows = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(1, 10))
    assert {row["field"] for row in rows} == {"ts"}


def test_an_import_of_which_nothing_is_usable_ends_with_1(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,ts\nu1,x,never\n")
    assert here(capsys, "import", tmp_path / "log.csv", "-w", workspace).code == 1


def test_a_file_with_a_torn_tail_keeps_what_came_before_and_ends_with_1(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    whole = gzip.compress(write_orders(tmp_path / "orders.csv", people=2000).read_bytes())
    (tmp_path / "torn.csv.gz").write_bytes(whole[: len(whole) // 2])
    file = tmp_path / "torn.csv.gz"
    result = here(capsys, "import", file, "-w", workspace, "--map", "ts=ordered", "--json")
    report = result.json["files"][0]
    assert result.code == 1
    assert report["torn"]
    assert 0 < report["accepted"] < 16_000


def test_actions_without_a_worth_are_named(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "log.csv").write_text("user,item,time,event\nu1,x,2024-01-01,lick\n")
    result = here(capsys, "import", tmp_path / "log.csv", "-w", workspace)
    assert result.code == 0
    assert "lick" in result.err


def test_items_are_told_from_actions_by_name_or_columns(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    write_products(tmp_path / "products.csv")
    (tmp_path / "stuff.csv").write_text("sku,name\nq1,A thing\n")
    for name in ("products.csv", "stuff.csv"):
        result = here(capsys, "import", tmp_path / name, "-w", workspace, "--json")
        assert result.json["files"][0]["kind"] == "items"
    given = here(capsys, "import", tmp_path / "stuff.csv", "-w", workspace, "--kind", "actions")
    assert (given.code, given.out) == (2, "")


def test_actions_whose_time_has_an_odd_name_do_not_become_items(
    workspace: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "clicks.csv"
    file.write_text("visitor,sku,clicked_at\nv1,x,2024-01-01\n")
    odd = here(capsys, "import", file, "-w", workspace)
    assert (odd.code, odd.out) == (2, "")
    assert "--map ts=" in odd.error_line
    said = here(capsys, "import", file, "-w", workspace, "--map", "ts=clicked_at")
    assert "clicks.csv (actions)" in said.out


def test_build_says_what_it_made(shop: Path, capsys: Capture) -> None:
    made = here(capsys, "build", "-w", shop)
    assert "20 users" in made.out
    assert "160 actions" in made.out
    earlier = here(capsys, "build", "-w", shop, "--until", "2024-01-03T12:00:00Z", "--json").json
    assert earlier["actions"] < 160


def test_show_user_prints_interests_with_titles_and_newest_actions(
    shop: Path, capsys: Capture
) -> None:
    text = here(capsys, "show", "user", "c1", "-w", shop).out
    assert "Interests of c1" in text
    assert "garden lamp" in text or "red mug" in text or "wool scarf" in text
    assert "Newest actions of c1" in text
    answer = here(capsys, "show", "user", "c1", "-w", shop, "--limit", "2", "--json").json
    assert len(answer["actions"]) == 2
    assert answer["interests"]


def test_show_history_prints_the_three_sequences(shop: Path, capsys: Capture) -> None:
    here(capsys, "feed", "c1", "-w", shop)
    text = here(capsys, "show", "user", "c1", "-w", shop, "--history").out
    for name in ("lifelong:", "real-time:", "impression: 20 tokens"):
        assert name in text
    answer = here(capsys, "show", "user", "c1", "-w", shop, "--history", "--json").json
    assert answer["sequences"]["lifelong"][-1]["actions"]


def test_an_interest_is_steered_and_a_feed_explained(shop: Path, capsys: Capture) -> None:
    interest = here(capsys, "show", "user", "c1", "-w", shop, "--json").json["interests"][0]["id"]
    text = here(capsys, "interest", "c1", interest, "-w", shop, "--mute", "--label", "Mine").out
    assert "Mine (muted)" in text
    result = here(capsys, "interest", "c1", interest, "-w", shop, "--boost", "99")
    assert (result.code, "boost" in result.err) == (2, True)
    request = here(capsys, "feed", "c1", "-w", shop, "--json").json["request_id"]
    text = here(capsys, "explain", "feed", request, "-w", shop).out
    for part in ("Interests behind it", "Candidates:", "made of"):
        assert part in text
    assert here(capsys, "explain", "feed", request, "-w", shop, "--json").json["impressions"]
    assert here(capsys, "explain", "feed", "nothing", "-w", shop).code == 2


def test_show_user_of_a_stranger_says_so(shop: Path, capsys: Capture) -> None:
    result = here(capsys, "show", "user", "nobody", "-w", shop)
    assert result.code == 0
    assert "no actions of nobody" in result.out


def test_show_item_prints_the_item_and_its_neighbours(shop: Path, capsys: Capture) -> None:
    text = here(capsys, "show", "item", "p4", "-w", shop).out
    assert "garden lamp 4" in text
    assert "Similar items" in text
    assert here(capsys, "show", "item", "p4", "-w", shop, "--json").json["similar"]


def test_feed_prints_titles_scores_and_reasons(shop: Path, capsys: Capture) -> None:
    text = here(capsys, "feed", "c1", "-w", shop, "--limit", "5").out
    assert "because" in text
    answer = here(capsys, "feed", "c1", "-w", shop, "--limit", "5", "--json").json
    assert len(answer["items"]) == 5
    assert "new here" in here(capsys, "feed", "nobody", "-w", shop).out


def test_a_title_with_markup_is_printed_as_it_is(shop: Path, capsys: Capture) -> None:
    engine = wayline.open(shop)
    engine.add_items([{"item_id": "p4", "title": "[bold]lamp[/bold] :sparkles: [/x]"}])
    engine.close()
    text = here(capsys, "show", "item", "p4", "-w", shop).out
    assert "[bold]lamp[/bold] :sparkles: [/x]" in text


def test_forget_removes_a_person(shop: Path, capsys: Capture) -> None:
    removed = here(capsys, "forget", "c1", "-w", shop, "--json").json["removed"]
    assert removed["actions"] == 8
    assert here(capsys, "show", "user", "c1", "-w", shop, "--json").json["actions"] == []
    assert "nothing was stored" in here(capsys, "forget", "c1", "-w", shop).out


def test_export_gives_json_to_stdout_or_a_file(shop: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "p" in json.dumps(here(capsys, "export", "c1", "-w", shop).json)
    assert here(capsys, "export", "-w", shop, "--out", tmp_path / "all.json").code == 0
    assert json.loads((tmp_path / "all.json").read_text())


def test_a_backup_restores_to_a_workspace_that_answers(
    shop: Path, tmp_path: Path, capsys: Capture
) -> None:
    made = here(capsys, "backup", tmp_path / "copy", "-w", shop, "--json").json["backup"]
    restored = here(capsys, "restore", made, tmp_path / "again", "--json")
    assert restored.json == {"workspace": str(tmp_path / "again")}
    first = here(capsys, "show", "user", "c2", "-w", shop, "--json").json
    assert here(capsys, "show", "user", "c2", "-w", tmp_path / "again", "--json").json == first
    assert here(capsys, "doctor", "-w", tmp_path / "again").code == 0


def test_rollback_goes_back_to_the_build_before(shop: Path, capsys: Capture) -> None:
    first = here(capsys, "doctor", "-w", shop, "--json").json["stats"]["generation"]
    here(capsys, "build", "-w", shop)
    assert here(capsys, "rollback", "-w", shop, "--json").json["id"] == first


def test_doctor_finds_nothing_in_a_sound_workspace(shop: Path, capsys: Capture) -> None:
    result = here(capsys, "doctor", "-w", shop)
    assert (result.code, result.err) == (0, "")
    assert "20 users" in result.out


def test_doctor_ends_with_1_when_something_is_wrong(
    shop: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wayline.Engine, "doctor", lambda self, leaks: ["a file is gone"])
    people = here(capsys, "doctor", "-w", shop)
    assert (people.code, people.out) == (1, "problem: a file is gone\n")
    machines = here(capsys, "doctor", "-w", shop, "--json")
    assert (machines.code, machines.json["problems"]) == (1, ["a file is gone"])


def test_version_is_the_package_s(capsys: Capture) -> None:
    assert here(capsys, "version").out == f"wayline {wayline.__version__}\n"
    assert here(capsys, "version", "--json").json == {"version": wayline.__version__}


def test_every_command_takes_json_and_says_what_it_does(capsys: Capture) -> None:
    names = [
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    ]
    for arguments in [[name] for name in names] + [["show", "user"], ["show", "item"]]:
        text = here(capsys, *arguments, "--help").out
        assert "--json" in text
        assert len(text.split("Usage")[1].splitlines()) > 3


def test_export_into_a_closed_pipe_ends_quietly(shop: Path, tmp_path: Path) -> None:
    line = f"{sys.executable} -m wayline export -w {shop} | head -n 1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")
