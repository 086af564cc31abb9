"""The demo and the evaluation, on a small shop in place of the real one."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import polars as pl
import pytest

from cli.cli_shop import here
from wayline import datasets
from wayline.cli.commands import demo as demo_module
from wayline.cli.trial import items_of, log_of
from wayline.config import load_config
from wayline.datasets import DemoData
from wayline.engine import Engine

Capture = pytest.CaptureFixture[str]
DAY_MS = 86_400_000


@pytest.fixture
def small_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoData:
    """Forty customers in place of four thousand."""
    rows = [
        (f"c{person}", f"p{(person + 3 * step) % 30}", step * DAY_MS + person)
        for person in range(40)
        for step in range(8)
    ]
    actions = pl.DataFrame(rows, schema=["user_id", "item_id", "ts"], orient="row")
    actions = actions.with_columns(ts=pl.col("ts") + 1_700_000_000_000, action=pl.lit("buy"))
    actions.write_parquet(tmp_path / "actions.parquet")
    items = [
        {"item_id": f"p{n}", "title": f"{('mug', 'lamp', 'scarf')[n % 3]} {n}"} for n in range(30)
    ]
    pl.DataFrame(items).write_parquet(tmp_path / "items.parquet")
    config = datasets.online_retail().config
    small = DemoData(tmp_path / "actions.parquet", tmp_path / "items.parquet", config, "nobody")
    monkeypatch.setattr(datasets, "online_retail", lambda: small)
    monkeypatch.setattr(demo_module, "CUSTOMERS", ("c1", "c2", "c3"))
    for name in ("WAYLINE_ACTIONS__VIEW", "WAYLINE_TIME__CLOCK"):
        monkeypatch.delenv(name)
    return small


def test_the_demo_goes_from_a_log_to_a_feed_over_http_and_ends(
    small_shop: DemoData, tmp_path: Path, capsys: Capture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so it has to find another port
        port = str(taken.getsockname()[1])
        result = here(capsys, "demo", "--dir", tmp_path / "demo", "--port", port)
    assert (result.code, result.err) == (0, "")
    assert "320 actions" in result.out
    assert "popularity" in result.out
    for customer in ("c1", "c2", "c3"):
        assert f"Interests of {customer}" in result.out
        assert f"Feed of {customer}" in result.out
    assert result.out.count("       wayline ") + result.out.count("       curl ") == 3
    assert f":{port}" not in result.out
    assert "One request answered (200)" in result.out


def test_the_demo_again_finds_its_workspace_and_adds_nothing(
    small_shop: DemoData, tmp_path: Path, capsys: Capture
) -> None:
    first = here(capsys, "demo", "--dir", tmp_path / "demo", "--port", "0", "--json").json
    again = here(capsys, "demo", "--dir", tmp_path / "demo", "--port", "0", "--json")
    assert (again.code, again.err) == (0, "")
    assert again.json["answer"]["status"] == 200
    assert again.json["generation"]["actions"] == first["generation"]["actions"] == 320
    assert [c["user_id"] for c in again.json["customers"]] == ["c1", "c2", "c3"]


def test_the_demo_leaves_a_folder_of_other_things_alone(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "letter.txt").write_text("mine")
    result = here(capsys, "demo", "--dir", tmp_path / "demo")
    assert result.code == 2
    assert "--dir" in result.error_line


def test_the_demo_s_settings_are_those_that_suit_its_data(
    small_shop: DemoData, tmp_path: Path
) -> None:
    demo_module.make_workspace(tmp_path / "demo")
    written = load_config(tmp_path / "demo" / "wayline.toml", environ={})
    assert written == load_config(overrides=small_shop.config, environ={})


def test_evaluate_puts_the_feed_beside_every_baseline(shop: Path, capsys: Capture) -> None:
    options = ["--split", "time", "-k", "5", "--users", "20"]
    text = here(capsys, "evaluate", "-w", shop, *options).out
    for word in ("feed", "HR@5", "popularity", "EASE", "item-kNN"):
        assert word in text
    assert "[bold]" not in text
    report = here(capsys, "evaluate", "-w", shop, *options, "--json").json
    assert [split["how"] for split in report["splits"]] == ["time"]
    assert json.dumps(report).count('"system": "feed"') >= 1


def test_evaluating_leaves_the_workspace_as_it_was(shop: Path, capsys: Capture) -> None:
    def figures() -> dict[str, object]:
        stats = here(capsys, "doctor", "-w", shop, "--json").json["stats"]
        return {name: stats[name] for name in ("users", "items", "position", "generation")}

    before = figures()
    here(capsys, "evaluate", "-w", shop, "--split", "leave-one-out", "--users", "5")
    assert figures() == before


def test_the_log_and_the_catalogue_read_back_as_they_were_given(shop: Path) -> None:
    with Engine(shop) as engine:
        engine.add_actions([{"user_id": "c1", "item_id": "never listed", "ts": 1_704_000_000}])
        engine.forget("c0")
        log, items = log_of(engine), items_of(engine)
    assert log.height == 160 - 8 + 1
    assert "c0" not in log["user_id"].to_list()
    assert items.height == 30
    assert items.filter(pl.col("item_id") == "p4")["title"].item() == "garden lamp 4"


def test_nothing_to_evaluate_is_one_line(workspace: Path, capsys: Capture) -> None:
    result = here(capsys, "evaluate", "-w", workspace)
    assert result.code == 2
    assert "wayline import" in result.error_line
