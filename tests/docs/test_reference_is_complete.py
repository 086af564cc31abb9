"""Every command, setting, error code and metric is documented, and what is documented exists."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from wayline import errors
from wayline.cli.app import app
from wayline.config import Config, load_config, template
from wayline.server.app import create_app
from wayline.server.metrics import GAUGES, HISTORIES, RANKER
from wayline.server.scopes import NEEDS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
OUTSIDE = {"internal", "usage", "interrupted"}  # codes of failures that are no WaylineError


def section(name: str) -> str:
    """One chapter of the reference."""
    return REFERENCE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def first_column(name: str) -> set[str]:
    """What a chapter's tables list: the texts in code of their first column."""
    rows = re.findall(r"^\| *(`[^|]*?) *\|", section(name), re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def commands() -> Iterator[tuple[str, set[str]]]:
    """Each command with its long options."""
    root = typer.main.get_command(app)
    waiting = [("wayline", root)]
    while waiting:
        path, command = waiting.pop()
        children = getattr(command, "commands", None)
        if children is not None:
            waiting += [(f"{path} {name}", child) for name, child in children.items()]
        else:
            flags = {flag for p in command.params for flag in p.opts if flag.startswith("--")}
            yield path, flags


def test_every_command_is_documented_and_no_other() -> None:
    listed = {re.split(r" [A-Z\[]", code)[0] for code in first_column("Commands")}
    assert listed == {path for path, _ in commands()}


@pytest.mark.parametrize(("path", "flags"), sorted(commands()))
def test_every_option_is_documented(path: str, flags: set[str]) -> None:
    row = next(r for r in section("Commands").splitlines() if r.startswith(f"| `{path}"))
    everywhere = {"--json", "--workspace", "--help"}
    short = {"--out": "`-o FILE`"}
    for flag in flags - everywhere:
        assert short.get(flag, flag) in row, f"{path}: {flag}"


FREE = {
    "recipe.pins",
    "ranking.label_weights",
    "feed.weights",
    "retrieval.most",
    "feed.floors",
}  # tables with names of the user's own


def settings() -> dict[str, object]:
    """Each key with its default."""
    found = {}
    for part in dataclasses.fields(Config):
        if part.name != "actions":
            value = getattr(Config(), part.name)
            found |= {
                f"{part.name}.{f.name}": getattr(value, f.name) for f in dataclasses.fields(value)
            }
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([^|]*?) \|", section("Settings"), re.MULTILINE)
    documented = {
        key: tomllib.loads(f"v = {text.strip('`')}")["v"] for key, text in rows if text != "(none)"
    }
    defaults = {
        k: list(v) if isinstance(v, tuple) else v for k, v in settings().items() if k not in FREE
    }
    assert documented == defaults
    assert first_column("Settings") == {*settings(), "actions.NAME"}


def test_the_template_says_the_defaults() -> None:
    path = Path(inspect.getfile(load_config)).with_name("config_template.toml")
    assert load_config(path, environ={}) == Config()
    named = {f"{s}.{k}" for s, keys in tomllib.loads(template()).items() for k in keys}
    assert named == settings().keys() - FREE


def all_errors(kind: type[errors.WaylineError]) -> Iterator[type[errors.WaylineError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_errors(child)


def test_every_error_code_is_documented_with_its_http_status() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d*) *\|", section("Errors"), re.MULTILINE)
    documented = {code: status for code, status in rows if code not in OUTSIDE}
    known = {e.code: str(e.http_status) for e in all_errors(errors.WaylineError)}
    assert documented == known
    assert {code for code, _ in rows} - known.keys() == OUTSIDE


def test_every_error_stands_in_the_tree_at_the_top_of_its_module() -> None:
    for kind in {*all_errors(errors.WaylineError)} - {errors.WaylineError}:
        row = rf"{kind.__name__} +{kind.code} +{kind.exit_code} +{kind.http_status}$"
        assert re.search(row, errors.__doc__ or "", re.MULTILINE), kind.__name__


def test_every_call_is_documented_with_the_scope_that_it_needs() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section("REST"), re.MULTILINE)
    documented = {
        call: s.strip("`") for calls, s in rows for call in re.findall(r"`([^`]+)`", calls)
    }
    open_to_all = {"GET /health/live", "GET /health/ready", "GET /docs", "GET /openapi.json"}
    assert documented == {c: str(s) for c, s in NEEDS.items()} | dict.fromkeys(open_to_all, "none")


def test_every_metric_is_documented() -> None:
    source = Path(inspect.getfile(create_app)).with_name("metrics.py").read_text("utf-8")
    names = set(re.findall(r'"(wayline_[a-z_]+)"', source)) - {"wayline_generation"}
    names |= {f"wayline_{name}".replace("_age_s", "_age_seconds") for name in GAUGES}
    gauges = ("people", "bytes")
    names |= {f"wayline_histories_{name}" for name in gauges}
    names |= {f"wayline_history_{name}_total" for name in HISTORIES if name not in gauges}
    names |= {f"wayline_ranker_{name}_total" for name in RANKER}
    documented = {name.partition("{")[0] for name in first_column("Metrics")}
    assert documented == names | {"wayline_generation_info", "process_*"}
