"""The settings as people read them: values, defaults, origins, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

import wayline
from wayline.cli.app import run
from wayline.config import Config, resolve_config
from wayline.errors import ConfigError
from wayline.settings import Setting, list_settings

TOML = """
[actions]
buy = 1.0
[feed]
limit = 30
[feed.weights]
buy = 2.0
[recipe]
trending.7d = 0.5
[server]
api_keys = ["opener-1", "opener-2"]
"""
ENVIRONMENT = {
    "WAYLINE_FEED__REPEAT": "allow",
    "WAYLINE_FEED__LIMIT": "40",
    "WAYLINE_LLM__API_KEY": "sk-very-secret",
    "WAYLINE_NOTIFICATIONS__SMTP_PASSWORD": "hunter2",
    "WAYLINE_NOTIFICATIONS__WEBHOOK_URL": "https://bot:pw@hooks.example:8443/T01/secret?key=1",
}


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Setting]:
    path = tmp_path / "wayline.toml"
    path.write_text(TOML)
    resolved = resolve_config(path, {"journeys": {"limit": 3}}, ENVIRONMENT)
    return {one.name: one for one in list_settings(resolved)}


def test_each_says_where_it_came_from(settings: dict[str, Setting]) -> None:
    def said(name: str) -> tuple[str, str, str]:
        one = settings[name]
        return one.value, one.default, one.origin

    assert said("actions.buy") == ("1", "", "wayline.toml")
    assert said("feed.limit") == ("40", "20", "WAYLINE_FEED__LIMIT")  # stronger than the file
    assert said("feed.repeat") == ('"allow"', '"exclude"', "WAYLINE_FEED__REPEAT")
    assert said("feed.weights.buy") == ("2", "", "wayline.toml")
    assert said("recipe.trending.7d") == ("0.5", "", "wayline.toml")
    assert said("journeys.limit") == ("3", "10", "config=")
    assert said("feed.fatigue") == ("2", "2", "default")
    assert not settings["feed.fatigue"].changed


def test_no_secret_is_in_them(settings: dict[str, Setting]) -> None:
    text = repr(settings)
    for secret in ("opener", "very-secret", "hunter2", "T01", "pw@"):
        assert secret not in text
    assert settings["server.api_keys"].value == "2 set"
    assert settings["llm.api_key"].value == "set"
    assert settings["notifications.webhook_secret"].value == "not set"
    assert settings["notifications.webhook_url"].value == '"https://hooks.example:8443/…"'


def test_pins_given_as_a_table_have_the_same_names() -> None:
    resolved = resolve_config(None, {"recipe": {"pins": {"trending.7d": 0.5}}}, {})
    (pin,) = [one for one in list_settings(resolved) if one.name.startswith("recipe.t")]
    assert (pin.name, pin.origin) == ("recipe.trending.7d", "config=")


def test_without_any_all_are_defaults() -> None:
    found = list_settings(resolve_config(None, environ={}))
    assert len(found) > 100
    assert {one.origin for one in found} == {"default"}
    assert not any(one.changed for one in found)
    assert resolve_config(None, environ={}).config == Config()


def test_the_command_prints_them_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wayline.open(tmp_path / "shop", create=True).close()
    monkeypatch.setenv("WAYLINE_FEED__LIMIT", "33")
    monkeypatch.setenv("WAYLINE_LLM__API_KEY", "sk-very-secret")
    assert run(["config", "-w", str(tmp_path / "shop"), "--changed"]) == 0
    printed = capsys.readouterr().out
    assert "WAYLINE_FEED__LIMIT" in printed
    assert "very-secret" not in printed
    assert "journeys.limit" not in printed
    assert run(["config", "-w", str(tmp_path / "shop"), "--json"]) == 0
    assert '"journeys.limit"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[feed.floors]\nfresh = 11", r"feed\.floors\.fresh = 11.*a whole number from 0 to 10\."),
        ("[feed.floors]\nfresh = 0.5", "a whole number from 0 to 10"),
        ("[retrieval.most]\nfresh = -1", r"a whole number from 0 up\."),
        ("[feed.floors]\nfrehs = 1", r"Unknown key feed\.floors\.frehs.*did you mean 'fresh'"),
    ],
)
def test_tables_of_sources_are_checked(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "wayline.toml"
    path.write_text(table)
    with pytest.raises(ConfigError, match=said):
        resolve_config(path, {}, {})
