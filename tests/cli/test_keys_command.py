"""``wayline keys``: a secret is printed once, lists never have it, and bad input is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import wayline
from cli.cli_shop import here

Capture = pytest.CaptureFixture[str]


def test_a_key_is_made_listed_and_revoked(workspace: Path, capsys: Capture) -> None:
    made = here(capsys, "keys", "create", "shop-backend", "--scope", "write", "-w", workspace)
    assert made.code == 0
    secret = made.out.strip()
    found = re.fullmatch(r"wl_([0-9a-f]{8})_[A-Za-z0-9_-]{43}", secret)
    assert found is not None
    assert "only time that it is shown" in made.err
    assert secret not in made.err
    with wayline.open(workspace) as engine:
        grant = engine.access.check(secret)
        assert grant is not None
        assert str(grant.scope) == "write"
    listed = here(capsys, "keys", "list", "-w", workspace)
    for part in (found[1], "shop-backend", "write"):
        assert part in listed.out
    assert secret[12:] not in listed.out
    revoked = here(capsys, "keys", "revoke", found[1], "-w", workspace)
    assert (revoked.code, revoked.out) == (0, f"Revoked the key {found[1]} (shop-backend).\n")
    assert here(capsys, "keys", "revoke", found[1], "-w", workspace).code == 0
    with wayline.open(workspace) as engine:
        assert engine.access.check(secret) is None
    (row,) = here(capsys, "keys", "list", "-w", workspace, "--json").json["keys"]
    assert row["revoked_at"] >= row["created_at"]


def test_a_key_may_read_unless_more_is_asked_for(workspace: Path, capsys: Capture) -> None:
    made = here(capsys, "keys", "create", "k", "-w", workspace, "--json")
    assert made.err == ""
    assert (made.json["key"]["name"], made.json["key"]["scope"]) == ("k", "read")
    assert made.json["secret"].startswith(f"wl_{made.json['key']['key_id']}_")
    row = here(capsys, "keys", "revoke", made.json["key"]["key_id"], "-w", workspace, "--json").json
    assert row["revoked_at"] is not None


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["create", "k", "--scope", "root"], "expected read, write or admin"),
        (["create", "two\nlines"], "printable"),
        (["create", ""], "printable"),
        (["create"], "wayline keys create --help"),
        (["revoke", "0123abcd"], "wayline keys list"),
        (["revoke", "wl_0123abcd_" + "s" * 43], "8 characters"),
        (["revoke"], "wayline keys revoke --help"),
        (["rename", "k"], "wayline keys --help"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_cure(
    workspace: Path, capsys: Capture, arguments: list[str], cure: str
) -> None:
    where = [] if arguments[0] == "rename" else ["-w", str(workspace)]
    result = here(capsys, "keys", *arguments, *where)
    assert (result.code, result.out) == (2, "")
    assert cure in result.error_line
    assert "sssss" not in result.error_line
    machine = here(capsys, "keys", *arguments, *where, "--json")
    assert set(json.loads(machine.error_line)["error"]) == {"code", "message", "field"}
    assert here(capsys, "keys", "list", "-w", workspace, "--json").json == {"keys": []}
