"""``wayline keys list|create|revoke``: who may call the server."""

from __future__ import annotations

from typing import Annotated

import typer

from wayline.cli.options import HERE, AsJson, Workspace, opened
from wayline.cli.output import count, day, note, print_json, print_table, say

keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the server's API keys.")


@keys_app.command("list")
def list_(workspace: Workspace = HERE, as_json: AsJson = False) -> None:
    """List all keys ever made, without their secrets."""
    with opened(workspace) as engine:
        found = engine.access.list_keys()
    if as_json:
        print_json({"keys": found})
        return
    rows = [
        (k.key_id, k.name, k.scope, day(k.created_at), day(k.last_used_at), day(k.revoked_at))
        for k in found
    ]
    columns = ("id", "name", "scope", "created", "last used", "revoked")
    print_table(count(len(rows), "key"), columns, rows)


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it, for people.")],
    scope: Annotated[
        str, typer.Option(metavar="read|write|admin", help="The most that it may do.")
    ] = "read",
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, which is not kept and cannot be shown again."""
    with opened(workspace) as engine:
        made = engine.access.create_key(name, scope)
    if as_json:
        print_json({"key": made.key, "secret": made.secret})
        return
    note(
        f"Made the key {made.key.key_id} ({made.key.name}), scope {made.key.scope}. Send this as X-API-Key; it is not "
        "kept, and this is the only time that it is shown:"
    )
    say(made.secret)


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="One that `wayline keys list` has.")],
    workspace: Workspace = HERE,
    as_json: AsJson = False,
) -> None:
    """Let a key count no more, for good; running servers see it within a second."""
    with opened(workspace) as engine:
        revoked = engine.access.revoke_key(key_id)
    if as_json:
        print_json(revoked)
    else:
        say(f"Revoked the key {revoked.key_id} ({revoked.name}).")
